/*
 * pattern: which types a pattern means, against an obvious recursive matcher, and what is no pattern.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "events/pattern.h"

static void
assert_matches(const char *pattern, const char *type, bool expected)
{
	struct status st = pattern_check(pattern, strlen(pattern));
	ck_assert_msg(status_ok(&st), "%s: %s", pattern, st.message);
	ck_assert_msg(pattern_matches(pattern, type) == expected, "%s and %s", pattern, type);
}

START_TEST(a_star_is_one_word_and_two_are_one_or_more)
{
	assert_matches("file.uploaded", "file.uploaded", true);
	assert_matches("file.uploaded", "file.uploaded2", false);
	assert_matches("file.uploaded2", "file.uploaded", false);
	assert_matches("file.*", "file.uploaded", true);
	assert_matches("file.*", "file.version.created", false);
	assert_matches("file.*", "file", false);
	assert_matches("file.*", "files.uploaded", false);
	assert_matches("file.**", "file.uploaded", true);
	assert_matches("file.**", "file.version.created", true);
	assert_matches("file.**", "file", false);
	assert_matches("*.failed", "report.failed", true);
	assert_matches("*.failed", "bulk.job.failed", false);
	assert_matches("**.failed", "bulk.job.failed", true);
	assert_matches("**.failed", "failed", false);
	assert_matches("bulk.**.failed", "bulk.job.failed", true);
	assert_matches("bulk.**.failed", "bulk.failed", false);
	assert_matches("*.**.*", "a.b.c", true);
	assert_matches("*.**.*", "a.b", false);
	assert_matches("*", "file", true);
	assert_matches("*", "file.uploaded", false);
	assert_matches("**", "file", true);
	assert_matches("**", "a.b.c.d", true);
	assert_matches("com.Example.*", "com.Example.order-paid", true);
	assert_matches("com.example.*", "com.Example.order-paid", false);
}
END_TEST

static void
assert_refused(const char *pattern, const char *why)
{
	struct status st = pattern_check(pattern, strlen(pattern));
	ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
	ck_assert_msg(strstr(st.message, why) != NULL, "'%s': %s", pattern, st.message);
}

START_TEST(what_is_no_pattern_is_refused_with_the_reason)
{
	char longest[EVENT_TYPE_MAX + 2];

	assert_refused("", "1 to 128 characters");
	assert_refused(".", "single dots");
	assert_refused("file.", "single dots");
	assert_refused(".file", "single dots");
	assert_refused("file..x", "single dots");
	assert_refused("file .x", "of letters, digits");
	assert_refused("file/x", "of letters, digits");
	assert_refused("f\303\274r.x", "of letters, digits");
	assert_refused("1file.x", "begin with a letter");
	assert_refused("-file.x", "begin with a letter");
	assert_refused("file*", "whole words");
	assert_refused("file.up*", "whole words");
	assert_refused("file.***", "whole words");
	assert_refused("**.x.**", "once only");
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_refused(longest, "1 to 128 characters");
	longest[EVENT_TYPE_MAX] = '\0';
	assert_matches(longest, longest, true);
}
END_TEST

START_TEST(a_type_has_no_stars)
{
	struct status st = event_type_check("file.version.created", strlen("file.version.created"));
	ck_assert(status_ok(&st));
	st = event_type_check("file.*", 6);
	ck_assert(!status_ok(&st));
	st = event_type_check("a.1", 3);
	ck_assert(status_ok(&st));
}
END_TEST

/* Tries everything: exponential, but obvious. */
static bool
obvious_match(const char *pattern, const char *type)
{
	if (!pattern || !type)
		return !pattern && !type;
	size_t length = strcspn(pattern, "."), word = strcspn(type, ".");
	const char *pattern_rest = pattern[length] ? pattern + length + 1 : NULL;
	const char *type_rest = type[word] ? type + word + 1 : NULL;
	if (length == 2 && memcmp(pattern, "**", 2) == 0)
		return obvious_match(pattern_rest, type_rest) || obvious_match(pattern, type_rest);
	bool is_word = (length == 1 && *pattern == '*') || (length == word && memcmp(pattern, type, word) == 0);
	return is_word && obvious_match(pattern_rest, type_rest);
}

static void
random_words(const struct random *random, bool with_stars, char *out)
{
	static const char *const WORDS[] = {"a", "b", "ab", "*", "**"};
	size_t count = 1 + random_below(random, 5);
	bool has_double = false;

	out[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		size_t pick = random_below(random, with_stars ? 5 - (size_t)has_double : 3);
		has_double |= pick == 4;
		if (i > 0)
			strcat(out, ".");
		strcat(out, WORDS[pick]);
	}
}

START_TEST(it_matches_as_an_obvious_matcher_does_and_within_its_range)
{
	struct seeded_random random;
	struct pattern_range range;
	char pattern[64], type[64];
	unsigned matched = 0;

	seeded_random_init(&random, 7);
	for (int i = 0; i < 50000; i++) {
		random_words(&random.random, true, pattern);
		random_words(&random.random, false, type);
		bool expected = obvious_match(pattern, type);
		assert_matches(pattern, type, expected);
		matched += expected;
		pattern_range(pattern, &range);
		bool is_within = range.is_exact ? strcmp(type, range.from) == 0
		                                : strcmp(type, range.from) >= 0 &&
		                                      (range.to[0] == '\0' || strcmp(type, range.to) < 0);
		ck_assert_msg(!expected || is_within, "%s matches %s: %s..%s", pattern, type, range.from, range.to);
	}
	ck_assert_uint_gt(matched, 5000);
}
END_TEST

START_TEST(the_range_is_the_literal_prefix)
{
	struct pattern_range range;

	pattern_range("file.*", &range);
	ck_assert_str_eq(range.from, "file.");
	ck_assert_str_eq(range.to, "file/");
	pattern_range("file.uploaded", &range);
	ck_assert(range.is_exact);
	ck_assert_str_eq(range.from, "file.uploaded");
	pattern_range("**.failed", &range);
	ck_assert(!range.is_exact);
	ck_assert_str_eq(range.from, "");
	ck_assert_str_eq(range.to, "");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("pattern");
	TCase *tcase = tcase_create("pattern");

	tcase_add_test(tcase, a_star_is_one_word_and_two_are_one_or_more);
	tcase_add_test(tcase, what_is_no_pattern_is_refused_with_the_reason);
	tcase_add_test(tcase, a_type_has_no_stars);
	tcase_add_test(tcase, it_matches_as_an_obvious_matcher_does_and_within_its_range);
	tcase_add_test(tcase, the_range_is_the_literal_prefix);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
