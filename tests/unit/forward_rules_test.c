/*
 * forward_rules: one limit for a request, however its path is written.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ingress/forward_rules.h"

static void
assert_plain(const char *target, const char *expected)
{
	struct arena arena;
	arena_init(&arena, 1024, 1u << 20);
	ck_assert_str_eq(forward_plain_path(&arena, target), expected);
	arena_fini(&arena);
}

START_TEST(paths_that_mean_the_same_have_one_plain_form)
{
	static const char *const TARGETS[] = {"/a/b",
	                                      "//a///b",
	                                      "/a/./b",
	                                      "/./a/b",
	                                      "/x/../a/b",
	                                      "/x/y/../../a/b",
	                                      "/../a/b",
	                                      "/%61/%62",
	                                      "/x/%2e%2E/a/b",
	                                      "/a/%2e/b",
	                                      "/a/b?c=/../d",
	                                      "/a/b#/../d",
	                                      "a/b",
	                                      "http://host:80/a/b",
	                                      "HTTPS://h/a/b?q"};
	for (size_t i = 0; i < sizeof(TARGETS) / sizeof(TARGETS[0]); i++)
		assert_plain(TARGETS[i], "/a/b");
}
END_TEST

START_TEST(paths_that_mean_something_else_stay_apart)
{
	assert_plain("/a/b/", "/a/b/");
	assert_plain("/a/b/.", "/a/b/");
	assert_plain("/a/b/x/..", "/a/b/");
	assert_plain("/a%2fb", "/a%2Fb");
	assert_plain("/a%3Fb%23%25", "/a%3Fb%23%25");
	assert_plain("/a...b/...", "/a...b/...");
}
END_TEST

START_TEST(there_is_always_a_path)
{
	static const char *const TARGETS[] = {"",   "/",  "//",          "/..",       "/a/..",
	                                      "?q", "#f", "http://host", "http://h?q"};
	for (size_t i = 0; i < sizeof(TARGETS) / sizeof(TARGETS[0]); i++)
		assert_plain(TARGETS[i], "/");
}
END_TEST

START_TEST(bytes_beyond_printable_ascii_are_encoded)
{
	assert_plain("/caf\xC3\xA9", "/caf%C3%A9");
	assert_plain("/caf%c3%a9", "/caf%C3%A9");
	assert_plain("/a%00\x01%7f", "/a%00%01%7F");
	assert_plain("/a%2", "/a%252");
	assert_plain("/a%zz%", "/a%25zz%25");
}
END_TEST

START_TEST(the_first_rule_that_fits_wins)
{
	static const char *const TEXTS[] = {"GET /charts/* = charts", "* /charts/* = writes",
	                                    "POST /caf\xC3\xA9 = cafe", "* * = rest", NULL};
	const char *bad;
	struct forward_rules *rules = forward_rules_new(TEXTS, &bad);

	ck_assert_ptr_nonnull(rules);
	ck_assert_str_eq(forward_rules_find(rules, "GET", "/charts/1/2"), "charts");
	ck_assert_str_eq(forward_rules_find(rules, "get", "/charts/1"), "charts");
	ck_assert_str_eq(forward_rules_find(rules, "PUT", "/charts/1"), "writes");
	ck_assert_str_eq(forward_rules_find(rules, "POST", "/caf%C3%A9"), "cafe");
	ck_assert_str_eq(forward_rules_find(rules, "GET", "/charts"), "rest");
	forward_rules_free(rules);
}
END_TEST

START_TEST(without_a_rule_that_fits_there_is_no_limit)
{
	static const char *const TEXTS[] = {"GET /charts/* = charts", NULL};
	const char *bad;
	struct forward_rules *rules = forward_rules_new(TEXTS, &bad);

	ck_assert_ptr_null(forward_rules_find(rules, "GET", "/other"));
	forward_rules_free(rules);
}
END_TEST

START_TEST(a_rule_that_is_none_is_named)
{
	static const char *const WRONG[] = {
	    "", "GET /x", "GET /x =", "GET x = y", "GET /x = Not!", "GET /x = y z", "/x = y", "GET /x=y",
	};
	for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
		const char *const texts[] = {"* * = fine", WRONG[i], NULL};
		const char *bad = NULL;
		ck_assert_msg(!forward_rules_new(texts, &bad), "'%s' is no rule", WRONG[i]);
		ck_assert_ptr_eq(bad, WRONG[i]);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("forward_rules");
	TCase *tcase = tcase_create("rules");

	tcase_add_test(tcase, paths_that_mean_the_same_have_one_plain_form);
	tcase_add_test(tcase, paths_that_mean_something_else_stay_apart);
	tcase_add_test(tcase, there_is_always_a_path);
	tcase_add_test(tcase, bytes_beyond_printable_ascii_are_encoded);
	tcase_add_test(tcase, the_first_rule_that_fits_wins);
	tcase_add_test(tcase, without_a_rule_that_fits_there_is_no_limit);
	tcase_add_test(tcase, a_rule_that_is_none_is_named);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
