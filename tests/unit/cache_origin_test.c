/*
 * origin: URLs from templates and keys, and heads of answers.
 */
#include <check.h>
#include <stdlib.h>

#include "cached/origin.h"

static struct arena arena;

static void
setup(void)
{
	arena_init(&arena, 4096, 1u << 20);
}

static void
teardown(void)
{
	arena_fini(&arena);
}

START_TEST(a_template_has_the_key_once_and_behind_the_host)
{
	static const char *const GOOD[] = {"http://a/{key}", "https://a.example:8443/x/{key}?y=1",
	                                   "HTTPS://a?k={key}", "https://[::1]/{key}"};
	static const char *const BAD[] = {"",
	                                  "{key}",
	                                  "/x/{key}",
	                                  "ftp://a/{key}",
	                                  "http://{key}",
	                                  "http://{key}/",
	                                  "http://a{key}/",
	                                  "http:///{key}",
	                                  "http://a/",
	                                  "http://a/{key}{key}",
	                                  "http://u:p@a/{key}",
	                                  "http://a#{key}",
	                                  "http://a/ {key}",
	                                  "http://a/\n{key}",
	                                  "http://a/\xC3\xBC{key}",
	                                  "http://a/../{key}",
	                                  "http://a/{key}/%2e%2E"};
	for (size_t i = 0; i < sizeof(GOOD) / sizeof(GOOD[0]); i++)
		ck_assert_msg(origin_is_template(GOOD[i]), "%s", GOOD[i]);
	for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++)
		ck_assert_msg(!origin_is_template(BAD[i]), "%s", BAD[i]);
}
END_TEST

START_TEST(a_key_is_encoded_but_for_its_slashes)
{
	ck_assert_str_eq(origin_url("http://a/{key}?x=1", "b/c d?e&f#g%h\xC3\xBC", &arena),
	                 "http://a/b/c%20d%3Fe%26f%23g%25h%C3%BC?x=1");
	ck_assert_str_eq(origin_url("http://a/{key}", "...", &arena), "http://a/...");
	ck_assert_str_eq(origin_url("http://a/{key}", "a.b/..c", &arena), "http://a/a.b/..c");
}
END_TEST

START_TEST(a_key_that_leads_elsewhere_has_no_url)
{
	static const char *const KEYS[] = {".", "..", "../x", "a/..", "a/../b", "./a", "a/."};
	for (size_t i = 0; i < sizeof(KEYS) / sizeof(KEYS[0]); i++)
		ck_assert_msg(!origin_url("http://a/{key}", KEYS[i], &arena), "%s", KEYS[i]);
	ck_assert_ptr_null(origin_url("http://a/x/{key}../y", "b/", &arena));
	ck_assert_ptr_null(origin_url("http://a/x/%2E{key}", ".", &arena));
	ck_assert_ptr_nonnull(origin_url("http://a/x?k={key}", "../y", &arena));
}
END_TEST

START_TEST(headers_are_tokens_with_visible_values_and_not_the_protocols_own)
{
	ck_assert(origin_is_header("Authorization", "Bearer x y"));
	ck_assert(origin_is_header("X-1", "\xC3\xBC"));
	ck_assert(!origin_is_header("", "x"));
	ck_assert(!origin_is_header("a:b", "x"));
	ck_assert(!origin_is_header("a", "x\r\ny: z"));
	ck_assert(!origin_is_header("host", "x"));
	ck_assert(!origin_is_header("Transfer-encoding", "chunked"));
}
END_TEST

START_TEST(a_header_is_found_in_a_head_whatever_its_case)
{
	static const char HEAD[] =
	    "HTTP/1.1 200 OK\r\nX-Content-Type: no\r\ncontent-type: \t text/html; a=b \r\nEmpty:\r\nLast: x";
	ck_assert_str_eq(origin_header(HEAD, sizeof(HEAD) - 1, "Content-Type", &arena), "text/html; a=b");
	ck_assert_str_eq(origin_header(HEAD, sizeof(HEAD) - 1, "empty", &arena), "");
	ck_assert_str_eq(origin_header(HEAD, sizeof(HEAD) - 1, "Last", &arena), "x");
	ck_assert_ptr_null(origin_header(HEAD, sizeof(HEAD) - 1, "Content", &arena));
	ck_assert_ptr_null(origin_header("", 0, "A", &arena));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("origin");
	TCase *all = tcase_create("all");

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, a_template_has_the_key_once_and_behind_the_host);
	tcase_add_test(all, a_key_is_encoded_but_for_its_slashes);
	tcase_add_test(all, a_key_that_leads_elsewhere_has_no_url);
	tcase_add_test(all, headers_are_tokens_with_visible_values_and_not_the_protocols_own);
	tcase_add_test(all, a_header_is_found_in_a_head_whatever_its_case);
	suite_add_tcase(suite, all);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
