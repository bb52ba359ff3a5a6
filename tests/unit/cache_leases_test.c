/*
 * engine: who may fill a key, and what takes the right away.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "leases.h"
#include "cached/leases.h"
#include "support/test_space.h"

static struct test_space t;

static void
set_up(void)
{
	test_space_init(&t);
}

static void
tear_down(void)
{
	test_space_fini(&t);
}

struct listener {
	struct engine_waiter waiter; /* first */
	int woken;
};

static void
note_wake(struct engine_waiter *waiter)
{
	((struct listener *)waiter)->woken++;
}

START_TEST(a_miss_hands_one_caller_the_token_and_its_fill_wakes_the_others)
{
	struct listener listeners[3] = {
	    {.waiter.wake = note_wake}, {.waiter.wake = note_wake}, {.waiter.wake = note_wake}};
	struct get first = test_get(&t, "k", true, false), second = test_get(&t, "k", true, false);

	ck_assert_uint_ne(first.token, 0);
	ck_assert_uint_eq(first.lease_ms, 10000);
	ck_assert_uint_eq(second.token, 0);
	ck_assert(second.is_filling);
	ck_assert(!test_look(&t, "k").is_filling);
	for (int i = 0; i < 3; i++)
		ck_assert(engine_wait(t.space, "k", 1, &listeners[i].waiter));
	ck_assert(engine_wait_end(t.space, &listeners[1].waiter));
	ck_assert_int_eq(test_fill(t.space, "k", "v", first.token), SET_STORED);
	ck_assert_int_eq(listeners[0].woken + listeners[2].woken, 2);
	ck_assert_int_eq(listeners[1].woken, 0);
	ck_assert(!engine_wait_end(t.space, &listeners[0].waiter));
	ck_assert(!engine_wait(t.space, "k", 1, &listeners[0].waiter));
	ck_assert_int_eq(test_get(&t, "k", true, false).outcome, GET_HIT);
}
END_TEST

START_TEST(whatever_is_newer_destroys_the_token)
{
	static const char *const tags[] = {"red"};
	uint64_t sequence;

	for (int way = 0; way < 9; way++) {
		engine_delete(t.space, "a/k", 3);
		uint64_t token = test_get(&t, "a/k", true, false).token;
		ck_assert_uint_ne(token, 0);
		bool is_newer = true;
		switch (way) {
		case 0:
			test_put(t.space, "a/k", "newer");
			break;
		case 1:
			engine_delete(t.space, "a/k", 3);
			break;
		case 2:
			engine_expire(t.space, "a/k", 3);
			break;
		case 3:
			engine_invalidate_tag(t.space, "red", 3);
			break;
		case 4:
			engine_invalidate_prefix(t.space, "a", 1);
			break;
		case 5:
			engine_invalidate_glob(t.space, "?/*", 3, &sequence);
			break;
		case 6:
			engine_invalidate_all(t.space);
			break;
		default: /* what does not touch the key */
			engine_invalidate_tag(t.space, "blue", 4);
			engine_invalidate_prefix(t.space, "b", 1);
			test_put(t.space, "other", "v");
			engine_tick(t.engine);
			is_newer = false;
		}
		struct set set = test_set_of("a/k", "late");
		set.token = token;
		set.tags = tags;
		set.tag_count = 1;
		ck_assert_msg((test_set(t.space, set) == SET_LEASE_LOST) == is_newer, "way %d", way);
		if (is_newer)
			ck_assert_int_eq(test_set(t.space, set), SET_LEASE_LOST);
		struct get get = test_look(&t, "a/k");
		ck_assert_int_eq(get.outcome, way == 0 || !is_newer ? GET_HIT : GET_MISS);
	}
}
END_TEST

START_TEST(a_holder_that_dies_loses_its_lease_in_time_and_its_waiters_hear_of_it)
{
	struct listener listener = {.waiter.wake = note_wake};
	uint64_t token = test_get(&t, "k", true, false).token;

	ck_assert(engine_wait(t.space, "k", 1, &listener.waiter));
	fake_clock_advance_ms(&t.clock, 9999);
	engine_tick(t.engine);
	ck_assert_int_eq(listener.woken, 0);
	ck_assert(test_get(&t, "k", true, false).is_filling);
	fake_clock_advance_ms(&t.clock, 1);
	engine_tick(t.engine);
	ck_assert_int_eq(listener.woken, 1);
	struct get next = test_get(&t, "k", true, false);
	ck_assert_uint_ne(next.token, 0);
	ck_assert_uint_ne(next.token, token);
	ck_assert_int_eq(test_fill(t.space, "k", "late", token), SET_LEASE_LOST);
	ck_assert_int_eq(test_fill(t.space, "k", "v", next.token), SET_STORED);
}
END_TEST

START_TEST(a_token_that_is_given_back_goes_to_the_next_caller_at_once)
{
	struct listener listener = {.waiter.wake = note_wake};
	uint64_t token = test_get(&t, "k", true, false).token;

	ck_assert(engine_wait(t.space, "k", 1, &listener.waiter));
	ck_assert(!engine_release(t.space, "k", 1, token + 1));
	ck_assert(engine_release(t.space, "k", 1, token));
	ck_assert_int_eq(listener.woken, 1);
	ck_assert(!engine_release(t.space, "k", 1, token));
	ck_assert_uint_ne(test_get(&t, "k", true, false).token, 0);
}
END_TEST

START_TEST(an_invalidation_makes_place_for_a_holder_that_can_still_fill)
{
	struct listener listener = {.waiter.wake = note_wake};
	uint64_t token = test_get(&t, "a/k", true, false).token;

	ck_assert(engine_wait(t.space, "a/k", 3, &listener.waiter));
	engine_invalidate_prefix(t.space, "a", 1);
	struct get next = test_get(&t, "a/k", true, false);
	ck_assert_uint_ne(next.token, 0);
	ck_assert_int_eq(listener.woken, 1);
	ck_assert_int_eq(test_fill(t.space, "a/k", "old", token), SET_LEASE_LOST);
	ck_assert_int_eq(test_fill(t.space, "a/k", "new", next.token), SET_STORED);
}
END_TEST

START_TEST(in_grace_one_caller_renews_and_the_others_take_what_there_is)
{
	test_space_configure(&t, 1000, 60000, 0);
	test_put(t.space, "k", "old");
	fake_clock_advance_ms(&t.clock, 2000);
	struct get first = test_get(&t, "k", true, false), second = test_get(&t, "k", true, false);
	ck_assert_int_eq(first.outcome, GET_STALE);
	ck_assert_uint_ne(first.token, 0);
	ck_assert_int_eq(second.outcome, GET_STALE);
	ck_assert_uint_eq(second.token, 0);
	ck_assert(second.is_filling);
	ck_assert_int_eq(test_fill(t.space, "k", "new", first.token), SET_STORED);
	second = test_get(&t, "k", true, false);
	ck_assert_int_eq(second.outcome, GET_HIT);
	test_assert_value(&second, "new");
}
END_TEST

/* XFetch: the probability that a value that took d to make is renewed with t left is exp(-t / d). */
START_TEST(a_value_that_took_long_to_make_is_renewed_before_its_end_by_one_caller)
{
	unsigned early[3] = {0};
	char key[32];

	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		uint64_t token = test_get(&t, key, true, false).token;
		fake_clock_advance_ms(&t.clock, 1000); /* d */
		ck_assert_int_eq(test_fill(t.space, key, "v", token), SET_STORED);
		engine_touch(t.space, key, strlen(key), 60000);
		fake_clock_advance_ms(&t.clock, 57000);
		for (unsigned left = 0; left < 3; left++, fake_clock_advance_ms(&t.clock, 1000)) {
			struct get get = test_get(&t, key, true, false);
			ck_assert_int_eq(get.outcome, GET_HIT);
			early[left] += get.token != 0;
			/* To the others it is a value like any other. */
			struct get other = test_get(&t, key, get.token != 0, false);
			ck_assert_int_eq(other.outcome, GET_HIT);
			ck_assert(!other.is_filling);
			if (get.token)
				ck_assert_uint_eq(other.token, 0);
			if (get.token)
				ck_assert(engine_release(t.space, key, strlen(key), get.token));
		}
	}
	ck_assert_uint_ge(early[0], 60); /* exp(-3) of 2000: 100 */
	ck_assert_uint_le(early[0], 150);
	ck_assert_uint_ge(early[2], 650); /* exp(-1) of 2000: 736 */
	ck_assert_uint_le(early[2], 820);
	ck_assert_uint_gt(early[1], early[0]);
	/* Who wants no early renewal has none. */
	test_space_configure(&t, 60000, 0, 0);
	uint64_t token = test_get(&t, "late", true, false).token;
	fake_clock_advance_ms(&t.clock, 5000);
	ck_assert_int_eq(test_fill(t.space, "late", "v", token), SET_STORED);
	engine_touch(t.space, "late", 4, 60000);
	fake_clock_advance_ms(&t.clock, 59000);
	for (int i = 0; i < 200; i++)
		ck_assert_uint_eq(test_get(&t, "late", true, false).token, 0);
}
END_TEST

START_TEST(a_token_that_ran_out_is_a_lease_lost_and_not_the_mark_of_what_another_replica_fills)
{
	struct leases *leases = leases_new(8);
	struct engine_waiter *woken = NULL;
	const struct lease ours = {.hash = 1, .token = 7, .expires_ms = 10};
	const struct lease mark = {.hash = 2, .expires_ms = 10, .is_others = true};
	uint64_t lost = 0;

	ck_assert(leases_grant(leases, &ours, 0, &woken, &lost));
	ck_assert(leases_grant(leases, &mark, 0, &woken, &lost));
	ck_assert(leases_grant(leases, &ours, 10, &woken, &lost));
	ck_assert(leases_grant(leases, &mark, 10, &woken, &lost));
	ck_assert_uint_eq(lost, 1);
	ck_assert_uint_eq(leases_expire(leases, 10, &woken), 1);
	ck_assert_uint_eq(leases_count(leases), 0);
	leases_free(leases);
}
END_TEST

START_TEST(a_table_of_leases_grows_with_them_and_goes_with_the_last)
{
	struct leases *leases = leases_new(100000);
	struct engine_waiter *woken = NULL;
	size_t empty = leases_bytes(leases);
	uint64_t lost = 0;

	for (int round = 0; round < 2; round++) {
		for (uint64_t i = 0; i < 1000; i++)
			ck_assert(leases_grant(leases, &(struct lease){.hash = i * 7, .token = i + 1, .expires_ms = 10},
			                       0, &woken, &lost));
		ck_assert_uint_ge(leases_bytes(leases), empty + 1000 * sizeof(struct lease));
		ck_assert_uint_eq(leases_find(leases, 7 * 500, 9)->token, 501);
		ck_assert_uint_eq(leases_expire(leases, 10, &woken), 1000);
		ck_assert_ptr_null(leases_find(leases, 7 * 500, 9));
		ck_assert_uint_eq(leases_bytes(leases), empty);
	}
	leases_set_max(leases, 1);
	ck_assert(
	    leases_grant(leases, &(struct lease){.hash = 1, .token = 1, .expires_ms = 10}, 0, &woken, &lost));
	ck_assert(
	    !leases_grant(leases, &(struct lease){.hash = 2, .token = 2, .expires_ms = 10}, 0, &woken, &lost));
	leases_free(leases);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache leases");
	TCase *tests = tcase_create("leases");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_miss_hands_one_caller_the_token_and_its_fill_wakes_the_others);
	tcase_add_test(tests, whatever_is_newer_destroys_the_token);
	tcase_add_test(tests, a_holder_that_dies_loses_its_lease_in_time_and_its_waiters_hear_of_it);
	tcase_add_test(tests, a_token_that_is_given_back_goes_to_the_next_caller_at_once);
	tcase_add_test(tests, an_invalidation_makes_place_for_a_holder_that_can_still_fill);
	tcase_add_test(tests, in_grace_one_caller_renews_and_the_others_take_what_there_is);
	tcase_add_test(tests, a_value_that_took_long_to_make_is_renewed_before_its_end_by_one_caller);
	tcase_add_test(tests,
	               a_token_that_ran_out_is_a_lease_lost_and_not_the_mark_of_what_another_replica_fills);
	tcase_add_test(tests, a_table_of_leases_grows_with_them_and_goes_with_the_last);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
