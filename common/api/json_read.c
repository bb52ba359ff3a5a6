/*
 * json: text into a message, in one pass over both: objects, arrays and maps (reader.h has the rules).
 */
#include <string.h>

#include "api/json.h"
#include "base/text.h"
#include "field.h"
#include "lexer.h"
#include "reader.h"

#define FIELDS_MAX 256 /* of one message: bits of the set of names already seen */

static bool read_message(struct reader *reader, const struct api_message *rules, ProtobufCMessage *message);

static void
reader_push(struct reader *reader, const char *name, size_t length)
{
	reader->path[reader->depth++] = (struct segment){.name = name, .length = length};
}

/* After an error the path stays: it tells where. */
static void
reader_pop(struct reader *reader)
{
	if (!reader->lexer.error)
		reader->depth--;
}

/* The name of a member and its colon; *name is NULL, and the fault noted, when it has one. */
static bool
read_name(struct reader *reader, const char **name, size_t *length)
{
	struct token token;

	*name = NULL;
	if (!lexer_any_string(&reader->lexer, &token) || !lexer_take(&reader->lexer, ':', "expected ':'"))
		return false;
	if (token.fault) {
		violations_add(reader->violations, reader->arena, reader_pointer(reader), "a name in it %s",
		               token.fault);
		return true;
	}
	*name = token_decode(&token, reader->arena, length);
	return *name || reader_no_memory(reader);
}

/* Takes the opening of an object or array, unless it is one level too many. */
static bool
enter_level(struct reader *reader, char open, const char *expected)
{
	if (reader->depth >= JSON_DEPTH_MAX && lexer_peek(&reader->lexer) == open) {
		reader->lexer.error = "values are nested too deeply";
		return false;
	}
	return lexer_take(&reader->lexer, open, expected);
}

static bool
read_object(struct reader *reader, const ProtobufCFieldDescriptor *field, void *out, bool *is_set)
{
	const ProtobufCMessageDescriptor *descriptor = field->descriptor;

	if (lexer_peek(&reader->lexer) != '{')
		return reader_wrong_type(reader, field);
	ProtobufCMessage *message = message_new(descriptor, reader->arena);
	if (!message)
		return reader_no_memory(reader);
	*(ProtobufCMessage **)out = message;
	*is_set = true;
	return read_message(reader, api_message_of(descriptor), message);
}

static bool
read_value(struct reader *reader, const ProtobufCFieldDescriptor *field, const struct api_field *rules,
           void *out, bool *is_set)
{
	return field->type == PROTOBUF_C_TYPE_MESSAGE ? read_object(reader, field, out, is_set)
	                                              : read_scalar(reader, field, rules, out, is_set);
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

/* Elements beyond the bound are passed over and noted once. */
static bool
is_beyond(struct reader *reader, size_t index, uint32_t max)
{
	if (index == max)
		violations_add(reader->violations, reader->arena, reader_pointer(reader),
		               "must have at most %u items", max);
	return index >= max;
}

static bool
read_element(struct reader *reader, const ProtobufCFieldDescriptor *field, const struct api_field *rules,
             struct elements *elements, size_t index)
{
	bool is_set = false;

	if (is_beyond(reader, index, field_max_items(rules)))
		return reader_skip(reader);
	void *out = elements_add(reader, elements);
	if (!out)
		return reader_no_memory(reader);
	reader_push(reader, NULL, index);
	bool is_ok = read_value(reader, field, rules, out, &is_set);
	reader_pop(reader);
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
		reader_wrong(reader, "must be an array");
		return reader_skip(reader);
	}
	if (!enter_level(reader, '[', "expected an array"))
		return false;
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

	if (!read_name(reader, &name, &length))
		return false;
	if (!name)
		return reader_skip(reader);
	if (is_beyond(reader, index, field_max_items(rules)))
		return reader_skip(reader);
	ProtobufCMessage *message = message_new(entry, reader->arena);
	ProtobufCMessage **slot = elements_add(reader, elements);
	if (!message || !slot)
		return reader_no_memory(reader);
	reader_push(reader, name, length);
	if (has_entry(elements, entry, name))
		reader_wrong(reader, "appears twice");
	*(const char **)field_at(message, &entry->fields[0]) = name;
	bool is_ok = read_value(reader, &entry->fields[1], &entry_rules->fields[1],
	                        field_at(message, &entry->fields[1]), &is_set);
	reader_pop(reader);
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
		reader_wrong(reader, "must be an object");
		return reader_skip(reader);
	}
	if (!enter_level(reader, '{', "expected an object"))
		return false;
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
		reader_wrong(reader, "excludes another field that is also present");
		return reader_skip(reader);
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
			return reader_no_memory(reader);
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

	if (!read_name(reader, &name, &length))
		return false;
	if (!name)
		return reader_skip(reader);
	const ProtobufCFieldDescriptor *field = field_find(rules, name, length, &position);
	reader_push(reader, name, length);
	bool is_ok;
	if (!field || position >= FIELDS_MAX || rules->fields[position].is_nulls) {
		reader_wrong(reader, "is not a known field");
		is_ok = reader_skip(reader);
	} else if (seen[position / 64] & (UINT64_C(1) << position % 64)) {
		reader_wrong(reader, "appears twice");
		is_ok = reader_skip(reader);
	} else {
		seen[position / 64] |= UINT64_C(1) << position % 64;
		if (lexer_peek(&reader->lexer) == 'n' && rules->fields[position].format != API_JSON)
			is_ok = lexer_word(&reader->lexer, "null") && note_null(reader, rules, message, name);
		else
			is_ok = read_field(reader, field, &rules->fields[position], message);
	}
	reader_pop(reader);
	return is_ok;
}

static bool
read_message(struct reader *reader, const struct api_message *rules, ProtobufCMessage *message)
{
	struct lexer *lexer = &reader->lexer;
	uint64_t seen[FIELDS_MAX / 64] = {0};

	if (!enter_level(reader, '{', "expected an object"))
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

/* Where the text stops being JSON, or goes too deep, is one violation more. */
static struct status
note_syntax_error(struct reader *reader)
{
	struct status st = syntax_error(&reader->lexer);
	violations_add(reader->violations, reader->arena, reader_pointer(reader), "%s", st.message);
	return st;
}

struct status
json_to_message(const char *text, size_t length, const struct api_message *rules, struct arena *arena,
                struct violations *violations, ProtobufCMessage **out)
{
	struct reader reader = {.arena = arena, .violations = violations};
	ProtobufCMessage *message = message_new(rules->descriptor, arena);

	*out = NULL;
	lexer_init(&reader.lexer, text, length);
	bool is_ok = message && read_message(&reader, rules, message) && lexer_end(&reader.lexer);
	if (!message || reader.is_out_of_memory)
		return status_make(STATUS_RESOURCE_EXHAUSTED,
		                   "the request needs more memory than one request may use");
	if (!is_ok)
		return note_syntax_error(&reader);
	*out = message;
	return violations_status(violations);
}

struct status
json_check(const char *text, size_t length)
{
	struct lexer lexer;
	struct token whole;

	lexer_init(&lexer, text, length);
	if (!lexer_skip(&lexer, JSON_DEPTH_MAX, &whole) || !lexer_end(&lexer))
		return syntax_error(&lexer);
	return whole.fault ? status_make(STATUS_INVALID_ARGUMENT, "a string in it %s", whole.fault)
	                   : status_ok_value();
}
