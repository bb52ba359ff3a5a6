/*
 * raw: see raw.h.
 */
#include "api/raw.h"

#include <string.h>
#include <strings.h>

#include "field.h"

#define TYPE_FIELD "content_type"

static const ProtobufCFieldDescriptor *
find(const struct api_message *rules, const char *name)
{
	size_t position;
	return field_find(rules, name, strlen(name), &position);
}

bool
raw_type_is_json(const char *type)
{
	static const char JSON[] = "application/json";
	size_t length = strcspn(type, "; \t");
	return length == sizeof(JSON) - 1 && strncasecmp(type, JSON, length) == 0;
}

/* NULL: the message has none. */
static const ProtobufCFieldDescriptor *
json_field(const struct api_message *rules)
{
	for (unsigned i = 0; i < rules->descriptor->n_fields; i++)
		if (rules->fields[i].format == API_JSON && rules->descriptor->fields[i].type == PROTOBUF_C_TYPE_BYTES)
			return &rules->descriptor->fields[i];
	return NULL;
}

ProtobufCMessage *
raw_to_message(const struct api_method *method, const char *type, const void *body, size_t size,
               struct arena *arena)
{
	const struct api_message *rules = method->request;
	const ProtobufCFieldDescriptor *json = type && raw_type_is_json(type) ? json_field(rules) : NULL;
	const ProtobufCFieldDescriptor *field = json ? json : find(rules, method->raw_body);
	const ProtobufCFieldDescriptor *type_field = find(rules, TYPE_FIELD);
	const ProtobufCBinaryData bytes = {.len = size, .data = (uint8_t *)(uintptr_t)body};
	ProtobufCMessage *message = message_new(rules->descriptor, arena);

	if (!message)
		return NULL;
	memcpy(field_at(message, field), &bytes, sizeof(bytes));
	field_mark(message, field);
	if (type && !json)
		memcpy(field_at(message, type_field), &type, sizeof(type));
	return message;
}

bool
raw_from_message(const struct api_method *method, const ProtobufCMessage *message, struct raw_answer *out)
{
	const ProtobufCFieldDescriptor *field = find(method->reply, method->raw_answer);
	ProtobufCBinaryData bytes;

	if (!field_is_present(message, field))
		return false;
	memcpy(&bytes, field_at(message, field), sizeof(bytes));
	memcpy(&out->type, field_at(message, find(method->reply, TYPE_FIELD)), sizeof(out->type));
	out->body = bytes.data;
	out->size = bytes.len;
	return true;
}
