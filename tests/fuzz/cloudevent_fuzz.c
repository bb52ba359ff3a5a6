/*
 * Any text as a CloudEvent, a batch, or headers and a body (lines "name: value", an empty line, the rest).
 * What is taken and fits the contract is written in both forms, and what is written is read again as the same
 * event.
 */
#include <assert.h>
#include <string.h>

#include "api/json.h"
#include "cloudevents/cloudevent.h"

#define HEADERS_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
fits(const Corbel__V1__PublishEventsRequest *request, struct arena *arena, struct violations *found)
{
	if (!request || found->count > 0)
		return false;
	api_validate(&request->base, api_message_of(request->base.descriptor), arena, found);
	for (size_t i = 0; i < request->n_events && found->count == 0; i++)
		cloudevent_check(request->events[i], "", arena, found);
	return found->count == 0;
}

static void
write_and_read(const Corbel__V1__NewEvent *said, struct arena *arena)
{
	Corbel__V1__Event event = CORBEL__V1__EVENT__INIT;
	struct violations found = {.count = 0};
	struct cloudevent_binary binary;
	struct strbuf out;

	event.id = (char *)(uintptr_t) "evt_1";
	event.type = said->type;
	event.subject = said->subject;
	event.has_data = said->has_data;
	event.data = said->data;
	event.cloud_event = said->cloud_event;
	strbuf_init(&out, arena);
	cloudevent_write(&event, &out);
	Corbel__V1__PublishEventsRequest *again =
	    cloudevent_read(out.data, out.length, CLOUDEVENT_STRUCTURED, arena, &found);
	assert(again && found.count == 0);
	assert(strcmp(again->events[0]->cloud_event->id, said->cloud_event->id) == 0);
	assert(again->events[0]->cloud_event->n_extensions == said->cloud_event->n_extensions);
	assert(again->events[0]->data.len == said->data.len);
	cloudevent_write_binary(&event, arena, &binary);
	again = cloudevent_read_binary(binary.headers, binary.count, binary.type, binary.body, binary.size, arena,
	                               &found);
	assert(found.count == 0 && strcmp(again->events[0]->cloud_event->id, said->cloud_event->id) == 0);
	assert(strcmp(again->events[0]->cloud_event->source, said->cloud_event->source) == 0);
}

static void
as_json(const char *text, size_t size, enum cloudevent_mode mode, struct arena *arena)
{
	struct violations found = {.count = 0};
	Corbel__V1__PublishEventsRequest *request = cloudevent_read(text, size, mode, arena, &found);

	if (fits(request, arena, &found))
		for (size_t i = 0; i < request->n_events; i++)
			write_and_read(request->events[i], arena);
}

static void
as_headers(char *text, size_t size, struct arena *arena)
{
	struct cloudevent_header headers[HEADERS_MAX];
	struct violations found = {.count = 0};
	const char *type = NULL;
	size_t count = 0;
	char *at = text, *end = text + size;

	while (count < HEADERS_MAX && at < end && *at != '\n') {
		char *stop = memchr(at, '\n', (size_t)(end - at));
		char *colon = stop ? memchr(at, ':', (size_t)(stop - at)) : NULL;
		if (!colon)
			return;
		*colon = *stop = '\0';
		headers[count++] = (struct cloudevent_header){at, colon + 1};
		if (strcmp(at, "type") == 0)
			type = colon + 1;
		at = stop + 1;
	}
	at += at < end;
	Corbel__V1__PublishEventsRequest *request =
	    cloudevent_read_binary(headers, count, type, at, (size_t)(end - at), arena, &found);
	if (fits(request, arena, &found))
		write_and_read(request->events[0], arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena;

	if (size > 64u << 10)
		return 0;
	arena_init(&arena, 4096, 16u << 20);
	char *text = arena_alloc(&arena, size + 1);
	if (size > 0)
		memcpy(text, data, size);
	as_json(text, size, CLOUDEVENT_STRUCTURED, &arena);
	as_json(text, size, CLOUDEVENT_BATCH, &arena);
	as_headers(text, size, &arena);
	arena_fini(&arena);
	return 0;
}
