/*
 * otlp_writer: a nested message's length is known only at its end. One byte is kept for it and widened
 * then, which moves the message at most once a level; OTLP nests eight levels and most messages are short.
 */
#include "telemetry/otlp_writer.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Wire types of the protobuf encoding. */
enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };

#define VARINT_MAX 10

static size_t
varint_encode(uint64_t value, char out[VARINT_MAX])
{
	size_t length = 0;
	while (value >= 0x80) {
		out[length++] = (char)(0x80 | (value & 0x7F));
		value >>= 7;
	}
	out[length++] = (char)value;
	return length;
}

static void
put_varint(struct strbuf *out, uint64_t value)
{
	char bytes[VARINT_MAX];
	strbuf_add(out, bytes, varint_encode(value, bytes));
}

static void
put_tag(struct strbuf *out, struct otlp_field field, unsigned wire)
{
	put_varint(out, (uint64_t)field.number << 3 | wire);
}

/* Little-endian on the wire, whatever the machine. */
static void
put_fixed64(struct strbuf *out, uint64_t value)
{
	char bytes[8];
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(value >> (8 * i) & 0xFF);
	strbuf_add(out, bytes, sizeof(bytes));
}

static uint64_t
double_bits(double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static void
put_name(struct otlp_writer *writer, struct otlp_field field)
{
	strbuf_puts(writer->out, writer->needs_comma ? ",\"" : "\"");
	strbuf_puts(writer->out, field.name);
	strbuf_puts(writer->out, "\":");
	writer->needs_comma = true;
}

/* JSON knows no infinity; protobuf's mapping says these words. */
static void
put_json_double(struct strbuf *out, double value)
{
	if (isfinite(value))
		strbuf_double(out, value);
	else
		strbuf_puts(out, isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
}

static void
message_begin(struct otlp_writer *writer)
{
	assert(writer->depth < OTLP_DEPTH_MAX);
	if (writer->encoding == OTLP_PROTOBUF)
		strbuf_putc(writer->out, 0);
	else
		strbuf_putc(writer->out, '{');
	writer->starts[writer->depth++] = writer->out->length;
	writer->needs_comma = false;
}

/* Puts the length before the message, into the byte kept for it and as many more as it takes. */
static void
put_length(struct strbuf *out, size_t start)
{
	char bytes[VARINT_MAX];
	size_t length = out->length - start;
	size_t width = varint_encode(length, bytes);

	if (width > 1) {
		strbuf_grow(out, width - 1);
		memmove(out->data + start + width - 1, out->data + start, length);
	}
	memcpy(out->data + start - 1, bytes, width);
}

void
otlp_writer_begin(struct otlp_writer *writer, enum otlp_encoding encoding, struct strbuf *out)
{
	*writer = (struct otlp_writer){.out = out, .encoding = encoding};
	if (encoding == OTLP_JSON)
		strbuf_putc(out, '{');
}

void
otlp_writer_end(struct otlp_writer *writer)
{
	assert(writer->depth == 0);
	if (writer->encoding == OTLP_JSON)
		strbuf_putc(writer->out, '}');
}

void
otlp_open(struct otlp_writer *writer, struct otlp_field field)
{
	if (writer->encoding == OTLP_PROTOBUF)
		put_tag(writer->out, field, WIRE_BYTES);
	else
		put_name(writer, field);
	message_begin(writer);
}

void
otlp_close(struct otlp_writer *writer)
{
	assert(writer->depth > 0);
	size_t start = writer->starts[--writer->depth];
	if (writer->encoding == OTLP_PROTOBUF)
		put_length(writer->out, start);
	else
		strbuf_putc(writer->out, '}');
	writer->needs_comma = true;
}

void
otlp_list(struct otlp_writer *writer, struct otlp_field field)
{
	if (writer->encoding == OTLP_PROTOBUF)
		return;
	put_name(writer, field);
	strbuf_putc(writer->out, '[');
	writer->needs_comma = false;
}

void
otlp_item(struct otlp_writer *writer, struct otlp_field field)
{
	if (writer->encoding == OTLP_PROTOBUF)
		put_tag(writer->out, field, WIRE_BYTES);
	else if (writer->needs_comma)
		strbuf_putc(writer->out, ',');
	message_begin(writer);
}

void
otlp_list_end(struct otlp_writer *writer)
{
	if (writer->encoding == OTLP_JSON)
		strbuf_putc(writer->out, ']');
	writer->needs_comma = true;
}

/* A copy of `text` in which each byte that is no ASCII is '?'. */
static char *
as_ascii(const char *text)
{
	char *copy = mem_strdup(text);
	for (char *at = copy; *at; at++)
		if ((unsigned char)*at >= 0x80)
			*at = '?';
	return copy;
}

static void
put_text(struct otlp_writer *writer, struct otlp_field field, const char *text, size_t length)
{
	if (writer->encoding == OTLP_PROTOBUF) {
		put_tag(writer->out, field, WIRE_BYTES);
		put_varint(writer->out, length);
		strbuf_add(writer->out, text, length);
	} else {
		put_name(writer, field);
		strbuf_json_string(writer->out, text, length);
	}
}

void
otlp_text(struct otlp_writer *writer, struct otlp_field field, const char *text)
{
	size_t length = strlen(text);

	if (text_is_utf8(text, length)) {
		put_text(writer, field, text, length);
		return;
	}
	char *ascii = as_ascii(text);
	put_text(writer, field, ascii, length);
	mem_free(ascii);
}

void
otlp_id(struct otlp_writer *writer, struct otlp_field field, const uint8_t *bytes, size_t length)
{
	if (writer->encoding == OTLP_PROTOBUF) {
		put_tag(writer->out, field, WIRE_BYTES);
		put_varint(writer->out, length);
		strbuf_add(writer->out, (const char *)bytes, length);
		return;
	}
	put_name(writer, field);
	strbuf_putc(writer->out, '"');
	text_hex_encode(bytes, length, strbuf_grow(writer->out, 2 * length));
	strbuf_putc(writer->out, '"');
}

void
otlp_enum(struct otlp_writer *writer, struct otlp_field field, uint32_t value)
{
	if (writer->encoding == OTLP_PROTOBUF) {
		put_tag(writer->out, field, WIRE_VARINT);
		put_varint(writer->out, value);
	} else {
		put_name(writer, field);
		strbuf_u64(writer->out, value);
	}
}

void
otlp_bool(struct otlp_writer *writer, struct otlp_field field, bool value)
{
	if (writer->encoding == OTLP_PROTOBUF) {
		otlp_enum(writer, field, value ? 1 : 0);
	} else {
		put_name(writer, field);
		strbuf_puts(writer->out, value ? "true" : "false");
	}
}

static void
put_number(struct otlp_writer *writer, struct otlp_field field, uint64_t bits)
{
	put_tag(writer->out, field, WIRE_FIXED64);
	put_fixed64(writer->out, bits);
}

void
otlp_fixed64(struct otlp_writer *writer, struct otlp_field field, uint64_t value)
{
	if (writer->encoding == OTLP_PROTOBUF) {
		put_number(writer, field, value);
		return;
	}
	put_name(writer, field);
	strbuf_putc(writer->out, '"');
	strbuf_u64(writer->out, value);
	strbuf_putc(writer->out, '"');
}

void
otlp_sfixed64(struct otlp_writer *writer, struct otlp_field field, int64_t value)
{
	if (writer->encoding == OTLP_PROTOBUF) {
		put_number(writer, field, (uint64_t)value);
		return;
	}
	put_name(writer, field);
	strbuf_putc(writer->out, '"');
	strbuf_i64(writer->out, value);
	strbuf_putc(writer->out, '"');
}

void
otlp_double(struct otlp_writer *writer, struct otlp_field field, double value)
{
	if (writer->encoding == OTLP_PROTOBUF) {
		put_number(writer, field, double_bits(value));
		return;
	}
	put_name(writer, field);
	put_json_double(writer->out, value);
}

void
otlp_fixed64s(struct otlp_writer *writer, struct otlp_field field, const uint64_t *values, size_t count)
{
	if (writer->encoding == OTLP_PROTOBUF) {
		put_tag(writer->out, field, WIRE_BYTES);
		put_varint(writer->out, 8 * count);
		for (size_t i = 0; i < count; i++)
			put_fixed64(writer->out, values[i]);
		return;
	}
	put_name(writer, field);
	for (size_t i = 0; i < count; i++) {
		strbuf_puts(writer->out, i ? ",\"" : "[\"");
		strbuf_u64(writer->out, values[i]);
		strbuf_putc(writer->out, '"');
	}
	strbuf_puts(writer->out, count ? "]" : "[]");
}

void
otlp_doubles(struct otlp_writer *writer, struct otlp_field field, const double *values, size_t count)
{
	if (writer->encoding == OTLP_PROTOBUF) {
		put_tag(writer->out, field, WIRE_BYTES);
		put_varint(writer->out, 8 * count);
		for (size_t i = 0; i < count; i++)
			put_fixed64(writer->out, double_bits(values[i]));
		return;
	}
	put_name(writer, field);
	strbuf_putc(writer->out, '[');
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			strbuf_putc(writer->out, ',');
		put_json_double(writer->out, values[i]);
	}
	strbuf_putc(writer->out, ']');
}
