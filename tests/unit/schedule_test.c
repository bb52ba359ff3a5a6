/*
 * schedule: never early, never more than a fifth late, and over after the last try.
 */
#include <check.h>
#include <stdlib.h>

#include "webhookd/schedule.h"

static uint64_t
longer(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

START_TEST(without_times_of_its_own_it_is_the_schedule_of_standard_webhooks)
{
	/* 75 h 35 min 05 s, ten tries. */
	static const uint64_t EXPECTED_S[] = {5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400};
	struct schedule schedule;
	uint64_t total = 0;

	schedule_init(&schedule, NULL, 0);
	ck_assert_uint_eq(schedule.count, 9);
	for (size_t i = 0; i < 9; i++) {
		ck_assert_uint_eq(schedule.retry_ms[i], EXPECTED_S[i] * 1000);
		total += schedule.retry_ms[i];
	}
	ck_assert_uint_eq(total, UINT64_C(272105000));
	ck_assert_uint_eq(schedule_span_ms(&schedule), total / 100 * 120);
}
END_TEST

START_TEST(after_the_last_try_it_is_over)
{
	static const uint64_t ONE[] = {1000};
	struct seeded_random random;
	struct schedule schedule;
	uint64_t wait;

	seeded_random_init(&random, 1);
	schedule_init(&schedule, ONE, 1);
	ck_assert(!schedule_next(&schedule, 0, 0, &random.random, &wait));
	ck_assert(schedule_next(&schedule, 1, 0, &random.random, &wait));
	ck_assert(!schedule_next(&schedule, 2, 0, &random.random, &wait));
	ck_assert(!schedule_next(&schedule, UINT32_MAX, UINT64_MAX, &random.random, &wait));
}
END_TEST

START_TEST(a_wait_is_never_early_and_at_most_a_fifth_late)
{
	struct seeded_random random;
	struct schedule schedule;
	uint64_t times[SCHEDULE_RETRIES_MAX], wait;

	seeded_random_init(&random, 3);
	for (int round = 0; round < 20000; round++) {
		size_t count = 1 + random_below(&random.random, SCHEDULE_RETRIES_MAX);
		for (size_t i = 0; i < count; i++)
			times[i] = 100 + random_below(&random.random, SCHEDULE_WAIT_MAX_MS - 99);
		schedule_init(&schedule, times, count);
		size_t failures = 1 + random_below(&random.random, count);
		uint64_t hint = random_below(&random.random, 2)
		                    ? random_u64(&random.random) >> random_below(&random.random, 64)
		                    : 0;
		uint64_t capped = hint < SCHEDULE_HINT_MAX_MS ? hint : SCHEDULE_HINT_MAX_MS;
		uint64_t base = longer(times[failures - 1], capped);
		ck_assert(schedule_next(&schedule, (unsigned)failures, hint, &random.random, &wait));
		ck_assert_uint_ge(wait, base);
		ck_assert_uint_le(wait, base + base / 5);
	}
}
END_TEST

START_TEST(jitter_spreads_over_the_whole_fifth)
{
	static const uint64_t TIMES[] = {100000};
	struct seeded_random random;
	struct schedule schedule;
	unsigned counts[10] = {0};
	uint64_t wait;

	seeded_random_init(&random, 5);
	schedule_init(&schedule, TIMES, 1);
	for (int i = 0; i < 10000; i++) {
		schedule_next(&schedule, 1, 0, &random.random, &wait);
		counts[wait == 120000 ? 9 : (wait - 100000) / 2000]++;
	}
	for (size_t i = 0; i < 10; i++)
		ck_assert_msg(counts[i] > 850 && counts[i] < 1150, "tenth %zu has %u of 10000", i, counts[i]);
}
END_TEST

START_TEST(a_receiver_may_ask_for_more_time_but_for_a_day_at_most)
{
	static const uint64_t TIMES[] = {5000, SCHEDULE_WAIT_MAX_MS};
	struct seeded_random random;
	struct schedule schedule;
	uint64_t wait;

	seeded_random_init(&random, 1);
	schedule_init(&schedule, TIMES, 2);
	ck_assert(schedule_next(&schedule, 1, 60000, &random.random, &wait));
	ck_assert(wait >= 60000 && wait <= 72000);
	ck_assert(schedule_next(&schedule, 1, 4000, &random.random, &wait));
	ck_assert(wait >= 5000 && wait <= 6000);
	ck_assert(schedule_next(&schedule, 1, UINT64_MAX, &random.random, &wait));
	ck_assert(wait >= SCHEDULE_HINT_MAX_MS && wait <= SCHEDULE_HINT_MAX_MS / 5 * 6);
	ck_assert(schedule_next(&schedule, 2, UINT64_MAX, &random.random, &wait));
	ck_assert(wait >= SCHEDULE_WAIT_MAX_MS);
}
END_TEST

START_TEST(more_than_the_bounds_is_cut_to_them)
{
	uint64_t times[SCHEDULE_RETRIES_MAX + 5];
	struct schedule schedule;

	for (size_t i = 0; i < SCHEDULE_RETRIES_MAX + 5; i++)
		times[i] = UINT64_MAX;
	schedule_init(&schedule, times, SCHEDULE_RETRIES_MAX + 5);
	ck_assert_uint_eq(schedule.count, SCHEDULE_RETRIES_MAX);
	ck_assert_uint_eq(schedule.retry_ms[0], SCHEDULE_WAIT_MAX_MS);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("schedule");
	TCase *tcase = tcase_create("schedule");

	tcase_add_test(tcase, without_times_of_its_own_it_is_the_schedule_of_standard_webhooks);
	tcase_add_test(tcase, after_the_last_try_it_is_over);
	tcase_add_test(tcase, a_wait_is_never_early_and_at_most_a_fifth_late);
	tcase_add_test(tcase, jitter_spreads_over_the_whole_fifth);
	tcase_add_test(tcase, a_receiver_may_ask_for_more_time_but_for_a_day_at_most);
	tcase_add_test(tcase, more_than_the_bounds_is_cut_to_them);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
