/*
 * text: character sets, numbers, durations, sizes, base64 and hexadecimal.
 */
#include "base/text.h"

#include <string.h>
#include <strings.h>

/* Well-formed sequences of Unicode 15, table 3-7, as bounds of the second byte. */
static size_t
utf8_sequence(const unsigned char *s, size_t left)
{
	unsigned char c = s[0];
	unsigned char low = 0x80, high = 0xBF;
	size_t need;

	if (c < 0x80)
		return 1;
	if (c >= 0xC2 && c <= 0xDF)
		need = 2;
	else if (c >= 0xE0 && c <= 0xEF)
		need = 3;
	else if (c >= 0xF0 && c <= 0xF4)
		need = 4;
	else
		return 0;
	if (c == 0xE0)
		low = 0xA0;
	else if (c == 0xED)
		high = 0x9F;
	else if (c == 0xF0)
		low = 0x90;
	else if (c == 0xF4)
		high = 0x8F;
	if (left < need || s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < need; i++)
		if ((s[i] & 0xC0u) != 0x80u)
			return 0;
	return need;
}

bool
text_is_utf8(const char *text, size_t length)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t at = 0;

	while (at < length) {
		uint64_t word;
		if (length - at >= sizeof(word)) {
			memcpy(&word, s + at, sizeof(word));
			if (!(word & 0x8080808080808080u)) {
				at += sizeof(word);
				continue;
			}
		}
		size_t step = utf8_sequence(s + at, length - at);
		if (!step)
			return false;
		at += step;
	}
	return true;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || is_digit(c);
}

bool
text_is_name(const char *text, size_t length)
{
	if (length < 1 || length > 64 || !is_name_start(text[0]))
		return false;
	for (size_t i = 1; i < length; i++)
		if (!is_name_start(text[i]) && text[i] != '.' && text[i] != '_' && text[i] != '-')
			return false;
	return true;
}

size_t
text_sentence(const char *text)
{
	for (size_t i = 0; text[i]; i++) {
		bool is_end = text[i] == '.' && strchr(" \n", text[i + 1]); /* the NUL, too */
		bool is_empty_line = text[i] == '\n' && text[i + 1] == '\n';
		if (is_end || is_empty_line)
			return i;
	}
	return strlen(text);
}

bool
text_to_u64(const char *text, size_t length, uint64_t *out)
{
	uint64_t value = 0;

	if (length == 0)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!is_digit(text[i]) || __builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
			return false;
	}
	*out = value;
	return true;
}

bool
text_to_i64(const char *text, size_t length, int64_t *out)
{
	bool is_negative = length > 0 && text[0] == '-';
	uint64_t magnitude;

	if (!text_to_u64(text + is_negative, length - is_negative, &magnitude))
		return false;
	if (magnitude > (uint64_t)INT64_MAX + is_negative)
		return false;
	*out = is_negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
	return true;
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* A number, then the name of a unit of the table (which ends with a NULL name). */
static bool
number_with_unit(const char *text, size_t length, const struct unit *units, uint64_t *out)
{
	size_t digits = 0;
	uint64_t value;

	while (digits < length && is_digit(text[digits]))
		digits++;
	if (!text_to_u64(text, digits, &value))
		return false;
	for (; units->name; units++) {
		if (strlen(units->name) == length - digits &&
		    strncasecmp(units->name, text + digits, length - digits) == 0)
			return !__builtin_mul_overflow(value, units->factor, out);
	}
	return false;
}

bool
text_to_duration_ms(const char *text, size_t length, uint64_t *out_ms)
{
	static const struct unit UNITS[] = {
	    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0},
	};
	return number_with_unit(text, length, UNITS, out_ms);
}

bool
text_to_size_bytes(const char *text, size_t length, uint64_t *out_bytes)
{
	static const struct unit UNITS[] = {
	    {"", 1},           {"k", 1u << 10}, {"kib", 1u << 10}, {"m", 1u << 20},
	    {"mib", 1u << 20}, {"g", 1u << 30}, {"gib", 1u << 30}, {NULL, 0},
	};
	return number_with_unit(text, length, UNITS, out_bytes);
}

bool
text_to_bool(const char *text, size_t length, bool *out)
{
	static const struct {
		const char *word;
		bool value;
	} WORDS[] = {
	    {"true", true}, {"false", false}, {"yes", true}, {"no", false},
	    {"on", true},   {"off", false},   {"1", true},   {"0", false},
	};
	for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
		if (strlen(WORDS[i].word) == length && memcmp(WORDS[i].word, text, length) == 0) {
			*out = WORDS[i].value;
			return true;
		}
	}
	return false;
}

size_t
text_base64_encoded_size(size_t length)
{
	return (length + 2) / 3 * 4;
}

size_t
text_base64_encode(const void *bytes, size_t length, char *out)
{
	static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *in = bytes;
	char *start = out;

	for (; length >= 3; length -= 3, in += 3) {
		*out++ = ALPHABET[in[0] >> 2];
		*out++ = ALPHABET[(in[0] & 3) << 4 | in[1] >> 4];
		*out++ = ALPHABET[(in[1] & 15) << 2 | in[2] >> 6];
		*out++ = ALPHABET[in[2] & 63];
	}
	if (length > 0) {
		unsigned second = length == 2 ? in[1] : 0;
		*out++ = ALPHABET[in[0] >> 2];
		*out++ = ALPHABET[(in[0] & 3u) << 4 | second >> 4];
		*out++ = length == 2 ? ALPHABET[(second & 15) << 2] : '=';
		*out++ = '=';
	}
	return (size_t)(out - start);
}

static int
base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (is_digit(c))
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

bool
text_base64_decode(const char *text, size_t length, uint8_t *out, size_t *out_length)
{
	uint32_t bits = 0;
	unsigned have = 0;
	uint8_t *start = out;

	if (length % 4 == 0 && length > 0 && text[length - 1] == '=') {
		length--;
		if (text[length - 1] == '=')
			length--;
	}
	if (length % 4 == 1)
		return false;
	for (size_t i = 0; i < length; i++) {
		int value = base64_value(text[i]);
		if (value < 0)
			return false;
		bits = bits << 6 | (uint32_t)value;
		have += 6;
		if (have >= 8) {
			have -= 8;
			*out++ = (uint8_t)(bits >> have);
		}
	}
	/* What is left over are padding bits; RFC 4648 section 3.5 lets a decoder insist on zeros. */
	if (bits & ((1u << have) - 1))
		return false;
	*out_length = (size_t)(out - start);
	return true;
}

void
text_hex_encode(const void *bytes, size_t length, char *out)
{
	static const char DIGITS[] = "0123456789abcdef";
	const unsigned char *in = bytes;
	for (size_t i = 0; i < length; i++) {
		out[2 * i] = DIGITS[in[i] >> 4];
		out[2 * i + 1] = DIGITS[in[i] & 15];
	}
}

/* The value of a hexadecimal digit plus one; 0 of what is none. */
static const uint8_t HEX_DIGITS[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

bool
text_hex_decode(const char *text, size_t length, uint8_t *out)
{
	if (length % 2 != 0)
		return false;
	for (size_t i = 0; i < length; i += 2) {
		unsigned high = HEX_DIGITS[(unsigned char)text[i]], low = HEX_DIGITS[(unsigned char)text[i + 1]];
		if (high == 0 || low == 0)
			return false;
		out[i / 2] = (uint8_t)((high - 1) << 4 | (low - 1));
	}
	return true;
}
