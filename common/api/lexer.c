/*
 * lexer: see lexer.h. One pass, no allocation but for decoded strings.
 */
#include "lexer.h"

#include <stdint.h>
#include <string.h>

#include "base/text.h"

void
lexer_init(struct lexer *lexer, const char *text, size_t length)
{
	lexer->start = lexer->at = text;
	lexer->end = text + length;
	lexer->error = NULL;
}

static bool
fail(struct lexer *lexer, const char *error)
{
	if (!lexer->error)
		lexer->error = error;
	return false;
}

char
lexer_peek(struct lexer *lexer)
{
	if (lexer->error)
		return '\0';
	while (lexer->at < lexer->end &&
	       (*lexer->at == ' ' || *lexer->at == '\n' || *lexer->at == '\t' || *lexer->at == '\r'))
		lexer->at++;
	return lexer->at < lexer->end ? *lexer->at : '\0';
}

bool
lexer_take(struct lexer *lexer, char c, const char *expected)
{
	if (lexer_peek(lexer) != c || lexer->at == lexer->end)
		return fail(lexer, expected);
	lexer->at++;
	return true;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Four hexadecimal digits at `at`, or -1. */
static int
code_unit(const char *at, const char *end)
{
	int value = 0;
	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(at[i]);
		if (digit < 0)
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

/* Passes an escape; `at` is behind the backslash. Returns where it ends, NULL when it is none. */
static const char *
pass_escape(struct lexer *lexer, const char *at, struct token *token)
{
	if (at < lexer->end && *at != '\0' && strchr("\"\\/bfnrt", *at))
		return at + 1;
	int unit = at < lexer->end && *at == 'u' ? code_unit(at + 1, lexer->end) : -1;
	if (unit < 0) {
		fail(lexer, "a backslash must be followed by one of \"\\/bfnrt or by u and four hexadecimal digits");
		return NULL;
	}
	if (unit == 0)
		token->fault = "must not contain \\u0000";
	if (unit < 0xD800 || unit > 0xDFFF)
		return at + 5;
	int low = unit <= 0xDBFF && lexer->end - at >= 11 && at[5] == '\\' && at[6] == 'u'
	              ? code_unit(at + 7, lexer->end)
	              : -1;
	if (low >= 0xDC00 && low <= 0xDFFF)
		return at + 11;
	token->fault = "must not contain one half of a surrogate pair";
	return at + 5;
}

bool
lexer_any_string(struct lexer *lexer, struct token *out)
{
	if (!lexer_take(lexer, '"', "expected a string"))
		return false;
	const char *at = lexer->at;
	bool has_high = false;

	*out = (struct token){.text = at};
	while (at < lexer->end && *at != '"') {
		unsigned char c = (unsigned char)*at;
		if (c < 0x20) {
			lexer->at = at;
			return fail(lexer, "control characters in strings must be escaped");
		}
		has_high |= c >= 0x80;
		at++;
		if (c != '\\')
			continue;
		out->has_escapes = true;
		lexer->at = at - 1;
		at = pass_escape(lexer, at, out);
		if (!at)
			return false;
	}
	if (at == lexer->end)
		return fail(lexer, "a string does not end");
	out->length = (size_t)(at - out->text);
	if (has_high && !text_is_utf8(out->text, out->length))
		out->fault = "must be UTF-8";
	lexer->at = at + 1;
	return true;
}

bool
lexer_string(struct lexer *lexer, struct token *out)
{
	if (!lexer_any_string(lexer, out))
		return false;
	if (!out->fault)
		return true;
	lexer->at = out->text;
	return fail(lexer, out->fault);
}

static const char *
pass_digits(const char *at, const char *end)
{
	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at;
}

bool
lexer_number(struct lexer *lexer, struct token *out)
{
	lexer_peek(lexer);
	const char *at = lexer->at, *end = lexer->end;
	const char *digits;

	at += at < end && *at == '-';
	digits = at;
	at = pass_digits(at, end);
	if (at == digits || (*digits == '0' && at - digits > 1))
		return fail(lexer, "expected a value");
	out->is_integer = true;
	if (at < end && *at == '.') {
		digits = ++at;
		at = pass_digits(at, end);
		if (at == digits)
			return fail(lexer, "a fraction needs digits");
		out->is_integer = false;
	}
	if (at < end && (*at == 'e' || *at == 'E')) {
		at++;
		at += at < end && (*at == '+' || *at == '-');
		digits = at;
		at = pass_digits(at, end);
		if (at == digits)
			return fail(lexer, "an exponent needs digits");
		out->is_integer = false;
	}
	out->text = lexer->at;
	out->length = (size_t)(at - lexer->at);
	out->has_escapes = false;
	out->fault = NULL;
	lexer->at = at;
	return true;
}

bool
lexer_word(struct lexer *lexer, const char *word)
{
	size_t length = strlen(word);
	lexer_peek(lexer);
	if ((size_t)(lexer->end - lexer->at) < length || memcmp(lexer->at, word, length) != 0)
		return fail(lexer, "expected a value");
	lexer->at += length;
	return true;
}

static void
note_fault(struct token *whole, const struct token *part)
{
	if (!whole->fault)
		whole->fault = part->fault;
}

/* A name and its colon. */
static bool
skip_name(struct lexer *lexer, struct token *whole)
{
	struct token name;
	if (!lexer_any_string(lexer, &name) || !lexer_take(lexer, ':', "expected ':'"))
		return false;
	note_fault(whole, &name);
	return true;
}

static bool
skip_members(struct lexer *lexer, char close, unsigned depth, struct token *whole)
{
	struct token value;

	lexer->at++;
	if (lexer_peek(lexer) == close) {
		lexer->at++;
		return true;
	}
	for (;;) {
		if ((close == '}' && !skip_name(lexer, whole)) || !lexer_skip(lexer, depth, &value))
			return false;
		note_fault(whole, &value);
		if (lexer_peek(lexer) != ',')
			return lexer_take(lexer, close, close == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
		lexer->at++;
	}
}

bool
lexer_skip(struct lexer *lexer, unsigned depth, struct token *out)
{
	char c = lexer_peek(lexer);
	const char *from = lexer->at;
	struct token whole = {.text = from}, part = {.text = from};
	bool is_ok;

	if (c == '{' || c == '[')
		is_ok = depth > 0 ? skip_members(lexer, c == '{' ? '}' : ']', depth - 1, &part)
		                  : fail(lexer, "values are nested too deeply");
	else if (c == '"')
		is_ok = lexer_any_string(lexer, &part);
	else if (c == 't' || c == 'f' || c == 'n')
		is_ok = lexer_word(lexer, c == 't' ? "true" : c == 'f' ? "false" : "null");
	else
		is_ok = lexer_number(lexer, &part);
	whole.length = (size_t)(lexer->at - from);
	whole.fault = part.fault;
	*out = whole;
	return is_ok;
}

bool
lexer_end(struct lexer *lexer)
{
	lexer_peek(lexer);
	if (!lexer->error && lexer->at < lexer->end)
		fail(lexer, "something follows the value");
	return !lexer->error;
}

void
lexer_position(const struct lexer *lexer, unsigned *line, unsigned *column)
{
	*line = *column = 1;
	for (const char *p = lexer->start; p < lexer->at; p++) {
		(*column)++;
		if (*p == '\n') {
			(*line)++;
			*column = 1;
		}
	}
}

static char *
put_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xC0 | c >> 6);
		*out++ = (char)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		*out++ = (char)(0xE0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 63));
		*out++ = (char)(0x80 | (c & 63));
	} else {
		*out++ = (char)(0xF0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 63));
		*out++ = (char)(0x80 | (c >> 6 & 63));
		*out++ = (char)(0x80 | (c & 63));
	}
	return out;
}

/* Decodes the escape behind a backslash at *at, which was checked when the token was passed. */
static char *
decode_escape(const char **at, const char *end, char *out)
{
	static const char FROM[] = "\"\\/bfnrt", TO[] = "\"\\/\b\f\n\r\t";
	char c = *(*at)++;
	if (c != 'u') {
		*out = TO[strchr(FROM, c) - FROM];
		return out + 1;
	}
	uint32_t unit = (uint32_t)code_unit(*at, end);
	*at += 4;
	if (unit >= 0xD800 && unit <= 0xDBFF) {
		uint32_t low = (uint32_t)code_unit(*at + 2, end);
		unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
		*at += 6;
	}
	return put_utf8(out, unit);
}

const char *
token_decode(const struct token *token, struct arena *arena, size_t *length)
{
	/* Decoding never lengthens. */
	char *text = arena_try(arena, token->length + 1, 1);
	if (!text)
		return NULL;
	if (!token->has_escapes) {
		memcpy(text, token->text, token->length);
		*length = token->length;
		return text;
	}
	char *out = text;
	const char *end = token->text + token->length;
	for (const char *at = token->text; at < end;) {
		if (*at != '\\') {
			*out++ = *at++;
			continue;
		}
		at++;
		out = decode_escape(&at, end, out);
	}
	*out = '\0';
	*length = (size_t)(out - text);
	return text;
}
