/*
 * answers: what was found, as a message and as headers of HTTP.
 *
 * A value is told as what it was kept as: JSON was checked when it came in and goes out as it is, text that
 * is text goes out as text, and everything else as bytes.
 */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "cached_internal.h"
#include "engine_shared.h"
#include "entry.h"

#define NAME       "corbel" /* of this cache, in Cache-Status */
#define TEXT_BYTES 64u      /* that most headers fit into */

typedef Corbel__V1__CacheEntry Entry;

char *
token_text(struct arena *arena, uint64_t token)
{
	return arena_printf(arena, "%016" PRIx64, token);
}

uint64_t
token_read(const char *text)
{
	uint8_t bytes[8];
	uint64_t token = 0;

	if (!text || strlen(text) != 16 || !text_hex_decode(text, 16, bytes))
		return 0;
	for (int i = 0; i < 8; i++)
		token = token << 8 | bytes[i];
	return token;
}

static Corbel__V1__CacheOutcome
outcome_of(const struct get *get)
{
	static const Corbel__V1__CacheOutcome OUTCOMES[] = {
	    [GET_MISS] = CORBEL__V1__CACHE_OUTCOME__MISS,
	    [GET_HIT] = CORBEL__V1__CACHE_OUTCOME__HIT,
	    [GET_STALE] = CORBEL__V1__CACHE_OUTCOME__GRACE,
	    [GET_NEGATIVE] = CORBEL__V1__CACHE_OUTCOME__NEGATIVE,
	};
	return OUTCOMES[get->outcome];
}

static void
put_value(struct arena *arena, const struct get *get, bool is_raw, Entry *out)
{
	const ProtobufCBinaryData bytes = {.len = get->value_length, .data = (uint8_t *)(uintptr_t)get->value};
	const char *type = get->content_type ? get->content_type : "";

	if (type[0])
		out->content_type = (char *)(uintptr_t)type;
	if (!is_raw && strcmp(type, "application/json") == 0) {
		out->has_json = true;
		out->json = bytes;
		return;
	}
	bool is_text = strncasecmp(type, "text/", 5) == 0 && text_is_utf8(get->value, get->value_length) &&
	               !memchr(get->value, 0, get->value_length);
	if (!is_raw && is_text) {
		out->text = arena_strndup(arena, get->value, get->value_length);
		return;
	}
	out->has_value = true;
	out->value = bytes;
}

void
answer_entry(struct call *call, const struct get *get, bool is_raw, Entry *out)
{
	struct arena *arena = call_arena(call);

	out->key = (char *)(uintptr_t)get->key;
	out->has_outcome = true;
	out->outcome = outcome_of(get);
	out->has_filling = get->is_filling;
	out->filling = get->is_filling;
	if (get->token) {
		out->lease = token_text(arena, get->token);
		out->has_lease_ms = true;
		out->lease_ms = get->lease_ms;
	}
	if (get->outcome == GET_MISS)
		return;
	out->has_version = out->has_age_ms = out->has_fresh_ms = true;
	out->version = get->version;
	out->age_ms = get->age_ms;
	out->fresh_ms = get->fresh_ms;
	if (get->outcome != GET_NEGATIVE)
		put_value(arena, get, is_raw, out);
}

/* ---- headers ----
 *
 * Four go with every get, so they are put together without printf, in the memory of the call. */

static struct strbuf
begin_text(struct call *call, const char *text)
{
	struct strbuf out = {.arena = call_arena(call), .capacity = TEXT_BYTES};

	out.data = arena_alloc_raw(out.arena, out.capacity);
	strbuf_puts(&out, text);
	return out;
}

static void
put_number(struct call *call, const char *name, const char *before, int64_t number)
{
	struct strbuf text = begin_text(call, before);

	strbuf_i64(&text, number);
	call_header(call, name, text.data);
}

/* RFC 9211: how what was found came to be given. What the caller waited for may be older than its question:
 * then it was another tier's, or is given because nothing newer came. Ages are rounded up. */
static const char *
way_of(const struct cached *self, const struct lookup *lookup, const struct get *get)
{
	if (!lookup->has_waited)
		return NAME "; hit; ttl=";
	if (get->outcome == GET_STALE && lookup->has_failed)
		return NAME "; fwd=stale; ttl=";
	uint64_t waited_ms = clock_mono_ms(self->env.clock) - lookup->since_ms;
	bool is_made = get->age_ms <= waited_ms + ENTRY_STORED_UNIT_MS;
	return is_made ? NAME "; fwd=uri-miss; stored; ttl=" : NAME "; hit; ttl=";
}

/* Whole seconds, rounded down: what is stale has less than none left. */
static int64_t
ttl_of(const struct get *get)
{
	return get->fresh_ms >= 0 ? get->fresh_ms / 1000 : -((999 - get->fresh_ms) / 1000);
}

static void
put_status(struct call *call, const struct lookup *lookup, const struct get *get)
{
	if (get->outcome == GET_MISS) {
		call_header(call, "Cache-Status",
		            get->is_filling ? NAME "; fwd=uri-miss; collapsed" : NAME "; fwd=uri-miss");
		return;
	}
	struct strbuf text = begin_text(call, way_of(call_service(call), lookup, get));
	strbuf_i64(&text, ttl_of(get));
	if (get->outcome == GET_NEGATIVE)
		strbuf_puts(&text, "; detail=negative");
	call_header(call, "Cache-Status", text.data);
}

/* So many digits at least. */
static void
put_hex(struct strbuf *out, uint64_t value, size_t least)
{
	char digits[16];
	size_t at = sizeof(digits);

	do {
		digits[--at] = "0123456789abcdef"[value & 15];
		value >>= 4;
	} while (value > 0 || sizeof(digits) - at < least);
	strbuf_add(out, digits + at, sizeof(digits) - at);
}

static void
put_tag(struct call *call, uint32_t epoch, uint64_t version)
{
	struct strbuf text = begin_text(call, "\"");

	put_hex(&text, epoch, 8);
	strbuf_putc(&text, '-');
	put_hex(&text, version, 1);
	strbuf_putc(&text, '"');
	call_header(call, "ETag", text.data);
}

void
answer_headers(struct call *call, const struct lookup *lookup, const struct get *get)
{
	const struct cached *self = call_service(call);

	if (call_is_internal(call))
		return;
	put_status(call, lookup, get);
	if (get->token) {
		call_header(call, "Corbel-Lease", token_text(call_arena(call), get->token));
		put_number(call, "Corbel-Lease-Ms", "", (int64_t)get->lease_ms);
	}
	if (get->outcome == GET_MISS)
		return;
	put_number(call, "Age", "", (int64_t)(get->age_ms / 1000));
	/* What a replica wrote while Redis was away has a version that others may give to something else. */
	if (!self->fleet || !shared_is_own(get->version))
		put_tag(call, self->epoch, get->version);
	/* Age counts against max-age, so it is the whole of the freshness: RFC 9111 section 4.2. */
	int64_t whole_s = ((int64_t)get->age_ms + get->fresh_ms) / 1000;
	put_number(call, "Cache-Control", "private, max-age=", whole_s > 0 ? whole_s : 0);
}
