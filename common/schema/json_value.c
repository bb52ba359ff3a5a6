/*
 * json_value: reading text into a tree, and finding one's way in it. Numbers are in json_number.c.
 */
#include "schema/json_value.h"

#include <string.h>

#include "api/lexer.h"
#include "base/hash.h"

/* ---- reading ---- */

struct reader {
	struct lexer lexer;
	struct arena *arena;
	bool is_full, is_deep;
};

static bool read_value(struct reader *reader, unsigned depth, struct json_value *out);

static struct json_value *
node_new(struct reader *reader)
{
	struct json_value *node = arena_try(reader->arena, 1, sizeof(*node));
	reader->is_full |= node == NULL;
	return node;
}

static bool
read_text(struct reader *reader, const char **text, uint32_t *length)
{
	struct token token;
	size_t size = 0;

	if (!lexer_string(&reader->lexer, &token))
		return false;
	*text = token_decode(&token, reader->arena, &size);
	*length = (uint32_t)size;
	reader->is_full |= *text == NULL;
	return *text != NULL;
}

static bool
read_children(struct reader *reader, unsigned depth, bool is_object, struct json_value *out)
{
	struct lexer *lexer = &reader->lexer;
	const struct json_value **end = &out->first;
	const char close = is_object ? '}' : ']';

	reader->is_deep |= depth == 0;
	if (depth == 0 || !lexer_take(lexer, is_object ? '{' : '[', "a value is expected"))
		return false;
	while (lexer_peek(lexer) != close) {
		struct json_value *child = node_new(reader);
		if (!child || (out->count > 0 && !lexer_take(lexer, ',', "a comma is expected")))
			return false;
		if (is_object && (!read_text(reader, &child->name, &child->name_length) ||
		                  !lexer_take(lexer, ':', "a colon is expected")))
			return false;
		if (!read_value(reader, depth - 1, child))
			return false;
		*end = child;
		end = &child->next;
		out->count++;
	}
	return lexer_take(lexer, close, "an end is expected");
}

static bool
read_number(struct reader *reader, struct json_value *out)
{
	struct token token;
	if (!lexer_number(&reader->lexer, &token))
		return false;
	out->type = JSON_VALUE_NUMBER;
	out->text = token.text;
	out->length = (uint32_t)token.length;
	return true;
}

static bool
read_word(struct reader *reader, char first, struct json_value *out)
{
	out->type = first == 'n' ? JSON_VALUE_NULL : JSON_VALUE_BOOLEAN;
	out->text = first == 'n' ? "null" : first == 't' ? "true" : "false";
	out->length = (uint32_t)strlen(out->text);
	return lexer_word(&reader->lexer, out->text);
}

static bool
read_value(struct reader *reader, unsigned depth, struct json_value *out)
{
	char first = lexer_peek(&reader->lexer);
	const char *start = reader->lexer.at;
	bool is_object = first == '{';

	if (first == 't' || first == 'f' || first == 'n')
		return read_word(reader, first, out);
	if (first == '"') {
		out->type = JSON_VALUE_STRING;
		return read_text(reader, &out->text, &out->length);
	}
	if (!is_object && first != '[')
		return read_number(reader, out);
	out->type = is_object ? JSON_VALUE_OBJECT : JSON_VALUE_ARRAY;
	if (!read_children(reader, depth, is_object, out))
		return false;
	out->text = start;
	out->length = (uint32_t)(reader->lexer.at - start);
	return true;
}

struct status
json_value_parse(const char *text, size_t length, struct arena *arena, const struct json_value **out)
{
	struct reader reader = {.arena = arena};
	struct json_value *root = node_new(&reader);

	if (length > UINT32_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "JSON text must be shorter than 4 GiB");
	lexer_init(&reader.lexer, text, length);
	if (root && read_value(&reader, JSON_DEPTH_MAX, root) && lexer_end(&reader.lexer)) {
		*out = root;
		return status_ok_value();
	}
	if (reader.is_full)
		return status_make(STATUS_RESOURCE_EXHAUSTED, "JSON value is too large");
	if (reader.is_deep)
		return status_make(STATUS_INVALID_ARGUMENT, "JSON nests deeper than %d", JSON_DEPTH_MAX);
	return status_make(STATUS_INVALID_ARGUMENT, "not JSON: %s",
	                   reader.lexer.error ? reader.lexer.error : "unexpected text");
}

/* ---- looking ---- */

const struct json_value *
json_value_member(const struct json_value *object, const char *name, size_t length)
{
	const struct json_value *found = NULL;

	if (object->type != JSON_VALUE_OBJECT)
		return NULL;
	for (const struct json_value *member = object->first; member; member = member->next) {
		if (member->name_length == length && memcmp(member->name, name, length) == 0)
			found = member;
	}
	return found;
}

bool
json_value_is_true(const struct json_value *value)
{
	return value->type == JSON_VALUE_BOOLEAN && value->text[0] == 't';
}

bool
json_pointer_is_valid(const char *pointer, size_t length)
{
	if (length > 0 && pointer[0] != '/')
		return false;
	for (size_t i = 0; i < length; i++) {
		if (pointer[i] == '~' && (i + 1 == length || (pointer[i + 1] != '0' && pointer[i + 1] != '1')))
			return false;
	}
	return true;
}

/* Whether a token of a pointer, with "~" escaped, is the name. */
static bool
token_is(const char *token, size_t length, const struct json_value *member)
{
	size_t at = 0;
	for (size_t i = 0; i < length; i++, at++) {
		char c = token[i];
		if (c == '~')
			c = token[++i] == '0' ? '~' : '/';
		if (at == member->name_length || member->name[at] != c)
			return false;
	}
	return at == member->name_length;
}

static const struct json_value *
element_at(const struct json_value *array, const char *token, size_t length)
{
	size_t index = 0;
	if (length == 0 || length > 9 || (length > 1 && token[0] == '0'))
		return NULL;
	for (size_t i = 0; i < length; i++) {
		if (token[i] < '0' || token[i] > '9')
			return NULL;
		index = 10 * index + (size_t)(token[i] - '0');
	}
	if (index >= array->count)
		return NULL;
	const struct json_value *element = array->first;
	while (index-- > 0)
		element = element->next;
	return element;
}

static const struct json_value *
child_at(const struct json_value *value, const char *token, size_t length)
{
	const struct json_value *found = NULL;
	if (value->type == JSON_VALUE_ARRAY)
		return element_at(value, token, length);
	if (value->type != JSON_VALUE_OBJECT)
		return NULL;
	for (const struct json_value *member = value->first; member; member = member->next) {
		if (token_is(token, length, member))
			found = member;
	}
	return found;
}

const struct json_value *
json_value_at(const struct json_value *root, const char *pointer, size_t length)
{
	const char *at = pointer, *end = pointer + length;

	while (root && at < end) {
		const char *token = at + 1; /* behind the slash */
		const char *stop = memchr(token, '/', (size_t)(end - token));
		at = stop ? stop : end;
		root = child_at(root, token, (size_t)(at - token));
	}
	return root;
}

size_t
json_string_characters(const struct json_value *string)
{
	size_t count = 0;
	for (size_t i = 0; i < string->length; i++)
		count += ((unsigned char)string->text[i] & 0xC0u) != 0x80u;
	return count;
}
