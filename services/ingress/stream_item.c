/*
 * stream_item: see stream_item.h. One piece of memory: the structure, type and subject, then the texts.
 */
#include "stream_item.h"

#include <stdio.h>
#include <string.h>

#include "api/json.h"
#include "base/text.h"

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

struct stream_item *
stream_item_new(const Corbel__V1__Event *event, struct arena *arena)
{
	const char *type = event->type ? event->type : "", *subject = event->subject;
	size_t type_size = strlen(type) + 1, subject_size = subject ? strlen(subject) + 1 : 0;
	char chunk_head[CHUNK_HEAD_MAX + 1];
	struct strbuf text;

	strbuf_init(&text, arena);
	strbuf_puts(&text, "id: ");
	strbuf_u64(&text, event->sequence);
	strbuf_puts(&text, "\nevent: ");
	strbuf_puts(&text, type);
	strbuf_puts(&text, "\ndata: ");
	size_t json_at = text.length;
	put_json(event, &text);
	size_t json_size = text.length - json_at;
	strbuf_puts(&text, "\n\n");
	size_t sse_size = text.length;
	int chunk_head_size = snprintf(chunk_head, sizeof(chunk_head), "%zx\r\n", sse_size);
	size_t chunk_size = (size_t)chunk_head_size + sse_size + 2;

	struct stream_item *item = mem_alloc(sizeof(*item) + type_size + subject_size + chunk_size);
	char *at = (char *)(item + 1);
	item->holders = 1;
	item->sequence = event->sequence;
	item->type = memcpy(at, type, type_size);
	item->subject = subject ? memcpy(at + type_size, subject, subject_size) : NULL;
	at += type_size + subject_size;
	item->chunk = memcpy(at, chunk_head, (size_t)chunk_head_size);
	item->chunk_size = chunk_size;
	item->sse = memcpy(at + chunk_head_size, text.data, sse_size);
	item->sse_size = sse_size;
	memcpy(at + chunk_head_size + sse_size, "\r\n", 2);
	item->json = item->sse + json_at;
	item->json_size = json_size;
	item->frame_head_size = stream_frame_head(OPCODE_TEXT, json_size, item->frame_head);
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
