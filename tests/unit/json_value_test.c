/*
 * json_value: what is read, where pointers lead, and numbers compared as they were written.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "schema/json_value.h"

static struct arena arena;

static void
setup(void)
{
	arena_init(&arena, 4096, 64u << 20);
}

static void
teardown(void)
{
	arena_fini(&arena);
}

static const struct json_value *
parse(const char *text)
{
	const struct json_value *value = NULL;
	struct status st = json_value_parse(text, strlen(text), &arena, &value);
	ck_assert_msg(status_ok(&st), "%s: %s", text, st.message);
	return value;
}

START_TEST(text_that_is_no_json_is_refused)
{
	static const char *const WRONG[] = {"",
	                                    "[1,]",
	                                    "[,1]",
	                                    "{\"a\"}",
	                                    "{\"a\":1,}",
	                                    "{a:1}",
	                                    "01",
	                                    "+1",
	                                    "1.",
	                                    ".5",
	                                    "nul",
	                                    "[1 2]",
	                                    "\"\\ud800\"",
	                                    "[1]x",
	                                    "NaN",
	                                    "\"a",
	                                    "{\"a\":}",
	                                    "\"\xff\"",
	                                    "[",
	                                    "{",
	                                    "1e",
	                                    "tru",
	                                    "\"a\\u0000\"",
	                                    "{\"\\u0000\":1}",
	                                    "\"\\udc00\"",
	                                    "\"\xc0\x80\"",
	                                    "--1",
	                                    "[\"a\":1]",
	                                    "{\"a\":1:2}"};
	const struct json_value *value;
	for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
		struct status st = json_value_parse(WRONG[i], strlen(WRONG[i]), &arena, &value);
		ck_assert_msg(st.code == STATUS_INVALID_ARGUMENT, "'%s' is no JSON", WRONG[i]);
	}
}
END_TEST

START_TEST(depth_and_size_are_bounded)
{
	char deep[80];
	const struct json_value *value;
	struct arena small;

	memset(deep, '[', 33);
	memset(deep + 33, ']', 33);
	struct status st = json_value_parse(deep, 66, &arena, &value);
	ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(st.message, "deeper than 32"));
	st = json_value_parse(deep + 1, 64, &arena, &value);
	ck_assert(status_ok(&st));
	arena_init(&small, 256, 512);
	st = json_value_parse("[1,2,3,4,5,6,7,8,9,10,11,12,13]", 31, &small, &value);
	ck_assert_int_eq(st.code, STATUS_RESOURCE_EXHAUSTED);
	arena_fini(&small);
}
END_TEST

static void
assert_at(const struct json_value *root, const char *pointer, const char *expected)
{
	ck_assert(json_pointer_is_valid(pointer, strlen(pointer)));
	const struct json_value *found = json_value_at(root, pointer, strlen(pointer));
	ck_assert_msg(!found == !expected, "%s", pointer);
	ck_assert_msg(!found || json_value_equal(found, parse(expected)), "%s", pointer);
}

/* The document and answers of RFC 6901 section 5, and what is not there. */
START_TEST(pointers_lead_where_rfc_6901_says)
{
	const struct json_value *root =
	    parse("{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,\"g|h\":4,\"i\\\\j\":5,"
	          "\"k\\\"l\":6,\" \":7,\"m~n\":8}");

	ck_assert_ptr_eq(json_value_at(root, "", 0), root);
	assert_at(root, "/foo", "[\"bar\",\"baz\"]");
	assert_at(root, "/foo/0", "\"bar\"");
	assert_at(root, "/", "0");
	assert_at(root, "/a~1b", "1");
	assert_at(root, "/c%d", "2");
	assert_at(root, "/i\\j", "5");
	assert_at(root, "/k\"l", "6");
	assert_at(root, "/ ", "7");
	assert_at(root, "/m~0n", "8");
	assert_at(root, "/foo/2", NULL);
	assert_at(root, "/foo/-", NULL);
	assert_at(root, "/foo/00", NULL);
	assert_at(root, "/foo/01", NULL);
	assert_at(root, "/foo/9999999999", NULL);
	assert_at(root, "/foo/0/x", NULL);
	assert_at(root, "/foo/", NULL);
	assert_at(root, "/fo", NULL);
	assert_at(root, "/fooo", NULL);
	assert_at(root, "//", NULL);
}
END_TEST

START_TEST(what_is_no_pointer_is_told)
{
	static const char *const WRONG[] = {"a", "a/b", "/~", "/a~2", "/~/b", "#/a"};
	for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
		ck_assert_msg(!json_pointer_is_valid(WRONG[i], strlen(WRONG[i])), "%s", WRONG[i]);
}
END_TEST

START_TEST(of_members_with_one_name_the_last_counts)
{
	assert_at(parse("{\"a\":1,\"b\":2,\"a\":3}"), "/a", "3");
}
END_TEST

/* In ascending order; equal ones on one line. */
static const char *const NUMBERS[][4] = {
    {"-1e400"},
    {"-18446744073709551617"},
    {"-9007199254740993", "-9007199254740993.0"},
    {"-9007199254740992", "-9.007199254740992e15"},
    {"-1.5", "-15e-1", "-0.15E1"},
    {"-1", "-1.0", "-10e-1"},
    {"-1e-400"},
    {"0", "-0", "0.000", "0e99"},
    {"1e-99999999999999999999"},
    {"1e-400", "0.1e-399"},
    {"0.001", "1e-3", "0.0010", "10e-4"},
    {"0.0012"},
    {"0.01"},
    {"0.1", "0.10", "1E-1", "0.01e1"},
    {"0.10000000000000000000001"},
    {"1", "1.0", "1e0", "0.1e+1"},
    {"9.99"},
    {"10", "1e1", "10.00", "0.01e3"},
    {"100.0001"},
    {"9007199254740992", "9007199254740992.0"},
    {"9007199254740993"},
    {"9223372036854775807"},
    {"9223372036854775808"},
    {"18446744073709551615", "1.8446744073709551615e19"},
    {"18446744073709551616"},
    {"1e400", "10e399"},
    {"1e401"},
    {"1e99999999999999999999"},
};

START_TEST(numbers_compare_as_the_decimals_that_they_are)
{
	enum { COUNT = sizeof(NUMBERS) / sizeof(NUMBERS[0]) };
	for (size_t i = 0; i < COUNT; i++)
		for (size_t j = 0; j < COUNT; j++)
			for (size_t a = 0; a < 4 && NUMBERS[i][a]; a++)
				for (size_t b = 0; b < 4 && NUMBERS[j][b]; b++) {
					const struct json_value *left = parse(NUMBERS[i][a]), *right = parse(NUMBERS[j][b]);
					int expected = (i > j) - (i < j);
					ck_assert_msg(json_number_compare(left, right) == expected, "%s and %s", NUMBERS[i][a],
					              NUMBERS[j][b]);
					ck_assert(json_value_equal(left, right) == (expected == 0));
					ck_assert(expected != 0 || json_value_hash(left) == json_value_hash(right));
				}
}
END_TEST

START_TEST(random_integers_and_fractions_compare_like_machine_numbers)
{
	struct seeded_random random;
	char text[2][64];

	seeded_random_init(&random, 9);
	for (int i = 0; i < 20000; i++) {
		int64_t value[2];
		for (int k = 0; k < 2; k++) {
			value[k] = (int64_t)random_below(&random.random, 4001) - 2000;
			/* Both in thousandths: with a point, or as an integer with an exponent. */
			if (random_below(&random.random, 2))
				snprintf(text[k], sizeof(text[k]), "%lldE-3", (long long)value[k]);
			else
				snprintf(text[k], sizeof(text[k]), "%s%lld.%03lld", value[k] < 0 ? "-" : "",
				         (long long)llabs(value[k]) / 1000, (long long)llabs(value[k]) % 1000);
		}
		int expected = (value[0] > value[1]) - (value[0] < value[1]);
		ck_assert_msg(json_number_compare(parse(text[0]), parse(text[1])) == expected, "%s and %s", text[0],
		              text[1]);
		ck_assert_msg(json_number_is_integer(parse(text[0])) == (value[0] % 1000 == 0), "%s", text[0]);
		if (i % 1000 == 0)
			arena_reset(&arena);
	}
}
END_TEST

START_TEST(values_are_equal_whatever_the_order_of_members)
{
	static const char *const SAME[][2] = {
	    {"{\"a\":1,\"b\":[1.0,null]}", "{\"b\":[1,null],\"a\":10e-1}"},
	    {"\"\\u00e9\\/\"", "\"\xC3\xA9/\""},
	    {"[]", "[ ]"},
	    {"{}", "{ }"},
	    {"{\"a\":{\"x\":1,\"y\":2},\"b\":2,\"c\":3}", "{\"c\":3,\"a\":{\"y\":2,\"x\":1},\"b\":2}"},
	};
	static const char *const OTHER[][2] = {
	    {"1", "\"1\""},
	    {"true", "false"},
	    {"null", "false"},
	    {"[1,2]", "[2,1]"},
	    {"[1]", "[1,1]"},
	    {"{\"a\":1}", "{\"a\":2}"},
	    {"{\"a\":1}", "{\"b\":1}"},
	    {"{\"a\":1}", "{\"a\":1,\"b\":1}"},
	    {"\"a\"", "\"a \""},
	    {"{}", "[]"},
	    {"{\"a\":1,\"a\":1}", "{\"a\":1,\"b\":1}"},
	    {"0", "null"},
	};
	for (size_t i = 0; i < sizeof(SAME) / sizeof(SAME[0]); i++) {
		ck_assert_msg(json_value_equal(parse(SAME[i][0]), parse(SAME[i][1])), "%s", SAME[i][0]);
		ck_assert(json_value_hash(parse(SAME[i][0])) == json_value_hash(parse(SAME[i][1])));
	}
	for (size_t i = 0; i < sizeof(OTHER) / sizeof(OTHER[0]); i++) {
		ck_assert_msg(!json_value_equal(parse(OTHER[i][0]), parse(OTHER[i][1])), "%s", OTHER[i][0]);
		ck_assert_msg(!json_value_equal(parse(OTHER[i][1]), parse(OTHER[i][0])), "%s", OTHER[i][1]);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("json_value");
	TCase *tcase = tcase_create("json_value");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, text_that_is_no_json_is_refused);
	tcase_add_test(tcase, depth_and_size_are_bounded);
	tcase_add_test(tcase, pointers_lead_where_rfc_6901_says);
	tcase_add_test(tcase, what_is_no_pointer_is_told);
	tcase_add_test(tcase, of_members_with_one_name_the_last_counts);
	tcase_add_test(tcase, numbers_compare_as_the_decimals_that_they_are);
	tcase_add_test(tcase, random_integers_and_fractions_compare_like_machine_numbers);
	tcase_add_test(tcase, values_are_equal_whatever_the_order_of_members);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
