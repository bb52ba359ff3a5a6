/*
 * field: see field.h.
 */
#include "field.h"

#include <string.h>

#include "base/text.h"

size_t
field_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return 4;
	case PROTOBUF_C_TYPE_ENUM:
		return sizeof(int);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 8;
	}
}

static bool
is_pointer(ProtobufCType type)
{
	return type == PROTOBUF_C_TYPE_STRING || type == PROTOBUF_C_TYPE_MESSAGE;
}

bool
field_is_present(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return field_count(message, field) > 0;
	if (field_is_oneof(field) && *(const uint32_t *)field_quantifier(message, field) != field->id)
		return false;
	if (is_pointer(field->type)) {
		const void *value = *(void *const *)field_at(message, field);
		return value != NULL && value != field->default_value;
	}
	if (field_is_oneof(field) || field->label == PROTOBUF_C_LABEL_REQUIRED)
		return true;
	return *(const protobuf_c_boolean *)field_quantifier(message, field) != 0;
}

size_t
field_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	return *(const size_t *)field_quantifier(message, field);
}

void
field_mark(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	if (field_is_oneof(field))
		*(uint32_t *)field_quantifier(message, field) = field->id;
	else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && !is_pointer(field->type))
		*(protobuf_c_boolean *)field_quantifier(message, field) = 1;
}

const ProtobufCFieldDescriptor *
field_find(const struct api_message *rules, const char *name, size_t length, size_t *position)
{
	const ProtobufCMessageDescriptor *descriptor = rules->descriptor;
	for (size_t i = 0; i < descriptor->n_fields; i++) {
		const char *candidate = descriptor->fields[i].name;
		if (candidate[0] == (length ? name[0] : '\0') && strlen(candidate) == length &&
		    memcmp(candidate, name, length) == 0) {
			*position = i;
			return &descriptor->fields[i];
		}
	}
	return NULL;
}

ProtobufCMessage *
message_new(const ProtobufCMessageDescriptor *descriptor, struct arena *arena)
{
	ProtobufCMessage *message = arena_try(arena, 1, descriptor->sizeof_message);
	if (message)
		descriptor->message_init(message);
	return message;
}

uint32_t
field_max_len(const struct api_field *rules)
{
	return rules->max_len ? rules->max_len : 64u << 10;
}

uint32_t
field_max_items(const struct api_field *rules)
{
	return rules->max_items ? rules->max_items : 1000;
}

const char *
scalar_name(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return "a whole number from -2147483648 to 2147483647";
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return "a whole number from 0 to 4294967295";
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return "a whole number of 64 bits";
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return "a whole number from 0 to 18446744073709551615";
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_DOUBLE:
		return "a number";
	case PROTOBUF_C_TYPE_BOOL:
		return "true or false";
	case PROTOBUF_C_TYPE_ENUM:
		return "the name of one of its values";
	case PROTOBUF_C_TYPE_BYTES:
		return "a string of base64";
	case PROTOBUF_C_TYPE_STRING:
		return "a string";
	default:
		return "an object";
	}
}

/* Tells a number that is too large from text that is no whole number. */
static enum scalar_result
failed_digits(const char *text, size_t length)
{
	size_t at = length > 0 && text[0] == '-';
	if (at == length)
		return SCALAR_NOT_A_NUMBER;
	for (; at < length; at++)
		if (text[at] < '0' || text[at] > '9')
			return SCALAR_NOT_A_NUMBER;
	return SCALAR_TOO_LARGE;
}

static enum scalar_result
signed_from_digits(ProtobufCType type, const char *text, size_t length, void *out)
{
	int64_t value;
	if (!text_to_i64(text, length, &value))
		return failed_digits(text, length);
	if (field_size(type) == 8) {
		*(int64_t *)out = value;
		return SCALAR_OK;
	}
	if (value < INT32_MIN || value > INT32_MAX)
		return SCALAR_TOO_LARGE;
	*(int32_t *)out = (int32_t)value;
	return SCALAR_OK;
}

static enum scalar_result
unsigned_from_digits(ProtobufCType type, const char *text, size_t length, void *out)
{
	uint64_t value;
	if (!text_to_u64(text, length, &value))
		return failed_digits(text, length);
	if (field_size(type) == 8) {
		*(uint64_t *)out = value;
		return SCALAR_OK;
	}
	if (value > UINT32_MAX)
		return SCALAR_TOO_LARGE;
	*(uint32_t *)out = (uint32_t)value;
	return SCALAR_OK;
}

enum scalar_result
scalar_from_digits(ProtobufCType type, const char *text, size_t length, void *out)
{
	switch (type) {
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		if (length == 2 && memcmp(text, "-0", 2) == 0) { /* JSON has a minus zero; it is zero */
			text++;
			length--;
		}
		return unsigned_from_digits(type, text, length, out);
	default:
		return signed_from_digits(type, text, length, out);
	}
}
