/*
 * The bus's envelopes from hostile bytes: requests as a server takes them, responses as a pool does, and
 * publications. What can be read must survive being written, and being read again.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "corbel/bus.pb-c.h"

#define CEILING (256u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
read_as(const ProtobufCMessageDescriptor *descriptor, ProtobufCAllocator *allocator, const uint8_t *data,
        size_t size)
{
	ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, allocator, size, data);
	if (!message)
		return;
	size_t packed = protobuf_c_message_get_packed_size(message);
	uint8_t *bytes = malloc(packed + 1);
	assert(bytes);
	assert(protobuf_c_message_pack(message, bytes) == packed);
	ProtobufCMessage *again = protobuf_c_message_unpack(descriptor, NULL, packed, bytes);
	/* protobuf-c takes an unknown field numbered 0 in its long form only, and writes the short one. */
	if (again) {
		assert(protobuf_c_message_get_packed_size(again) == packed);
		protobuf_c_message_free_unpacked(again, NULL);
	}
	free(bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const ProtobufCMessageDescriptor *const ENVELOPES[] = {&corbel__bus__request__descriptor,
	                                                              &corbel__bus__response__descriptor,
	                                                              &corbel__bus__publication__descriptor};
	for (size_t i = 0; i < 3; i++) {
		struct arena arena;
		arena_init(&arena, 4096, CEILING);
		struct arena_allocator from = arena_allocator(&arena);
		ProtobufCAllocator allocator = {.alloc = from.alloc, .free = from.free, .allocator_data = from.arena};
		read_as(ENVELOPES[i], &allocator, data, size);
		arena_fini(&arena);
	}
	return 0;
}
