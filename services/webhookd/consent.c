/*
 * consent: see consent.h.
 */
#include "consent.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"

/* A header's value without the spaces around it. */
struct value {
	const char *text;
	size_t length;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct value
trimmed(const char *from, const char *end)
{
	while (from < end && is_blank(*from))
		from++;
	while (end > from && is_blank(end[-1]))
		end--;
	return (struct value){from, (size_t)(end - from)};
}

static bool
is_any(struct value value)
{
	return value.length == 1 && value.text[0] == '*';
}

static void
take_header(const char *name, size_t length, struct value value, const char *origin, struct consent *out)
{
	uint64_t rate;

	if (length == 22 && strncasecmp(name, "WebHook-Allowed-Origin", 22) == 0) {
		out->is_given = is_any(value) || (value.length == strlen(origin) &&
		                                  strncasecmp(value.text, origin, value.length) == 0);
	} else if (length == 20 && strncasecmp(name, "WebHook-Allowed-Rate", 20) == 0 && !is_any(value) &&
	           text_to_u64(value.text, value.length, &rate) && rate > 0) {
		out->per_minute = rate < UINT32_MAX ? (uint32_t)rate : UINT32_MAX;
	}
}

void
consent_read(const char *head, size_t size, const char *origin, struct consent *out)
{
	const char *end = head + size;

	*out = (struct consent){.is_given = false};
	while (head < end) {
		const char *stop = memchr(head, '\n', (size_t)(end - head));
		if (!stop)
			stop = end;
		const char *colon = memchr(head, ':', (size_t)(stop - head));
		if (colon)
			take_header(head, (size_t)(colon - head), trimmed(colon + 1, stop), origin, out);
		head = stop < end ? stop + 1 : end;
	}
	if (!out->is_given)
		out->per_minute = 0;
}
