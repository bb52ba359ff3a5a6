/*
 * routes: parameters of paths and queries into request fields.
 */
#include <string.h>

#include "api/json.h"
#include "api/routes.h"
#include "base/text.h"
#include "field.h"

#define QUERY_PARAMETERS_MAX 256

/* Percent-decodes into the arena; NULL when the encoding is wrong, memory is short, or the result is not
 * UTF-8 or has a NUL. */
static const char *
decode(const char *text, size_t length, bool plus_is_space, struct arena *arena, size_t *out_length)
{
	char *out = arena_try(arena, length + 1, 1);
	size_t n = 0;

	if (!out)
		return NULL;
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '%') {
			uint8_t byte;
			if (length - i < 3 || !text_hex_decode(text + i + 1, 2, &byte) || byte == 0)
				return NULL;
			out[n++] = (char)byte;
			i += 2;
		} else {
			out[n++] = plus_is_space && text[i] == '+' ? ' ' : text[i];
		}
	}
	*out_length = n;
	return text_is_utf8(out, n) ? out : NULL;
}

/* Only for what is wrong: most parameters are not. */
static const char *
pointer_to(const char *name, struct arena *arena)
{
	return arena_printf(arena, "/%s", name);
}

static void
append(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, const void *value,
       struct arena *arena, struct violations *violations, const struct api_field *rules)
{
	size_t size = field_size(field->type), count = field_count(message, field);
	char *data = count < field_max_items(rules) ? arena_try(arena, count + 1, size) : NULL;

	if (!data) {
		violations_add(violations, arena, pointer_to(field->name, arena), "must have at most %u items",
		               field_max_items(rules));
		return;
	}
	if (count)
		memcpy(data, *(void **)field_at(message, field), count * size);
	memcpy(data + count * size, value, size);
	*(void **)field_at(message, field) = data;
	*(size_t *)field_quantifier(message, field) = count + 1;
}

static bool
enum_from_name(const ProtobufCEnumDescriptor *descriptor, const char *text, int *out)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value_by_name(descriptor, text);
	if (!value || value->value == 0)
		return false;
	*out = value->value;
	return true;
}

/* The text as the field's type, into `out` (large enough for any). */
static bool
value_from_text(const ProtobufCFieldDescriptor *field, const struct api_field *rules, const char *text,
                size_t length, void *out)
{
	bool boolean;

	if (rules->format == API_TIMESTAMP)
		return text_to_timestamp_ms(text, length, out);
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		*(const char **)out = text;
		return true;
	case PROTOBUF_C_TYPE_BOOL:
		if (!text_to_bool(text, length, &boolean))
			return false;
		*(protobuf_c_boolean *)out = boolean;
		return true;
	case PROTOBUF_C_TYPE_ENUM:
		return enum_from_name(field->descriptor, text, out);
	case PROTOBUF_C_TYPE_MESSAGE:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_DOUBLE:
		return false;
	default:
		return scalar_from_digits(field->type, text, length, out) == SCALAR_OK;
	}
}

void
json_set_field_from_text(ProtobufCMessage *message, const struct api_message *rules, const char *name,
                         const char *text, size_t length, struct arena *arena, struct violations *violations)
{
	size_t position = 0;
	const ProtobufCFieldDescriptor *field = field_find(rules, name, strlen(name), &position);
	union {
		uint64_t number;
		const char *text;
		int choice;
	} value = {0};

	if (!field || rules->fields[position].is_nulls) {
		violations_add(violations, arena, pointer_to(name, arena), "is not a known parameter");
		return;
	}
	if (!value_from_text(field, &rules->fields[position], text, length, &value)) {
		violations_add(violations, arena, pointer_to(name, arena), "must be %s",
		               rules->fields[position].format == API_TIMESTAMP ? "a timestamp of RFC 3339"
		                                                               : scalar_name(field->type));
		return;
	}
	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		append(message, field, &value, arena, violations, &rules->fields[position]);
		return;
	}
	memcpy(field_at(message, field), &value, field_size(field->type));
	field_mark(message, field);
}

void
routes_bind_path(const struct route_match *match, ProtobufCMessage *message, struct arena *arena,
                 struct violations *violations)
{
	for (size_t i = 0; i < match->param_count; i++) {
		const struct route_param *param = &match->params[i];
		size_t name_length = strcspn(param->field, ".}"), length;
		const char *name = arena_strndup(arena, param->field, name_length);
		const char *text = decode(param->value, param->length, false, arena, &length);
		if (!text)
			violations_add(violations, arena, pointer_to(name, arena),
			               "must be percent-encoded UTF-8 without NUL");
		else
			json_set_field_from_text(message, match->method->request, name, text, length, arena, violations);
	}
}

struct query {
	const struct api_message *rules;
	ProtobufCMessage *message;
	struct arena *arena;
	struct violations *violations;
};

static void
bind_pair(const struct query *query, const char *pair, size_t length)
{
	const char *equals = memchr(pair, '=', length);
	size_t name_length = equals ? (size_t)(equals - pair) : length;
	size_t value_length = equals ? length - name_length - 1 : 0;
	size_t position;
	const char *name = decode(pair, name_length, true, query->arena, &name_length);
	const char *value = decode(equals ? equals + 1 : "", value_length, true, query->arena, &value_length);

	if (!name || !value) {
		violations_add(query->violations, query->arena,
		               name ? arena_printf(query->arena, "/%.64s", name) : "",
		               name ? "must be percent-encoded UTF-8 without NUL"
		                    : "the query must be percent-encoded UTF-8 without NUL");
		return;
	}
	const ProtobufCFieldDescriptor *field = field_find(query->rules, name, name_length, &position);
	if (field && field->label != PROTOBUF_C_LABEL_REPEATED && field_is_present(query->message, field)) {
		violations_add(query->violations, query->arena, arena_printf(query->arena, "/%.64s", name),
		               "appears twice");
		return;
	}
	json_set_field_from_text(query->message, query->rules, arena_printf(query->arena, "%.64s", name), value,
	                         value_length, query->arena, query->violations);
}

void
routes_bind_query(const char *text, size_t length, const struct api_message *rules, ProtobufCMessage *message,
                  struct arena *arena, struct violations *violations)
{
	const struct query query = {.rules = rules, .message = message, .arena = arena, .violations = violations};
	const char *end = text + length;
	size_t count = 0;

	for (const char *at = text; at < end;) {
		const char *amp = memchr(at, '&', (size_t)(end - at));
		const char *stop = amp ? amp : end;
		if (++count > QUERY_PARAMETERS_MAX) {
			violations_add(violations, arena, "", "the query has more than %d parameters",
			               QUERY_PARAMETERS_MAX);
			return;
		}
		if (stop > at)
			bind_pair(&query, at, (size_t)(stop - at));
		at = amp ? amp + 1 : end;
	}
}
