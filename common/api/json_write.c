/*
 * json: a message as text.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/text.h"
#include "field.h"

#define EXACT_MAX INT64_C(9007199254740992) /* 2^53: beyond it a double may be off */

struct writer {
	struct strbuf *out;
	const struct json_write_options *options;
	unsigned depth;
};

static void write_message(struct writer *writer, const ProtobufCMessage *message,
                          const struct api_message *rules);

static void
new_line(struct writer *writer)
{
	if (!writer->options->is_pretty)
		return;
	strbuf_putc(writer->out, '\n');
	for (unsigned i = 0; i < writer->depth; i++)
		strbuf_puts(writer->out, "  ");
}

static void
write_i64(struct strbuf *out, int64_t value)
{
	bool is_exact = value >= -EXACT_MAX && value <= EXACT_MAX;
	if (!is_exact)
		strbuf_putc(out, '"');
	strbuf_i64(out, value);
	if (!is_exact)
		strbuf_putc(out, '"');
}

static void
write_u64(struct strbuf *out, uint64_t value)
{
	bool is_exact = value <= (uint64_t)EXACT_MAX;
	if (!is_exact)
		strbuf_putc(out, '"');
	strbuf_u64(out, value);
	if (!is_exact)
		strbuf_putc(out, '"');
}

/* JSON has no infinities and no NaN: null. */
static void
write_double(struct strbuf *out, double value)
{
	if (isfinite(value))
		strbuf_double(out, value);
	else
		strbuf_puts(out, "null");
}

/* The shortest text that reads back as the same float: as a double it would get digits that it never had. */
static void
write_float(struct strbuf *out, float value)
{
	char text[32];

	if (!isfinite(value)) {
		strbuf_puts(out, "null");
		return;
	}
	for (int digits = 6; digits <= 9; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, (double)value);
		if (fabsf(strtof(text, NULL) - value) <= 0)
			break;
	}
	strbuf_puts(out, text);
}

static void
write_timestamp(struct strbuf *out, int64_t ms)
{
	char text[TEXT_TIMESTAMP_MAX];
	size_t length = text_from_timestamp_ms(ms, text);
	strbuf_putc(out, '"');
	strbuf_add(out, text, length);
	strbuf_putc(out, '"');
}

static void
write_bytes(struct strbuf *out, const ProtobufCBinaryData *bytes)
{
	char piece[4 * 256];
	strbuf_putc(out, '"');
	for (size_t at = 0; at < bytes->len; at += 768) {
		size_t n = bytes->len - at < 768 ? bytes->len - at : 768;
		strbuf_add(out, piece, text_base64_encode(bytes->data + at, n, piece));
	}
	strbuf_putc(out, '"');
}

static void
write_enum(struct strbuf *out, const ProtobufCEnumDescriptor *descriptor, int value)
{
	const ProtobufCEnumValue *entry = protobuf_c_enum_descriptor_get_value(descriptor, value);
	if (entry)
		strbuf_json_string(out, entry->name, strlen(entry->name));
	else
		strbuf_i64(out, value);
}

/* As it came; nothing at all would not be JSON. */
static void
write_raw(struct strbuf *out, const ProtobufCFieldDescriptor *field, const void *value)
{
	const ProtobufCBinaryData *bytes = value;
	const char *text = field->type == PROTOBUF_C_TYPE_STRING ? *(char *const *)value : (char *)bytes->data;
	size_t length = field->type == PROTOBUF_C_TYPE_STRING ? strlen(text) : bytes->len;

	if (length > 0)
		strbuf_add(out, text, length);
	else
		strbuf_puts(out, "null");
}

static void
write_value(struct writer *writer, const ProtobufCFieldDescriptor *field, const struct api_field *rules,
            const void *value)
{
	struct strbuf *out = writer->out;

	if (rules->format == API_JSON) {
		write_raw(out, field, value);
		return;
	}
	if (rules->format == API_TIMESTAMP) {
		write_timestamp(out, *(const int64_t *)value);
		return;
	}
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		strbuf_json_string(out, *(char *const *)value, strlen(*(char *const *)value));
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		write_message(writer, *(ProtobufCMessage *const *)value, api_message_of(field->descriptor));
		break;
	case PROTOBUF_C_TYPE_BOOL:
		strbuf_puts(out, *(const protobuf_c_boolean *)value ? "true" : "false");
		break;
	case PROTOBUF_C_TYPE_ENUM:
		write_enum(out, field->descriptor, *(const int *)value);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		write_bytes(out, value);
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		write_float(out, *(const float *)value);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		write_double(out, *(const double *)value);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		strbuf_u64(out, *(const uint32_t *)value);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		write_u64(out, *(const uint64_t *)value);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		write_i64(out, *(const int64_t *)value);
		break;
	default:
		strbuf_i64(out, *(const int32_t *)value);
		break;
	}
}

static void
write_key(struct writer *writer, const char *name, size_t length)
{
	strbuf_json_string(writer->out, name, length);
	strbuf_putc(writer->out, ':');
	if (writer->options->is_pretty)
		strbuf_putc(writer->out, ' ');
}

/* A field's name has nothing to escape. */
static void
write_name(struct writer *writer, const char *name)
{
	size_t length = strlen(name);
	char *room = strbuf_grow(writer->out, length + 3);

	if (!room)
		return;
	room[0] = '"';
	memcpy(room + 1, name, length);
	memcpy(room + 1 + length, "\":", 2);
	if (writer->options->is_pretty)
		strbuf_putc(writer->out, ' ');
}

static void
write_map(struct writer *writer, const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
	ProtobufCMessage *const *entries = *(ProtobufCMessage *const *const *)field_at(message, field);
	const ProtobufCMessageDescriptor *entry = field->descriptor;
	const struct api_message *rules = api_message_of(entry);
	size_t count = field_count(message, field);

	strbuf_putc(writer->out, '{');
	writer->depth++;
	for (size_t i = 0; i < count; i++) {
		const char *name = *(char *const *)field_at(entries[i], &entry->fields[0]);
		if (i > 0)
			strbuf_putc(writer->out, ',');
		new_line(writer);
		write_key(writer, name, strlen(name));
		write_value(writer, &entry->fields[1], &rules->fields[1], field_at(entries[i], &entry->fields[1]));
	}
	writer->depth--;
	if (count > 0)
		new_line(writer);
	strbuf_putc(writer->out, '}');
}

static void
write_array(struct writer *writer, const ProtobufCFieldDescriptor *field, const struct api_field *rules,
            const ProtobufCMessage *message)
{
	const char *elements = *(const char *const *)field_at(message, field);
	size_t count = field_count(message, field), size = field_size(field->type);

	strbuf_putc(writer->out, '[');
	writer->depth++;
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			strbuf_putc(writer->out, ',');
		new_line(writer);
		write_value(writer, field, rules, elements + i * size);
	}
	writer->depth--;
	if (count > 0)
		new_line(writer);
	strbuf_putc(writer->out, ']');
}

static void
write_field(struct writer *writer, const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
            const struct api_field *rules)
{
	write_name(writer, field->name);
	if (rules->is_secret && writer->options->is_redacted)
		strbuf_puts(writer->out, "\"[redacted]\"");
	else if (rules->is_map)
		write_map(writer, field, message);
	else if (field->label == PROTOBUF_C_LABEL_REPEATED)
		write_array(writer, field, rules, message);
	else
		write_value(writer, field, rules, field_at(message, field));
}

static void
write_message(struct writer *writer, const ProtobufCMessage *message, const struct api_message *rules)
{
	bool is_first = true;

	strbuf_putc(writer->out, '{');
	writer->depth++;
	for (unsigned i = 0; i < rules->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &rules->descriptor->fields[i];
		if (rules->fields[i].is_nulls || !field_is_present(message, field))
			continue;
		if (!is_first)
			strbuf_putc(writer->out, ',');
		is_first = false;
		new_line(writer);
		write_field(writer, message, field, &rules->fields[i]);
	}
	writer->depth--;
	if (!is_first)
		new_line(writer);
	strbuf_putc(writer->out, '}');
}

void
json_from_message(const ProtobufCMessage *message, const struct api_message *rules,
                  const struct json_write_options *options, struct strbuf *out)
{
	static const struct json_write_options PLAIN = {0};
	struct writer writer = {.out = out, .options = options ? options : &PLAIN};
	write_message(&writer, message, rules);
}
