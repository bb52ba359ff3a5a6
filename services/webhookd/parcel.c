/*
 * parcel: see parcel.h.
 */
#include "parcel.h"

#include <stdio.h>
#include <string.h>

#define ARENA_BLOCK (4u << 10)
#define EVENT_MAX   (8u << 20) /* and what a plugin makes of it */

struct parcel *
parcel_new(struct lane *lane, const struct due *due)
{
	struct parcel *parcel = mem_alloc(sizeof(*parcel));

	arena_init(&parcel->arena, ARENA_BLOCK, EVENT_MAX);
	struct arena_allocator memory = arena_allocator(&parcel->arena);
	ProtobufCAllocator allocator = {
	    .alloc = memory.alloc, .free = memory.free, .allocator_data = memory.arena};
	parcel->event = corbel__v1__event__unpack(&allocator, due->event_size, due->event);
	if (!parcel->event || !parcel->event->id || !parcel->event->type) {
		parcel_free(parcel);
		return NULL;
	}
	parcel->lane = lane;
	snprintf(parcel->delivery_id, sizeof(parcel->delivery_id), "%s", due->delivery_id);
	parcel->attempts = due->attempts;
	parcel->tries = due->tries;
	parcel->sequence = due->sequence;
	parcel->has_order_key = due->has_order_key;
	parcel->order_key = due->order_key;
	return parcel;
}

void
parcel_free(struct parcel *parcel)
{
	arena_fini(&parcel->arena);
	mem_free(parcel);
}

/* Bytes as text: what is not UTF-8 is shown as '?'. */
static char *
readable(struct arena *arena, const char *bytes, size_t size)
{
	char *text = arena_strndup(arena, bytes, size);
	size_t length = strlen(text);

	/* The cut may have split the last character. */
	for (size_t cut = 0; cut < 4 && length > 0 && !text_is_utf8(text, length); cut++)
		text[--length] = '\0';
	if (text_is_utf8(text, length))
		return text;
	text = arena_strndup(arena, bytes, size);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return text;
}

static char *
copy_of(struct arena *arena, const char *text)
{
	return text && *text ? readable(arena, text, strlen(text)) : NULL;
}

void
parcel_ended(struct parcel *parcel, const struct parcel_outcome *outcome)
{
	Attempt *attempt = ARENA_NEW(&parcel->arena, Attempt);

	corbel__v1__attempt__init(attempt);
	attempt->has_number = attempt->has_started_at = attempt->has_latency_ms = true;
	attempt->number = parcel->attempts + 1;
	attempt->started_at = parcel->started_ms;
	attempt->latency_ms = outcome->latency_ms;
	attempt->has_status = outcome->status > 0;
	attempt->status = outcome->status;
	attempt->error = copy_of(&parcel->arena, outcome->error);
	attempt->detail = copy_of(&parcel->arena, outcome->detail);
	if (outcome->answer_size > 0)
		attempt->response = readable(&parcel->arena, outcome->answer, outcome->answer_size);
	attempt->address = copy_of(&parcel->arena, outcome->address);
	parcel->attempt = attempt;
	parcel->end = outcome->end;
	parcel->retry_after_ms = outcome->retry_after_ms;
	parcel->ended(parcel);
}
