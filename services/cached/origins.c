/*
 * origins: definitions of origins, as callers give them and as they are kept.
 *
 * The definition that everybody reads has the names of the headers; their values are in a column of their
 * own, sealed.
 */
#include <string.h>
#include <strings.h>

#include "cached_internal.h"
#include "origin.h"

typedef Corbel__V1__CacheOrigin Origin;
typedef Corbel__V1__CacheOrigin__HeadersEntry Header;

static struct status
refuse(struct call *call, const char *pointer, const char *what)
{
	call_violation(call, pointer, "%s", what);
	return status_make(STATUS_INVALID_ARGUMENT, "%s: %s", pointer, what);
}

/* A copy with the same headers, whose values may be changed. */
static Origin *
copy(struct arena *arena, const Origin *from)
{
	Origin *out = arena_memdup(arena, from, sizeof(*from));

	out->headers = ARENA_ARRAY(arena, Header *, from->n_headers + 1);
	for (size_t i = 0; i < from->n_headers; i++)
		out->headers[i] = arena_memdup(arena, from->headers[i], sizeof(Header));
	return out;
}

static char *
value_kept(const Origin *kept, const char *name)
{
	for (size_t i = 0; kept && i < kept->n_headers; i++)
		if (strcasecmp(kept->headers[i]->key, name) == 0)
			return kept->headers[i]->value;
	return NULL;
}

static struct status
take_header(struct call *call, const char *prefix, const Origin *kept, Header *header)
{
	const char *pointer = arena_printf(call_arena(call), "%s/origin/headers/%s", prefix, header->key);

	if (!header->value || !header->value[0])
		header->value = value_kept(kept, header->key);
	if (!header->value)
		return refuse(call, pointer, "has no value, and none is kept");
	if (!origin_is_header(header->key, header->value))
		return refuse(
		    call, pointer,
		    "must be a header name that is not the protocol's own, with a value of visible characters");
	return status_ok_value();
}

struct status
origin_take(struct call *call, const char *prefix, const Origin *given, const Origin *kept, Origin **out)
{
	struct status st = status_ok_value();

	*out = NULL;
	if (!given)
		return st;
	if (!origin_is_template(given->url))
		return refuse(call, arena_printf(call_arena(call), "%s/origin/url", prefix),
		              "must be an http or https URL with {key} once, behind the host");
	*out = copy(call_arena(call), given);
	for (size_t i = 0; i < (*out)->n_headers && status_ok(&st); i++)
		st = take_header(call, prefix, kept, (*out)->headers[i]);
	return st;
}

Origin *
origin_shown(struct arena *arena, const Origin *origin)
{
	Origin *out = origin ? copy(arena, origin) : NULL;

	for (size_t i = 0; out && i < out->n_headers; i++)
		out->headers[i]->value = arena_strdup(arena, "");
	return out;
}
