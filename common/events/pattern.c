/*
 * pattern: see pattern.h. With one "**" at most, the words before it are matched from the front and those
 * behind it from the back, so nothing is ever tried twice.
 */
#include "events/pattern.h"

#include <string.h>

/* ---- checking ---- */

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_word_byte(char c)
{
	return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static struct status
word_check(const char *word, size_t length, bool is_first)
{
	if (length == 0)
		return status_make(STATUS_INVALID_ARGUMENT, "must be words joined by single dots");
	for (size_t i = 0; i < length; i++) {
		if (!is_word_byte(word[i]))
			return status_make(STATUS_INVALID_ARGUMENT, "words must be of letters, digits, \"_\" and \"-\"");
	}
	if (is_first && !is_letter(word[0]))
		return status_make(STATUS_INVALID_ARGUMENT, "must begin with a letter");
	return status_ok_value();
}

static struct status
length_check(size_t length)
{
	if (length == 0 || length > EVENT_TYPE_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "must have 1 to %u characters", EVENT_TYPE_MAX);
	return status_ok_value();
}

static struct status
pattern_word_check(const char *word, size_t length, bool is_first, unsigned *double_stars)
{
	bool is_double = length == 2 && memcmp(word, "**", 2) == 0;

	*double_stars += is_double;
	if (*double_stars > 1)
		return status_make(STATUS_INVALID_ARGUMENT, "\"**\" may occur once only");
	if (is_double || (length == 1 && *word == '*'))
		return status_ok_value();
	if (length > 0 && memchr(word, '*', length))
		return status_make(STATUS_INVALID_ARGUMENT,
		                   "\"*\" and \"**\" must stand for whole words, such as in \"file.*\"");
	return word_check(word, length, is_first);
}

static struct status
words_check(const char *text, size_t length, bool is_pattern)
{
	const char *at = text, *end = text + length;
	unsigned double_stars = 0;
	struct status st = length_check(length);

	while (status_ok(&st)) {
		const char *dot = memchr(at, '.', (size_t)(end - at));
		const char *stop = dot ? dot : end;
		size_t size = (size_t)(stop - at);
		st = is_pattern ? pattern_word_check(at, size, at == text, &double_stars)
		                : word_check(at, size, at == text);
		if (!dot)
			break;
		at = dot + 1;
	}
	return st;
}

struct status
event_type_check(const char *type, size_t length)
{
	return words_check(type, length, false);
}

struct status
pattern_check(const char *pattern, size_t length)
{
	return words_check(pattern, length, true);
}

/* ---- matching ---- */

static size_t
word_length(const char *at)
{
	return strcspn(at, ".");
}

static const char *
next_word(const char *at)
{
	at += word_length(at);
	return *at ? at + 1 : NULL;
}

static size_t
word_count(const char *at)
{
	size_t count = 0;
	for (; at; at = next_word(at))
		count++;
	return count;
}

static bool
word_is_double_star(const char *word)
{
	return word[0] == '*' && word[1] == '*';
}

static bool
word_matches(const char *pattern, const char *word)
{
	size_t length = word_length(pattern);
	return pattern[0] == '*' || (length == word_length(word) && memcmp(pattern, word, length) == 0);
}

bool
pattern_matches(const char *pattern, const char *type)
{
	while (pattern && type) {
		if (word_is_double_star(pattern)) {
			size_t behind = word_count(pattern) - 1, left = word_count(type);
			if (left < behind + 1)
				return false;
			for (; left > behind; left--)
				type = next_word(type);
		} else {
			if (!word_matches(pattern, type))
				return false;
			type = next_word(type);
		}
		pattern = next_word(pattern);
	}
	return !pattern && !type;
}

/* ---- what an index can tell ---- */

void
pattern_range(const char *pattern, struct pattern_range *out)
{
	size_t length = strcspn(pattern, "*");

	memset(out, 0, sizeof(*out));
	memcpy(out->from, pattern, length);
	out->is_exact = pattern[length] == '\0';
	if (!out->is_exact && length > 0) {
		memcpy(out->to, pattern, length);
		out->to[length - 1] = '.' + 1; /* a literal prefix ends with its dot */
	}
}
