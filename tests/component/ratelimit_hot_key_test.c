/*
 * Hot keys on Redis: many callers of one key are decided together, and what is known to be refused is refused
 * without asking, exactly.
 */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "accountd/accountd.h"
#include "ratelimitd/ratelimitd.h"
#include "support/test_limits.h"
#include "support/test_process.h"

#define THREADS   8
#define EACH      200
#define WINDOW_MS 100u

static const struct service *const services[] = {&accountd_service, &ratelimitd_service, NULL};

static const Corbel__V1__Strategy ALL[] = {CORBEL__V1__STRATEGY__FIXED_WINDOW,
                                           CORBEL__V1__STRATEGY__SLIDING_LOG,
                                           CORBEL__V1__STRATEGY__SLIDING_COUNTER,
                                           CORBEL__V1__STRATEGY__TOKEN_BUCKET,
                                           CORBEL__V1__STRATEGY__LEAKY_METER,
                                           CORBEL__V1__STRATEGY__LEAKY_QUEUE,
                                           CORBEL__V1__STRATEGY__GCRA,
                                           CORBEL__V1__STRATEGY__ADAPTIVE};
#define STRATEGIES (sizeof(ALL) / sizeof(ALL[0]))

static struct test_limits rig;
static const char *hot; /* the name of the strategy's limit */

/* A patience beyond what a busy machine takes: these tests are of Redis's answers. */
static const char *const PATIENT[] = {"--ratelimitd.redis_patience=2s", "--redis.timeout=5s", NULL};

static void
setup(void)
{
	test_limits_start(&rig, services, test_redis_start(NULL), PATIENT);
}

static void
teardown(void)
{
	test_limits_stop(&rig);
}

static const Corbel__V1__LimitState *
take(const char *limit, const char *key, uint64_t cost)
{
	return test_limits_take(&rig, &rig.arena, limit, key, cost);
}

static const char *
make(Corbel__V1__Strategy strategy, uint64_t limit, uint64_t window_ms)
{
	return test_limits_make(
	    &rig,
	    &(struct test_limit){.name = hot, .strategy = strategy, .limit = limit, .window_ms = window_ms});
}

static void
wait_ms(uint64_t ms)
{
	struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
	nanosleep(&pause, NULL);
}

static void
for_each_strategy(void (*run)(Corbel__V1__Strategy strategy))
{
	for (size_t i = 0; i < STRATEGIES; i++) {
		hot = arena_printf(&rig.arena, "hot%d", (int)ALL[i]);
		run(ALL[i]);
	}
}

static atomic_uint admitted;

static void *
hammer(void *arg)
{
	struct arena arena;

	arena_init(&arena, 65536, SIZE_MAX);
	for (int i = 0; i < EACH; i++) {
		const Corbel__V1__LimitState *state = test_limits_take(&rig, &arena, hot, arg, 1);
		ck_assert(!state->degraded);
		if (state->allowed)
			atomic_fetch_add(&admitted, 1);
		arena_reset(&arena);
	}
	arena_fini(&arena);
	return NULL;
}

static void
hammer_all(const char *key)
{
	pthread_t threads[THREADS];

	atomic_store(&admitted, 0);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer, (void *)(uintptr_t)key), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void
many_callers_by(Corbel__V1__Strategy strategy)
{
	(void)make(strategy, THREADS * EACH / 2, 0);
	uint64_t scripts = test_redis_calls(rig.redis, "evalsha");
	hammer_all("k");
	ck_assert_uint_eq(atomic_load(&admitted), THREADS * EACH / 2);
	ck_assert_uint_lt(test_redis_calls(rig.redis, "evalsha") - scripts, THREADS * EACH);
	ck_assert_uint_eq(take(hot, "k", 0)->remaining, 0);
}

START_TEST(many_callers_of_one_key_get_exactly_the_limit_in_fewer_scripts_than_calls)
{
	for_each_strategy(many_callers_by);
}
END_TEST

static void
refused_again_by(Corbel__V1__Strategy strategy)
{
	(void)make(strategy, 3, 0);
	for (int i = 0; i < 3; i++)
		ck_assert(take(hot, "k", 1)->allowed);
	const Corbel__V1__LimitState *first = take(hot, "k", 1);
	ck_assert(!first->allowed && first->retry_after_ms > 0);
	test_redis_freeze(rig.redis);
	for (int i = 0; i < 100; i++) {
		const Corbel__V1__LimitState *again = take(hot, "k", 1);
		ck_assert(!again->allowed && !again->degraded);
		ck_assert_uint_eq(again->quota, first->quota);
		ck_assert_uint_eq(again->remaining, 0);
		ck_assert_uint_le(again->retry_after_ms, first->retry_after_ms);
		ck_assert_uint_gt(again->retry_after_ms + 1000, first->retry_after_ms);
	}
	test_redis_thaw(rig.redis);
}

START_TEST(what_is_refused_is_refused_again_without_redis)
{
	for_each_strategy(refused_again_by);
}
END_TEST

static void
hammer_refused_by(Corbel__V1__Strategy strategy)
{
	(void)make(strategy, 1, 0);
	ck_assert(take(hot, "k", 1)->allowed);
	uint64_t scripts = test_redis_calls(rig.redis, "evalsha");
	hammer_all("k");
	ck_assert_uint_eq(atomic_load(&admitted), 0);
	ck_assert_uint_lt(test_redis_calls(rig.redis, "evalsha") - scripts, THREADS * EACH / 20);
}

START_TEST(hammering_a_refused_key_hardly_reaches_redis)
{
	for_each_strategy(hammer_refused_by);
}
END_TEST

static void
wait_by(Corbel__V1__Strategy strategy)
{
	(void)make(strategy, 2, WINDOW_MS);
	for (int round = 0; round < 2; round++) {
		const Corbel__V1__LimitState *state;
		while (take(hot, "k", 1)->allowed)
			;
		state = take(hot, "k", 1);
		if (state->allowed)
			continue; /* the window ended just now */
		wait_ms(state->retry_after_ms);
		ck_assert(take(hot, "k", 1)->allowed);
	}
}

START_TEST(who_waits_as_long_as_a_remembered_refusal_says_is_admitted)
{
	for_each_strategy(wait_by);
}
END_TEST

static void
end_by(Corbel__V1__Strategy strategy)
{
	const char *id = make(strategy, 3, 0);
	ck_assert(take(hot, "k", 3)->allowed);
	ck_assert(!take(hot, "k", 1)->allowed);
	test_limits_give_back(&rig, hot, "k", 1);
	ck_assert(take(hot, "k", 1)->allowed);
	ck_assert(!take(hot, "k", 1)->allowed);
	test_limits_reset(&rig, hot, "k");
	ck_assert(take(hot, "k", 3)->allowed);
	ck_assert(!take(hot, "k", 1)->allowed);
	/* An adaptive limit's ceiling is what it was made with; others rise at once where they are changed. */
	if (strategy != CORBEL__V1__STRATEGY__ADAPTIVE) {
		test_limits_raise(&rig, id, 5);
		ck_assert(take(hot, "k", 1)->allowed);
	}
}

START_TEST(a_remembered_refusal_ends_with_what_is_given_back_reset_or_raised)
{
	for_each_strategy(end_by);
}
END_TEST

static void
smaller_cost_by(Corbel__V1__Strategy strategy)
{
	(void)make(strategy, 3, 0);
	ck_assert(take(hot, "k", 1)->allowed);
	ck_assert(!take(hot, "k", 3)->allowed);
	ck_assert(!take(hot, "k", 3)->allowed);
	ck_assert(take(hot, "k", 2)->allowed);
	ck_assert_uint_eq(take(hot, "k", 0)->remaining, 0);
}

START_TEST(a_smaller_cost_is_decided_by_itself)
{
	for_each_strategy(smaller_cost_by);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hot keys on Redis");
	TCase *tests = tcase_create("hot keys");
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, many_callers_of_one_key_get_exactly_the_limit_in_fewer_scripts_than_calls);
	tcase_add_test(tests, what_is_refused_is_refused_again_without_redis);
	tcase_add_test(tests, hammering_a_refused_key_hardly_reaches_redis);
	tcase_add_test(tests, who_waits_as_long_as_a_remembered_refusal_says_is_admitted);
	tcase_add_test(tests, a_remembered_refusal_ends_with_what_is_given_back_reset_or_raised);
	tcase_add_test(tests, a_smaller_cost_is_decided_by_itself);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
