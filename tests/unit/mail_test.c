/*
 * mail: what is written is what was meant, and nothing that comes from outside adds to it.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "mail/mail_internal.h"

static struct arena arena;
static struct strbuf out;
static struct mail_box sender;
static struct mail_message message;

static void
setup(void)
{
	arena_init(&arena, 4096, 64u << 20);
	strbuf_init(&out, &arena);
	sender = (struct mail_box){.address = "corbel@example.com"};
	message = (struct mail_message){.id = "mail_1",
	                                .from = &sender,
	                                .to = "ops@example.com",
	                                .subject = "Hello",
	                                .text = "One line\n",
	                                .date_ms = INT64_C(1769853599123)};
}

static void
teardown(void)
{
	arena_fini(&arena);
}

static void
assert_refused(void)
{
	struct status st = mail_write(&message, &out);
	ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
}

START_TEST(a_plain_message_is_written_as_it_is)
{
	ck_assert(mail_write(&message, &out).code == STATUS_OK);
	ck_assert_str_eq(
	    out.data,
	    "Date: Sat, 31 Jan 2026 09:59:59 +0000\r\nFrom: corbel@example.com\r\nTo: ops@example.com\r\n"
	    "Message-ID: <mail_1@example.com>\r\nSubject: Hello\r\nAuto-Submitted: auto-generated\r\n"
	    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n\r\nOne line\r\n");
}
END_TEST

START_TEST(a_text_that_is_not_plain_becomes_encoded_words_of_whole_characters)
{
	static const char *const TEXTS[] = {"Grüße",
	                                    "=?UTF-8?B?SGk=?=",
	                                    "a\r\nBcc: c@example.com",
	                                    " blank ",
	                                    "",
	                                    "ääääääääääääääääääääääääääääääääääääääääääääääääääää",
	                                    "x€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€"};

	for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
		char decoded[512] = "", *end = decoded;
		strbuf_clear(&out);
		strbuf_putc(&out, '|');
		mail_words_add(&out, TEXTS[i]);
		for (const char *word = out.data + 1; *word;) {
			size_t size, length = strcspn(word, "\r");
			ck_assert_uint_le(length, 75);
			ck_assert(strncmp(word, "=?UTF-8?B?", 10) == 0 && strncmp(word + length - 2, "?=", 2) == 0);
			ck_assert(text_base64_decode(word + 10, length - 12, (uint8_t *)end, &size));
			ck_assert_msg(text_is_utf8(end, size), "%s", word);
			end += size;
			word += length;
			if (*word)
				ck_assert(strncmp(word, "\r\n ", 3) == 0 && word[3]);
			word += *word ? 3 : 0;
		}
		*end = '\0';
		for (size_t c = 0; TEXTS[i][c]; c++)
			ck_assert_int_eq(decoded[c], (unsigned char)TEXTS[i][c] < ' ' ? ' ' : TEXTS[i][c]);
	}
}
END_TEST

START_TEST(a_body_is_quoted_so_that_no_server_changes_it)
{
	static const struct {
		const char *text, *quoted;
	} BODIES[] = {{"", ""},
	              {"a=b", "a=3Db\r\n"},
	              {"x \ny\t\r\nz ", "x=20\r\ny=09\r\nz=20\r\n"},
	              {"a b\n\n.\n", "a b\r\n\r\n.\r\n"},
	              {"one\rtwo", "one\r\ntwo\r\n"},
	              {"\xC3\xA9", "=C3=A9\r\n"}};

	for (size_t i = 0; i < sizeof(BODIES) / sizeof(BODIES[0]); i++) {
		strbuf_clear(&out);
		strbuf_puts(&out, "");
		mail_quoted_add(&out, BODIES[i].text);
		ck_assert_str_eq(out.data, BODIES[i].quoted);
	}
}
END_TEST

START_TEST(a_long_line_is_broken_within_76_characters)
{
	char text[1001];

	memset(text, '=', 1000);
	text[1000] = '\0';
	mail_quoted_add(&out, text);
	for (const char *line = out.data; *line; line += strcspn(line, "\n") + 1)
		ck_assert_uint_le(strcspn(line, "\r"), 76);
}
END_TEST

START_TEST(what_cannot_be_sent_is_refused)
{
	static const char *const ADDRESSES[] = {"",
	                                        "ops",
	                                        "@example.com",
	                                        "ops@",
	                                        "a@b@c",
	                                        "a b@example.com",
	                                        "a@example.com>\r\nRCPT TO:<b@example.com",
	                                        "a..b@example.com",
	                                        ".a@example.com",
	                                        "a@example..com",
	                                        "a@example.com.",
	                                        "a@[127.0.0.1]",
	                                        "\"a b\"@example.com",
	                                        "\xC3\xA4@example.com"};

	for (size_t i = 0; i < sizeof(ADDRESSES) / sizeof(ADDRESSES[0]); i++) {
		message.to = ADDRESSES[i];
		assert_refused();
	}
	message.to = "ops@example.com";
	message.id = "a>\r\nBcc: x";
	assert_refused();
	message.id = "mail_1";
	message.subject = "\xFF";
	assert_refused();
}
END_TEST

START_TEST(a_message_is_bounded)
{
	char *text = arena_alloc(&arena, MAIL_BYTES_MAX + 1);

	memset(text, 'a', MAIL_BYTES_MAX);
	message.text = text;
	assert_refused();
}
END_TEST

START_TEST(a_sender_has_a_name_or_none)
{
	struct mail_box box;

	ck_assert(mail_box_parse("a@example.com", &box).code == STATUS_OK);
	ck_assert_str_eq(box.address, "a@example.com");
	ck_assert_str_eq(box.name, "");
	ck_assert(mail_box_parse("Ärzte & Co <a@example.com>", &box).code == STATUS_OK);
	ck_assert_str_eq(box.address, "a@example.com");
	ck_assert_str_eq(box.name, "Ärzte & Co");
	ck_assert(mail_box_parse("A <a@example.com> b", &box).code != STATUS_OK);
	ck_assert(mail_box_parse("A <a@example.com", &box).code != STATUS_OK);
	ck_assert(mail_box_parse("A\r\nBcc: <a@example.com>", &box).code != STATUS_OK);
	ck_assert(mail_box_parse("", &box).code != STATUS_OK);
}
END_TEST

START_TEST(a_url_is_one_of_smtp)
{
	ck_assert(mail_check_url("smtp://user:pass@mail.example.com:587/corbel.example.com").code == STATUS_OK);
	ck_assert(mail_check_url("smtps://mail.example.com").code == STATUS_OK);
	ck_assert(mail_check_url("http://mail.example.com").code == STATUS_INVALID_ARGUMENT);
	ck_assert(mail_check_url("mail.example.com").code == STATUS_INVALID_ARGUMENT);
	ck_assert(mail_check_url("").code == STATUS_INVALID_ARGUMENT);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("mail");
	TCase *tests = tcase_create("mail");
	SRunner *runner;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, a_plain_message_is_written_as_it_is);
	tcase_add_test(tests, a_text_that_is_not_plain_becomes_encoded_words_of_whole_characters);
	tcase_add_test(tests, a_body_is_quoted_so_that_no_server_changes_it);
	tcase_add_test(tests, a_long_line_is_broken_within_76_characters);
	tcase_add_test(tests, what_cannot_be_sent_is_refused);
	tcase_add_test(tests, a_message_is_bounded);
	tcase_add_test(tests, a_sender_has_a_name_or_none);
	tcase_add_test(tests, a_url_is_one_of_smtp);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
