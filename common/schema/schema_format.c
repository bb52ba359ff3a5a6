/*
 * schema_format: what the formats of JSON Schema mean here.
 */
#include <string.h>

#include "base/text.h"
#include "schema/schema_internal.h"

#define EMAIL_MAX  254u /* RFC 5321 section 4.5.3.1.3, without the brackets */
#define LOCAL_MAX  64u
#define LABEL_MAX  63u
#define URI_MAX    2048u
#define UUID_BYTES 36u

static const char *const NAMES[] = {
    [SCHEMA_DATE_TIME] = "date-time", [SCHEMA_EMAIL] = "email", [SCHEMA_URI] = "uri", [SCHEMA_UUID] = "uuid"};

enum schema_format
schema_format_find(const char *name)
{
	for (int format = SCHEMA_DATE_TIME; format <= SCHEMA_UUID; format++) {
		if (strcmp(NAMES[format], name) == 0)
			return (enum schema_format)format;
	}
	return SCHEMA_ANY_FORMAT;
}

const char *
schema_format_name(enum schema_format format)
{
	return NAMES[format];
}

static bool
is_alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool
is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool
is_one_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c);
}

/* RFC 5321 dot-string. */
static bool
is_local_part(const char *text, size_t length)
{
	if (length == 0 || length > LOCAL_MAX || text[0] == '.' || text[length - 1] == '.')
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!is_alphanumeric(text[i]) && !is_one_of(text[i], "!#$%&'*+-/=?^_`{|}~."))
			return false;
		if (text[i] == '.' && text[i + 1] == '.')
			return false;
	}
	return true;
}

static bool
is_label(const char *text, size_t length)
{
	if (length == 0 || length > LABEL_MAX || text[0] == '-' || text[length - 1] == '-')
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!is_alphanumeric(text[i]) && text[i] != '-')
			return false;
	}
	return true;
}

static bool
is_domain(const char *text, size_t length)
{
	const char *end = text + length;
	for (;;) {
		const char *dot = memchr(text, '.', (size_t)(end - text));
		if (!is_label(text, (size_t)((dot ? dot : end) - text)))
			return false;
		if (!dot)
			return true;
		text = dot + 1;
	}
}

static bool
is_email(const char *text, size_t length)
{
	const char *at = memrchr(text, '@', length);
	if (!at || length > EMAIL_MAX)
		return false;
	size_t local = (size_t)(at - text);
	return is_local_part(text, local) && is_domain(at + 1, length - local - 1);
}

static size_t
scheme_length(const char *text, size_t length)
{
	size_t i = 0;
	while (i < length && (is_alphanumeric(text[i]) || is_one_of(text[i], "+-.")))
		i++;
	bool begins_well = i > 0 && is_alphanumeric(text[0]) && !(text[0] >= '0' && text[0] <= '9');
	return begins_well && i < length && text[i] == ':' ? i : 0;
}

/* An absolute URI: RFC 3986 section 2 for the characters, section 3.1 for the scheme. */
static bool
is_uri(const char *text, size_t length)
{
	size_t scheme = scheme_length(text, length), hashes = 0;

	if (scheme == 0 || length > URI_MAX)
		return false;
	for (size_t i = scheme + 1; i < length; i++) {
		hashes += text[i] == '#';
		if (text[i] == '%' && (i + 2 >= length || !is_hex(text[i + 1]) || !is_hex(text[i + 2])))
			return false;
		if (!is_alphanumeric(text[i]) && !is_one_of(text[i], "-._~:/?#[]@!$&'()*+,;=%"))
			return false;
	}
	return hashes <= 1;
}

static bool
is_uuid(const char *text, size_t length)
{
	if (length != UUID_BYTES)
		return false;
	for (size_t i = 0; i < length; i++) {
		bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (is_dash ? text[i] != '-' : !is_hex(text[i]))
			return false;
	}
	return true;
}

bool
schema_format_fits(enum schema_format format, const char *text, size_t length)
{
	int64_t ms;
	switch (format) {
	case SCHEMA_DATE_TIME:
		return text_to_timestamp_ms(text, length, &ms);
	case SCHEMA_EMAIL:
		return is_email(text, length);
	case SCHEMA_URI:
		return is_uri(text, length);
	case SCHEMA_UUID:
		return is_uuid(text, length);
	case SCHEMA_ANY_FORMAT:
		break;
	}
	return true;
}
