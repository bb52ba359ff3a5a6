/*
 * ratelimit_headers: see ratelimit_headers.h.
 */
#include "http/ratelimit_headers.h"

/* Integers of structured fields have at most 15 digits (RFC 9651 section 3.3.1). */
#define INTEGER_MAX UINT64_C(999999999999999)

static void
add_parameter(struct strbuf *list, const char *name, uint64_t value)
{
	strbuf_putc(list, ';');
	strbuf_puts(list, name);
	strbuf_putc(list, '=');
	strbuf_u64(list, value > INTEGER_MAX ? INTEGER_MAX : value);
}

static void
add_name(struct strbuf *list, const char *name)
{
	if (list->length > 0)
		strbuf_puts(list, ", ");
	strbuf_putc(list, '"');
	for (; *name; name++) {
		if (*name == '"' || *name == '\\')
			strbuf_putc(list, '\\');
		strbuf_putc(list, *name >= ' ' && *name < 0x7F ? *name : '?');
	}
	strbuf_putc(list, '"');
}

void
ratelimit_policy_add(struct strbuf *list, const char *name, uint64_t quota, uint64_t window_ms)
{
	add_name(list, name);
	add_parameter(list, "q", quota);
	if (window_ms >= 1000)
		add_parameter(list, "w", window_ms / 1000);
}

void
ratelimit_add(struct strbuf *list, const char *name, uint64_t remaining, uint64_t more_ms)
{
	add_name(list, name);
	add_parameter(list, "r", remaining);
	if (more_ms > 0)
		add_parameter(list, "t", retry_after_seconds(more_ms));
}

uint64_t
retry_after_seconds(uint64_t ms)
{
	return ms / 1000 + (ms % 1000 != 0);
}
