/*
 * json: one value that is no message: strings, numbers, truth values, enums, bytes, timestamps, raw JSON.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "reader.h"

const char *
reader_pointer(struct reader *reader)
{
	struct strbuf out;
	strbuf_init(&out, reader->arena);
	strbuf_add(&out, "", 0);
	for (size_t i = 0; i < reader->depth; i++) {
		const struct segment *segment = &reader->path[i];
		strbuf_putc(&out, '/');
		if (!segment->name) {
			strbuf_u64(&out, segment->length);
			continue;
		}
		pointer_add_name(&out, segment->name, segment->length);
	}
	return out.data;
}

/* Notes what is wrong here and goes on. */
void
reader_wrong(struct reader *reader, const char *detail)
{
	violations_add(reader->violations, reader->arena, reader_pointer(reader), "%s", detail);
}

bool
reader_skip(struct reader *reader)
{
	struct token ignored;
	size_t levels = reader->depth < JSON_DEPTH_MAX ? JSON_DEPTH_MAX - reader->depth : 0;
	return lexer_skip(&reader->lexer, (unsigned)levels, &ignored);
}

bool
reader_no_memory(struct reader *reader)
{
	reader->is_out_of_memory = true;
	return false;
}

/* A value of the wrong type: noted, and passed over. */
bool
reader_wrong_type(struct reader *reader, const ProtobufCFieldDescriptor *field)
{
	violations_add(reader->violations, reader->arena, reader_pointer(reader), "must be %s",
	               scalar_name(field->type));
	return reader_skip(reader);
}

bool
reader_text(struct reader *reader, const char **text, size_t *length)
{
	struct token token;

	*text = NULL;
	if (!lexer_any_string(&reader->lexer, &token))
		return false;
	if (token.fault) {
		reader_wrong(reader, token.fault);
		return true;
	}
	*text = token_decode(&token, reader->arena, length);
	return *text || reader_no_memory(reader);
}

/* The digits of a JSON number, and the power of ten that they are to be multiplied by. */
struct decimal {
	char digits[24];
	size_t length;
	long scale;
};

/* Collects the significant digits; false when there are more than any whole number of ours has. */
static bool
collect_digits(const struct token *token, size_t end, struct decimal *out)
{
	bool is_fraction = false;
	size_t zeros = 0; /* seen, but not yet known to stand before another digit */

	for (size_t i = token->text[0] == '-'; i < end; i++) {
		char c = token->text[i];
		if (c == '.') {
			is_fraction = true;
			continue;
		}
		out->scale -= is_fraction;
		if (c == '0') {
			zeros += out->length > 0;
			continue;
		}
		if (out->length + zeros + 1 > sizeof(out->digits) - 4)
			return false;
		for (; zeros > 0; zeros--)
			out->digits[out->length++] = '0';
		out->digits[out->length++] = c;
	}
	out->scale += (long)zeros;
	return true;
}

/* "1.0" and "12.5e1" are whole numbers, too: exactly, whatever a double would make of them. Writes the digits
 * of the number; false when it is not whole, or has more digits than 64 bits can hold. */
static bool
whole_digits(const struct token *token, char out[32], size_t *length)
{
	size_t end = 0;
	struct decimal decimal = {.length = 0};
	int64_t exponent = 0;
	struct strbuf text = {.data = out, .capacity = 32};

	while (end < token->length && token->text[end] != 'e' && token->text[end] != 'E')
		end++;
	if (!collect_digits(token, end, &decimal))
		return false;
	size_t from = end + 1 + (end + 1 < token->length && token->text[end + 1] == '+');
	bool is_small = end == token->length || text_to_i64(token->text + from, token->length - from, &exponent);
	if (decimal.length == 0) { /* nothing but zeros, whatever the exponent */
		strbuf_putc(&text, '0');
		*length = text.length;
		return true;
	}
	if (!is_small || exponent > 100000000 || exponent < -100000000)
		return false;
	long zeros = decimal.scale + (long)exponent;
	if (zeros < 0 || zeros + (long)decimal.length > 20)
		return false;
	if (token->text[0] == '-')
		strbuf_putc(&text, '-');
	strbuf_add(&text, decimal.digits, decimal.length);
	for (; zeros > 0; zeros--)
		strbuf_putc(&text, '0');
	*length = text.length;
	return true;
}

/* A whole number as a JSON number, or as a string of decimal digits. */
static bool
read_whole(struct reader *reader, const ProtobufCFieldDescriptor *field, void *out, bool *is_set)
{
	struct token token;
	char digits[32];
	const char *text;
	size_t length;
	char c = lexer_peek(&reader->lexer);

	if (c == '"') {
		if (!reader_text(reader, &text, &length))
			return false;
		if (!text)
			return true;
		if (!text)
			return true;
	} else if (c == '-' || (c >= '0' && c <= '9')) {
		if (!lexer_number(&reader->lexer, &token))
			return false;
		text = token.text;
		length = token.length;
		if (!token.is_integer && whole_digits(&token, digits, &length))
			text = digits;
	} else {
		return reader_wrong_type(reader, field);
	}
	switch (scalar_from_digits(field->type, text, length, out)) {
	case SCALAR_OK:
		*is_set = true;
		break;
	default:
		violations_add(reader->violations, reader->arena, reader_pointer(reader), "must be %s",
		               scalar_name(field->type));
		break;
	}
	return true;
}

static bool
read_timestamp(struct reader *reader, const ProtobufCFieldDescriptor *field, void *out, bool *is_set)
{
	const char *text;
	size_t length;
	int64_t ms;

	if (lexer_peek(&reader->lexer) != '"') {
		reader_wrong(reader, "must be a timestamp of RFC 3339, such as \"2026-01-31T23:59:59Z\"");
		return reader_skip(reader);
	}
	if (!reader_text(reader, &text, &length))
		return false;
	if (!text)
		return true;
	if (!text_to_timestamp_ms(text, length, &ms)) {
		reader_wrong(reader, "must be a timestamp of RFC 3339, such as \"2026-01-31T23:59:59Z\"");
		return true;
	}
	*(int64_t *)out = ms;
	*is_set = field_size(field->type) == sizeof(ms);
	return true;
}

static bool
read_number(struct reader *reader, const ProtobufCFieldDescriptor *field, void *out, bool *is_set)
{
	struct token token;
	char c = lexer_peek(&reader->lexer);

	if (c != '-' && (c < '0' || c > '9'))
		return reader_wrong_type(reader, field);
	if (!lexer_number(&reader->lexer, &token))
		return false;
	char *text = arena_try(reader->arena, token.length + 1, 1);
	if (!text)
		return reader_no_memory(reader);
	memcpy(text, token.text, token.length);
	/* A float is read as one: by way of a double it could be rounded twice, or seem out of range. */
	bool is_single = field->type == PROTOBUF_C_TYPE_FLOAT;
	float single = is_single ? strtof(text, NULL) : 0;
	double value = is_single ? 0 : strtod(text, NULL);
	*is_set = isfinite(single) && isfinite(value);
	if (!*is_set)
		reader_wrong(reader, "is too large a number");
	else if (is_single)
		*(float *)out = single;
	else
		*(double *)out = value;
	return true;
}

static bool
read_bool(struct reader *reader, const ProtobufCFieldDescriptor *field, void *out, bool *is_set)
{
	char c = lexer_peek(&reader->lexer);
	if (c != 't' && c != 'f')
		return reader_wrong_type(reader, field);
	*(protobuf_c_boolean *)out = c == 't';
	*is_set = true;
	return lexer_word(&reader->lexer, c == 't' ? "true" : "false");
}

static void
wrong_enum(struct reader *reader, const ProtobufCEnumDescriptor *descriptor)
{
	struct strbuf names;
	strbuf_init(&names, reader->arena);
	strbuf_puts(&names, "must be one of ");
	for (unsigned i = 0, shown = 0; i < descriptor->n_values; i++)
		if (descriptor->values[i].value != 0)
			strbuf_printf(&names, "%s%s", shown++ ? ", " : "", descriptor->values[i].name);
	reader_wrong(reader, names.data);
}

static bool
read_enum(struct reader *reader, const ProtobufCFieldDescriptor *field, void *out, bool *is_set)
{
	const ProtobufCEnumDescriptor *descriptor = field->descriptor;
	const char *text;
	size_t length;

	if (lexer_peek(&reader->lexer) != '"') {
		wrong_enum(reader, descriptor);
		return reader_skip(reader);
	}
	if (!reader_text(reader, &text, &length))
		return false;
	if (!text)
		return true;
	for (unsigned i = 0; i < descriptor->n_values; i++) {
		if (descriptor->values[i].value != 0 && strcmp(descriptor->values[i].name, text) == 0) {
			*(int *)out = descriptor->values[i].value;
			*is_set = true;
			return true;
		}
	}
	wrong_enum(reader, descriptor);
	return true;
}

/* One JSON value, kept to the byte. */
static bool
read_raw(struct reader *reader, const ProtobufCFieldDescriptor *field, void *out, bool *is_set)
{
	struct token token;
	size_t levels = reader->depth < JSON_DEPTH_MAX ? JSON_DEPTH_MAX - reader->depth : 0;

	if (!lexer_skip(&reader->lexer, (unsigned)levels, &token))
		return false;
	if (token.fault) {
		violations_add(reader->violations, reader->arena, reader_pointer(reader), "a string in it %s",
		               token.fault);
		return true;
	}
	char *copy = arena_try(reader->arena, token.length + 1, 1);
	if (!copy)
		return reader_no_memory(reader);
	memcpy(copy, token.text, token.length);
	if (field->type == PROTOBUF_C_TYPE_STRING)
		*(char **)out = copy;
	else
		*(ProtobufCBinaryData *)out = (ProtobufCBinaryData){.len = token.length, .data = (uint8_t *)copy};
	*is_set = true;
	return true;
}

static bool
read_bytes(struct reader *reader, const ProtobufCFieldDescriptor *field, void *out, bool *is_set)
{
	const char *text;
	size_t length, decoded;

	if (lexer_peek(&reader->lexer) != '"')
		return reader_wrong_type(reader, field);
	if (!reader_text(reader, &text, &length))
		return false;
	if (!text)
		return true;
	uint8_t *bytes = arena_try(reader->arena, length + 1, 1);
	if (!bytes)
		return reader_no_memory(reader);
	if (!text_base64_decode(text, length, bytes, &decoded)) {
		reader_wrong(reader, "must be base64 (RFC 4648)");
		return true;
	}
	*(ProtobufCBinaryData *)out = (ProtobufCBinaryData){.len = decoded, .data = bytes};
	*is_set = true;
	return true;
}

static bool
read_string(struct reader *reader, const ProtobufCFieldDescriptor *field, void *out, bool *is_set)
{
	const char *text;
	size_t length;

	if (lexer_peek(&reader->lexer) != '"')
		return reader_wrong_type(reader, field);
	if (!reader_text(reader, &text, &length))
		return false;
	if (!text)
		return true;
	*(const char **)out = text;
	*is_set = true;
	return true;
}

bool
read_scalar(struct reader *reader, const ProtobufCFieldDescriptor *field, const struct api_field *rules,
            void *out, bool *is_set)
{
	if (rules->format == API_JSON)
		return read_raw(reader, field, out, is_set);
	if (rules->format == API_TIMESTAMP)
		return read_timestamp(reader, field, out, is_set);
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		return read_string(reader, field, out, is_set);
	case PROTOBUF_C_TYPE_BOOL:
		return read_bool(reader, field, out, is_set);
	case PROTOBUF_C_TYPE_ENUM:
		return read_enum(reader, field, out, is_set);
	case PROTOBUF_C_TYPE_BYTES:
		return read_bytes(reader, field, out, is_set);
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_DOUBLE:
		return read_number(reader, field, out, is_set);
	default:
		return read_whole(reader, field, out, is_set);
	}
}
