/*
 * json: every kind of field, into a message and back, by a contract of the tests' own (tests/contracts).
 */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "corbel/contract.gen.h"

#define KINDS       (&corbel__kinds__kinds__descriptor)
#define MANY        (&corbel__kinds__many__descriptor)
#define SIZE(array) (sizeof(array) / sizeof((array)[0]))

typedef Corbel__Kinds__Kinds Kinds;
typedef Corbel__Kinds__Many Many;

static struct arena arena;
static struct violations found;

static void
setup(void)
{
	arena_init(&arena, 4096, 8u << 20);
	memset(&found, 0, sizeof(found));
}

static void
teardown(void)
{
	arena_fini(&arena);
}

static struct status
decode(const char *text, const ProtobufCMessageDescriptor *descriptor, ProtobufCMessage **out)
{
	memset(&found, 0, sizeof(found));
	return json_to_message(text, strlen(text), api_message_of(descriptor), &arena, &found, out);
}

static void *
read_well(const char *text, const ProtobufCMessageDescriptor *descriptor)
{
	ProtobufCMessage *message = NULL;
	struct status st = decode(text, descriptor, &message);
	ck_assert_msg(status_ok(&st), "%s: %s", text, st.message);
	return message;
}

static const char *
written(const void *message)
{
	const ProtobufCMessage *base = message;
	struct strbuf out;
	strbuf_init(&out, &arena);
	json_from_message(base, api_message_of(base->descriptor), NULL, &out);
	return out.data;
}

/* The text is read, and written back as it was. */
static void
same(const char *text, const ProtobufCMessageDescriptor *descriptor)
{
	ck_assert_str_eq(written(read_well(text, descriptor)), text);
}

/* Bit by bit: a number that only equals another is not the same. */
static bool
is_same(const void *a, const void *b, size_t size)
{
	return memcmp(a, b, size) == 0;
}

/* The text is refused for one thing, at that place. */
static void
refused(const char *text, const ProtobufCMessageDescriptor *descriptor, const char *pointer)
{
	ProtobufCMessage *message;
	struct status st = decode(text, descriptor, &message);
	ck_assert_msg(st.code == STATUS_INVALID_ARGUMENT, "%s is accepted", text);
	ck_assert_msg(found.count == 1, "%s: %zu violations: %s", text, found.count, st.message);
	ck_assert_msg(strcmp(found.items[0].pointer, pointer) == 0, "%s: at %s", text, found.items[0].pointer);
}

static void
not_json(const char *text, const char *reason)
{
	ProtobufCMessage *message;
	struct status st = decode(text, KINDS, &message);
	ck_assert_msg(st.code == STATUS_INVALID_ARGUMENT && strstr(st.message, reason), "%s: %s", text,
	              st.message);
}

START_TEST(every_scalar_is_written_as_it_was_read)
{
	same("{\"i32\":-2147483648,\"s32\":2147483647,\"sf32\":-1,\"u32\":4294967295,\"f32\":0}", KINDS);
	same("{\"i64\":-9007199254740992,\"s64\":9007199254740992,\"sf64\":0,\"u64\":1,\"f64\":9007199254740992}",
	     KINDS);
	same("{\"single\":0.1,\"twice\":0.1,\"truth\":false,\"text\":\"\",\"blob\":\"\",\"choice\":\"MINUS\"}",
	     KINDS);
	same("{\"time\":\"1969-12-31T23:59:59.999Z\",\"inner\":{\"inner\":{}},\"defaulted\":0}", KINDS);
}
END_TEST

START_TEST(numbers_of_64_bits_are_texts_beyond_what_a_double_holds)
{
	same("{\"i64\":\"-9007199254740993\",\"s64\":\"9223372036854775807\",\"sf64\":\"-9223372036854775808\","
	     "\"u64\":\"9007199254740993\",\"f64\":\"18446744073709551615\"}",
	     KINDS);
	/* As numbers they are read to the last digit, too. */
	ck_assert_str_eq(written(read_well("{\"i64\":-9007199254740993,\"u64\":18446744073709551615}", KINDS)),
	                 "{\"i64\":\"-9007199254740993\",\"u64\":\"18446744073709551615\"}");
	ck_assert_str_eq(written(read_well("{\"i64\":\"5\",\"u64\":\"6\",\"u32\":\"7\"}", KINDS)),
	                 "{\"u32\":7,\"i64\":5,\"u64\":6}");
}
END_TEST

START_TEST(each_whole_number_has_the_bounds_of_its_type)
{
	static const char *const WRONG[] = {"i32\":2147483648",
	                                    "i32\":-2147483649",
	                                    "s32\":2147483648",
	                                    "sf32\":2147483648",
	                                    "u32\":4294967296",
	                                    "u32\":-1",
	                                    "f32\":4294967296",
	                                    "i64\":9223372036854775808",
	                                    "s64\":-9223372036854775809",
	                                    "sf64\":\"9223372036854775808\"",
	                                    "u64\":18446744073709551616",
	                                    "f64\":-1",
	                                    "u64\":\"-1\"",
	                                    "i64\":1e19"};
	for (size_t i = 0; i < SIZE(WRONG); i++)
		refused(arena_printf(&arena, "{\"%s}", WRONG[i]), KINDS,
		        arena_printf(&arena, "/%.*s", (int)strcspn(WRONG[i], "\""), WRONG[i]));
}
END_TEST

START_TEST(whole_numbers_may_be_written_in_any_notation_that_is_exactly_whole)
{
	static const struct {
		const char *text;
		uint64_t value;
	} WHOLE[] = {{"1.0", 1},
	             {"1E3", 1000},
	             {"12.5e1", 125},
	             {"1e+2", 100},
	             {"1200e-2", 12},
	             {"0.0", 0},
	             {"0e999999999999999999999", 0},
	             {"-0.0e5", 0},
	             {"18446744073709551615.000", UINT64_MAX},
	             {"1844674407370955161.5e1", UINT64_MAX},
	             {"9007199254740993.0", UINT64_C(9007199254740993)},
	             {"0.000000000000000000000000000000000000000000000000000000000000000000000001e72", 1}};
	static const char *const NOT[] = {"1.5",
	                                  "1e-1",
	                                  "1.00000000000000000001",
	                                  "1e-400",
	                                  "1e20",
	                                  "1e400",
	                                  "18446744073709551615.5",
	                                  "9007199254740992.1",
	                                  "0.1e0",
	                                  "1e99999999999999999999",
	                                  "1e-99999999999999999999",
	                                  "18446744073709551616.0"};
	for (size_t i = 0; i < SIZE(WHOLE); i++) {
		const Kinds *kinds = read_well(arena_printf(&arena, "{\"u64\":%s}", WHOLE[i].text), KINDS);
		ck_assert_msg(kinds->has_u64 && kinds->u64 == WHOLE[i].value, "%s", WHOLE[i].text);
	}
	for (size_t i = 0; i < SIZE(NOT); i++)
		refused(arena_printf(&arena, "{\"u64\":%s}", NOT[i]), KINDS, "/u64");
	ck_assert_int_eq(((Kinds *)read_well("{\"i64\":-12.5e1}", KINDS))->i64, -125);
}
END_TEST

START_TEST(fractions_keep_every_bit)
{
	static const double VALUES[] = {
	    0.0, 1.0 / 3, DBL_MAX, DBL_MIN, 5e-324, -0.1, 1e21, 123456789.123456789, 9007199254740993.0};
	static const float FLOATS[] = {0.1f, 1.0f / 3, FLT_MAX, FLT_MIN, 1e-45f, 16777217.0f};
	for (size_t i = 0; i < SIZE(VALUES); i++) {
		Kinds kinds = CORBEL__KINDS__KINDS__INIT;
		kinds.has_twice = true;
		kinds.twice = VALUES[i];
		const Kinds *back = read_well(written(&kinds), KINDS);
		ck_assert(is_same(&back->twice, &VALUES[i], sizeof(double)));
	}
	for (size_t i = 0; i < SIZE(FLOATS); i++) {
		Kinds kinds = CORBEL__KINDS__KINDS__INIT;
		kinds.has_single = true;
		kinds.single = FLOATS[i];
		const Kinds *back = read_well(written(&kinds), KINDS);
		ck_assert(is_same(&back->single, &FLOATS[i], sizeof(float)));
	}
	refused("{\"twice\":1e309}", KINDS, "/twice");
	refused("{\"single\":3.5e38}", KINDS, "/single");
	refused("{\"twice\":\"1\"}", KINDS, "/twice");
}
END_TEST

START_TEST(what_is_no_number_is_written_as_null)
{
	Kinds kinds = CORBEL__KINDS__KINDS__INIT;
	kinds.has_twice = kinds.has_single = true;
	kinds.twice = NAN;
	kinds.single = INFINITY;
	ck_assert_str_eq(written(&kinds), "{\"single\":null,\"twice\":null}");
}
END_TEST

START_TEST(bytes_are_base64_of_either_alphabet)
{
	const Kinds *kinds = read_well("{\"blob\":\"-_-_AA\"}", KINDS);
	ck_assert_uint_eq(kinds->blob.len, 4);
	ck_assert(memcmp(kinds->blob.data, "\xFB\xFF\xBF\x00", 4) == 0);
	ck_assert_str_eq(written(kinds), "{\"blob\":\"+/+/AA==\"}");
	char *long_text = arena_strdup(&arena, "");
	for (int i = 0; i < 400; i++)
		long_text = arena_printf(&arena, "%sAAECAwQF", long_text);
	same(arena_printf(&arena, "{\"blob\":\"%s\"}", long_text), KINDS);
	static const char *const WRONG[] = {"\"A\"", "\"AA=A\"", "\"A A=\"", "\"AA===\"", "\"?AAA\"", "5", "[]"};
	for (size_t i = 0; i < SIZE(WRONG); i++)
		refused(arena_printf(&arena, "{\"blob\":%s}", WRONG[i]), KINDS, "/blob");
}
END_TEST

START_TEST(enums_are_names_and_never_numbers)
{
	static const char *const WRONG[] = {"\"one\"", "\"CHOICE_UNSET\"", "1",    "-1",
	                                    "\"\"",    "\"ONE \"",         "true", "{}"};
	ck_assert_int_eq(((Kinds *)read_well("{\"choice\":\"ONE\"}", KINDS))->choice, CORBEL__KINDS__CHOICE__ONE);
	for (size_t i = 0; i < SIZE(WRONG); i++)
		refused(arena_printf(&arena, "{\"choice\":%s}", WRONG[i]), KINDS, "/choice");
}
END_TEST

START_TEST(timestamps_are_rfc_3339_of_any_offset_and_are_written_in_utc)
{
	static const struct {
		const char *in, *out;
	} TIMES[] = {{"2026-01-31T23:59:59Z", "2026-01-31T23:59:59Z"},
	             {"2026-01-31t23:59:59z", "2026-01-31T23:59:59Z"},
	             {"2026-01-31 23:59:59Z", "2026-01-31T23:59:59Z"},
	             {"2026-02-01T01:29:59.9999+01:30", "2026-01-31T23:59:59.999Z"},
	             {"2026-01-31T15:59:59-08:00", "2026-01-31T23:59:59Z"},
	             {"2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"},
	             {"0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"},
	             {"9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"},
	             {"2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999Z"}};
	static const char *const WRONG[] = {"\"2026-01-31\"",
	                                    "\"9999-12-31T23:59:59-01:00\"",
	                                    "\"0000-01-01T00:00:00+01:00\"",
	                                    "\"2026-02-29T00:00:00Z\"",
	                                    "\"2026-01-31T24:00:00Z\"",
	                                    "\"2026-01-31T23:59:59\"",
	                                    "\"2026-01-31T23:59:59+24:00\"",
	                                    "\"2026-13-01T00:00:00Z\"",
	                                    "1769903999000",
	                                    "\"\"",
	                                    "\"2026-01-31T23:59:59.Z\""};
	for (size_t i = 0; i < SIZE(TIMES); i++)
		ck_assert_str_eq(written(read_well(arena_printf(&arena, "{\"time\":\"%s\"}", TIMES[i].in), KINDS)),
		                 arena_printf(&arena, "{\"time\":\"%s\"}", TIMES[i].out));
	for (size_t i = 0; i < SIZE(WRONG); i++)
		refused(arena_printf(&arena, "{\"time\":%s}", WRONG[i]), KINDS, "/time");
}
END_TEST

START_TEST(raw_json_keeps_its_exact_bytes)
{
	static const char *const RAW[] = {
	    "{\"b\" : 1.50,\"b\":[ ], \"\\u00e9\":1e2}", "null", "[1 , 2]", "\"x\"", "-0.0", "true"};
	for (size_t i = 0; i < SIZE(RAW); i++) {
		same(arena_printf(&arena, "{\"raw_text\":%s,\"raw_bytes\":%s}", RAW[i], RAW[i]), KINDS);
		same(arena_printf(&arena, "{\"raws\":[%s,%s]}", RAW[i], RAW[i]), MANY);
	}
	not_json("{\"raw_text\":{a:1}}", "expected a string");
	not_json("{\"raw_text\":[1,]}", "expected a value");
	refused("{\"raw_bytes\":[\"\\ud800\"]}", KINDS, "/raw_bytes");
	not_json("{\"raw_text\":}", "expected a value");
}
END_TEST

START_TEST(raw_json_from_a_service_is_checked_and_never_breaks_a_reply)
{
	Kinds kinds = CORBEL__KINDS__KINDS__INIT;
	char nothing[] = "", broken[] = "[1,";
	kinds.raw_text = nothing;
	kinds.has_raw_bytes = true;
	ck_assert_str_eq(written(&kinds), "{\"raw_text\":null,\"raw_bytes\":null}");
	kinds.raw_text = broken;
	api_validate(&kinds.base, api_message_of(KINDS), &arena, &found);
	ck_assert_uint_eq(found.count, 2);
	ck_assert_str_eq(found.items[0].pointer, "/raw_text");
}
END_TEST

START_TEST(of_a_oneof_only_one_is_taken)
{
	const Kinds *kinds = read_well("{\"as_number\":0}", KINDS);
	ck_assert_int_eq(kinds->which_case, CORBEL__KINDS__KINDS__WHICH_AS_NUMBER);
	same("{\"as_number\":0}", KINDS);
	same("{\"as_text\":\"\"}", KINDS);
	same("{\"as_kinds\":{\"as_kinds\":{\"as_number\":1}}}", KINDS);
	ck_assert_str_eq(written(read_well("{\"as_text\":null,\"as_number\":1}", KINDS)), "{\"as_number\":1}");
	refused("{\"as_number\":1,\"as_text\":\"x\"}", KINDS, "/as_text");
	refused("{\"as_kinds\":{},\"as_number\":1}", KINDS, "/as_number");
	refused("{\"as_number\":-1}", KINDS, "/as_number");
}
END_TEST

START_TEST(lists_and_maps_hold_every_kind)
{
	same("{\"numbers\":[1,-2,\"9007199254740993\"],\"fractions\":[0.5,1e+30],\"truths\":[true,false],"
	     "\"texts\":[\"\",\"a\"],\"blobs\":[\"AA==\",\"\"],\"choices\":[\"ONE\",\"MINUS\"],"
	     "\"times\":[\"2026-01-31T23:59:59Z\"],\"kinds\":[{},{\"u32\":1}]}",
	     MANY);
	same("{\"counts\":{\"a\":0,\"b\":\"18446744073709551615\"},\"named\":{\"x\":{\"u32\":1},\"\":{}},"
	     "\"chosen\":{\"c\":\"ONE\"},\"packed\":{\"p\":\"AA==\"}}",
	     MANY);
	ck_assert_str_eq(written(read_well("{\"numbers\":[],\"counts\":{},\"texts\":null}", MANY)), "{}");
}
END_TEST

START_TEST(elements_are_refused_where_they_stand)
{
	refused("{\"numbers\":[1,null]}", MANY, "/numbers/1");
	refused("{\"truths\":[true,\"false\"]}", MANY, "/truths/1");
	refused("{\"choices\":[\"ONE\",\"TWO\"]}", MANY, "/choices/1");
	refused("{\"kinds\":[{},{\"inner\":{\"u32\":-1}}]}", MANY, "/kinds/1/inner/u32");
	refused("{\"named\":{\"a/b~c\":{\"u32\":-1}}}", MANY, "/named/a~1b~0c/u32");
	refused("{\"counts\":{\"a\":1,\"\\u0061\":2}}", MANY, "/counts/a");
	refused("{\"chosen\":{\"a\":\"X\"}}", MANY, "/chosen/a");
	refused("{\"numbers\":1}", MANY, "/numbers");
	refused("{\"counts\":[]}", MANY, "/counts");
}
END_TEST

START_TEST(elements_beyond_the_bound_are_noted_once_even_after_bad_ones)
{
	ProtobufCMessage *message;
	refused("{\"numbers\":[1,2,3,4,5,6]}", MANY, "/numbers");
	refused("{\"counts\":{\"a\":1,\"b\":2,\"c\":3,\"d\":4}}", MANY, "/counts");
	(void)decode("{\"numbers\":[\"x\",1,2,3,4]}", MANY, &message);
	ck_assert_uint_eq(found.count, 2);
	ck_assert_str_eq(found.items[0].pointer, "/numbers/0");
	ck_assert_str_eq(found.items[1].detail, "must have at most 3 items");
}
END_TEST

/* `levels` objects, one in the other, with `core` in the innermost. */
static const char *
nested(size_t levels, const char *core)
{
	struct strbuf out;
	strbuf_init(&out, &arena);
	for (size_t i = 1; i < levels; i++)
		strbuf_puts(&out, "{\"inner\":");
	strbuf_printf(&out, "{%s}", core);
	for (size_t i = 1; i < levels; i++)
		strbuf_putc(&out, '}');
	return out.data;
}

START_TEST(nesting_is_bounded_to_the_level_in_messages_and_in_raw_json)
{
	read_well(nested(JSON_DEPTH_MAX, "\"u32\":1"), KINDS);
	not_json(nested(JSON_DEPTH_MAX + 1, ""), "nested too deeply");
	not_json(nested(2000, ""), "nested too deeply");
	read_well(nested(JSON_DEPTH_MAX - 1, "\"raw_text\":{}"), KINDS);
	not_json(nested(JSON_DEPTH_MAX, "\"raw_text\":{}"), "nested too deeply");
	not_json(nested(JSON_DEPTH_MAX, "\"unknown\":[]"), "nested too deeply");
}
END_TEST

START_TEST(all_that_is_wrong_is_told_at_once)
{
	static const char *const POINTERS[] = {"/i32",  "/single",    "/truth", "/blob",    "/choice",
	                                       "/time", "/inner/u64", "/inner", "/nothing", "/as_text"};
	ProtobufCMessage *message;
	(void)decode(
	    "{\"i32\":1.5,\"single\":\"x\",\"truth\":0,\"blob\":\"?\",\"choice\":\"X\",\"time\":\"now\","
	    "\"inner\":{\"u64\":-1},\"inner\":{},\"nothing\":{\"deep\":[1]},\"as_number\":1,\"as_text\":\"\"}",
	    KINDS, &message);
	ck_assert_uint_eq(found.count, SIZE(POINTERS));
	for (size_t i = 0; i < SIZE(POINTERS); i++)
		ck_assert_str_eq(found.items[i].pointer, POINTERS[i]);
}
END_TEST

static size_t
breaches(const char *text)
{
	ProtobufCMessage *message = read_well(text, KINDS);
	api_validate(message, api_message_of(KINDS), &arena, &found);
	return found.count;
}

START_TEST(formats_are_checked)
{
	static const char *const GOOD[] = {"{\"day\":\"2024-02-29\"}", "{\"link\":\"https://example.com/a?b#c\"}",
	                                   "{\"link\":\"http://[::1]:80\"}",
	                                   "{\"id\":\"key_0192f0c1a2b37c4d8e9fa0b1c2d3e4f5\"}"};
	static const char *const BAD[] = {"{\"day\":\"2023-02-29\"}",
	                                  "{\"day\":\"2024-2-9\"}",
	                                  "{\"day\":\"2024-02-29T\"}",
	                                  "{\"link\":\"ftp://example.com\"}",
	                                  "{\"link\":\"https://\"}",
	                                  "{\"link\":\"https://a b\"}",
	                                  "{\"link\":\"/path\"}",
	                                  "{\"id\":\"0192\"}",
	                                  "{\"id\":\"key_0192F0C1A2B37C4D8E9FA0B1C2D3E4F5\"}"};
	for (size_t i = 0; i < SIZE(GOOD); i++)
		ck_assert_msg(breaches(GOOD[i]) == 0, "%s", GOOD[i]);
	for (size_t i = 0; i < SIZE(BAD); i++)
		ck_assert_msg(breaches(BAD[i]) == 1, "%s", BAD[i]);
}
END_TEST

START_TEST(a_default_is_there_without_being_said_and_is_not_written)
{
	const Kinds *kinds = read_well("{}", KINDS);
	ck_assert(!kinds->has_defaulted && kinds->defaulted == 7);
	ck_assert_str_eq(written(kinds), "{}");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("json kinds");
	TCase *tests = tcase_create("json kinds");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, every_scalar_is_written_as_it_was_read);
	tcase_add_test(tests, numbers_of_64_bits_are_texts_beyond_what_a_double_holds);
	tcase_add_test(tests, each_whole_number_has_the_bounds_of_its_type);
	tcase_add_test(tests, whole_numbers_may_be_written_in_any_notation_that_is_exactly_whole);
	tcase_add_test(tests, fractions_keep_every_bit);
	tcase_add_test(tests, what_is_no_number_is_written_as_null);
	tcase_add_test(tests, bytes_are_base64_of_either_alphabet);
	tcase_add_test(tests, enums_are_names_and_never_numbers);
	tcase_add_test(tests, timestamps_are_rfc_3339_of_any_offset_and_are_written_in_utc);
	tcase_add_test(tests, raw_json_keeps_its_exact_bytes);
	tcase_add_test(tests, raw_json_from_a_service_is_checked_and_never_breaks_a_reply);
	tcase_add_test(tests, of_a_oneof_only_one_is_taken);
	tcase_add_test(tests, lists_and_maps_hold_every_kind);
	tcase_add_test(tests, elements_are_refused_where_they_stand);
	tcase_add_test(tests, elements_beyond_the_bound_are_noted_once_even_after_bad_ones);
	tcase_add_test(tests, nesting_is_bounded_to_the_level_in_messages_and_in_raw_json);
	tcase_add_test(tests, all_that_is_wrong_is_told_at_once);
	tcase_add_test(tests, formats_are_checked);
	tcase_add_test(tests, a_default_is_there_without_being_said_and_is_not_written);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
