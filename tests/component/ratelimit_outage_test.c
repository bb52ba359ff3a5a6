/*
 * What becomes of decisions when Redis freezes, dies, comes back, refuses writes, loads its data, or forgets
 * the script: ratelimitd on a real redis-server, called over the bus.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accountd/accountd.h"
#include "corbel/contract.gen.h"
#include "daemon/host.h"
#include "daemon/options.h"
#include "ratelimitd/ratelimitd.h"
#include "support/test_dir.h"
#include "support/test_process.h"
#include "support/test_redis.h"

#define TENANT       "ten_1"
#define UNITS        10u
#define BACK_MS      1000u /* within which Redis decides again */
#define FIRST_MS     8.0 /* of the first call that meets a hanging Redis: the patience of 5 ms, and the way */
#define ROUNDS       5
#define KEY_DELAY_US "200000"

typedef Corbel__V1__CheckReply CheckReply;
typedef Corbel__V1__FailureMode FailureMode;

static const struct service *services[] = {&accountd_service, &ratelimitd_service, NULL};

struct rig {
	struct test_dir dir;
	struct test_redis *redis;
	struct options *options;
	struct config *config;
	struct host *host;
	struct arena arena;
};

static void
must(struct status st)
{
	ck_assert_msg(status_ok(&st), "%s", st.message);
}

static void
make_limit(struct rig *rig, const char *name, FailureMode mode)
{
	Corbel__V1__CreateLimitRequest request = CORBEL__V1__CREATE_LIMIT_REQUEST__INIT;
	ProtobufCMessage *reply;

	request.name = (char *)(uintptr_t)name;
	request.has_strategy = request.has_limit = request.has_window_ms = request.has_on_failure = true;
	request.strategy = CORBEL__V1__STRATEGY__FIXED_WINDOW;
	request.limit = UNITS;
	request.window_ms = 86400000;
	request.on_failure = mode;
	request.tenant_id = (char *)(uintptr_t)TENANT;
	must(host_call(rig->host, LIMITS_CREATE, &request.base, 5000, &rig->arena, &reply));
}

static void
start_on(struct rig *rig, struct test_redis *redis)
{
	test_dir_make(&rig->dir);
	arena_init(&rig->arena, 65536, SIZE_MAX);
	rig->redis = redis;
	rig->options = options_new(services);
	const char *argv[] = {"test", arena_printf(&rig->arena, "--data=%s", rig->dir.path),
	                      "--admin.listen=", "--log.level=error",
	                      arena_printf(&rig->arena, "--redis.url=%s", redis->url)};
	struct config_input input = {.tables = options_tables(rig->options),
	                             .argc = sizeof(argv) / sizeof(argv[0]),
	                             .argv = argv,
	                             .environ = (const char *[]){NULL}};
	must(config_load(&input, stderr, &rig->config));
	must(host_new(&(struct host_options){.config = rig->config, .services = services, .stop_fd = -1},
	              &rig->host));
	must(host_start(rig->host));
	make_limit(rig, "share", CORBEL__V1__FAILURE_MODE__LOCAL_SHARE);
	make_limit(rig, "open", CORBEL__V1__FAILURE_MODE__FAIL_OPEN);
	make_limit(rig, "closed", CORBEL__V1__FAILURE_MODE__FAIL_CLOSED);
}

static void
stop(struct rig *rig)
{
	ck_assert(host_drain(rig->host, 5000));
	host_free(rig->host);
	config_free(rig->config);
	options_free(rig->options);
	arena_fini(&rig->arena);
	test_redis_stop(rig->redis);
	test_dir_remove(&rig->dir);
}

/* One unit of a limit for a key. */
static const Corbel__V1__LimitState *
take(struct rig *rig, const char *limit, const char *key)
{
	Corbel__V1__CheckRequest request = CORBEL__V1__CHECK_REQUEST__INIT;
	Corbel__V1__LimitCheck check = CORBEL__V1__LIMIT_CHECK__INIT, *checks[] = {&check};
	ProtobufCMessage *reply;

	check.limit = (char *)(uintptr_t)limit;
	check.key = (char *)(uintptr_t)key;
	request.n_checks = 1;
	request.checks = checks;
	request.tenant_id = (char *)(uintptr_t)TENANT;
	must(host_call(rig->host, RATELIMITS_CHECK, &request.base, 2000, &rig->arena, &reply));
	return ((const CheckReply *)reply)->limits[0];
}

static unsigned
admitted(struct rig *rig, const char *limit, const char *key, unsigned tries)
{
	unsigned count = 0;
	while (tries-- > 0)
		count += take(rig, limit, key)->allowed ? 1 : 0;
	return count;
}

static void
expect_redis_within(struct rig *rig, uint64_t ms)
{
	uint64_t start_ms = test_now_ms();
	while (take(rig, "open", "probe")->degraded) {
		ck_assert_uint_lt(test_now_ms() - start_ms, ms);
		test_pause();
	}
}

/* Each limit does what it says. */
static void
expect_failure_modes(struct rig *rig, const char *key)
{
	ck_assert_uint_eq(admitted(rig, "closed", key, 3), 0);
	ck_assert_uint_eq(admitted(rig, "open", key, 3 * UNITS), 3 * UNITS);
	ck_assert_uint_eq(admitted(rig, "share", key, 3 * UNITS), UNITS); /* the only replica's share is all */
	ck_assert(take(rig, "share", key)->degraded);
}

static double
timed_ms(struct rig *rig, const char *key)
{
	uint64_t start_ns = clock_mono_ns(clock_system());
	ck_assert(take(rig, "share", key)->degraded);
	return (double)(clock_mono_ns(clock_system()) - start_ns) / 1e6;
}

START_TEST(a_frozen_redis_costs_the_first_call_milliseconds_and_later_ones_nothing)
{
	double first_ms = 1e9, later_ms = 1e9;
	struct rig rig;

	start_on(&rig, test_redis_start(NULL));
	/* The best of some rounds: what the machine does besides is not ratelimitd's cost. */
	for (int round = 0; round < ROUNDS; round++) {
		expect_redis_within(&rig, BACK_MS);
		test_redis_freeze(rig.redis);
		double took_ms = timed_ms(&rig, "k");
		first_ms = took_ms < first_ms ? took_ms : first_ms;
		uint64_t start_ns = clock_mono_ns(clock_system());
		for (int i = 0; i < 100; i++)
			(void)timed_ms(&rig, "k");
		took_ms = (double)(clock_mono_ns(clock_system()) - start_ns) / 1e6 / 100;
		later_ms = took_ms < later_ms ? took_ms : later_ms;
		test_redis_thaw(rig.redis);
	}
	expect_redis_within(&rig, BACK_MS);
	printf("first call %.2f ms, later ones %.3f ms\n", first_ms, later_ms);
	ck_assert_double_lt(first_ms, FIRST_MS);
	ck_assert_double_lt(later_ms, 1.0);
	stop(&rig);
}
END_TEST

START_TEST(a_frozen_redis_leaves_each_limits_own_policy)
{
	struct rig rig;
	start_on(&rig, test_redis_start(NULL));
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 3), 3);
	test_redis_freeze(rig.redis);
	expect_failure_modes(&rig, "k");
	test_redis_thaw(rig.redis);
	expect_redis_within(&rig, BACK_MS);
	/* What Redis had counted is still counted, and the call that it left unanswered may be, too. */
	unsigned left = admitted(&rig, "closed", "k", 2 * UNITS);
	ck_assert(left == UNITS - 3 || left == UNITS - 4);
	stop(&rig);
}
END_TEST

START_TEST(a_killed_redis_leaves_each_limits_own_policy_and_is_used_again_when_it_is_back)
{
	struct rig rig;
	start_on(&rig, test_redis_start(NULL));
	ck_assert(!take(&rig, "share", "k")->degraded);
	test_redis_kill(rig.redis);
	expect_failure_modes(&rig, "k");
	test_redis_restart(rig.redis); /* empty */
	expect_redis_within(&rig, BACK_MS);
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 2 * UNITS), UNITS);
	stop(&rig);
}
END_TEST

START_TEST(a_redis_absent_at_start_is_used_when_it_comes)
{
	struct rig rig;
	start_on(&rig, test_redis_prepare(NULL));
	expect_failure_modes(&rig, "k");
	test_redis_restart(rig.redis);
	expect_redis_within(&rig, BACK_MS);
	stop(&rig);
}
END_TEST

START_TEST(a_redis_that_became_a_replica_decides_nothing_until_it_may_write)
{
	struct rig rig;
	start_on(&rig, test_redis_start(NULL));
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 3), 3);
	/* Nothing listens on port 1: it stays a replica with the data it has. */
	test_redis_tell(rig.redis, "REPLICAOF 127.0.0.1 1");
	expect_failure_modes(&rig, "k");
	test_redis_tell(rig.redis, "REPLICAOF NO ONE");
	expect_redis_within(&rig, BACK_MS);
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 2 * UNITS), UNITS - 3);
	stop(&rig);
}
END_TEST

START_TEST(a_redis_without_memory_decides_nothing_until_it_has_some)
{
	struct rig rig;
	start_on(&rig, test_redis_start(NULL));
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 3), 3);
	test_redis_tell(rig.redis, "CONFIG SET maxmemory 1");
	expect_failure_modes(&rig, "k");
	test_redis_tell(rig.redis, "CONFIG SET maxmemory 0");
	expect_redis_within(&rig, BACK_MS);
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 2 * UNITS), UNITS - 3);
	stop(&rig);
}
END_TEST

START_TEST(a_redis_that_loads_its_data_decides_when_it_has_them)
{
	struct rig rig;
	start_on(&rig, test_redis_start(NULL));
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 3), 3);
	for (int i = 0; i < 8; i++)
		(void)take(&rig, "closed", arena_printf(&rig.arena, "k%d", i));
	test_redis_tell(rig.redis, "SAVE");
	test_redis_kill(rig.redis);
	test_redis_restart_slowly(rig.redis, KEY_DELAY_US);
	expect_failure_modes(&rig, "k");
	expect_redis_within(&rig, BACK_MS + 5000);
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 2 * UNITS), UNITS - 3);
	stop(&rig);
}
END_TEST

START_TEST(a_redis_that_forgot_the_script_gets_it_again_unnoticed)
{
	struct rig rig;
	start_on(&rig, test_redis_start(NULL));
	for (int i = 0; i < 3; i++) {
		const Corbel__V1__LimitState *state = take(&rig, "closed", "k");
		ck_assert(state->allowed && !state->degraded);
		test_redis_tell(rig.redis, "SCRIPT FLUSH");
	}
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 2 * UNITS), UNITS - 3);
	stop(&rig);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("Redis away from ratelimitd");
	TCase *tests = tcase_create("outages");
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_frozen_redis_costs_the_first_call_milliseconds_and_later_ones_nothing);
	tcase_add_test(tests, a_frozen_redis_leaves_each_limits_own_policy);
	tcase_add_test(tests, a_killed_redis_leaves_each_limits_own_policy_and_is_used_again_when_it_is_back);
	tcase_add_test(tests, a_redis_absent_at_start_is_used_when_it_comes);
	tcase_add_test(tests, a_redis_that_became_a_replica_decides_nothing_until_it_may_write);
	tcase_add_test(tests, a_redis_without_memory_decides_nothing_until_it_has_some);
	tcase_add_test(tests, a_redis_that_loads_its_data_decides_when_it_has_them);
	tcase_add_test(tests, a_redis_that_forgot_the_script_gets_it_again_unnoticed);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
