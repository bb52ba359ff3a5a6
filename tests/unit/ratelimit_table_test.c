/*
 * table: counters that come, expire and leave, beside plain arrays that hold the same.
 */
#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "ratelimitd/table.h"

#define KEYS      4000u
#define STEPS     400000
#define WINDOW_US 20000u
#define LIMIT     5u

static const struct rule RULE = {.strategy = STRATEGY_FIXED_WINDOW, .limit = LIMIT, .window_us = WINDOW_US};

static struct fake_clock fake;
static struct seeded_random seeded;

static void
set_up(void)
{
	fake_clock_init(&fake, 1000000000000);
	seeded_random_init(&seeded, 7);
}

/* Keys of few shards and few places in the index, so that they are always in each other's way. */
static struct table_key
crowded_key(uint64_t i)
{
	return (struct table_key){.high = (i % 3) << 58 | i, .low = (i % 5) << 56 | (i % 7)};
}

START_TEST(a_counter_is_found_among_others_that_come_and_expire)
{
	struct table *table = table_new(1000000, &fake.clock);
	uint64_t *windows = calloc(KEYS, sizeof(*windows)), *used = calloc(KEYS, sizeof(*used));
	size_t wrong = 0;

	for (int step = 0; step < STEPS; step++) {
		if (random_below(&seeded.random, 50) == 0)
			atomic_fetch_add(&fake.mono_ns, random_below(&seeded.random, 3000000));
		uint64_t key = random_below(&seeded.random, KEYS), window = table_now_us(table) / WINDOW_US;
		struct table_item item = {.key = crowded_key(key), .rule = &RULE, .cost = 1};
		table_expect(table, &item.key);
		table_approach(table, &item.key);
		enum table_result result = table_take(table, &item, 1);
		if (windows[key] != window)
			used[key] = 0;
		windows[key] = window;
		wrong += result != (used[key] < LIMIT ? TABLE_OK : TABLE_REFUSED);
		used[key] += result == TABLE_OK;
		wrong += item.decision.remaining != LIMIT - used[key];
	}
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_le(table_entries(table), KEYS);
	table_free(table);
	free(windows);
	free(used);
}
END_TEST

START_TEST(a_full_table_refuses_new_keys_until_others_expire)
{
	struct table *table = table_new(1000, &fake.clock);
	size_t full = 0;

	for (uint64_t i = 0; i < 2000; i++) {
		struct table_item item = {.key = {.high = i << 52, .low = i * 977}, .rule = &RULE, .cost = 1};
		full += table_take(table, &item, 1) == TABLE_FULL;
	}
	ck_assert_uint_eq(full, 1000);
	ck_assert_uint_eq(table_entries(table), 1000);
	fake_clock_advance_ms(&fake, 200); /* a full table is looked through ten times a second */
	for (uint64_t i = 2000; i < 2500; i++) {
		struct table_item item = {.key = {.high = i << 52, .low = i * 977}, .rule = &RULE, .cost = 1};
		ck_assert_int_eq(table_take(table, &item, 1), TABLE_OK);
	}
	table_free(table);
}
END_TEST

struct kept {
	size_t count;
	uint64_t last_low;
};

static void
count_record(void *arg, const struct table_record *record)
{
	struct kept *kept = arg;
	kept->count++;
	kept->last_low = record->key.low;
}

START_TEST(a_place_that_was_given_to_another_key_is_collected_once_and_for_that_key)
{
	const struct rule durable = {
	    .strategy = STRATEGY_FIXED_WINDOW, .limit = 5, .window_us = TABLE_DURABLE_US};
	struct table *table = table_new(1, &fake.clock);
	struct table_item first = {.key = {.low = 1}, .rule = &durable, .cost = 1},
	                  second = {.key = {.low = 2}, .rule = &durable, .cost = 1};
	struct kept kept = {0};

	ck_assert_int_eq(table_take(table, &first, 1), TABLE_OK);
	ck_assert_int_eq(table_take(table, &second, 1), TABLE_FULL);
	fake_clock_advance_ms(&fake, 2 * TABLE_DURABLE_US / 1000);
	ck_assert_int_eq(table_take(table, &second, 1), TABLE_OK);
	table_collect(table, count_record, &kept);
	ck_assert_uint_eq(kept.count, 1);
	ck_assert_uint_eq(kept.last_low, 2);
	table_collect(table, count_record, &kept);
	ck_assert_uint_eq(kept.count, 1);
	table_free(table);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("ratelimit table");
	TCase *tests = tcase_create("table");

	tcase_add_checked_fixture(tests, set_up, NULL);
	tcase_add_test(tests, a_counter_is_found_among_others_that_come_and_expire);
	tcase_add_test(tests, a_full_table_refuses_new_keys_until_others_expire);
	tcase_add_test(tests, a_place_that_was_given_to_another_key_is_collected_once_and_for_that_key);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
