/*
 * denials: what is remembered as refused, beside the counter that refused it, with others who take from it.
 */
#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "ratelimitd/denials.h"

#define STEPS     60000
#define AHEAD_US  UINT64_C(7000000000) /* Redis's clock beside ours */
#define WINDOW_US UINT64_C(100000)
#define LIMIT     6u
#define TRIP_US   2000u /* to Redis and back, at most */

static const enum strategy ALL[] = {STRATEGY_FIXED_WINDOW, STRATEGY_SLIDING_LOG, STRATEGY_SLIDING_COUNTER,
                                    STRATEGY_TOKEN_BUCKET, STRATEGY_LEAKY_METER, STRATEGY_LEAKY_QUEUE,
                                    STRATEGY_GCRA};

static struct fake_clock fake;
static struct seeded_random seeded;
static struct denials *denials;
static struct rule rule;
static struct counter counter; /* in Redis */

static uint64_t
redis_us(void)
{
	return AHEAD_US + clock_mono_ns(&fake.clock) / 1000;
}

static void
pass_us(uint64_t us)
{
	atomic_fetch_add(&fake.mono_ns, us * 1000);
}

static void
make_job(struct job *job, uint64_t cost)
{
	memset(job, 0, sizeof(*job));
	job->kind = JOB_TAKE;
	job->inquiry.count = 1;
	job->inquiry.items[0] = (struct table_item){.key = {.high = 1, .low = 2}, .rule = &rule, .cost = cost};
}

/* Through Redis, with the way there and back. */
static bool
ask_redis(struct job *job)
{
	struct table_item *item = &job->inquiry.items[0];
	uint64_t sent_ns = clock_mono_ns(&fake.clock);

	pass_us(random_below(&seeded.random, TRIP_US / 2));
	job->seen_us = redis_us();
	counter_take(&rule, &counter, job->seen_us, item->cost, &item->decision);
	job->seen = counter;
	pass_us(random_below(&seeded.random, TRIP_US / 2));
	if (!item->decision.is_allowed)
		denials_note(denials, job, sent_ns);
	return item->decision.is_allowed;
}

static void
setup(void)
{
	fake_clock_init(&fake, 0);
	seeded_random_init(&seeded, 11);
	denials = denials_new(&fake.clock);
	memset(&counter, 0, sizeof(counter));
	pass_us(1000000);
}

static void
teardown(void)
{
	counter_reset(&rule, &counter);
	denials_free(denials);
}

static void
use(enum strategy strategy)
{
	rule = (struct rule){.strategy = strategy, .limit = LIMIT, .window_us = WINDOW_US, .burst = LIMIT};
}

START_TEST(nothing_is_refused_that_the_counter_would_admit_whatever_others_take)
{
	size_t remembered = 0;
	struct job job;

	use(ALL[_i]);
	for (int step = 0; step < STEPS; step++) {
		pass_us(random_below(&seeded.random, WINDOW_US / 20));
		make_job(&job, 1 + random_below(&seeded.random, 3));
		if (random_below(&seeded.random, 4) == 0) { /* another replica's caller */
			struct decision other;
			counter_take(&rule, &counter, redis_us(), 1, &other);
		} else if (!denials_decide(denials, &job)) {
			(void)ask_redis(&job);
		} else {
			struct decision truth;
			counter_take(&rule, &counter, redis_us(), job.inquiry.items[0].cost, &truth);
			ck_assert(!truth.is_allowed);
			ck_assert(!job.is_allowed && !job.inquiry.items[0].decision.is_allowed);
			remembered++;
		}
	}
	ck_assert_uint_gt(remembered, STEPS / 20);
}
END_TEST

START_TEST(who_waits_as_long_as_he_is_told_is_admitted)
{
	struct job job;

	use(ALL[_i]);
	for (int round = 0; round < 1000; round++) {
		make_job(&job, 1 + random_below(&seeded.random, LIMIT));
		while (ask_redis(&job))
			;
		pass_us(random_below(&seeded.random, WINDOW_US / 4));
		if (!denials_decide(denials, &job))
			continue;
		pass_us(job.inquiry.items[0].decision.retry_us);
		ck_assert(!denials_decide(denials, &job));
		ck_assert(ask_redis(&job));
	}
}
END_TEST

START_TEST(a_memory_ends_with_a_give_back_another_rule_and_its_time)
{
	struct job job;

	use(ALL[_i]);
	rule.window_us = 86400000000;
	make_job(&job, 1);
	while (ask_redis(&job))
		;
	ck_assert(denials_decide(denials, &job));
	rule.limit++;
	rule.burst++;
	ck_assert(!denials_decide(denials, &job));
	rule.limit--;
	rule.burst--;
	ck_assert(denials_decide(denials, &job));
	denials_forget(denials, &job);
	ck_assert(!denials_decide(denials, &job));
	ck_assert(!ask_redis(&job));
	ck_assert(denials_decide(denials, &job));
	pass_us(DENIAL_US);
	ck_assert(!denials_decide(denials, &job));
}
END_TEST

START_TEST(a_cost_that_never_fits_is_not_remembered)
{
	struct job job;

	use(STRATEGY_TOKEN_BUCKET);
	make_job(&job, LIMIT + 1);
	ck_assert(!ask_redis(&job));
	ck_assert(!denials_decide(denials, &job));
}
END_TEST

int
main(void)
{
	const int strategies = sizeof(ALL) / sizeof(ALL[0]);
	Suite *suite = suite_create("remembered refusals");
	TCase *tests = tcase_create("denials");
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, nothing_is_refused_that_the_counter_would_admit_whatever_others_take, 0,
	                    strategies);
	tcase_add_loop_test(tests, who_waits_as_long_as_he_is_told_is_admitted, 0, strategies);
	tcase_add_loop_test(tests, a_memory_ends_with_a_give_back_another_rule_and_its_time, 0, strategies);
	tcase_add_test(tests, a_cost_that_never_fits_is_not_remembered);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
