/*
 * stream_item: see stream_item.h. One piece of memory: the structure, type and subject, then the texts.
 */
#include "stream_item.h"

#include <stdio.h>
#include <string.h>

#include "api/json.h"
#include "base/text.h"
#include "cloudevents/cloudevent.h"

#define FRAME_FINAL 0x80u
#define OPCODE_TEXT 0x01u
/* "ffffffffffffffff\r\n", of which the end is used. */
#define CHUNK_HEAD_MAX 18u

size_t
stream_frame_head(uint8_t opcode, size_t payload_size, uint8_t out[STREAM_FRAME_HEAD_MAX])
{
	size_t bytes = payload_size < 126 ? 0 : payload_size <= UINT16_MAX ? 2 : 8;

	out[0] = (uint8_t)(FRAME_FINAL | opcode);
	out[1] = (uint8_t)(bytes == 0 ? payload_size : bytes == 2 ? 126 : 127);
	for (size_t i = 0; i < bytes; i++)
		out[2 + i] = (uint8_t)((uint64_t)payload_size >> (8 * (bytes - 1 - i)));
	return 2 + bytes;
}

static void
put_json(const Corbel__V1__Event *event, struct strbuf *out)
{
	size_t from = out->length;

	json_from_message(&event->base, api_message_of(&corbel__v1__event__descriptor), NULL, out);
	for (char *at = out->data + from; *at; at++)
		if (*at == '\n' || *at == '\r')
			*at = ' ';
}

/* Where the parts of an item lie within its texts. */
struct layout {
	size_t sse_at, sse_size, json_at, json_size, chunk_size, cloud_size;
};

/* The chunk: its size, the block of server-sent events, a line end. */
static void
put_chunk(const Corbel__V1__Event *event, struct strbuf *out, struct layout *layout)
{
	char head[CHUNK_HEAD_MAX + 1];
	struct strbuf block;

	strbuf_init(&block, out->arena);
	strbuf_printf(&block, "id: %llu\nevent: %s\ndata: ", (unsigned long long)event->sequence,
	              event->type ? event->type : "");
	size_t json_at = block.length;
	put_json(event, &block);
	layout->json_size = block.length - json_at;
	strbuf_puts(&block, "\n\n");
	layout->sse_at = (size_t)snprintf(head, sizeof(head), "%zx\r\n", block.length);
	layout->sse_size = block.length;
	layout->json_at = layout->sse_at + json_at;
	strbuf_puts(out, head);
	strbuf_add(out, block.data, block.length);
	strbuf_puts(out, "\r\n");
	layout->chunk_size = out->length;
}

static void
put_cloud(const Corbel__V1__Event *event, struct strbuf *out, struct layout *layout)
{
	uint8_t head[STREAM_FRAME_HEAD_MAX];
	struct strbuf text;

	strbuf_init(&text, out->arena);
	cloudevent_write(event, &text);
	strbuf_add(out, (const char *)head, stream_frame_head(OPCODE_TEXT, text.length, head));
	strbuf_add(out, text.data, text.length);
	layout->cloud_size = out->length - layout->chunk_size;
}

struct stream_item *
stream_item_new(const Corbel__V1__Event *event, bool with_cloud, struct arena *arena)
{
	const char *type = event->type ? event->type : "", *subject = event->subject;
	size_t type_size = strlen(type) + 1, subject_size = subject ? strlen(subject) + 1 : 0;
	struct layout layout = {.cloud_size = 0};
	struct strbuf text;

	strbuf_init(&text, arena);
	put_chunk(event, &text, &layout);
	if (with_cloud)
		put_cloud(event, &text, &layout);
	struct stream_item *item = mem_alloc(sizeof(*item) + type_size + subject_size + text.length);
	char *at = (char *)(item + 1);
	item->holders = 1;
	item->sequence = event->sequence;
	item->type = memcpy(at, type, type_size);
	item->subject = subject ? memcpy(at + type_size, subject, subject_size) : NULL;
	item->chunk = memcpy(at + type_size + subject_size, text.data, text.length);
	item->chunk_size = layout.chunk_size;
	item->sse = item->chunk + layout.sse_at;
	item->sse_size = layout.sse_size;
	item->json = item->chunk + layout.json_at;
	item->json_size = layout.json_size;
	item->frame_head_size = stream_frame_head(OPCODE_TEXT, layout.json_size, item->frame_head);
	item->cloud = with_cloud ? item->chunk + layout.chunk_size : NULL;
	item->cloud_size = layout.cloud_size;
	return item;
}

void
stream_item_hold(struct stream_item *item)
{
	item->holders++;
}

void
stream_item_release(struct stream_item *item)
{
	if (--item->holders == 0)
		mem_free(item);
}
