/*
 * text: every parser at its bounds, and the growing string at its ceiling.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

START_TEST(whole_numbers_stop_at_the_ends_of_their_types)
{
	uint64_t u;
	int64_t i;
	ck_assert(text_to_u64("18446744073709551615", 20, &u) && u == UINT64_MAX);
	ck_assert(!text_to_u64("18446744073709551616", 20, &u) && !text_to_u64("99999999999999999999", 20, &u));
	ck_assert(!text_to_u64("", 0, &u) && !text_to_u64("-1", 2, &u) && !text_to_u64("+1", 2, &u) &&
	          !text_to_u64(" 1", 2, &u));
	ck_assert(text_to_i64("-9223372036854775808", 20, &i) && i == INT64_MIN);
	ck_assert(text_to_i64("9223372036854775807", 19, &i) && i == INT64_MAX);
	ck_assert(!text_to_i64("9223372036854775808", 19, &i) && !text_to_i64("-9223372036854775809", 20, &i));
	ck_assert(!text_to_i64("-", 1, &i) && !text_to_i64("--1", 3, &i) && text_to_i64("-0", 2, &i) && i == 0);
}
END_TEST

START_TEST(durations_and_sizes_are_numbers_with_a_unit_and_do_not_overflow)
{
	uint64_t v;
	ck_assert(text_to_duration_ms("250ms", 5, &v) && v == 250);
	ck_assert(text_to_duration_ms("10s", 3, &v) && v == 10000);
	ck_assert(text_to_duration_ms("7d", 2, &v) && v == 604800000);
	ck_assert(!text_to_duration_ms("10", 2, &v) && !text_to_duration_ms("s", 1, &v) &&
	          !text_to_duration_ms("1.5s", 4, &v));
	ck_assert(!text_to_duration_ms("213503982335d", 13, &v) && !text_to_duration_ms("1 s", 3, &v));
	ck_assert(text_to_size_bytes("512", 3, &v) && v == 512);
	ck_assert(text_to_size_bytes("64KiB", 5, &v) && v == 65536);
	ck_assert(text_to_size_bytes("2g", 2, &v) && v == UINT64_C(2) << 30);
	ck_assert(!text_to_size_bytes("17179869184g", 12, &v) && !text_to_size_bytes("k", 1, &v) &&
	          !text_to_size_bytes("1kb", 3, &v));
}
END_TEST

START_TEST(words_for_true_and_false_are_few)
{
	bool b = false;
	ck_assert(text_to_bool("yes", 3, &b) && b && text_to_bool("off", 3, &b) && !b &&
	          text_to_bool("1", 1, &b) && b);
	ck_assert(!text_to_bool("True", 4, &b) && !text_to_bool("", 0, &b) && !text_to_bool("2", 1, &b));
}
END_TEST

START_TEST(utf8_is_shortest_form_without_surrogates_up_to_10ffff)
{
	static const char *const GOOD[] = {"",
	                                   "plain ascii longer than a word",
	                                   "\xC2\x80",
	                                   "\xDF\xBF",
	                                   "\xE0\xA0\x80",
	                                   "\xED\x9F\xBF",
	                                   "\xEE\x80\x80",
	                                   "\xF0\x90\x80\x80",
	                                   "\xF4\x8F\xBF\xBF"};
	static const char *const BAD[] = {"\x80",
	                                  "\xC0\x80",
	                                  "\xC1\xBF",
	                                  "\xC2",
	                                  "\xE0\x9F\xBF",
	                                  "\xED\xA0\x80",
	                                  "\xE2\x82",
	                                  "\xF0\x8F\xBF\xBF",
	                                  "\xF4\x90\x80\x80",
	                                  "\xF5\x80\x80\x80",
	                                  "\xFF",
	                                  "12345678\xC2"};
	for (size_t i = 0; i < COUNT(GOOD); i++)
		ck_assert_msg(text_is_utf8(GOOD[i], strlen(GOOD[i])), "good %zu", i);
	for (size_t i = 0; i < COUNT(BAD); i++)
		ck_assert_msg(!text_is_utf8(BAD[i], strlen(BAD[i])), "bad %zu", i);
}
END_TEST

START_TEST(names_have_one_to_64_characters_of_a_small_set)
{
	char longest[65];
	memset(longest, 'a', sizeof(longest));
	ck_assert(text_is_name(longest, 64) && !text_is_name(longest, 65) && !text_is_name("", 0));
	ck_assert(text_is_name("0a.b_c-d", 8) && !text_is_name("-a", 2) && !text_is_name("A", 1) &&
	          !text_is_name("a b", 3));
}
END_TEST

START_TEST(a_sentence_ends_with_its_full_stop_and_not_with_any_dot)
{
	ck_assert_uint_eq(text_sentence("Reads v1.4 of GET /v1/x.json at\nonce. More."), 36);
	ck_assert_uint_eq(text_sentence("One.\nTwo."), 3);
	ck_assert_uint_eq(text_sentence("A head\n\nA body."), 6);
	ck_assert_uint_eq(text_sentence("None"), 4);
	ck_assert_uint_eq(text_sentence(""), 0);
}
END_TEST

static bool
reads(const char *text, int64_t ms)
{
	int64_t value = 0;
	return text_to_timestamp_ms(text, strlen(text), &value) && value == ms;
}

START_TEST(timestamps_of_rfc_3339_are_read_with_any_offset_and_fraction)
{
	ck_assert(reads("1970-01-01T00:00:00Z", 0));
	ck_assert(reads("1970-01-01t00:00:00.5z", 500));
	ck_assert(reads("1969-12-31T23:59:59.999Z", -1));
	ck_assert(reads("2000-02-29 12:00:00.123456789+00:00", INT64_C(951825600123)));
	ck_assert(reads("1990-12-31T15:59:59-08:00", INT64_C(662687999000)));
	ck_assert(reads("1937-01-01T12:00:27.87+00:20", INT64_C(-1041337172130)));
	ck_assert(reads("9999-12-31T23:59:59.999Z", INT64_C(253402300799999)));
	ck_assert(reads("0000-01-01T00:00:00Z", INT64_C(-62167219200000)));
}
END_TEST

START_TEST(a_leap_second_is_read_as_the_last_millisecond_before_it)
{
	int64_t ms;
	ck_assert(reads("1990-12-31T23:59:60Z", INT64_C(662687999999)));
	ck_assert(reads("1990-12-31T15:59:60-08:00", INT64_C(662687999999)));
	ck_assert(reads("1990-12-31T23:59:60.25Z", INT64_C(662687999999)));
	/* Leap seconds end a day of UTC (RFC 3339 section 5.7). */
	ck_assert(!text_to_timestamp_ms("1990-12-31T12:00:60Z", 20, &ms));
	ck_assert(!text_to_timestamp_ms("1990-12-31T23:59:60+01:00", 25, &ms));
	ck_assert(!text_to_timestamp_ms("1990-12-31T23:59:61Z", 20, &ms));
}
END_TEST

START_TEST(what_is_no_timestamp_is_refused)
{
	static const char *const BAD[] = {"",
	                                  "2026-01-01",
	                                  "2026-01-01T00:00:00",
	                                  "2026-13-01T00:00:00Z",
	                                  "2026-00-01T00:00:00Z",
	                                  "2026-02-29T00:00:00Z",
	                                  "1900-02-29T00:00:00Z",
	                                  "2026-01-01T24:00:00Z",
	                                  "2026-01-01T00:60:00Z",
	                                  "2026-01-01T00:00:00.Z",
	                                  "2026-01-01T00:00:00.0123456789Z",
	                                  "2026-01-01T00:00:00+24:00",
	                                  "2026-01-01T00:00:00+01:60",
	                                  "2026-01-01T00:00:00+0100",
	                                  "2026-01-01T00:00:00Zx",
	                                  "+026-01-01T00:00:00Z",
	                                  "2026-1-01T00:00:00Z",
	                                  "2026-01-32T00:00:00Z"};
	int64_t ms;
	for (size_t i = 0; i < COUNT(BAD); i++)
		ck_assert_msg(!text_to_timestamp_ms(BAD[i], strlen(BAD[i]), &ms), "'%s' is refused", BAD[i]);
}
END_TEST

START_TEST(timestamps_written_read_back_the_same)
{
	char text[TEXT_TIMESTAMP_MAX];
	for (int64_t ms = INT64_C(-62167219200000); ms <= INT64_C(253402300799999);
	     ms += INT64_C(3155695234567)) {
		size_t length = text_from_timestamp_ms(ms, text);
		ck_assert_uint_eq(length, strlen(text));
		ck_assert_msg(reads(text, ms), "%s", text);
	}
	text_from_timestamp_ms(INT64_MIN, text);
	ck_assert_str_eq(text, "0000-01-01T00:00:00Z");
	text_from_timestamp_ms(INT64_MAX, text);
	ck_assert_str_eq(text, "9999-12-31T23:59:59.999Z");
}
END_TEST

START_TEST(base64_has_the_vectors_of_rfc_4648)
{
	static const char *const PLAIN[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
	static const char *const CODED[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
	for (size_t i = 0; i < COUNT(PLAIN); i++) {
		char coded[16];
		uint8_t plain[16];
		size_t length, size = strlen(CODED[i]), bare = strcspn(CODED[i], "=");
		ck_assert_uint_eq(text_base64_encode(PLAIN[i], i, coded), size);
		ck_assert_uint_eq(text_base64_encoded_size(i), size);
		ck_assert_mem_eq(coded, CODED[i], size);
		ck_assert(text_base64_decode(CODED[i], size, plain, &length) && length == i &&
		          memcmp(plain, PLAIN[i], i) == 0);
		ck_assert(text_base64_decode(CODED[i], bare, plain, &length) && length == i);
	}
}
END_TEST

START_TEST(base64_takes_both_alphabets_and_refuses_the_rest)
{
	static const char *const BAD[] = {
	    "A", "A===", "====", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Zm 9", "Zm9v\n", "=Zg="};
	uint8_t out[16];
	size_t length;
	ck_assert(text_base64_decode("-_-_", 4, out, &length) && length == 3 && out[0] == 0xFB);
	ck_assert(text_base64_decode("+/+/", 4, out, &length) && length == 3 && out[0] == 0xFB);
	for (size_t i = 0; i < COUNT(BAD); i++)
		ck_assert_msg(!text_base64_decode(BAD[i], strlen(BAD[i]), out, &length), "'%s' is refused", BAD[i]);
}
END_TEST

START_TEST(hexadecimal_is_written_lowercase_and_read_in_either)
{
	uint8_t bytes[4];
	char text[8];
	ck_assert(text_hex_decode("00fFaB10", 8, bytes));
	text_hex_encode(bytes, 4, text);
	ck_assert_mem_eq(text, "00ffab10", 8);
	ck_assert(!text_hex_decode("0", 1, bytes) && !text_hex_decode("0g", 2, bytes) &&
	          text_hex_decode("", 0, bytes));
}
END_TEST

START_TEST(a_growing_string_stops_at_its_ceiling_and_says_so)
{
	struct strbuf buf;
	strbuf_init(&buf, NULL);
	buf.ceiling = 5;
	strbuf_puts(&buf, "12345");
	ck_assert(!buf.is_cut);
	strbuf_putc(&buf, '6');
	ck_assert(buf.is_cut);
	ck_assert_str_eq(buf.data, "12345");
	ck_assert_ptr_null(strbuf_grow(&buf, 1));
	strbuf_printf(&buf, "%d", 7);
	ck_assert_uint_eq(buf.length, 5);
	strbuf_clear(&buf);
	ck_assert(!buf.is_cut && buf.length == 0);
	strbuf_i64(&buf, -42);
	ck_assert_str_eq(buf.data, "-42");
	strbuf_fini(&buf);
}
END_TEST

START_TEST(numbers_and_json_strings_are_written_exactly)
{
	struct strbuf buf;
	struct arena arena;
	arena_init(&arena, 64, SIZE_MAX);
	strbuf_init(&buf, &arena);
	strbuf_i64(&buf, INT64_MIN);
	strbuf_putc(&buf, ' ');
	strbuf_u64(&buf, UINT64_MAX);
	strbuf_putc(&buf, ' ');
	strbuf_json_string(&buf, "\"\\\n\r\t\x01\x1F/\xC3\xA9", 10);
	ck_assert_str_eq(
	    buf.data, "-9223372036854775808 18446744073709551615 \"\\\"\\\\\\n\\r\\t\\u0001\\u001f/\xC3\xA9\"");
	for (int i = 0; i < 1000; i++)
		strbuf_putc(&buf, 'x');
	ck_assert_uint_eq(strlen(buf.data), buf.length);
	arena_fini(&arena);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("text");
	TCase *tests = tcase_create("text");

	tcase_add_test(tests, whole_numbers_stop_at_the_ends_of_their_types);
	tcase_add_test(tests, durations_and_sizes_are_numbers_with_a_unit_and_do_not_overflow);
	tcase_add_test(tests, words_for_true_and_false_are_few);
	tcase_add_test(tests, utf8_is_shortest_form_without_surrogates_up_to_10ffff);
	tcase_add_test(tests, names_have_one_to_64_characters_of_a_small_set);
	tcase_add_test(tests, a_sentence_ends_with_its_full_stop_and_not_with_any_dot);
	tcase_add_test(tests, timestamps_of_rfc_3339_are_read_with_any_offset_and_fraction);
	tcase_add_test(tests, a_leap_second_is_read_as_the_last_millisecond_before_it);
	tcase_add_test(tests, what_is_no_timestamp_is_refused);
	tcase_add_test(tests, timestamps_written_read_back_the_same);
	tcase_add_test(tests, base64_has_the_vectors_of_rfc_4648);
	tcase_add_test(tests, base64_takes_both_alphabets_and_refuses_the_rest);
	tcase_add_test(tests, hexadecimal_is_written_lowercase_and_read_in_either);
	tcase_add_test(tests, a_growing_string_stops_at_its_ceiling_and_says_so);
	tcase_add_test(tests, numbers_and_json_strings_are_written_exactly);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
