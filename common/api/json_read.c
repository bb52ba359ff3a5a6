/*
 * json: text into a message, in one pass over both.
 *
 * The reader walks the text with the lexer and the message by its descriptor. What is well-formed JSON
 * but wrong for the contract is noted as a violation and skipped, so that all of a request's faults are
 * reported together; what is not JSON ends the walk. The path to the current value is kept as a small
 * stack of segments and becomes a JSON pointer only when something is wrong.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/text.h"
#include "field.h"
#include "lexer.h"

#define FIELDS_MAX 256 /* of one message: bits of the set of names already seen */

struct segment {
	const char *name; /* NULL: an index */
	size_t length;    /* or the index */
};

struct reader {
	struct lexer lexer;
	struct arena *arena;
	struct violations *violations;
	struct segment path[JSON_DEPTH_MAX * 2 + 2];
	size_t depth;
	bool is_out_of_memory;
};

static bool read_message(struct reader *reader, const struct api_message *rules, ProtobufCMessage *message);
static bool read_value(struct reader *reader, const ProtobufCFieldDescriptor *field,
                       const struct api_field *rules, void *out, bool *is_set);

static void
push(struct reader *reader, const char *name, size_t length)
{
	reader->path[reader->depth++] = (struct segment){.name = name, .length = length};
}

static void
pop(struct reader *reader)
{
	reader->depth--;
}

static const char *
pointer_here(struct reader *reader)
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
static void
wrong(struct reader *reader, const char *detail)
{
	violations_add(reader->violations, reader->arena, pointer_here(reader), "%s", detail);
}

static bool
skip_here(struct reader *reader)
{
	struct token ignored;
	size_t levels = reader->depth < JSON_DEPTH_MAX ? JSON_DEPTH_MAX - reader->depth : 0;
	return lexer_skip(&reader->lexer, (unsigned)levels, &ignored);
}

static bool
no_memory(struct reader *reader)
{
	reader->is_out_of_memory = true;
	return false;
}

/* A value of the wrong type: noted, and passed over. */
static bool
wrong_type(struct reader *reader, const ProtobufCFieldDescriptor *field)
{
	violations_add(reader->violations, reader->arena, pointer_here(reader), "must be %s",
	               scalar_name(field->type));
	return skip_here(reader);
}

static bool
read_text(struct reader *reader, const char **text, size_t *length)
{
	struct token token;
	if (!lexer_string(&reader->lexer, &token))
		return false;
	*text = token_decode(&token, reader->arena, length);
	return *text || no_memory(reader);
}

/* "1.0" and "1e3" are whole numbers, too, as long as a double holds them exactly. */
static bool
whole_from_double(const struct token *token, char digits[24], size_t *length)
{
	char text[64];
	if (token->length >= sizeof(text))
		return false;
	memcpy(text, token->text, token->length);
	text[token->length] = '\0';
	double value = strtod(text, NULL);
	if (!(fabs(value) <= 9007199254740992.0) || value != floor(value))
		return false;
	struct strbuf buf = {.data = digits, .capacity = 24};
	strbuf_i64(&buf, (int64_t)value);
	*length = buf.length;
	return true;
}

/* A whole number as a JSON number, or as a string of decimal digits. */
static bool
read_whole(struct reader *reader, const ProtobufCFieldDescriptor *field, void *out, bool *is_set)
{
	struct token token;
	char digits[24];
	const char *text;
	size_t length;
	char c = lexer_peek(&reader->lexer);

	if (c == '"') {
		if (!read_text(reader, &text, &length))
			return false;
	} else if (c == '-' || (c >= '0' && c <= '9')) {
		if (!lexer_number(&reader->lexer, &token))
			return false;
		text = token.text;
		length = token.length;
		if (!token.is_integer && whole_from_double(&token, digits, &length))
			text = digits;
	} else {
		return wrong_type(reader, field);
	}
	switch (scalar_from_digits(field->type, text, length, out)) {
	case SCALAR_OK:
		*is_set = true;
		break;
	default:
		violations_add(reader->violations, reader->arena, pointer_here(reader), "must be %s",
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
		wrong(reader, "must be a timestamp of RFC 3339, such as \"2026-01-31T23:59:59Z\"");
		return skip_here(reader);
	}
	if (!read_text(reader, &text, &length))
		return false;
	if (!text_to_timestamp_ms(text, length, &ms)) {
		wrong(reader, "must be a timestamp of RFC 3339, such as \"2026-01-31T23:59:59Z\"");
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
		return wrong_type(reader, field);
	if (!lexer_number(&reader->lexer, &token))
		return false;
	char *text = arena_try(reader->arena, token.length + 1, 1);
	if (!text)
		return no_memory(reader);
	memcpy(text, token.text, token.length);
	double value = strtod(text, NULL);
	if (!isfinite(value) || (field->type == PROTOBUF_C_TYPE_FLOAT && !isfinite((float)value))) {
		wrong(reader, "is too large a number");
		return true;
	}
	if (field->type == PROTOBUF_C_TYPE_FLOAT)
		*(float *)out = (float)value;
	else
		*(double *)out = value;
	*is_set = true;
	return true;
}

static bool
read_bool(struct reader *reader, const ProtobufCFieldDescriptor *field, void *out, bool *is_set)
{
	char c = lexer_peek(&reader->lexer);
	if (c != 't' && c != 'f')
		return wrong_type(reader, field);
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
	wrong(reader, names.data);
}

static bool
read_enum(struct reader *reader, const ProtobufCFieldDescriptor *field, void *out, bool *is_set)
{
	const ProtobufCEnumDescriptor *descriptor = field->descriptor;
	const char *text;
	size_t length;

	if (lexer_peek(&reader->lexer) != '"') {
		wrong_enum(reader, descriptor);
		return skip_here(reader);
	}
	if (!read_text(reader, &text, &length))
		return false;
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
	char *copy = arena_try(reader->arena, token.length + 1, 1);
	if (!copy)
		return no_memory(reader);
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
		return wrong_type(reader, field);
	if (!read_text(reader, &text, &length))
		return false;
	uint8_t *bytes = arena_try(reader->arena, length + 1, 1);
	if (!bytes)
		return no_memory(reader);
	if (!text_base64_decode(text, length, bytes, &decoded)) {
		wrong(reader, "must be base64 (RFC 4648)");
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
		return wrong_type(reader, field);
	if (!read_text(reader, &text, &length))
		return false;
	*(const char **)out = text;
	*is_set = true;
	return true;
}

static bool
read_object(struct reader *reader, const ProtobufCFieldDescriptor *field, void *out, bool *is_set)
{
	const ProtobufCMessageDescriptor *descriptor = field->descriptor;

	if (lexer_peek(&reader->lexer) != '{')
		return wrong_type(reader, field);
	ProtobufCMessage *message = message_new(descriptor, reader->arena);
	if (!message)
		return no_memory(reader);
	*(ProtobufCMessage **)out = message;
	*is_set = true;
	return read_message(reader, api_message_of(descriptor), message);
}

static bool
read_value(struct reader *reader, const ProtobufCFieldDescriptor *field, const struct api_field *rules,
           void *out, bool *is_set)
{
	if (rules->format == API_JSON)
		return read_raw(reader, field, out, is_set);
	if (rules->format == API_TIMESTAMP)
		return read_timestamp(reader, field, out, is_set);
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		return read_string(reader, field, out, is_set);
	case PROTOBUF_C_TYPE_MESSAGE:
		return read_object(reader, field, out, is_set);
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

/* A growing array of elements in the arena. */
struct elements {
	char *data;
	size_t count, capacity, size;
};

static void *
elements_add(struct reader *reader, struct elements *elements)
{
	if (elements->count == elements->capacity) {
		size_t capacity = elements->capacity ? elements->capacity * 2 : 4;
		char *data = arena_try(reader->arena, capacity, elements->size);
		if (!data)
			return NULL;
		if (elements->count)
			memcpy(data, elements->data, elements->count * elements->size);
		elements->data = data;
		elements->capacity = capacity;
	}
	return elements->data + elements->count * elements->size;
}

static void
elements_store(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
               const struct elements *elements)
{
	*(void **)field_at(message, field) = elements->data;
	*(size_t *)field_quantifier(message, field) = elements->count;
}

/* More elements than the bound are passed over and noted once. */
static bool
is_beyond(struct reader *reader, const struct elements *elements, size_t index, uint32_t max)
{
	if (elements->count < max)
		return false;
	if (index == max)
		violations_add(reader->violations, reader->arena, pointer_here(reader), "must have at most %u items",
		               max);
	return true;
}

static bool
read_element(struct reader *reader, const ProtobufCFieldDescriptor *field, const struct api_field *rules,
             struct elements *elements, size_t index)
{
	bool is_set = false;

	if (is_beyond(reader, elements, index, field_max_items(rules)))
		return skip_here(reader);
	void *out = elements_add(reader, elements);
	if (!out)
		return no_memory(reader);
	push(reader, NULL, index);
	bool is_ok = read_value(reader, field, rules, out, &is_set);
	pop(reader);
	elements->count += is_set;
	return is_ok;
}

static bool
read_array(struct reader *reader, const ProtobufCFieldDescriptor *field, const struct api_field *rules,
           ProtobufCMessage *message)
{
	struct elements elements = {.size = field_size(field->type)};
	struct lexer *lexer = &reader->lexer;

	if (lexer_peek(lexer) != '[') {
		wrong(reader, "must be an array");
		return skip_here(reader);
	}
	lexer->at++;
	for (size_t index = 0; lexer_peek(lexer) != ']'; index++) {
		if (index > 0 && !lexer_take(lexer, ',', "expected ',' or ']'"))
			return false;
		if (!read_element(reader, field, rules, &elements, index))
			return false;
	}
	elements_store(message, field, &elements);
	return lexer_take(lexer, ']', "expected ',' or ']'");
}

static bool
has_entry(const struct elements *elements, const ProtobufCMessageDescriptor *entry, const char *name)
{
	ProtobufCMessage *const *entries = (ProtobufCMessage *const *)(void *)elements->data;
	for (size_t i = 0; i < elements->count; i++)
		if (strcmp(*(char *const *)field_at(entries[i], &entry->fields[0]), name) == 0)
			return true;
	return false;
}

/* One "key": value of a map, as an entry message. Keys are strings. */
static bool
read_entry(struct reader *reader, const ProtobufCFieldDescriptor *field, const struct api_field *rules,
           struct elements *elements, size_t index)
{
	const ProtobufCMessageDescriptor *entry = field->descriptor;
	const struct api_message *entry_rules = api_message_of(entry);
	const char *name;
	size_t length;
	bool is_set = false;

	if (!read_text(reader, &name, &length) || !lexer_take(&reader->lexer, ':', "expected ':'"))
		return false;
	if (is_beyond(reader, elements, index, field_max_items(rules)))
		return skip_here(reader);
	ProtobufCMessage *message = message_new(entry, reader->arena);
	ProtobufCMessage **slot = elements_add(reader, elements);
	if (!message || !slot)
		return no_memory(reader);
	push(reader, name, length);
	if (has_entry(elements, entry, name))
		wrong(reader, "appears twice");
	*(const char **)field_at(message, &entry->fields[0]) = name;
	bool is_ok = read_value(reader, &entry->fields[1], &entry_rules->fields[1],
	                        field_at(message, &entry->fields[1]), &is_set);
	pop(reader);
	if (is_set) {
		field_mark(message, &entry->fields[1]);
		*slot = message;
		elements->count++;
	}
	return is_ok;
}

static bool
read_map(struct reader *reader, const ProtobufCFieldDescriptor *field, const struct api_field *rules,
         ProtobufCMessage *message)
{
	struct elements elements = {.size = sizeof(void *)};
	struct lexer *lexer = &reader->lexer;

	if (lexer_peek(lexer) != '{') {
		wrong(reader, "must be an object");
		return skip_here(reader);
	}
	lexer->at++;
	for (size_t index = 0; lexer_peek(lexer) != '}'; index++) {
		if (index > 0 && !lexer_take(lexer, ',', "expected ',' or '}'"))
			return false;
		if (!read_entry(reader, field, rules, &elements, index))
			return false;
	}
	elements_store(message, field, &elements);
	return lexer_take(lexer, '}', "expected ',' or '}'");
}

static bool
read_field(struct reader *reader, const ProtobufCFieldDescriptor *field, const struct api_field *rules,
           ProtobufCMessage *message)
{
	bool is_set = false;

	if (rules->is_map)
		return read_map(reader, field, rules, message);
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return read_array(reader, field, rules, message);
	if (field_is_oneof(field) && *(uint32_t *)field_quantifier(message, field) != 0) {
		wrong(reader, "excludes another field that is also present");
		return skip_here(reader);
	}
	if (!read_value(reader, field, rules, field_at(message, field), &is_set))
		return false;
	if (is_set)
		field_mark(message, field);
	return true;
}

/* Notes a name whose value was null, where the message wants to know. */
static bool
note_null(struct reader *reader, const struct api_message *rules, ProtobufCMessage *message, const char *name)
{
	for (unsigned i = 0; i < rules->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &rules->descriptor->fields[i];
		if (!rules->fields[i].is_nulls)
			continue;
		struct elements elements = {.data = *(void **)field_at(message, field),
		                            .count = field_count(message, field),
		                            .size = sizeof(char *)};
		elements.capacity = elements.count;
		const char **slot = elements_add(reader, &elements);
		if (!slot)
			return no_memory(reader);
		*slot = name;
		elements.count++;
		elements_store(message, field, &elements);
	}
	return true;
}

static bool
read_member(struct reader *reader, const struct api_message *rules, ProtobufCMessage *message,
            uint64_t seen[FIELDS_MAX / 64])
{
	const char *name;
	size_t length, position = 0;

	if (!read_text(reader, &name, &length) || !lexer_take(&reader->lexer, ':', "expected ':'"))
		return false;
	const ProtobufCFieldDescriptor *field = field_find(rules, name, length, &position);
	push(reader, name, length);
	bool is_ok;
	if (!field || position >= FIELDS_MAX || rules->fields[position].is_nulls) {
		wrong(reader, "is not a known field");
		is_ok = skip_here(reader);
	} else if (seen[position / 64] & (UINT64_C(1) << position % 64)) {
		wrong(reader, "appears twice");
		is_ok = skip_here(reader);
	} else {
		seen[position / 64] |= UINT64_C(1) << position % 64;
		if (lexer_peek(&reader->lexer) == 'n' && rules->fields[position].format != API_JSON)
			is_ok = lexer_word(&reader->lexer, "null") && note_null(reader, rules, message, name);
		else
			is_ok = read_field(reader, field, &rules->fields[position], message);
	}
	pop(reader);
	return is_ok;
}

static bool
read_message(struct reader *reader, const struct api_message *rules, ProtobufCMessage *message)
{
	struct lexer *lexer = &reader->lexer;
	uint64_t seen[FIELDS_MAX / 64] = {0};

	if (reader->depth >= JSON_DEPTH_MAX) {
		lexer->error = "values are nested too deeply";
		return false;
	}
	if (!lexer_take(lexer, '{', "expected an object"))
		return false;
	for (bool is_first = true; lexer_peek(lexer) != '}'; is_first = false) {
		if (!is_first && !lexer_take(lexer, ',', "expected ',' or '}'"))
			return false;
		if (!read_member(reader, rules, message, seen))
			return false;
	}
	return lexer_take(lexer, '}', "expected ',' or '}'");
}

static struct status
syntax_error(const struct lexer *lexer)
{
	unsigned line, column;
	lexer_position(lexer, &line, &column);
	return status_make(STATUS_INVALID_ARGUMENT, "not valid JSON: line %u, column %u: %s", line, column,
	                   lexer->error ? lexer->error : "expected a value");
}

struct status
json_to_message(const char *text, size_t length, const struct api_message *rules, struct arena *arena,
                struct violations *violations, ProtobufCMessage **out)
{
	struct reader reader = {.arena = arena, .violations = violations};

	lexer_init(&reader.lexer, text, length);
	*out = message_new(rules->descriptor, arena);
	bool is_ok = *out && read_message(&reader, rules, *out) && lexer_end(&reader.lexer);
	if (!*out || reader.is_out_of_memory)
		return status_make(STATUS_RESOURCE_EXHAUSTED,
		                   "the request needs more memory than one request may use");
	if (!is_ok)
		return syntax_error(&reader.lexer);
	return violations_status(violations);
}

struct status
json_check(const char *text, size_t length)
{
	struct lexer lexer;
	struct token ignored;

	lexer_init(&lexer, text, length);
	if (!lexer_skip(&lexer, JSON_DEPTH_MAX, &ignored) || !lexer_end(&lexer))
		return syntax_error(&lexer);
	return status_ok_value();
}
