/*
 * invalidations and patterns, beside a list of everything that was invalidated and a matcher that tries all.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/random.h"
#include "cached/glob.h"
#include "cached/invalidations.h"

static struct seeded_random seeded;

static void
set_up(void)
{
	seeded_random_init(&seeded, 3);
}

static uint32_t
draw(uint32_t bound)
{
	return (uint32_t)random_below(&seeded.random, bound);
}

/* ---- patterns ---- */

static bool
matches_slowly(const char *pattern, const char *text)
{
	if (*pattern == '\0')
		return *text == '\0';
	if (*pattern == '*')
		return matches_slowly(pattern + 1, text) || (*text && matches_slowly(pattern, text + 1));
	if (*pattern == '?')
		return *text && matches_slowly(pattern + 1, text + 1);
	if (*pattern == '\\')
		pattern++;
	return *text == *pattern && matches_slowly(pattern + 1, text + 1);
}

static void
draw_text(char *text, size_t length, const char *alphabet)
{
	for (size_t i = 0; i < length; i++)
		text[i] = alphabet[draw((uint32_t)strlen(alphabet))];
	text[length] = '\0';
}

static bool
glob_says(const char *pattern, const char *text)
{
	struct glob *glob;
	struct status st = glob_new(pattern, strlen(pattern), &glob);

	ck_assert_msg(status_ok(&st), "%s: %s", pattern, st.message);
	bool is_match = glob_matches(glob, text, strlen(text));
	glob_free(glob);
	return is_match;
}

START_TEST(a_pattern_matches_what_trying_everything_matches)
{
	char pattern[16], text[16];
	unsigned matched = 0;

	for (int i = 0; i < 200000; i++) {
		draw_text(pattern, 1 + draw(8), "ab*?*\\a");
		if (pattern[strlen(pattern) - 1] == '\\')
			strcat(pattern, "*");
		draw_text(text, draw(10), i % 2 ? "ab" : "ab*?\\");
		bool is_match = glob_says(pattern, text);
		ck_assert_msg(is_match == matches_slowly(pattern, text), "%s and %s: %d", pattern, text, is_match);
		matched += is_match;
	}
	ck_assert_uint_gt(matched, 10000);
}
END_TEST

/* One piece of a long text, with some of its bytes taken for any, or one that it does not have. */
START_TEST(a_long_piece_is_found_in_a_long_text_where_it_is_first)
{
	char pattern[GLOB_MAX], text[400], piece[GLOB_RUN_MAX + 1];
	unsigned matched = 0;

	for (int i = 0; i < 20000; i++) {
		size_t length = 1 + draw(GLOB_RUN_MAX), from = draw((uint32_t)(sizeof(text) - 1 - length));
		draw_text(text, sizeof(text) - 1, i % 3 ? "aaaaab" : "abc*?");
		memcpy(piece, text + from, length);
		piece[length] = '\0';
		for (char *c = piece; *c; c++)
			*c = *c == '*' || draw(8) == 0 ? '?' : *c;
		if (draw(3) == 0)
			piece[draw((uint32_t)length)] = 'c';
		snprintf(pattern, sizeof(pattern), "%s*%s*%s", draw(2) ? "a" : "", piece, draw(2) ? "?b" : "");
		bool is_match = glob_says(pattern, text);
		ck_assert_msg(is_match == matches_slowly(pattern, text), "%s and %s: %d", pattern, text, is_match);
		matched += is_match;
	}
	ck_assert_uint_gt(matched, 1000);
	ck_assert_uint_lt(matched, 19000);
}
END_TEST

START_TEST(a_pattern_at_its_bounds_is_taken_and_beyond_them_refused_with_a_reason)
{
	char text[GLOB_MAX + 2];
	struct glob *glob;

	memset(text, 'a', sizeof(text));
	struct status st = glob_new(text, GLOB_MAX, &glob);
	ck_assert(status_ok(&st));
	glob_free(glob);
	ck_assert_int_eq(glob_new(text, GLOB_MAX + 1, &glob).code, STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(glob_new(text, 0, &glob).code, STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(glob_new("a\\", 2, &glob).code, STATUS_INVALID_ARGUMENT);
	text[0] = text[GLOB_RUN_MAX + 1] = '*';
	st = glob_new(text, GLOB_RUN_MAX + 2, &glob);
	ck_assert(status_ok(&st));
	glob_free(glob);
	text[GLOB_RUN_MAX + 1] = 'a';
	text[GLOB_RUN_MAX + 2] = '*';
	st = glob_new(text, GLOB_RUN_MAX + 3, &glob);
	ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(st.message, "between two '*'"));
	memset(text, '*', GLOB_MAX);
	st = glob_new(text, GLOB_MAX, &glob);
	ck_assert(status_ok(&st));
	ck_assert(glob_matches(glob, "anything", 8));
	ck_assert(glob_matches(glob, "", 0));
	glob_free(glob);
}
END_TEST

/* Each '*' could take any part of the key: trying all of them would take longer than the sun lasts. */
START_TEST(no_pattern_takes_exponential_time)
{
	char key[1024], pattern[GLOB_MAX];
	struct glob *glob;

	memset(key, 'a', sizeof(key));
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = i % 2 ? '*' : 'a';
	pattern[sizeof(pattern) - 1] = 'b';
	pattern[0] = '*';
	struct status st = glob_new(pattern, sizeof(pattern), &glob);
	ck_assert(status_ok(&st));
	for (int i = 0; i < 1000; i++)
		ck_assert(!glob_matches(glob, key, sizeof(key)));
	glob_free(glob);
}
END_TEST

/* ---- what was invalidated ---- */

#define EVENTS 3000u

enum kind { ALL, TAG, PREFIX, GLOB, KINDS };

struct event {
	enum kind kind;
	uint64_t sequence;
	char text[32];
};

struct case_key {
	char key[32];
	uint64_t tags[2];
	const char *tag_texts[2];
};

static const char *const TAGS[] = {"red", "green", "blue", "white", "black"};
static const char *const PREFIXES[] = {"a", "a/b", "a/b/", "/a", "b", "a/b/c", "ab", "b//", "/"};
static const char *const GLOBS[] = {"a*", "*c", "a?b*", "*b*", "b/?", "/*/a"};

static bool
is_below(const char *prefix, const char *key)
{
	size_t length = strlen(prefix);

	while (length > 0 && prefix[length - 1] == '/')
		length--;
	return length == 0 || (strncmp(prefix, key, length) == 0 && (key[length] == '/' || key[length] == '\0'));
}

static bool
event_covers(const struct event *event, const struct case_key *key)
{
	switch (event->kind) {
	case TAG:
		return strcmp(key->tag_texts[0], event->text) == 0 || strcmp(key->tag_texts[1], event->text) == 0;
	case PREFIX:
		return is_below(event->text, key->key);
	case GLOB:
		return matches_slowly(event->text, key->key);
	default:
		return true;
	}
}

static bool
covers_slowly(const struct event *events, size_t count, const struct case_key *key, uint64_t version)
{
	for (size_t i = 0; i < count; i++)
		if (version < events[i].sequence && event_covers(&events[i], key))
			return true;
	return false;
}

static struct event
draw_event(uint64_t sequence)
{
	struct event event = {.kind = draw(40) == 0 ? ALL : TAG + draw(3), .sequence = sequence};
	const char *text = event.kind == TAG      ? TAGS[draw(5)]
	                   : event.kind == PREFIX ? PREFIXES[draw(8)]
	                                          : GLOBS[draw(6)];

	if (event.kind == PREFIX && draw(50) == 0)
		text = "/";
	strcpy(event.text, text);
	return event;
}

static void
add_event(struct invalidations *inv, const struct event *event)
{
	size_t length = strlen(event->text);
	struct status st = status_ok_value();

	if (event->kind == ALL)
		invalidations_add_all(inv, event->sequence);
	else if (event->kind == TAG)
		invalidations_add_tag(inv, tag_hash(event->text, length), event->sequence);
	else if (event->kind == PREFIX)
		invalidations_add_prefix(inv, event->text, length, event->sequence);
	else
		st = invalidations_add_glob(inv, event->text, length, event->sequence);
	ck_assert(status_ok(&st));
}

static struct case_key
draw_key(void)
{
	struct case_key key;

	draw_text(key.key, 1 + draw(7), "ab/c/");
	for (int i = 0; i < 2; i++) {
		key.tag_texts[i] = TAGS[draw(5)];
		key.tags[i] = tag_hash(key.tag_texts[i], strlen(key.tag_texts[i]));
	}
	return key;
}

static struct subject
subject_of(const struct case_key *key)
{
	return (struct subject){key->key, strlen(key->key), key->tags, 2};
}

/* Versions near the present: far below, everything is dead. */
static uint64_t
draw_version(uint64_t now)
{
	uint64_t back = draw(3) ? draw(12) : draw(100);
	return back < now ? now - back : 0;
}

START_TEST(what_is_covered_is_what_a_list_of_all_invalidations_covers)
{
	struct invalidations *inv = invalidations_new(1000, 5);
	struct event *events = mem_array(EVENTS, sizeof(*events));
	unsigned covered = 0, asked = 0;

	for (size_t count = 0; count < EVENTS;) {
		events[count] = draw_event(count + 1);
		add_event(inv, &events[count]);
		count++;
		for (int i = 0; i < 20; i++, asked++) {
			struct case_key key = draw_key();
			struct subject subject = subject_of(&key);
			uint64_t version = draw_version(count);
			bool is_covered = invalidations_cover(inv, &subject, version);
			/* Patterns beyond 1024 become a floor far below these versions. */
			ck_assert_msg(is_covered == covers_slowly(events, count, &key, version), "%s at %lu of %zu",
			              key.key, (unsigned long)version, count);
			covered += is_covered;
		}
	}
	ck_assert_uint_gt(covered, asked / 10);
	ck_assert_uint_lt(covered, asked / 10 * 9);
	invalidations_free(inv);
	mem_free(events);
}
END_TEST

START_TEST(what_is_forgotten_for_want_of_room_covers_more_and_never_less)
{
	struct invalidations *inv = invalidations_new(64, 5);
	char tag[16];

	for (uint64_t sequence = 1; sequence <= 10000; sequence++) {
		snprintf(tag, sizeof(tag), "t%u", draw(500));
		invalidations_add_tag(inv, tag_hash(tag, strlen(tag)), sequence);
		uint64_t hash = tag_hash(tag, strlen(tag));
		struct subject hit = {"k", 1, &hash, 1}, other = {"k", 1, NULL, 0};
		ck_assert(invalidations_cover(inv, &hit, sequence - 1));
		ck_assert(!invalidations_cover(inv, &hit, sequence));
		ck_assert(!invalidations_cover(inv, &other, sequence - 1));
		ck_assert(sequence < 200 || invalidations_cover(inv, &other, sequence - 64 - 64));
	}
	ck_assert_uint_lt(invalidations_bytes(inv), 16384);
	invalidations_free(inv);
}
END_TEST

START_TEST(beyond_1024_patterns_the_oldest_covers_everything_older)
{
	struct invalidations *inv = invalidations_new(64, 5);
	struct subject other = {"other", 5, NULL, 0};
	size_t empty = invalidations_bytes(inv);

	for (uint64_t sequence = 1; sequence <= INVALIDATIONS_GLOBS_MAX; sequence++)
		ck_assert(status_ok(&(struct status){invalidations_add_glob(inv, "x*", 2, sequence).code, ""}));
	/* A replica hears of its own once more from the log. */
	invalidations_add_glob(inv, "x*", 2, INVALIDATIONS_GLOBS_MAX);
	ck_assert_uint_eq(invalidations_floor(inv), 0);
	ck_assert(!invalidations_cover(inv, &other, 0));
	invalidations_add_glob(inv, "x*", 2, INVALIDATIONS_GLOBS_MAX + 1);
	ck_assert_uint_eq(invalidations_floor(inv), 1);
	ck_assert(invalidations_cover(inv, &other, 0));
	ck_assert(!invalidations_cover(inv, &other, 1));
	ck_assert_uint_gt(invalidations_bytes(inv), empty + 1024 * 16);
	invalidations_forget(inv, INVALIDATIONS_GLOBS_MAX + 1);
	ck_assert_uint_eq(invalidations_bytes(inv), empty);
	invalidations_free(inv);
}
END_TEST

START_TEST(what_is_widened_covers_all_that_is_older_and_takes_no_memory)
{
	struct invalidations *inv = invalidations_new(64, 5);
	struct subject other = {"other", 5, NULL, 0};
	size_t empty = invalidations_bytes(inv);

	invalidations_add_tag(inv, 7, 10);
	invalidations_add_prefix(inv, "a", 1, 11);
	invalidations_add_glob(inv, "x*", 2, 12);
	ck_assert(!invalidations_cover(inv, &other, 9));
	invalidations_widen(inv);
	ck_assert_uint_eq(invalidations_bytes(inv), empty);
	ck_assert(invalidations_cover(inv, &other, 11));
	ck_assert(!invalidations_allow(inv, &other, 11));
	ck_assert(!invalidations_cover(inv, &other, 12));
	ck_assert(invalidations_allow(inv, &other, 12));
	invalidations_free(inv);
}
END_TEST

START_TEST(a_fill_from_before_what_was_forgotten_is_refused)
{
	struct invalidations *inv = invalidations_new(64, 5);
	struct subject subject = {"k", 1, NULL, 0};
	uint64_t red = tag_hash("red", 3);

	invalidations_add_tag(inv, red, 10);
	ck_assert(invalidations_allow(inv, &subject, 5));
	ck_assert(!invalidations_allow(inv, &(struct subject){"k", 1, &red, 1}, 9));
	ck_assert(invalidations_allow(inv, &(struct subject){"k", 1, &red, 1}, 10));
	invalidations_forget(inv, 20);
	ck_assert(!invalidations_allow(inv, &subject, 19));
	ck_assert(invalidations_allow(inv, &subject, 20));
	ck_assert(!invalidations_cover(inv, &(struct subject){"k", 1, &red, 1}, 5));
	invalidations_free(inv);
}
END_TEST

/* As deep as a key can be: the 32nd segment and all below it. */
START_TEST(a_prefix_deeper_than_32_segments_covers_what_its_32_cover)
{
	struct invalidations *inv = invalidations_new(64, 5);
	char deep[129], shallow[63];

	for (size_t i = 0; i < sizeof(deep); i++)
		deep[i] = i % 2 ? '/' : 'd';
	memcpy(shallow, deep, 61);
	invalidations_add_prefix(inv, deep, 101, 7);
	ck_assert(invalidations_cover(inv, &(struct subject){deep, 65, NULL, 0}, 6));
	ck_assert(invalidations_cover(inv, &(struct subject){deep, 129, NULL, 0}, 6));
	ck_assert(invalidations_cover(inv, &(struct subject){deep, 63, NULL, 0}, 6));
	ck_assert(!invalidations_cover(inv, &(struct subject){shallow, 61, NULL, 0}, 6));
	invalidations_free(inv);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache_invalidations");
	TCase *tcase = tcase_create("invalidations");

	tcase_add_checked_fixture(tcase, set_up, NULL);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, a_pattern_matches_what_trying_everything_matches);
	tcase_add_test(tcase, a_long_piece_is_found_in_a_long_text_where_it_is_first);
	tcase_add_test(tcase, a_pattern_at_its_bounds_is_taken_and_beyond_them_refused_with_a_reason);
	tcase_add_test(tcase, no_pattern_takes_exponential_time);
	tcase_add_test(tcase, what_is_covered_is_what_a_list_of_all_invalidations_covers);
	tcase_add_test(tcase, what_is_forgotten_for_want_of_room_covers_more_and_never_less);
	tcase_add_test(tcase, beyond_1024_patterns_the_oldest_covers_everything_older);
	tcase_add_test(tcase, what_is_widened_covers_all_that_is_older_and_takes_no_memory);
	tcase_add_test(tcase, a_fill_from_before_what_was_forgotten_is_refused);
	tcase_add_test(tcase, a_prefix_deeper_than_32_segments_covers_what_its_32_cover);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
