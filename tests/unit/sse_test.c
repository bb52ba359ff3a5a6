/*
 * sse: server-sent events as the WHATWG standard reads them.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "http/sse.h"

static bool
note(void *arg, const struct sse_event *event)
{
	strbuf_printf(arg, "[%s|%s|%s]", event->id, event->type, event->data ? event->data : "none");
	return strcmp(event->type, "last") != 0;
}

/* What a text is read as, in pieces of any size. */
static void
assert_reads(const char *text, const char *expected, bool goes_on)
{
	for (size_t piece = 1; piece <= strlen(text); piece++) {
		struct strbuf out;
		strbuf_init(&out, NULL);
		strbuf_add(&out, "", 0);
		struct sse *sse = sse_new(64, note, &out);
		bool went_on = true;
		for (size_t at = 0; at < strlen(text) && went_on; at += piece)
			went_on = sse_feed(sse, text + at, strlen(text) - at < piece ? strlen(text) - at : piece);
		ck_assert_str_eq(out.data, expected);
		ck_assert(went_on == goes_on);
		sse_free(sse);
		strbuf_fini(&out);
	}
}

START_TEST(an_event_is_its_lines_up_to_an_empty_one)
{
	assert_reads("id: 7\nevent: a.b\ndata: x\ndata:  y\n\n", "[7|a.b|x\n y]", true);
	assert_reads("data\n\ndata:1\n\n", "[|message|][|message|1]", true);
	assert_reads("\xEF\xBB\xBF"
	             "data: 1\n\n",
	             "[|message|1]", true);
	assert_reads("data: cut off\n", "", true);
}
END_TEST

START_TEST(lines_end_with_either_character_or_both)
{
	assert_reads("id: 1\r\ndata: a\r\n\r\nid: 2\rdata: b\r\rid: 3\ndata: c\n\n",
	             "[1|message|a][2|message|b][3|message|c]", true);
}
END_TEST

START_TEST(an_id_is_kept_and_may_be_said_alone)
{
	assert_reads("id: 4\n\ndata: a\n\n:\nid: 9\n\n: only a comment\n\n",
	             "[4|message|none][4|message|a][9|message|none]", true);
	assert_reads("retry: 250\n\nunknown: x\n\n", "[|message|none][|message|none]", true);
}
END_TEST

START_TEST(reading_ends_when_it_is_told_to_or_passes_its_bound)
{
	assert_reads("event: last\ndata: a\n\ndata: b\n\n", "[|last|a]", false);
	assert_reads(
	    "data: a\n\ndata: 0123456789012345678901234567890123456789012345678901234567890123456789\n\n",
	    "[|message|a]", false);
	assert_reads("data: 01234567890123456789012345678901\ndata: 01234567890123456789012345678901\n\n", "",
	             false);
}
END_TEST

START_TEST(the_pause_is_the_one_said_last)
{
	struct strbuf out;
	strbuf_init(&out, NULL);
	struct sse *sse = sse_new(64, note, &out);

	ck_assert_uint_eq(sse_retry_ms(sse), 0);
	ck_assert(sse_feed(sse, "retry: 250\nretry: x\n\n", 20));
	ck_assert_uint_eq(sse_retry_ms(sse), 250);
	sse_free(sse);
	strbuf_fini(&out);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("sse");
	TCase *tcase = tcase_create("sse");

	tcase_add_test(tcase, an_event_is_its_lines_up_to_an_empty_one);
	tcase_add_test(tcase, lines_end_with_either_character_or_both);
	tcase_add_test(tcase, an_id_is_kept_and_may_be_said_alone);
	tcase_add_test(tcase, reading_ends_when_it_is_told_to_or_passes_its_bound);
	tcase_add_test(tcase, the_pause_is_the_one_said_last);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
