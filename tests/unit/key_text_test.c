/*
 * key_text: what is a key, and what a slip of the finger makes of it.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/key_text.h"

static const char DIGITS[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static struct seeded_random seeded;

static void
setup(void)
{
	seeded_random_init(&seeded, 42);
}

static size_t
make(const char *prefix, const char *environment, char out[KEY_TEXT_MAX], struct key_text *parts)
{
	key_text_make(prefix, environment, &seeded.random, out, parts);
	return strlen(out);
}

static bool
is_key(const char *text)
{
	struct key_text parts;
	return key_text_parse(text, strlen(text), &parts);
}

START_TEST(a_made_key_is_read_back_as_its_parts)
{
	char text[KEY_TEXT_MAX];
	struct key_text made, read;
	size_t length = make("cb", "live", text, &made);

	ck_assert_uint_eq(length, 8 + KEY_PUBLIC_ID + 1 + KEY_SECRET + KEY_CHECKSUM);
	ck_assert(key_text_parse(text, length, &read));
	ck_assert_str_eq(read.public_id, made.public_id);
	ck_assert_str_eq(read.start, made.start);
	ck_assert_int_eq(strncmp(text, "cb_live_", 8), 0);
	ck_assert_int_eq(strncmp(text + 8, read.public_id, KEY_PUBLIC_ID), 0);
	ck_assert_int_eq(strncmp(text, read.start, strlen(read.start)), 0);
	ck_assert_uint_eq(strlen(read.start), 8 + KEY_PUBLIC_ID);
}
END_TEST

START_TEST(labels_of_the_longest_and_shortest_kind_fit)
{
	char text[KEY_TEXT_MAX];
	struct key_text parts;

	(void)make("abcdefghijkl", "0123456789ab", text, &parts);
	ck_assert(is_key(text));
	ck_assert_int_eq(strncmp(text, parts.start, strlen(parts.start)), 0);
	(void)make("a", "1", text, &parts);
	ck_assert(is_key(text));
}
END_TEST

/* 62^6 is more than 2^32, so six digits hold every checksum and a changed digit is another number. */
START_TEST(no_key_with_one_character_replaced_is_a_key)
{
	char text[KEY_TEXT_MAX];
	struct key_text parts;
	size_t tried = 0;

	for (int k = 0; k < 50; k++) {
		size_t length = make("cb", "live", text, &parts);
		for (size_t at = 0; at < length; at++) {
			const char right = text[at];
			for (int c = 1; c < 256; c++) {
				text[at] = (char)c;
				if (text[at] == right)
					continue;
				ck_assert_msg(!is_key(text), "%s", text);
				tried++;
			}
			text[at] = right;
		}
	}
	ck_assert_uint_eq(tried, 50 * 54 * 254);
}
END_TEST

START_TEST(no_key_with_two_neighbours_swapped_is_a_key)
{
	char text[KEY_TEXT_MAX];
	struct key_text parts;

	for (int k = 0; k < 2000; k++) {
		size_t length = make("cb", "live", text, &parts);
		for (size_t at = 0; at + 1 < length; at++) {
			char first = text[at], second = text[at + 1];
			if (first == second)
				continue;
			text[at] = second;
			text[at + 1] = first;
			ck_assert_msg(!is_key(text), "%s", text);
			text[at] = first;
			text[at + 1] = second;
		}
	}
}
END_TEST

START_TEST(a_key_cut_short_or_prolonged_is_none)
{
	char text[KEY_TEXT_MAX + 2] = {0};
	struct key_text parts;
	size_t length = make("cb", "live", text, &parts);

	for (size_t cut = 0; cut < length; cut++)
		ck_assert(!key_text_parse(text, cut, &parts));
	for (const char *digit = DIGITS; *digit; digit++) {
		text[length] = *digit;
		ck_assert(!is_key(text));
	}
	/* the length rules, not the NUL */
	text[length] = '\0';
	ck_assert(!key_text_parse(text, length + 1, &parts));
}
END_TEST

START_TEST(what_resembles_a_key_is_none)
{
	static const char *const others[] = {"",       "_", "__", "___", "cb_live_", "cb_live_nonsense",
	                                     "Bearer", NULL};
	char text[KEY_TEXT_MAX], other[KEY_TEXT_MAX + 8];
	struct key_text parts;

	for (size_t i = 0; others[i]; i++)
		ck_assert_msg(!is_key(others[i]), "%s", others[i]);
	(void)make("cb", "live", text, &parts);
	snprintf(other, sizeof(other), " %s", text);
	ck_assert(!is_key(other));
	snprintf(other, sizeof(other), "%s\n", text);
	ck_assert(!is_key(other));
	snprintf(other, sizeof(other), "_%s", text + 2);
	ck_assert(!is_key(other));
}
END_TEST

START_TEST(ten_thousand_keys_have_ten_thousand_public_ids)
{
	enum { COUNT = 10000 };
	static char ids[COUNT][KEY_PUBLIC_ID + 1];
	char text[KEY_TEXT_MAX];
	struct key_text parts;

	for (size_t i = 0; i < COUNT; i++) {
		key_text_make("cb", "live", random_system(), text, &parts);
		memcpy(ids[i], parts.public_id, sizeof(ids[i]));
	}
	qsort(ids, COUNT, sizeof(ids[0]), (int (*)(const void *, const void *))strcmp);
	for (size_t i = 1; i < COUNT; i++)
		ck_assert_str_ne(ids[i - 1], ids[i]);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("key_text");
	TCase *tcase = tcase_create("key_text");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, a_made_key_is_read_back_as_its_parts);
	tcase_add_test(tcase, labels_of_the_longest_and_shortest_kind_fit);
	tcase_add_test(tcase, no_key_with_one_character_replaced_is_a_key);
	tcase_add_test(tcase, no_key_with_two_neighbours_swapped_is_a_key);
	tcase_add_test(tcase, a_key_cut_short_or_prolonged_is_none);
	tcase_add_test(tcase, what_resembles_a_key_is_none);
	tcase_add_test(tcase, ten_thousand_keys_have_ten_thousand_public_ids);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
