/*
 * Each strategy beside a slow, obvious model: the list of all admissions, added up anew for every decision.
 *
 * CORBEL_MODEL_OPS sets the operations a strategy (default 400,000).
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "ratelimitd/strategy.h"

__extension__ typedef unsigned __int128 wide;

struct admission {
	uint64_t at_us, cost;
};

/* Everything that was admitted and may still matter. */
struct model {
	const struct rule *rule;
	struct admission list[20000];
	size_t count;
	uint64_t now_us;
};

static uint64_t
window_of(const struct model *m, uint64_t at_us)
{
	return at_us / m->rule->window_us;
}

static uint64_t
sum_of_window(const struct model *m, uint64_t window)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < m->count; i++)
		if (window_of(m, m->list[i].at_us) == window)
			sum += m->list[i].cost;
	return sum;
}

static uint64_t
sum_since(const struct model *m, uint64_t now_us)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < m->count; i++)
		if (m->list[i].at_us + m->rule->window_us > now_us)
			sum += m->list[i].cost;
	return sum;
}

/* Units times the window that are owed: replayed from the first admission. */
static wide
debt(const struct model *m, uint64_t now_us)
{
	wide owed = 0;
	uint64_t at = 0;
	for (size_t i = 0; i <= m->count; i++) {
		uint64_t next = i < m->count ? m->list[i].at_us : now_us;
		wide paid = (wide)(next - at) * m->rule->limit;
		owed = paid >= owed ? 0 : owed - paid;
		at = next;
		if (i < m->count)
			owed += (wide)m->list[i].cost * m->rule->window_us;
	}
	return owed;
}

static bool
model_admits(const struct model *m, uint64_t now_us, uint64_t cost)
{
	const struct rule *rule = m->rule;
	uint64_t window = window_of(m, now_us);

	switch (rule->strategy) {
	case STRATEGY_FIXED_WINDOW:
		return sum_of_window(m, window) + cost <= rule->limit;
	case STRATEGY_SLIDING_LOG:
		return sum_since(m, now_us) + cost <= rule->limit;
	case STRATEGY_SLIDING_COUNTER: {
		uint64_t before = window > 0 ? sum_of_window(m, window - 1) : 0;
		uint64_t left = rule->window_us - now_us % rule->window_us;
		return (wide)(sum_of_window(m, window) + cost) * rule->window_us + (wide)before * left <=
		       (wide)rule->limit * rule->window_us;
	}
	default:
		return debt(m, now_us) + (wide)cost * rule->window_us <= (wide)rule->burst * rule->window_us;
	}
}

/* What is older than two windows (or paid off) is forgotten, to keep the list short. */
static void
model_forget(struct model *m)
{
	size_t kept = 0;
	bool is_bucket = m->rule->strategy >= STRATEGY_TOKEN_BUCKET && m->rule->strategy <= STRATEGY_GCRA;
	if (is_bucket) {
		if (debt(m, m->now_us) == 0)
			m->count = 0;
		return;
	}
	for (size_t i = 0; i < m->count; i++)
		if (m->list[i].at_us + 2 * m->rule->window_us > m->now_us)
			m->list[kept++] = m->list[i];
	m->count = kept;
}

static struct random *
dice(struct seeded_random *seeded, uint64_t seed)
{
	seeded_random_init(seeded, seed);
	return &seeded->random;
}

static struct rule
random_rule(const struct random *r, enum strategy strategy)
{
	static const uint64_t WINDOWS[] = {1000, 7919, 60000, 1000000, 86400000000};
	struct rule rule = {.strategy = strategy, .window_us = WINDOWS[random_below(r, 5)]};
	rule.limit = 1 + random_below(r, 40);
	rule.burst = 1 + random_below(r, 60);
	return rule;
}

static size_t
operations(void)
{
	const char *text = getenv("CORBEL_MODEL_OPS");
	return text ? (size_t)strtoull(text, NULL, 10) : 400000;
}

/* A lone client that waits is admitted, and one that waits a microsecond less is not. */
static void
check_retry(const struct rule *rule, const struct model *m, const struct decision *decision, uint64_t cost)
{
	ck_assert_msg(model_admits(m, m->now_us + decision->retry_us, cost),
	              "retry_us %llu is too short (strategy %d)", (unsigned long long)decision->retry_us,
	              rule->strategy);
	ck_assert_msg(decision->retry_us > 0 && !model_admits(m, m->now_us + decision->retry_us - 1, cost),
	              "retry_us %llu is too long (strategy %d)", (unsigned long long)decision->retry_us,
	              rule->strategy);
}

static uint64_t
capacity(const struct rule *rule)
{
	return rule->strategy >= STRATEGY_TOKEN_BUCKET ? rule->burst : rule->limit;
}

static void
check_remaining(const struct rule *rule, const struct model *m, const struct decision *decision)
{
	ck_assert(decision->remaining <= capacity(rule));
	ck_assert(decision->remaining == 0 || model_admits(m, m->now_us, decision->remaining));
	ck_assert(decision->remaining == capacity(rule) || !model_admits(m, m->now_us, decision->remaining + 1));
}

static void
run(enum strategy strategy, uint64_t seed, size_t count)
{
	static struct model model;
	struct seeded_random seeded;
	const struct random *r = dice(&seeded, seed);
	struct rule rule = random_rule(r, strategy);
	struct counter counter = {.expires_us = 0};
	struct decision decision;

	memset(&model, 0, sizeof(model));
	model.rule = &rule;
	model.now_us = 1700000000000000 + random_below(r, 1000000);
	for (size_t i = 0; i < count; i++) {
		uint64_t gap = random_below(r, 4) == 0 ? random_below(r, rule.window_us * 3)
		                                       : random_below(r, rule.window_us / 8 + 1);
		uint64_t cost = random_below(r, 6) == 0 ? random_below(r, capacity(&rule) + 4) : random_below(r, 3);
		model.now_us += gap;
		model_forget(&model);
		bool is_impossible = cost > capacity(&rule);
		bool expected = cost == 0 || (!is_impossible && model_admits(&model, model.now_us, cost));
		counter_take(&rule, &counter, model.now_us, cost, &decision);
		ck_assert_msg(decision.is_allowed == expected, "strategy %d, seed %llu, operation %zu: model says %d",
		              strategy, (unsigned long long)seed, i, expected);
		ck_assert(decision.is_impossible == is_impossible);
		if (decision.is_allowed && cost > 0)
			model.list[model.count++] = (struct admission){model.now_us, cost};
		ck_assert(model.count < 20000);
		if (!decision.is_allowed && !is_impossible)
			check_retry(&rule, &model, &decision, cost);
		check_remaining(&rule, &model, &decision);
	}
	counter_reset(&rule, &counter);
}

static const enum strategy EXACT[] = {STRATEGY_FIXED_WINDOW, STRATEGY_SLIDING_LOG, STRATEGY_SLIDING_COUNTER,
                                      STRATEGY_TOKEN_BUCKET, STRATEGY_LEAKY_METER, STRATEGY_LEAKY_QUEUE,
                                      STRATEGY_GCRA};

START_TEST(every_decision_is_the_models)
{
	const size_t round = 2000;
	for (size_t done = 0, seed = 1; done < operations(); done += round, seed++)
		run(EXACT[_i], seed * 7919 + (uint64_t)_i, round);
}
END_TEST

START_TEST(undoing_and_giving_back_leave_no_trace)
{
	struct seeded_random seeded;
	const struct random *r = dice(&seeded, 42);
	for (int round = 0; round < 20000; round++) {
		struct rule rule = random_rule(r, EXACT[_i]);
		struct counter counter = {.expires_us = 0};
		struct decision before, during, after;
		uint64_t now = 1700000000000000 + random_below(r, 1000000), cost = 1 + random_below(r, 3);
		counter_take(&rule, &counter, now, 1, &before);
		struct counter copy = counter;
		counter_take(&rule, &counter, now, cost, &during);
		if (during.is_allowed) {
			if (round % 2)
				counter_undo(&rule, &counter, &copy, cost);
			else
				counter_give_back(&rule, &counter, now, cost);
		}
		counter_take(&rule, &counter, now, 0, &after);
		ck_assert_uint_eq(after.remaining, before.remaining);
		counter_reset(&rule, &counter);
	}
}
END_TEST

START_TEST(a_clock_that_steps_back_gives_nothing_away)
{
	struct rule rule = {.strategy = EXACT[_i], .limit = 10, .burst = 10, .window_us = 1000000};
	struct counter counter = {.expires_us = 0};
	struct decision decision;
	uint64_t now = 1700000000500000;
	for (int i = 0; i < 10; i++)
		counter_take(&rule, &counter, now, 1, &decision);
	ck_assert(decision.is_allowed);
	for (uint64_t back = 1; back < 500000; back += 49999) {
		counter_take(&rule, &counter, now - back, 1, &decision);
		ck_assert(!decision.is_allowed);
	}
	counter_reset(&rule, &counter);
}
END_TEST

START_TEST(a_clock_that_jumped_ahead_locks_nobody_out)
{
	struct rule rule = {.strategy = EXACT[_i], .limit = 10, .burst = 10, .window_us = 1000000};
	struct counter counter = {.expires_us = 0};
	struct decision decision;
	uint64_t now = 1700000000000000, ahead = now + UINT64_C(31536000000000);
	counter_take(&rule, &counter, ahead, 10, &decision);
	ck_assert(decision.is_allowed);
	counter_take(&rule, &counter, now, 1, &decision);
	counter_take(&rule, &counter, now + 2 * rule.window_us, 1, &decision);
	ck_assert(decision.is_allowed);
	counter_reset(&rule, &counter);
}
END_TEST

START_TEST(large_limits_and_windows_do_not_overflow)
{
	struct rule rule = {.strategy = EXACT[_i],
	                    .limit = RULE_LIMIT_MAX,
	                    .burst = RULE_LIMIT_MAX,
	                    .window_us = RULE_WINDOW_MAX_US};
	struct counter counter = {.expires_us = 0};
	struct decision decision;
	counter_take(&rule, &counter, 1700000000000000, RULE_LIMIT_MAX, &decision);
	ck_assert(decision.is_allowed);
	ck_assert_uint_eq(decision.remaining, 0);
	counter_take(&rule, &counter, 1700000000000000, 1, &decision);
	ck_assert(!decision.is_allowed && decision.retry_us > 0);
	uint64_t later = 1700000000000000 + decision.retry_us;
	counter_take(&rule, &counter, later, 1, &decision);
	ck_assert(decision.is_allowed);
	counter_reset(&rule, &counter);
}
END_TEST

START_TEST(an_adaptive_limit_falls_once_a_window_and_recovers_within_its_bounds)
{
	struct rule rule = {.strategy = STRATEGY_ADAPTIVE,
	                    .limit = 100,
	                    .window_us = 1000000,
	                    .floor = 10,
	                    .ceiling = 100,
	                    .backoff_permille = 500,
	                    .recover_permille = 100};
	struct counter counter = {.expires_us = 0};
	struct decision decision;
	uint64_t now = 1700000000000000;
	for (int i = 0; i < 5; i++)
		counter_report(&rule, &counter, now, true, 0);
	counter_take(&rule, &counter, now, 0, &decision);
	ck_assert_uint_eq(decision.quota, 50);
	for (int i = 0; i < 10; i++) {
		now += rule.window_us;
		counter_report(&rule, &counter, now, true, 0);
	}
	counter_take(&rule, &counter, now, 0, &decision);
	ck_assert_uint_ge(decision.quota, 10);
	ck_assert_uint_lt(decision.quota, 30);
	counter_take(&rule, &counter, now + 50 * rule.window_us, 0, &decision);
	ck_assert_uint_eq(decision.quota, 100);
	counter_reset(&rule, &counter);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("strategies");
	TCase *tests = tcase_create("model");
	int count = (int)(sizeof(EXACT) / sizeof(EXACT[0]));
	tcase_set_timeout(tests, 280);
	tcase_add_loop_test(tests, every_decision_is_the_models, 0, count);
	tcase_add_loop_test(tests, undoing_and_giving_back_leave_no_trace, 0, count);
	tcase_add_loop_test(tests, a_clock_that_steps_back_gives_nothing_away, 0, count);
	tcase_add_loop_test(tests, a_clock_that_jumped_ahead_locks_nobody_out, 0, count);
	tcase_add_loop_test(tests, large_limits_and_windows_do_not_overflow, 0, count);
	tcase_add_test(tests, an_adaptive_limit_falls_once_a_window_and_recovers_within_its_bounds);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
