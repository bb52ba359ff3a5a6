/*
 * fair: who is next.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "sandboxd/fair.h"

#define ITEMS 256

static struct fair *fair;
static struct fair_item items[ITEMS];
static char owner_of[ITEMS];
static size_t made;

static void
begin(void)
{
	made = 0;
}

static void
end(void)
{
	fair_free(fair);
}

/* One run of a tenant, who has a letter for a name. */
static bool
push(char tenant)
{
	char name[2] = {tenant, 0};
	ck_assert_uint_lt(made, ITEMS);
	owner_of[made] = tenant;
	bool is_taken = fair_push(fair, &items[made], name, 0);
	made += is_taken;
	return is_taken;
}

static char
owner(const struct fair_item *item)
{
	return item ? owner_of[item - items] : '-';
}

START_TEST(runs_of_one_tenant_begin_in_their_order)
{
	fair = fair_new(8, 100);
	for (int i = 0; i < 4; i++)
		ck_assert(push('a'));
	for (int i = 0; i < 4; i++)
		ck_assert_ptr_eq(fair_pop(fair), &items[i]);
	ck_assert_ptr_null(fair_pop(fair));
	for (int i = 0; i < 4; i++)
		fair_done(fair, &items[i], 1000);
	ck_assert_uint_eq(fair_under_way(fair), 0);
}
END_TEST

START_TEST(a_tenant_alone_leaves_half_of_the_slots_to_others)
{
	fair = fair_new(4, 100);
	for (int i = 0; i < 10; i++)
		push('a');
	struct fair_item *first = fair_pop(fair), *second = fair_pop(fair);
	ck_assert_ptr_null(fair_pop(fair));
	push('b');
	struct fair_item *third = fair_pop(fair);
	ck_assert_int_eq(owner(third), 'b');
	ck_assert_ptr_null(fair_pop(fair));
	push('c');
	struct fair_item *fourth = fair_pop(fair);
	ck_assert_int_eq(owner(fourth), 'c');
	fair_done(fair, first, 1);
	fair_done(fair, second, 1);
	fair_done(fair, third, 1);
	fair_done(fair, fourth, 1);
	while (fair_waiting(fair) > 0)
		fair_done(fair, fair_pop(fair), 1);
}
END_TEST

START_TEST(with_one_slot_there_is_progress)
{
	fair = fair_new(1, 10);
	push('a');
	struct fair_item *item = fair_pop(fair);
	ck_assert_int_eq(owner(item), 'a');
	fair_done(fair, item, 5);
}
END_TEST

/* A slot each: tenant a's runs take 100 times as long as b's, and both always have some waiting. */
START_TEST(slots_are_shared_by_time_and_not_by_runs)
{
	uint64_t taken[2] = {0, 0};
	unsigned runs[2] = {0, 0};

	fair = fair_new(1, 100);
	for (int i = 0; i < 8; i++) {
		push('a');
		push('b');
	}
	for (int turn = 0; turn < 2000; turn++) {
		struct fair_item *item = fair_pop(fair);
		int who = owner(item) - 'a';
		uint64_t us = who == 0 ? 1000000 : 10000;
		fair_done(fair, item, us);
		taken[who] += us;
		runs[who]++;
		ck_assert(fair_push(fair, item, who == 0 ? "a" : "b", 0));
	}
	ck_assert_uint_gt(runs[1], 50 * runs[0]);
	double share = (double)taken[0] / (double)(taken[0] + taken[1]);
	ck_assert_msg(share > 0.45 && share < 0.56, "%f", share);
	while (fair_waiting(fair) > 0)
		fair_done(fair, fair_pop(fair), 1);
}
END_TEST

/* However many hostile runs wait, an honest one is next as soon as there is a slot. */
START_TEST(a_newcomer_does_not_wait_behind_a_crowd)
{
	fair = fair_new(4, 200);
	struct fair_item *under_way[2];
	for (int i = 0; i < 90; i++)
		push('h');
	for (int round = 0; round < 20; round++) {
		under_way[0] = fair_pop(fair);
		under_way[1] = fair_pop(fair);
		ck_assert(push('n'));
		struct fair_item *honest = fair_pop(fair);
		ck_assert_int_eq(owner(honest), 'n');
		fair_done(fair, honest, 2000);
		fair_done(fair, under_way[0], 10000000);
		fair_done(fair, under_way[1], 10000000);
	}
	while (fair_waiting(fair) > 0)
		fair_done(fair, fair_pop(fair), 1);
}
END_TEST

START_TEST(a_pause_is_no_credit)
{
	unsigned of_b = 0;

	fair = fair_new(1, 200);
	/* a works alone for long, then b comes: from now on they take turns. */
	for (int i = 0; i < 50; i++) {
		push('a');
		fair_done(fair, fair_pop(fair), 100000);
	}
	for (int i = 0; i < 20; i++) {
		push('a');
		push('b');
	}
	for (int i = 0; i < 20; i++) {
		struct fair_item *item = fair_pop(fair);
		of_b += owner(item) == 'b';
		fair_done(fair, item, 100000);
	}
	ck_assert_uint_ge(of_b, 9);
	ck_assert_uint_le(of_b, 12);
	while (fair_waiting(fair) > 0)
		fair_done(fair, fair_pop(fair), 1);
}
END_TEST

START_TEST(no_tenant_takes_the_waiting_room_of_others)
{
	unsigned taken = 0;

	fair = fair_new(1, 16);
	push('z');
	struct fair_item *busy = fair_pop(fair);
	while (push('a'))
		taken++;
	ck_assert_uint_eq(taken, 8);
	ck_assert(push('b'));
	ck_assert(!push('a'));
	fair_done(fair, busy, 1);
	while (fair_waiting(fair) > 0)
		fair_done(fair, fair_pop(fair), 1);
}
END_TEST

START_TEST(a_plan_bounds_what_is_under_way_at_once)
{
	fair = fair_new(16, 100);
	for (int i = 0; i < 5; i++) {
		owner_of[made] = 'a';
		ck_assert(fair_push(fair, &items[made++], "a", 2));
	}
	struct fair_item *one = fair_pop(fair), *two = fair_pop(fair);
	ck_assert_ptr_nonnull(two);
	ck_assert_ptr_null(fair_pop(fair));
	fair_done(fair, one, 1);
	ck_assert_ptr_nonnull(one = fair_pop(fair));
	fair_done(fair, one, 1);
	fair_done(fair, two, 1);
	while (fair_waiting(fair) > 0)
		fair_done(fair, fair_pop(fair), 1);
}
END_TEST

/* As many as it says begin, whatever there is already. */
START_TEST(room_is_what_would_begin)
{
	for (size_t slots = 1; slots <= 9; slots++) {
		for (size_t others = 0; others < slots; others++) {
			fair = fair_new(slots, 100);
			made = 0;
			size_t under_way = 0, begun = 0;
			for (size_t i = 0; i < others; i++)
				push((char)('b' + i));
			while (fair_pop(fair))
				under_way++;
			size_t room = fair_room(fair, "a");
			for (size_t i = 0; i < 12; i++)
				push('a');
			while (fair_pop(fair))
				begun++;
			ck_assert_msg(begun == room, "%zu slots, %zu others: %zu said, %zu began", slots, under_way, room,
			              begun);
			ck_assert_uint_eq(fair_room(fair, "a"), 0);
			fair_free(fair);
		}
	}
	fair = fair_new(1, 1);
}
END_TEST

START_TEST(what_waits_can_be_taken_out)
{
	fair = fair_new(4, 100);
	for (int i = 0; i < 3; i++)
		push('a');
	ck_assert(fair_remove(fair, &items[1]));
	ck_assert(!fair_remove(fair, &items[1]));
	ck_assert(fair_remove(fair, &items[2]));
	push('a');
	ck_assert_ptr_eq(fair_pop(fair), &items[0]);
	ck_assert(!fair_remove(fair, &items[0]));
	ck_assert_ptr_eq(fair_pop(fair), &items[3]);
	fair_done(fair, &items[0], 1);
	fair_done(fair, &items[3], 1);
}
END_TEST

/* Many tenants come and go: what is remembered of them is bounded, and sums stay right. */
START_TEST(tenants_that_owe_nothing_are_forgotten)
{
	char name[16];

	fair = fair_new(2, 10);
	for (int i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		ck_assert(fair_push(fair, &items[0], name, 0));
		ck_assert_ptr_eq(fair_pop(fair), &items[0]);
		fair_done(fair, &items[0], 50000);
	}
	ck_assert_uint_eq(fair_waiting(fair) + fair_under_way(fair), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("fair");
	TCase *tcase = tcase_create("fair");
	tcase_add_checked_fixture(tcase, begin, end);
	tcase_add_test(tcase, runs_of_one_tenant_begin_in_their_order);
	tcase_add_test(tcase, a_tenant_alone_leaves_half_of_the_slots_to_others);
	tcase_add_test(tcase, with_one_slot_there_is_progress);
	tcase_add_test(tcase, slots_are_shared_by_time_and_not_by_runs);
	tcase_add_test(tcase, a_newcomer_does_not_wait_behind_a_crowd);
	tcase_add_test(tcase, a_pause_is_no_credit);
	tcase_add_test(tcase, no_tenant_takes_the_waiting_room_of_others);
	tcase_add_test(tcase, a_plan_bounds_what_is_under_way_at_once);
	tcase_add_test(tcase, room_is_what_would_begin);
	tcase_add_test(tcase, what_waits_can_be_taken_out);
	tcase_add_test(tcase, tenants_that_owe_nothing_are_forgotten);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
