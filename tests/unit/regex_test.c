/*
 * regex: what is found, what is refused, and what a hostile expression costs.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "schema/regex.h"

static enum regex_result
search(const char *pattern, const char *text)
{
	struct regex *regex;
	struct status st = regex_compile(pattern, strlen(pattern), &regex);
	ck_assert_msg(status_ok(&st), "%s: %s", pattern, st.message);
	uint64_t steps = regex_steps(strlen(text));
	enum regex_result result = regex_search(regex, text, strlen(text), &steps);
	regex_free(regex);
	return result;
}

static void
assert_refused(const char *pattern, const char *why)
{
	struct regex *regex;
	struct status st = regex_compile(pattern, strlen(pattern), &regex);
	ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
	ck_assert_msg(strstr(st.message, why) != NULL, "%s: %s", pattern, st.message);
}

START_TEST(an_expression_is_found_anywhere_unless_it_is_anchored)
{
	ck_assert_int_eq(search("fail", "report.failed"), REGEX_FOUND);
	ck_assert_int_eq(search("^fail", "report.failed"), REGEX_NONE);
	ck_assert_int_eq(search("^(file|user)\\.[a-z]+$", "file.uploaded"), REGEX_FOUND);
	ck_assert_int_eq(search("^(file|user)\\.[a-z]+$", "file.version.created"), REGEX_NONE);
	ck_assert_int_eq(search("", ""), REGEX_FOUND);
	ck_assert_int_eq(search("^.$", "\xC3\xA9"), REGEX_FOUND);
	ck_assert_int_eq(search("(?i)ERROR", "some error"), REGEX_FOUND);
	ck_assert_int_eq(search("^[\\x{2014}]\\x{2014}{2}$", "\xE2\x80\x94\xE2\x80\x94\xE2\x80\x94"),
	                 REGEX_FOUND);
	ck_assert_int_eq(search("a(?=b)(?!bc)", "abd"), REGEX_FOUND);
}
END_TEST

START_TEST(what_is_no_expression_is_refused_with_the_reason)
{
	char longest[REGEX_PATTERN_MAX + 2];

	assert_refused("a(", "missing closing parenthesis");
	assert_refused("[z-a]", "at byte");
	assert_refused("(a)\\1", "back-references");
	assert_refused("(?<n>a)\\k<n>", "back-references");
	assert_refused("(a)(?(1)b|c)\\g{-1}", "back-references");
	assert_refused("a\\Cb", "\\C");
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_refused(longest, "at most 500 bytes");
	assert_refused("((((((((((((((((((((((((((((((((((((((((((((((((((((a))))))))))))))))))))))))))))))))))))"
	               "))))))))))))"
	               "))))",
	               "nested");
	assert_refused("a{1001}", "more than 1000");
	assert_refused("a{ 1001}", "more than 1000");
	assert_refused("(?:ab){65535}", "more than 1000");
	assert_refused("\\x{2014}{1001}", "more than 1000");
	assert_refused("\\\\x{1001}", "more than 1000");
	assert_refused("(?<=(?:a{1000}){2})b", "look behind");
}
END_TEST

static const char *const CATASTROPHES[] = {
    "(a+)+$",
    "(a|aa)+$",
    "(a|a?)+$",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "(.*)*(.*)*(.*)*b",
    "(a*)*(a*)*b",
    "(?:a?){60}a{60}b",
    "(.*a){25}b",
    "(x+x+)+y|a*a*a*a*b",
    "((a+)|(aa+))+b",
    "^(?:(?:a|b|ab)*)*c",
    "(?R)?a(?R)?b|a(?R)?",
};

START_TEST(a_catastrophic_expression_costs_bounded_time)
{
	const struct clock *clock = clock_system();
	char *text = mem_alloc(4097);

	memset(text, 'a', 4096);
	uint64_t before = clock_mono_ms(clock);
	for (size_t i = 0; i < sizeof(CATASTROPHES) / sizeof(CATASTROPHES[0]); i++)
		search(CATASTROPHES[i], text);
	/* Unbounded, the first alone takes longer than the universe is old; bounded, milliseconds each. */
	ck_assert_uint_lt(clock_mono_ms(clock) - before, 5000);
	mem_free(text);
}
END_TEST

/* Each tries few items, but runs over most of the text from everywhere in it. */
static const char *const MARATHONS[] = {
    "a*[bc]",   "a*+[bc]",          "(?>a*)[bc]",
    "a+\\d",    "\\w*\\s",          "a*?[bc]",
    "a*a*[bc]", "(?<=a{1000})[bc]", "(?:a{1000}[bc]|a{999}[bd]|a{998}[be]|a{997}[bf]|a{996}[bg]|a{995}[bh])",
};

START_TEST(an_expression_that_runs_over_the_text_again_and_again_costs_bounded_time)
{
	char *text = mem_alloc(REGEX_TEXT_MAX + 1);
	struct timespec before, after;

	memset(text, 'a', REGEX_TEXT_MAX);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
	for (size_t i = 0; i < sizeof(MARATHONS) / sizeof(MARATHONS[0]); i++)
		ck_assert_int_ne(search(MARATHONS[i], text), REGEX_FOUND);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
	/* Without counting the way, two of these take that long; with it all take a tenth. */
	ck_assert_int_lt(after.tv_sec - before.tv_sec, 3);
	mem_free(text);
}
END_TEST

START_TEST(a_search_that_costs_too_much_is_given_up)
{
	char *text = mem_alloc(101);

	memset(text, 'a', 99);
	text[99] = '!';
	ck_assert_int_eq(search("(a+)+$", text), REGEX_LIMIT);
	ck_assert_int_eq(search("^(a|aa)+$", text), REGEX_LIMIT);
	ck_assert_int_eq(search("a+$", text), REGEX_NONE);
	mem_free(text);
}
END_TEST

START_TEST(searches_share_the_steps_that_they_are_given)
{
	uint64_t steps = 1000;
	struct regex *regex;

	regex_compile("(a+)+$", 6, &regex);
	ck_assert_int_eq(regex_search(regex, "baaa", 4, &steps), REGEX_FOUND);
	ck_assert(steps > 0 && steps < 1000);
	ck_assert_int_eq(regex_search(regex, "aaaaaaaaaaaaaaaaaaaaaaab", 24, &steps), REGEX_LIMIT);
	ck_assert_uint_eq(steps, 0);
	ck_assert_int_eq(regex_search(regex, "baaa", 4, &steps), REGEX_LIMIT);
	regex_free(regex);
}
END_TEST

START_TEST(plain_expressions_search_the_longest_text)
{
	char *text = mem_alloc(REGEX_TEXT_MAX + 2);

	memset(text, 'x', REGEX_TEXT_MAX);
	strcpy(text + REGEX_TEXT_MAX - 6, "needle");
	ck_assert_int_eq(search("needle", text), REGEX_FOUND);
	ck_assert_int_eq(search("x+needle$", text), REGEX_FOUND);
	ck_assert_int_eq(search("[a-z]*dle", text), REGEX_FOUND);
	ck_assert_int_eq(search("haystack", text), REGEX_NONE);
	text[REGEX_TEXT_MAX] = 'x';
	ck_assert_int_eq(search("needle", text), REGEX_LIMIT);
	mem_free(text);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("regex");
	TCase *tcase = tcase_create("regex");

	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, an_expression_is_found_anywhere_unless_it_is_anchored);
	tcase_add_test(tcase, what_is_no_expression_is_refused_with_the_reason);
	tcase_add_test(tcase, a_catastrophic_expression_costs_bounded_time);
	tcase_add_test(tcase, an_expression_that_runs_over_the_text_again_and_again_costs_bounded_time);
	tcase_add_test(tcase, a_search_that_costs_too_much_is_given_up);
	tcase_add_test(tcase, searches_share_the_steps_that_they_are_given);
	tcase_add_test(tcase, plain_expressions_search_the_longest_text);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
