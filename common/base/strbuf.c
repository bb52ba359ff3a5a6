/*
 * text: the growing string.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void
strbuf_init(struct strbuf *buf, struct arena *arena)
{
	*buf = (struct strbuf){.arena = arena};
}

void
strbuf_fini(struct strbuf *buf)
{
	if (!buf->arena)
		mem_free(buf->data);
	buf->data = NULL;
	buf->length = buf->capacity = 0;
}

void
strbuf_clear(struct strbuf *buf)
{
	buf->length = 0;
	buf->is_cut = false;
	if (buf->data)
		buf->data[0] = '\0';
}

static bool
make_room(struct strbuf *buf, size_t extra)
{
	size_t need = buf->length + extra + 1;

	if (buf->is_cut || (buf->ceiling && buf->length + extra > buf->ceiling)) {
		buf->is_cut = true;
		return false;
	}
	if (need <= buf->capacity)
		return true;
	size_t capacity = buf->capacity ? buf->capacity * 2 : 256;
	if (capacity < need)
		capacity = need;
	if (buf->arena) {
		char *data = arena_alloc_raw(buf->arena, capacity);
		if (buf->length)
			memcpy(data, buf->data, buf->length);
		buf->data = data;
	} else {
		buf->data = mem_resize(buf->data, capacity, 1);
	}
	buf->capacity = capacity;
	return true;
}

/* Room for `extra` bytes and the NUL; false when the ceiling forbids. */
static inline bool
reserve(struct strbuf *buf, size_t extra)
{
	bool has_room = !buf->ceiling && extra < buf->capacity - buf->length;
	return has_room || make_room(buf, extra);
}

void
strbuf_add(struct strbuf *buf, const char *text, size_t length)
{
	if (!reserve(buf, length))
		return;
	if (length)
		memcpy(buf->data + buf->length, text, length);
	buf->length += length;
	buf->data[buf->length] = '\0';
}

char *
strbuf_grow(struct strbuf *buf, size_t length)
{
	if (!reserve(buf, length))
		return NULL;
	char *room = buf->data + buf->length;
	buf->length += length;
	buf->data[buf->length] = '\0';
	return room;
}

void
strbuf_puts(struct strbuf *buf, const char *text)
{
	strbuf_add(buf, text, strlen(text));
}

void
strbuf_putc(struct strbuf *buf, char c)
{
	if (!reserve(buf, 1))
		return;
	buf->data[buf->length++] = c;
	buf->data[buf->length] = '\0';
}

void
strbuf_u64(struct strbuf *buf, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);
	do
		digits[--at] = (char)('0' + value % 10);
	while ((value /= 10) != 0);
	strbuf_add(buf, digits + at, sizeof(digits) - at);
}

void
strbuf_i64(struct strbuf *buf, int64_t value)
{
	if (value < 0)
		strbuf_putc(buf, '-');
	strbuf_u64(buf, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void
strbuf_double(struct strbuf *buf, double value)
{
	char text[40];

	for (int digits = 6; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, value);
		if (fabs(strtod(text, NULL) - value) <= 0)
			break;
	}
	strbuf_puts(buf, text);
}

void
strbuf_printf(struct strbuf *buf, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	int length = vsnprintf(NULL, 0, format, args);
	if (length >= 0 && reserve(buf, (size_t)length)) {
		vsnprintf(buf->data + buf->length, (size_t)length + 1, format, again);
		buf->length += (size_t)length;
	}
	va_end(again);
	va_end(args);
}

/* RFC 8259 section 7. */
static inline bool
stands_for_itself(unsigned char c)
{
	return c >= 0x20 && c != '"' && c != '\\';
}

/* The escape of a byte that does not stand for itself in a JSON string. */
static const char *
json_escape(unsigned char c, char buffer[7])
{
	static const char HEX[] = "0123456789abcdef";
	switch (c) {
	case '"':
		return "\\\"";
	case '\\':
		return "\\\\";
	case '\n':
		return "\\n";
	case '\r':
		return "\\r";
	case '\t':
		return "\\t";
	default:
		break;
	}
	memcpy(buffer, "\\u00", 4);
	buffer[4] = HEX[c >> 4];
	buffer[5] = HEX[c & 15];
	buffer[6] = '\0';
	return buffer;
}

/* Where the first byte is that does not stand for itself. */
static size_t
plain_length(const char *text, size_t length)
{
	size_t at = 0;
	while (at < length && stands_for_itself((unsigned char)text[at]))
		at++;
	return at;
}

static void
put_quoted(struct strbuf *buf, const char *text, size_t length)
{
	char *room = strbuf_grow(buf, length + 2);

	if (!room)
		return;
	room[0] = '"';
	if (length)
		memcpy(room + 1, text, length);
	room[length + 1] = '"';
}

void
strbuf_json_string(struct strbuf *buf, const char *text, size_t length)
{
	char buffer[7];
	size_t at = 0, plain = plain_length(text, length);

	if (plain == length) {
		put_quoted(buf, text, length);
		return;
	}
	strbuf_putc(buf, '"');
	while (at + plain < length) {
		strbuf_add(buf, text + at, plain);
		at += plain;
		strbuf_puts(buf, json_escape((unsigned char)text[at++], buffer));
		plain = plain_length(text + at, length - at);
	}
	strbuf_add(buf, text + at, plain);
	strbuf_putc(buf, '"');
}
