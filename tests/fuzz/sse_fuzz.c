/*
 * Any bytes as server-sent events: read whole, and byte by byte, they are the same events.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"
#include "http/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
note(void *arg, const struct sse_event *event)
{
	struct strbuf *out = arg;

	strbuf_printf(out, "[%s|%s|", event->id, event->type);
	if (event->data)
		strbuf_add(out, event->data, event->data_size);
	else
		strbuf_puts(out, "none");
	strbuf_putc(out, ']');
	return true;
}

static void
read_in_pieces(const uint8_t *data, size_t size, size_t piece, struct strbuf *out)
{
	struct sse *sse = sse_new(256, note, out);
	bool goes_on = true;

	for (size_t at = 0; at < size && goes_on; at += piece)
		goes_on = sse_feed(sse, (const char *)data + at, piece < size - at ? piece : size - at);
	sse_free(sse);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct strbuf whole, bytes;

	strbuf_init(&whole, NULL);
	strbuf_init(&bytes, NULL);
	strbuf_add(&whole, "", 0);
	strbuf_add(&bytes, "", 0);
	read_in_pieces(data, size, size ? size : 1, &whole);
	read_in_pieces(data, size, 1, &bytes);
	/* A line that is too long is seen sooner or later, by how it comes. */
	assert(whole.length <= bytes.length && memcmp(whole.data, bytes.data, whole.length) == 0);
	strbuf_fini(&whole);
	strbuf_fini(&bytes);
	return 0;
}
