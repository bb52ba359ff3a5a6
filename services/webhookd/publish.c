/*
 * publish: from a request to what the writer records.
 */
#include <string.h>

#include "base/hash.h"
#include "base/id.h"
#include "base/text.h"
#include "corbel/webhookd.methods.gen.h"
#include "cloudevents/cloudevent.h"
#include "types.h"
#include "webhookd_internal.h"
#include "writer.h"

#define AHEAD_MAX_MS INT64_C(86400000)

typedef Corbel__V1__NewEvent NewEvent;
typedef Corbel__V1__PublishEventsRequest PublishRequest;

/* What tells two events of one id apart: all that the publisher said. */
static void
digest_of(struct hasher *hasher, const NewEvent *event, struct arena *arena, uint8_t out[16])
{
	uint8_t whole[SHA256_BYTES];
	size_t size = protobuf_c_message_get_packed_size(&event->base);
	uint8_t *bytes = arena_alloc_raw(arena, size + 1);

	protobuf_c_message_pack(&event->base, bytes);
	hasher_sha256(hasher, bytes, size, whole);
	memcpy(out, whole, 16);
}

/* Under an Idempotency-Key the ids follow from it, so that a repetition finds its events in the log even
 * when the record of the key was lost with its holder. */
static char *
id_from_key(struct call *call, const char *tenant, size_t index)
{
	const char *key = call_idempotency_key(call);
	char *text = arena_printf(call_arena(call), "%s\n%zu", tenant, index);
	char *id = arena_printf(call_arena(call), "evt_%032d", 0);
	uint8_t mac[SHA256_BYTES];

	hash_hmac_sha256(key, strlen(key), text, strlen(text), mac);
	text_hex_encode(mac, 16, id + 4);
	return id;
}

/* What CloudEvents calls one event: a source and an id in it. */
static char *
id_from_cloud_event(struct call *call, const Corbel__V1__CloudEventAttributes *attributes)
{
	char *text = arena_printf(call_arena(call), "%s\n%s", attributes->source, attributes->id);
	char *id = arena_printf(call_arena(call), "evt_%032d", 0);
	uint8_t digest[SHA256_BYTES];

	hash_sha256(text, strlen(text), digest);
	text_hex_encode(digest, 16, id + 4);
	return id;
}

static char *
id_of(struct call *call, const struct publication *publication, const NewEvent *said, size_t at)
{
	struct webhookd *self = call_service(call);

	if (said->id)
		return said->id;
	if (said->cloud_event)
		return id_from_cloud_event(call, said->cloud_event);
	if (call_idempotency_key(call))
		return id_from_key(call, publication->tenant, at);
	return arena_strdup(call_arena(call), id_make("evt", self->env.clock, self->env.random).text);
}

static struct status
refuse_timestamp(struct call *call, size_t at)
{
	const char *pointer = arena_printf(call_arena(call), "/events/%zu/timestamp", at);
	call_violation(call, pointer, "must be at most a day ahead of the clock");
	return status_make(STATUS_INVALID_ARGUMENT, "%s: must be at most a day ahead of the clock", pointer);
}

static const char *
traceparent_of(struct call *call)
{
	const struct trace_context *trace = call_trace(call);

	if (!trace || !trace->is_set)
		return NULL;
	char *text = arena_alloc(call_arena(call), TRACEPARENT_LENGTH + 1);
	trace_context_format(trace, text);
	return text;
}

static Event *
event_of(struct call *call, const struct publication *publication, const NewEvent *said, size_t at,
         const char *traceparent)
{
	const PublishRequest *request = (const void *)call_request(call);
	Event *event = ARENA_NEW(call_arena(call), Event);

	corbel__v1__event__init(event);
	event->id = id_of(call, publication, said, at);
	event->type = said->type;
	event->subject = said->subject;
	event->has_timestamp = event->has_recorded_at = true;
	event->recorded_at = call_now_ms(call);
	event->timestamp = said->has_timestamp ? said->timestamp : event->recorded_at;
	event->source = call_is_internal(call) && request->source ? request->source : (char *)(uintptr_t) "api";
	event->has_data = true;
	event->data =
	    said->has_data ? said->data : (ProtobufCBinaryData){.len = 2, .data = (uint8_t *)(uintptr_t) "{}"};
	event->traceparent = (char *)(uintptr_t)traceparent;
	event->cloud_event = said->cloud_event;
	return event;
}

/* An id names one event: twice in a request is a mistake. */
static struct status
refuse_repeated_ids(struct call *call, const struct publication *publication)
{
	for (size_t i = 1; i < publication->count; i++) {
		for (size_t j = 0; publication->is_named[i] && j < i; j++) {
			if (strcmp(publication->events[i]->id, publication->events[j]->id) != 0)
				continue;
			const char *pointer = arena_printf(call_arena(call), "/events/%zu/id", i);
			call_violation(call, pointer, "is the id of /events/%zu", j);
			return status_make(STATUS_INVALID_ARGUMENT, "%s: is the id of /events/%zu", pointer, j);
		}
	}
	return status_ok_value();
}

/* Made for each event, though few have a fault: so not by printf. */
static const char *
pointer_to(struct arena *arena, size_t at, const char *what)
{
	struct strbuf out;

	strbuf_init(&out, arena);
	strbuf_puts(&out, "/events/");
	strbuf_u64(&out, at);
	strbuf_puts(&out, what);
	return out.data;
}

/* What CloudEvents are, and the data of every event against the schema of its type, all faults together. */
static struct status
check_events(struct call *call, struct publication *publication)
{
	const PublishRequest *request = (const void *)call_request(call);
	struct webhookd *self = call_service(call);
	struct arena *arena = call_arena(call);
	struct violations *violations = ARENA_NEW(arena, struct violations);

	for (size_t i = 0; i < publication->count; i++) {
		cloudevent_check(request->events[i], pointer_to(arena, i, ""), arena, violations);
		(void)types_check(self->types, publication->tenant, publication->events[i],
		                  pointer_to(arena, i, "/data"), arena, violations);
	}
	for (size_t i = 0; i < violations->count; i++)
		call_violation(call, violations->items[i].pointer, "%s", violations->items[i].detail);
	return violations_status(violations);
}

/* Everything of the publication but sequences. */
static struct status
prepare(struct call *call, struct hasher *hasher, struct publication *publication)
{
	const PublishRequest *request = (const void *)call_request(call);
	struct arena *arena = call_arena(call);
	struct status st = scope_tenant(call, request->tenant_id, &publication->tenant);
	const char *traceparent = traceparent_of(call);

	publication->call = call;
	publication->count = request->n_events;
	publication->events = ARENA_ARRAY(arena, Event *, request->n_events);
	publication->digests = arena_alloc(arena, sizeof(*publication->digests) * request->n_events);
	publication->is_named = ARENA_ARRAY(arena, bool, request->n_events);
	publication->is_duplicate = ARENA_ARRAY(arena, bool, request->n_events);
	for (size_t i = 0; i < request->n_events && status_ok(&st); i++) {
		const NewEvent *said = request->events[i];
		publication->events[i] = event_of(call, publication, said, i, traceparent);
		publication->is_named[i] = said->id || said->cloud_event || call_idempotency_key(call);
		digest_of(hasher, said, arena, publication->digests[i]);
		if (publication->events[i]->timestamp > call_now_ms(call) + AHEAD_MAX_MS)
			st = refuse_timestamp(call, i);
	}
	if (status_ok(&st))
		st = refuse_repeated_ids(call, publication);
	return status_ok(&st) ? check_events(call, publication) : st;
}

/* Ends the calls of a list that nobody has taken. */
static void
turn_away(struct publication *first)
{
	while (first) {
		struct publication *next = first->next;
		call_retry_after_ms(first->call, 1000);
		call_problem(first->call, "overloaded");
		call_end(first->call, status_make(STATUS_RESOURCE_EXHAUSTED, "too many events wait to be recorded"));
		first = next;
	}
}

/* The calls of a batch share an arena, which is the writer's as soon as it has one of them: so all are
 * prepared, and those that cannot be recorded ended, before the rest is handed over together. */
void
events_publish_batch(void *arg, struct call *calls[], size_t count)
{
	struct webhookd *self = arg;
	struct publication *first = NULL, **last = &first;
	struct hasher *hasher = hasher_new();

	for (size_t i = 0; i < count; i++) {
		struct publication *publication = ARENA_NEW(call_arena(calls[i]), struct publication);
		struct status st = prepare(calls[i], hasher, publication);
		if (status_ok(&st)) {
			*last = publication;
			last = &publication->next;
		} else {
			call_end(calls[i], st);
		}
	}
	hasher_free(hasher);
	if (first && !writer_submit(self->writer, first))
		turn_away(first);
}
