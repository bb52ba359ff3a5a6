/*
 * ratelimit_headers: see ratelimit_headers.h.
 */
#include "http/ratelimit_headers.h"

/* Integers of structured fields have at most 15 digits (RFC 9651 section 3.3.1). */
#define INTEGER_MAX UINT64_C(999999999999999)

/* `name` with what stands before and behind it: ";q=". */
static void
add_parameter(struct strbuf *list, const char *name, uint64_t value)
{
	strbuf_puts(list, name);
	strbuf_u64(list, value > INTEGER_MAX ? INTEGER_MAX : value);
}

/* Bytes at the start that stand for themselves in a string of a structured field: RFC 9651 section 3.3.3. */
static size_t
plain_length(const char *text)
{
	size_t at = 0;
	while (text[at] >= ' ' && text[at] < 0x7F && text[at] != '"' && text[at] != '\\')
		at++;
	return at;
}

static void
add_name(struct strbuf *list, const char *name)
{
	strbuf_puts(list, list->length > 0 ? ", \"" : "\"");
	for (;;) {
		size_t plain = plain_length(name);
		strbuf_add(list, name, plain);
		name += plain;
		if (!*name)
			break;
		if (*name == '"' || *name == '\\') {
			strbuf_putc(list, '\\');
			strbuf_putc(list, *name);
		} else {
			strbuf_putc(list, '?');
		}
		name++;
	}
	strbuf_putc(list, '"');
}

void
ratelimit_policy_add(struct strbuf *list, const char *name, uint64_t quota, uint64_t window_ms)
{
	add_name(list, name);
	add_parameter(list, ";q=", quota);
	if (window_ms >= 1000)
		add_parameter(list, ";w=", window_ms / 1000);
}

void
ratelimit_add(struct strbuf *list, const char *name, uint64_t remaining, uint64_t more_ms)
{
	add_name(list, name);
	add_parameter(list, ";r=", remaining);
	if (more_ms > 0)
		add_parameter(list, ";t=", retry_after_seconds(more_ms));
}

uint64_t
retry_after_seconds(uint64_t ms)
{
	return ms / 1000 + (ms % 1000 != 0);
}
