/*
 * What becomes of decisions when Redis freezes, dies, comes back, refuses writes, loads its data, or forgets
 * the script: ratelimitd on a real redis-server, called over the bus.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "accountd/accountd.h"
#include "ratelimitd/ratelimitd.h"
#include "support/test_limits.h"
#include "support/test_process.h"

#define UNITS        10u
#define BACK_MS      1000u /* within which Redis decides again */
#define FIRST_MS     8.0 /* of the first call that meets a hanging Redis: the patience of 5 ms, and the way */
#define ROUNDS       5
#define KEY_DELAY_US "200000"

static const struct service *const services[] = {&accountd_service, &ratelimitd_service, NULL};

/* More than the default: but for the first test, this is of outcomes, on a machine that may be busy. */
static const char *const PATIENT[] = {"--ratelimitd.redis_patience=1s", NULL};

static void
start_on(struct test_limits *rig, struct test_redis *redis, const char *const *options)
{
	test_limits_start(rig, services, redis, options);
	test_limits_make(rig, &(struct test_limit){.name = "share",
	                                           .limit = UNITS,
	                                           .on_failure = CORBEL__V1__FAILURE_MODE__LOCAL_SHARE});
	test_limits_make(rig, &(struct test_limit){.name = "open",
	                                           .limit = UNITS,
	                                           .on_failure = CORBEL__V1__FAILURE_MODE__FAIL_OPEN});
	test_limits_make(rig, &(struct test_limit){.name = "closed",
	                                           .limit = UNITS,
	                                           .on_failure = CORBEL__V1__FAILURE_MODE__FAIL_CLOSED});
}

/* One unit of a limit for a key. */
static const Corbel__V1__LimitState *
take(struct test_limits *rig, const char *limit, const char *key)
{
	return test_limits_take(rig, &rig->arena, limit, key, 1);
}

static unsigned
admitted(struct test_limits *rig, const char *limit, const char *key, unsigned tries)
{
	unsigned count = 0;
	while (tries-- > 0)
		count += take(rig, limit, key)->allowed ? 1 : 0;
	return count;
}

/* Each limit does what it says. */
static void
expect_failure_modes(struct test_limits *rig, const char *key)
{
	ck_assert_uint_eq(admitted(rig, "closed", key, 3), 0);
	ck_assert_uint_eq(admitted(rig, "open", key, 3 * UNITS), 3 * UNITS);
	ck_assert_uint_eq(admitted(rig, "share", key, 3 * UNITS), UNITS); /* the only replica's share is all */
	ck_assert(take(rig, "share", key)->degraded);
}

static double
timed_ms(struct test_limits *rig, const char *key)
{
	uint64_t start_ns = clock_mono_ns(clock_system());
	ck_assert(take(rig, "share", key)->degraded);
	return (double)(clock_mono_ns(clock_system()) - start_ns) / 1e6;
}

START_TEST(a_frozen_redis_costs_the_first_call_milliseconds_and_later_ones_nothing)
{
	double first_ms = 1e9, later_ms = 1e9;
	struct test_limits rig;

	start_on(&rig, test_redis_start(NULL), NULL);
	/* The best of some rounds: what the machine does besides is not ratelimitd's cost. */
	for (int round = 0; round < ROUNDS; round++) {
		test_limits_await_redis(&rig, "open", BACK_MS);
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
	test_limits_await_redis(&rig, "open", BACK_MS);
	printf("first call %.2f ms, later ones %.3f ms\n", first_ms, later_ms);
	ck_assert_double_lt(first_ms, FIRST_MS);
	ck_assert_double_lt(later_ms, 1.0);
	test_limits_stop(&rig);
}
END_TEST

START_TEST(a_frozen_redis_leaves_each_limits_own_policy)
{
	struct test_limits rig;
	start_on(&rig, test_redis_start(NULL), PATIENT);
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 3), 3);
	test_redis_freeze(rig.redis);
	expect_failure_modes(&rig, "k");
	test_redis_thaw(rig.redis);
	test_limits_await_redis(&rig, "open", BACK_MS);
	/* What Redis had counted is still counted, and the call that it left unanswered may be, too. */
	unsigned left = admitted(&rig, "closed", "k", 2 * UNITS);
	ck_assert(left == UNITS - 3 || left == UNITS - 4);
	test_limits_stop(&rig);
}
END_TEST

START_TEST(a_killed_redis_leaves_each_limits_own_policy_and_is_used_again_when_it_is_back)
{
	struct test_limits rig;
	start_on(&rig, test_redis_start(NULL), PATIENT);
	ck_assert(!take(&rig, "share", "k")->degraded);
	test_redis_kill(rig.redis);
	expect_failure_modes(&rig, "k");
	test_redis_restart(rig.redis); /* empty */
	test_limits_await_redis(&rig, "open", BACK_MS);
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 2 * UNITS), UNITS);
	test_limits_stop(&rig);
}
END_TEST

START_TEST(a_redis_absent_at_start_is_used_when_it_comes)
{
	struct test_limits rig;
	start_on(&rig, test_redis_prepare(NULL), PATIENT);
	expect_failure_modes(&rig, "k");
	test_redis_restart(rig.redis);
	test_limits_await_redis(&rig, "open", BACK_MS);
	test_limits_stop(&rig);
}
END_TEST

START_TEST(a_redis_that_became_a_replica_decides_nothing_until_it_may_write)
{
	struct test_limits rig;
	start_on(&rig, test_redis_start(NULL), PATIENT);
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 3), 3);
	/* Nothing listens on port 1: it stays a replica with the data it has. */
	test_redis_tell(rig.redis, "REPLICAOF 127.0.0.1 1");
	expect_failure_modes(&rig, "k");
	test_redis_tell(rig.redis, "REPLICAOF NO ONE");
	test_limits_await_redis(&rig, "open", BACK_MS);
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 2 * UNITS), UNITS - 3);
	test_limits_stop(&rig);
}
END_TEST

START_TEST(a_redis_without_memory_decides_nothing_until_it_has_some)
{
	struct test_limits rig;
	start_on(&rig, test_redis_start(NULL), PATIENT);
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 3), 3);
	test_redis_tell(rig.redis, "CONFIG SET maxmemory 1");
	expect_failure_modes(&rig, "k");
	test_redis_tell(rig.redis, "CONFIG SET maxmemory 0");
	test_limits_await_redis(&rig, "open", BACK_MS);
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 2 * UNITS), UNITS - 3);
	test_limits_stop(&rig);
}
END_TEST

START_TEST(a_redis_that_loads_its_data_decides_when_it_has_them)
{
	struct test_limits rig;
	start_on(&rig, test_redis_start(NULL), PATIENT);
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 3), 3);
	/* It looks up from loading every kilobyte. */
	for (int i = 0; i < 20; i++)
		test_redis_tell(rig.redis, arena_printf(&rig.arena, "SETRANGE pad%d 2000 x", i));
	test_redis_tell(rig.redis, "SAVE");
	test_redis_kill(rig.redis);
	test_redis_restart_slowly(rig.redis, KEY_DELAY_US);
	ck_assert(test_redis_is_loading(rig.redis));
	expect_failure_modes(&rig, "k");
	ck_assert(test_redis_is_loading(rig.redis));
	while (test_redis_is_loading(rig.redis))
		test_pause();
	test_limits_await_redis(&rig, "open", BACK_MS);
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 2 * UNITS), UNITS - 3);
	test_limits_stop(&rig);
}
END_TEST

START_TEST(a_redis_that_forgot_the_script_gets_it_again_unnoticed)
{
	struct test_limits rig;
	start_on(&rig, test_redis_start(NULL), PATIENT);
	for (int i = 0; i < 3; i++) {
		const Corbel__V1__LimitState *state = take(&rig, "closed", "k");
		ck_assert(state->allowed && !state->degraded);
		test_redis_tell(rig.redis, "SCRIPT FLUSH");
	}
	ck_assert_uint_eq(admitted(&rig, "closed", "k", 2 * UNITS), UNITS - 3);
	test_limits_stop(&rig);
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
