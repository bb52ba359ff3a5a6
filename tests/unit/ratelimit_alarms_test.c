/*
 * alarms: which refusals are told of, how often, and for how many each stands.
 */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ratelimitd/alarms.h"

#define MOST 64

static struct fake_clock fake;
static struct alarms *alarms;
static struct arena arena;
static struct alarm out[MOST];

static void
begin(void)
{
	fake_clock_init(&fake, 0);
	alarms = alarms_new(&fake.clock);
	arena_init(&arena, 4096, SIZE_MAX);
}

static void
end(void)
{
	alarms_free(alarms);
	arena_fini(&arena);
}

static void
refuse(const char *tenant, const char *limit, const char *key)
{
	alarms_note(alarms,
	            &(struct alarm){.tenant = tenant, .limit = limit, .key = key, .quota = 5, .window_ms = 1000});
}

static size_t
collect(void)
{
	return alarms_collect(alarms, &arena, out, MOST);
}

START_TEST(a_key_is_told_of_once_a_minute_with_all_that_was_refused)
{
	for (int i = 0; i < 5; i++)
		refuse("t", "charts", "k");
	ck_assert_uint_eq(collect(), 1);
	ck_assert_str_eq(out[0].tenant, "t");
	ck_assert_str_eq(out[0].limit, "charts");
	ck_assert_str_eq(out[0].key, "k");
	ck_assert_uint_eq(out[0].refused, 5);
	ck_assert_uint_eq(out[0].quota, 5);
	for (int i = 0; i < 7; i++)
		refuse("t", "charts", "k");
	ck_assert_uint_eq(collect(), 0);
	fake_clock_advance_ms(&fake, ALARM_EVERY_MS - 1);
	refuse("t", "charts", "k");
	ck_assert_uint_eq(collect(), 0);
	fake_clock_advance_ms(&fake, 1);
	refuse("t", "charts", "k");
	ck_assert_uint_eq(collect(), 1);
	ck_assert_uint_eq(out[0].refused, 9);
}
END_TEST

START_TEST(tenants_limits_and_keys_are_told_of_apart)
{
	refuse("t", "charts", "k");
	refuse("t", "charts", "l");
	refuse("t", "other", "k");
	refuse("u", "charts", "k");
	ck_assert_uint_eq(collect(), 4);
	ck_assert_uint_eq(collect(), 0);
}
END_TEST

START_TEST(what_is_not_collected_at_once_stays)
{
	char key[16];

	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "%d", i);
		refuse("t", "charts", key);
	}
	size_t first = collect(), second = collect();
	ck_assert_uint_eq(first, MOST);
	ck_assert_uint_eq(first + second, 100);
}
END_TEST

START_TEST(a_flood_of_keys_is_bounded_and_nobody_is_told_of_twice_a_minute)
{
	size_t told = 0, count;
	char key[16];

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 100000; i++) {
			snprintf(key, sizeof(key), "%d", i);
			refuse("t", "charts", key);
		}
		while ((count = collect()) > 0)
			told += count;
		arena_reset(&arena);
	}
	ck_assert_uint_gt(told, 1000);
	ck_assert_uint_le(told, 32 * 64 * 4);
	fake_clock_advance_ms(&fake, ALARM_EVERY_MS);
	refuse("t", "charts", "new");
	ck_assert_uint_eq(collect(), 1);
}
END_TEST

static void *
refuse_often(void *arg)
{
	char key[16];

	for (int i = 0; i < 20000; i++) {
		snprintf(key, sizeof(key), "%s%d", (const char *)arg, i % 50);
		refuse("t", "charts", key);
	}
	return NULL;
}

START_TEST(threads_note_and_collect_side_by_side)
{
	static char names[4][2] = {"a", "b", "c", "a"};
	pthread_t threads[4];
	size_t told = 0;

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, refuse_often, names[i]);
	for (int i = 0; i < 1000; i++)
		told += collect();
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (size_t count; (count = collect()) > 0;)
		told += count;
	ck_assert_uint_eq(told, 150);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("alarms");
	TCase *t = tcase_create("alarms");

	tcase_add_checked_fixture(t, begin, end);
	tcase_add_test(t, a_key_is_told_of_once_a_minute_with_all_that_was_refused);
	tcase_add_test(t, tenants_limits_and_keys_are_told_of_apart);
	tcase_add_test(t, what_is_not_collected_at_once_stays);
	tcase_add_test(t, a_flood_of_keys_is_bounded_and_nobody_is_told_of_twice_a_minute);
	tcase_add_test(t, threads_note_and_collect_side_by_side);
	suite_add_tcase(s, t);
	return s;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
