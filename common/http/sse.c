/*
 * sse: see sse.h.
 */
#include "http/sse.h"

#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"

struct sse {
	size_t bytes_max;
	sse_take take;
	void *arg;
	struct strbuf line, id, type, data;
	unsigned long retry_ms;
	bool has_cr;    /* the line before ended with CR: an LF now belongs to it */
	bool has_begun; /* a byte order mark may stand before the first line only */
	bool is_block;  /* a field was said since the last empty line */
};

struct sse *
sse_new(size_t bytes_max, sse_take take, void *arg)
{
	struct sse *sse = mem_alloc(sizeof(*sse));
	struct strbuf *const texts[] = {&sse->line, &sse->id, &sse->type, &sse->data};

	sse->bytes_max = bytes_max;
	sse->take = take;
	sse->arg = arg;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		strbuf_init(texts[i], NULL);
		texts[i]->ceiling = bytes_max;
		strbuf_add(texts[i], "", 0);
	}
	return sse;
}

void
sse_free(struct sse *sse)
{
	if (!sse)
		return;
	strbuf_fini(&sse->line);
	strbuf_fini(&sse->id);
	strbuf_fini(&sse->type);
	strbuf_fini(&sse->data);
	mem_free(sse);
}

unsigned long
sse_retry_ms(const struct sse *sse)
{
	return sse->retry_ms;
}

static void
set(struct strbuf *out, const char *text, size_t size)
{
	strbuf_clear(out);
	strbuf_add(out, text, size);
}

static void
take_field(struct sse *sse, const char *name, size_t name_size, const char *value, size_t size)
{
	uint64_t number;

	sse->is_block = true;
	if (name_size == 4 && memcmp(name, "data", 4) == 0) {
		strbuf_add(&sse->data, value, size);
		strbuf_putc(&sse->data, '\n');
	} else if (name_size == 5 && memcmp(name, "event", 5) == 0) {
		set(&sse->type, value, size);
	} else if (name_size == 2 && memcmp(name, "id", 2) == 0 && !memchr(value, '\0', size)) {
		set(&sse->id, value, size);
	} else if (name_size == 5 && memcmp(name, "retry", 5) == 0 && text_to_u64(value, size, &number)) {
		sse->retry_ms = number < UINT32_MAX ? (unsigned long)number : UINT32_MAX;
	}
}

/* The end of a block. */
static bool
dispatch(struct sse *sse)
{
	bool has_data = sse->data.length > 0;
	struct sse_event event = {.id = sse->id.data, .type = sse->type.length > 0 ? sse->type.data : "message"};

	if (has_data) {
		sse->data.data[--sse->data.length] = '\0'; /* the last line end is none of the data's */
		event.data = sse->data.data;
		event.data_size = sse->data.length;
	}
	bool goes_on = !sse->is_block || sse->take(sse->arg, &event);
	strbuf_clear(&sse->data);
	strbuf_clear(&sse->type);
	sse->is_block = false;
	return goes_on;
}

static bool
take_line(struct sse *sse)
{
	const char *text = sse->line.data, *colon;
	size_t size = sse->line.length;

	if (!sse->has_begun && size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
		text += 3;
		size -= 3;
	}
	sse->has_begun = true;
	if (size == 0)
		return dispatch(sse);
	colon = memchr(text, ':', size);
	if (colon == text)
		return true; /* a comment */
	const char *value = colon ? colon + 1 : text + size;
	if (colon && value < text + size && *value == ' ')
		value++;
	take_field(sse, text, (size_t)((colon ? colon : text + size) - text), value,
	           (size_t)(text + size - value));
	return !sse->data.is_cut && !sse->type.is_cut && !sse->id.is_cut;
}

bool
sse_feed(struct sse *sse, const char *bytes, size_t size)
{
	const char *end = bytes + size;

	while (bytes < end) {
		if (sse->has_cr && *bytes == '\n')
			bytes++;
		sse->has_cr = false;
		const char *stop = bytes;
		while (stop < end && *stop != '\n' && *stop != '\r')
			stop++;
		strbuf_add(&sse->line, bytes, (size_t)(stop - bytes));
		if (sse->line.is_cut)
			return false;
		bytes = stop;
		if (stop == end)
			break;
		sse->has_cr = *bytes++ == '\r';
		if (!take_line(sse))
			return false;
		strbuf_clear(&sse->line);
	}
	return true;
}
