/*
 * As json_fuzz, over every kind of field: a message that is accepted is written, and reads back as itself.
 */
#include <assert.h>
#include <string.h>

#include "api/json.h"
#include "corbel/contract.gen.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const MESSAGES[] = {&corbel__kinds__kinds__descriptor,
                                                             &corbel__kinds__many__descriptor};

static char *
written(const ProtobufCMessage *message, const struct api_message *rules, struct arena *arena)
{
	struct strbuf out;
	strbuf_init(&out, arena);
	json_from_message(message, rules, NULL, &out);
	return out.data;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct violations found = {.count = 0}, again = {.count = 0};
	ProtobufCMessage *message, *back;
	struct arena arena;

	if (size < 1 || size > 64u << 10)
		return 0;
	const struct api_message *rules =
	    api_message_of(MESSAGES[data[0] % (sizeof(MESSAGES) / sizeof(MESSAGES[0]))]);
	arena_init(&arena, 4096, 8u << 20);
	struct status st = json_to_message((const char *)data + 1, size - 1, rules, &arena, &found, &message);
	if (status_ok(&st)) {
		api_validate(message, rules, &arena, &found);
		char *text = written(message, rules, &arena);
		st = json_to_message(text, strlen(text), rules, &arena, &again, &back);
		assert(status_ok(&st) || st.code == STATUS_RESOURCE_EXHAUSTED);
		if (status_ok(&st))
			assert(strcmp(written(back, rules, &arena), text) == 0);
	}
	arena_fini(&arena);
	return 0;
}
