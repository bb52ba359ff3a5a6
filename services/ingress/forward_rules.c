/*
 * forward_rules: see forward_rules.h.
 */
#include "forward_rules.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

#define METHOD_MAX  16u
#define PATTERN_MAX 512u

struct rule {
	char method[METHOD_MAX];
	char pattern[3 * PATTERN_MAX]; /* bytes beyond ASCII as %XX */
	char limit[65];
};

struct forward_rules {
	size_t count;
	struct rule items[];
};

/* ---- plain paths ---- */

static const char HEX[] = "0123456789ABCDEF";

static size_t
put_encoded(char *out, unsigned char byte)
{
	out[0] = '%';
	out[1] = HEX[byte >> 4];
	out[2] = HEX[byte & 15];
	return 3;
}

static bool
is_plain(unsigned char byte)
{
	return byte > ' ' && byte < 0x7F && !strchr("/?#%", byte);
}

/* One byte of the path, or three that encode one; returns how many were read. */
static size_t
read_byte(const char *text, size_t length, unsigned char *byte, bool *was_encoded)
{
	uint8_t decoded;

	*was_encoded = text[0] == '%' && length >= 3 && text_hex_decode(text + 1, 2, &decoded);
	*byte = *was_encoded ? decoded : (unsigned char)text[0];
	return *was_encoded ? 3 : 1;
}

/* `out` has room for three bytes for each of `text`. */
static size_t
segment_plain(const char *text, size_t length, char *out)
{
	size_t written = 0;
	while (length > 0) {
		unsigned char byte;
		bool was_encoded;
		size_t taken = read_byte(text, length, &byte, &was_encoded);
		if (is_plain(byte))
			out[written++] = (char)byte;
		else
			written += put_encoded(out + written, byte);
		text += taken;
		length -= taken;
	}
	return written;
}

static const char *
skip_authority(const char *target)
{
	if (strncasecmp(target, "http://", 7) != 0 && strncasecmp(target, "https://", 8) != 0)
		return target;
	target = strstr(target, "//") + 2;
	return target + strcspn(target, "/?#");
}

char *
forward_plain_path(struct arena *arena, const char *target)
{
	const char *from = skip_authority(target), *end = from + strcspn(from, "?#");
	char *out = arena_alloc_raw(arena, 3 * (size_t)(end - from) + 2);
	size_t length = 0; /* of the segments kept so far, each with its slash before it */
	bool ends_open = true;

	while (from < end) {
		from += *from == '/';
		size_t size = (size_t)(end - from) < strcspn(from, "/") ? (size_t)(end - from) : strcspn(from, "/");
		out[length] = '/';
		size_t plain = segment_plain(from, size, out + length + 1);
		const char *segment = out + length + 1;
		bool is_up = plain == 2 && memcmp(segment, "..", 2) == 0;
		bool is_here = plain == 0 || (plain == 1 && segment[0] == '.');
		if (is_up)
			while (length > 0 && out[--length] != '/') {
			}
		else if (!is_here)
			length += 1 + plain;
		ends_open = is_up || is_here;
		from += size;
	}
	if (length == 0 || ends_open)
		out[length++] = '/';
	out[length] = '\0';
	return out;
}

/* ---- rules ---- */

static void
pattern_plain(const char *text, char *out)
{
	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;
		if (byte < 0x80)
			*out++ = *text;
		else
			out += put_encoded(out, byte);
	}
	*out = '\0';
}

static bool
rule_parse(const char *text, struct rule *rule)
{
	char pattern[PATTERN_MAX];
	int end = 0;

	if (sscanf(text, "%15s %511s = %64s %n", rule->method, pattern, rule->limit, &end) != 3 || text[end])
		return false;
	pattern_plain(pattern, rule->pattern);
	return (pattern[0] == '/' || pattern[0] == '*') && text_is_name(rule->limit, strlen(rule->limit));
}

struct forward_rules *
forward_rules_new(const char *const *texts, const char **bad)
{
	size_t count = 0;
	while (texts[count])
		count++;
	struct forward_rules *rules = mem_alloc(sizeof(*rules) + count * sizeof(struct rule));
	for (; rules->count < count; rules->count++) {
		if (rule_parse(texts[rules->count], &rules->items[rules->count]))
			continue;
		*bad = texts[rules->count];
		forward_rules_free(rules);
		return NULL;
	}
	return rules;
}

void
forward_rules_free(struct forward_rules *rules)
{
	mem_free(rules);
}

const char *
forward_rules_find(const struct forward_rules *rules, const char *method, const char *path)
{
	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *rule = &rules->items[i];
		bool is_method = strcmp(rule->method, "*") == 0 || strcasecmp(rule->method, method) == 0;
		if (is_method && fnmatch(rule->pattern, path, 0) == 0)
			return rule->limit;
	}
	return NULL;
}
