/*
 * follower: what a replica makes of heads and entries of a log, with time in the test's hands.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cached/follower.h"

static struct follower follower;

/* Of a log that began at its head unless it is the first one. */
static enum follower_news
head(uint64_t number, const char *name, bool has_mark, uint64_t sent_ms)
{
	const struct follower_head told = {.number = number,
	                                   .name = name,
	                                   .begin = strcmp(name, "log") == 0 ? 50 : number - 10,
	                                   .has_mark = has_mark,
	                                   .sent_ms = sent_ms};
	return follower_head(&follower, &told);
}

static void
set_up(void)
{
	memset(&follower, 0, sizeof(follower));
	ck_assert_int_eq(head(100, "log", true, 1000), FOLLOWER_LOST);
}

START_TEST(nothing_is_trusted_before_a_head_was_heard)
{
	struct follower fresh = {0};

	ck_assert_uint_eq(follower_trusted_until(&fresh), 0);
	ck_assert_int_eq(follower_entry(&fresh, 7, "m"), FOLLOWER_OLD);
	ck_assert_uint_eq(follower_trusted_until(&follower), 1000 + FOLLOWER_TRUST_MS);
}
END_TEST

START_TEST(trust_counts_from_when_the_head_was_asked_for_and_only_once_all_up_to_it_was_followed)
{
	ck_assert_int_eq(head(102, "log", true, 2000), FOLLOWER_SAME);
	ck_assert_uint_eq(follower_trusted_until(&follower), 1000 + FOLLOWER_TRUST_MS);
	ck_assert_int_eq(follower_entry(&follower, 101, "a"), FOLLOWER_NEXT);
	ck_assert_uint_eq(follower_trusted_until(&follower), 1000 + FOLLOWER_TRUST_MS);
	ck_assert_int_eq(follower_entry(&follower, 102, "b"), FOLLOWER_NEXT);
	ck_assert_uint_eq(follower_trusted_until(&follower), 2000 + FOLLOWER_TRUST_MS);
	/* A later entry says nothing about later times. */
	ck_assert_int_eq(follower_entry(&follower, 103, "c"), FOLLOWER_NEXT);
	ck_assert_uint_eq(follower_trusted_until(&follower), 2000 + FOLLOWER_TRUST_MS);
}
END_TEST

START_TEST(what_comes_twice_or_late_is_left_out)
{
	ck_assert_int_eq(follower_entry(&follower, 101, "a"), FOLLOWER_NEXT);
	ck_assert_int_eq(follower_entry(&follower, 101, "a"), FOLLOWER_OLD);
	ck_assert_int_eq(follower_entry(&follower, 99, "x"), FOLLOWER_OLD);
	ck_assert_uint_eq(follower.followed, 101);
	ck_assert_str_eq(follower.mark, "a");
}
END_TEST

START_TEST(a_gap_ends_trust_at_once_and_the_next_head_begins_anew)
{
	ck_assert_int_eq(follower_entry(&follower, 102, "b"), FOLLOWER_GAP);
	ck_assert_uint_eq(follower_trusted_until(&follower), 0);
	ck_assert_int_eq(follower_entry(&follower, 101, "a"), FOLLOWER_OLD);
	ck_assert_int_eq(head(110, "log", true, 3000), FOLLOWER_LOST);
	ck_assert_uint_eq(follower.followed, 110);
	ck_assert_uint_eq(follower_trusted_until(&follower), 3000 + FOLLOWER_TRUST_MS);
}
END_TEST

START_TEST(another_log_is_a_loss_and_after_an_absence_one_that_is_followed_from_its_beginning)
{
	ck_assert_int_eq(head(500, "other", true, 2000), FOLLOWER_LOST);
	ck_assert_uint_eq(follower.followed, 500);
	follower_cut(&follower);
	ck_assert_int_eq(head(900, "third", true, 3000), FOLLOWER_RENEWED);
	ck_assert_uint_eq(follower.followed, 890);
	ck_assert_uint_eq(follower_trusted_until(&follower), 2000 + FOLLOWER_TRUST_MS);
	for (uint64_t number = 891; number <= 900; number++)
		ck_assert_int_eq(follower_entry(&follower, number, "m"), FOLLOWER_NEXT);
	ck_assert_uint_eq(follower_trusted_until(&follower), 3000 + FOLLOWER_TRUST_MS);
	/* The absence is over. */
	ck_assert_int_eq(head(990, "fourth", true, 4000), FOLLOWER_LOST);
}
END_TEST

START_TEST(a_log_that_lost_its_end_in_a_failover_is_noticed_by_the_mark)
{
	ck_assert_int_eq(follower_entry(&follower, 101, "a"), FOLLOWER_NEXT);
	follower_cut(&follower);
	ck_assert_int_eq(head(104, "log", true, 2000), FOLLOWER_SAME);
	follower_cut(&follower);
	ck_assert_int_eq(head(104, "log", false, 3000), FOLLOWER_LOST);
	ck_assert_uint_eq(follower.followed, 104);
	ck_assert_str_eq(follower.mark, "");
}
END_TEST

START_TEST(a_log_that_goes_on_under_another_name_is_a_loss_also_after_an_absence)
{
	const struct follower_head raised = {.number = 200, .name = "raised", .has_mark = true, .sent_ms = 2000};

	follower_cut(&follower);
	ck_assert_int_eq(follower_head(&follower, &raised), FOLLOWER_LOST);
	ck_assert_uint_eq(follower.followed, 200);
}
END_TEST

START_TEST(a_head_that_went_back_is_not_believed_to_be_the_same_log)
{
	ck_assert_int_eq(head(90, "log", true, 2000), FOLLOWER_LOST);
	ck_assert_uint_eq(follower.followed, 90);
}
END_TEST

START_TEST(a_lost_connection_alone_leaves_what_is_held_as_good_as_it_was)
{
	follower_cut(&follower);
	ck_assert_uint_eq(follower_trusted_until(&follower), 1000 + FOLLOWER_TRUST_MS);
	ck_assert_int_eq(follower_entry(&follower, 101, "a"), FOLLOWER_NEXT);
	ck_assert_int_eq(head(101, "log", true, 5000), FOLLOWER_SAME);
	ck_assert_uint_eq(follower_trusted_until(&follower), 5000 + FOLLOWER_TRUST_MS);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache follower");
	TCase *tests = tcase_create("follower");

	tcase_add_checked_fixture(tests, set_up, NULL);
	tcase_add_test(tests, nothing_is_trusted_before_a_head_was_heard);
	tcase_add_test(tests,
	               trust_counts_from_when_the_head_was_asked_for_and_only_once_all_up_to_it_was_followed);
	tcase_add_test(tests, what_comes_twice_or_late_is_left_out);
	tcase_add_test(tests, a_gap_ends_trust_at_once_and_the_next_head_begins_anew);
	tcase_add_test(tests, another_log_is_a_loss_and_after_an_absence_one_that_is_followed_from_its_beginning);
	tcase_add_test(tests, a_log_that_goes_on_under_another_name_is_a_loss_also_after_an_absence);
	tcase_add_test(tests, a_log_that_lost_its_end_in_a_failover_is_noticed_by_the_mark);
	tcase_add_test(tests, a_head_that_went_back_is_not_believed_to_be_the_same_log);
	tcase_add_test(tests, a_lost_connection_alone_leaves_what_is_held_as_good_as_it_was);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
