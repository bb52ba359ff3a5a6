/*
 * stream_item: an event as streams send it, made once and shared by all of a tenant's streams.
 *
 * For one thread. SSE and WebSocket send the same JSON, as GET /v1/events shows the event. Line ends, which
 * JSON has between its tokens only, become spaces, since a line end is one of SSE's own.
 */
#ifndef CORBEL_INGRESS_STREAM_ITEM_H
#define CORBEL_INGRESS_STREAM_ITEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "corbel/events.pb-c.h"

#define STREAM_FRAME_HEAD_MAX 10u

struct stream_item {
	unsigned holders;
	uint64_t sequence;
	const char *type, *subject; /* subject NULL: none */
	const char *chunk;          /* one of chunked coding, which holds `sse` */
	size_t chunk_size;
	const char *sse; /* the whole event, from "id:" to the empty line */
	size_t sse_size;
	const char *json;
	size_t json_size;
	uint8_t frame_head[STREAM_FRAME_HEAD_MAX]; /* of a WebSocket message with the JSON */
	size_t frame_head_size;
	const char *cloud; /* a WebSocket message with the CloudEvent; NULL: not made */
	size_t cloud_size;
};

/* Held by the caller. `arena` is for what is needed meanwhile. */
struct stream_item *stream_item_new(const Corbel__V1__Event *event, bool with_cloud, struct arena *arena);
void stream_item_hold(struct stream_item *item);
void stream_item_release(struct stream_item *item);
/* The head of an unmasked frame that is a whole message (RFC 6455 section 5.2); returns its size. */
size_t stream_frame_head(uint8_t opcode, size_t payload_size, uint8_t out[STREAM_FRAME_HEAD_MAX]);

#endif
