/*
 * mail_words: texts of any characters in a message of ASCII.
 */
#include <string.h>

#include "mail/mail_internal.h"

#define PLAIN_MAX 66u /* beside "Subject: ", within the line that RFC 5322 recommends */
#define WORD_MAX                                                                                             \
	39u /* bytes: 52 of base64, and 12 around them, of the 76 that "Subject: " and a word may have */
#define QUOTED_MAX 76u

/* Letters, digits, and what means nothing in a header. */
static bool
is_plain(const char *text)
{
	static const char PLAIN[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -_/.+'!";
	size_t length = strlen(text);

	return length > 0 && length <= PLAIN_MAX && strspn(text, PLAIN) == length && text[0] != ' ' &&
	       text[length - 1] != ' ';
}

static bool
is_continuation(char c)
{
	return ((unsigned char)c & 0xC0) == 0x80;
}

/* Whole characters, so that each word can be shown by itself: RFC 2047 section 5. */
static size_t
word_length(const char *text, size_t length)
{
	size_t end = length < WORD_MAX ? length : WORD_MAX;

	while (end < length && end > 1 && is_continuation(text[end]))
		end--;
	return end;
}

static void
add_word(struct strbuf *out, const char *text, size_t length)
{
	char clean[WORD_MAX], encoded[WORD_MAX / 3 * 4 + 4];

	for (size_t i = 0; i < length; i++)
		clean[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7F ? ' ' : text[i];
	strbuf_puts(out, "=?UTF-8?B?");
	strbuf_add(out, encoded, text_base64_encode(clean, length, encoded));
	strbuf_puts(out, "?=");
}

void
mail_words_add(struct strbuf *out, const char *text)
{
	size_t left = strlen(text);

	if (is_plain(text)) {
		strbuf_puts(out, text);
		return;
	}
	while (left > 0) {
		size_t length = word_length(text, left);
		add_word(out, text, length);
		text += length;
		left -= length;
		if (left > 0)
			strbuf_puts(out, "\r\n ");
	}
}

/* ---- the body ---- */

/* The length of a line end at `text`, 0 if there is none. */
static size_t
line_end(const char *text)
{
	if (text[0] == '\r')
		return text[1] == '\n' ? 2 : 1;
	return text[0] == '\n' ? 1 : 0;
}

/* Blanks at a line's end may be lost on the way. */
static bool
is_literal(const char *at)
{
	bool is_blank = *at == ' ' || *at == '\t';

	if (is_blank)
		return at[1] != '\0' && line_end(at + 1) == 0;
	return *at > ' ' && *at < 0x7F && *at != '=';
}

static void
add_octet(struct strbuf *out, const char *at)
{
	static const char HEX[] = "0123456789ABCDEF";
	unsigned char c = (unsigned char)*at;

	if (is_literal(at)) {
		strbuf_putc(out, *at);
		return;
	}
	strbuf_putc(out, '=');
	strbuf_putc(out, HEX[c >> 4]);
	strbuf_putc(out, HEX[c & 15]);
}

void
mail_quoted_add(struct strbuf *out, const char *text)
{
	size_t column = 0;

	while (*text) {
		size_t end = line_end(text);
		size_t width = is_literal(text) ? 1 : 3;
		if (end > 0) {
			strbuf_puts(out, "\r\n");
			column = 0;
			text += end;
			continue;
		}
		if (column + width > QUOTED_MAX - 1) {
			strbuf_puts(out, "=\r\n");
			column = 0;
		}
		add_octet(out, text++);
		column += width;
	}
	if (column > 0)
		strbuf_puts(out, "\r\n");
}
