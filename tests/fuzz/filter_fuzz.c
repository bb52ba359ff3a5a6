/*
 * Any filter message and any data: JSON of an EventFilter, a line end, and the event's data. A filter is
 * refused or asked, in bounded time; asked twice it answers the same; what passes has a type that passes.
 */
#include <assert.h>
#include <string.h>

#include "api/json.h"
#include "corbel/contract.gen.h"
#include "webhookd/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
ask(const Corbel__V1__EventFilter *message, const char *data, size_t length)
{
	struct filter_event event;
	struct filter *filter;
	struct status st = filter_compile(message, &filter);

	assert(status_ok(&st));
	filter_event_init(&event, "file.version.created", data, length);
	bool is_match = filter_matches(filter, &event);
	assert(filter_matches(filter, &event) == is_match);
	assert(!is_match || filter_matches_type(filter, &event));
	filter_event_fini(&event);
	filter_free(filter);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct api_message *rules = api_message_of(&corbel__v1__event_filter__descriptor);
	struct violations found = {.count = 0};
	ProtobufCMessage *message;
	struct arena arena;

	const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
	if (!end || size > 64u << 10)
		return 0;
	size_t length = (size_t)(end - data);
	arena_init(&arena, 4096, 16u << 20);
	struct status st = json_to_message((const char *)data, length, rules, &arena, &found, &message);
	if (status_ok(&st) && filter_check((const Corbel__V1__EventFilter *)message, "", &arena, &found))
		ask((const Corbel__V1__EventFilter *)message, (const char *)end + 1, size - length - 1);
	arena_fini(&arena);
	return 0;
}
