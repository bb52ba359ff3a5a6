/*
 * cloudevent: the JSON format, one event or a batch, into a request to publish.
 *
 * What is JSON but no CloudEvent is noted and passed over, so that all faults are told together; what is not
 * JSON ends the walk. `data` is kept byte for byte.
 */
#include <stdio.h>
#include <string.h>

#include "cloudevent_internal.h"

#define NAMES_MAX 64u /* members of one event */

struct reading {
	struct lexer lexer;
	struct arena *arena;
	struct violations *violations;
	const char *place; /* pointer to the present event: "" or "/7" */
	bool is_out_of_memory;
	/* the present event: */
	const char *names[NAMES_MAX];
	size_t name_count;
	bool has_version, has_plain_data, has_base64_data;
};

static const char *
pointer_to(struct reading *reading, const char *name)
{
	struct strbuf out;

	strbuf_init(&out, reading->arena);
	strbuf_puts(&out, reading->place);
	strbuf_putc(&out, '/');
	pointer_add_name(&out, name, strlen(name));
	return out.data;
}

static void
wrong(struct reading *reading, const char *name, const char *detail)
{
	violations_add(reading->violations, reading->arena, pointer_to(reading, name), "%s", detail);
}

static const char *
decoded(struct reading *reading, const struct token *token)
{
	size_t length;
	const char *text = token_decode(token, reading->arena, &length);
	reading->is_out_of_memory |= !text;
	return text;
}

/* ---- values ---- */

static const char *
text_of_value(struct reading *reading, const struct token *value)
{
	struct lexer lexer;
	struct token string;

	lexer_init(&lexer, value->text, value->length);
	return lexer_string(&lexer, &string) ? decoded(reading, &string) : NULL;
}

static void
take_data(NewEvent *event, const struct token *value)
{
	event->has_data = true;
	event->data = (ProtobufCBinaryData){.len = value->length, .data = (uint8_t *)(uintptr_t)value->text};
}

static void
take_base64(struct reading *reading, NewEvent *event, const struct token *value)
{
	size_t size;

	reading->has_base64_data = true;
	take_data(event, value);
	event->cloud_event->has_data_as = true;
	event->cloud_event->data_as = CORBEL__V1__CLOUD_EVENT_DATA__DATA_BASE64;
	if (!cloudevent_decode_base64(&event->data, reading->arena, &size))
		wrong(reading, "data_base64", "must be a string in base64");
}

static void
take_scalar(struct reading *reading, NewEvent *event, const char *name, const struct token *value)
{
	bool is_true = value->length == 4 && memcmp(value->text, "true", 4) == 0;
	bool is_false = value->length == 5 && memcmp(value->text, "false", 5) == 0;
	int64_t number = 0;
	bool is_number = !is_true && !is_false && text_to_i64(value->text, value->length, &number) &&
	                 number >= INT32_MIN && number <= INT32_MAX;

	if (!is_true && !is_false && !is_number) {
		wrong(reading, name, "must be a string, a boolean or a whole number of 32 bits");
		return;
	}
	Extension *extension =
	    cloudevent_add_extension(event, name, pointer_to(reading, name), reading->arena, reading->violations);
	if (!extension)
		return;
	extension->has_number = is_number;
	extension->number = (int32_t)number;
	extension->has_flag = !is_number;
	extension->flag = is_true;
}

static void
take_value(struct reading *reading, NewEvent *event, const char *name, const struct token *value)
{
	bool is_null = value->length == 4 && memcmp(value->text, "null", 4) == 0;

	if (value->fault) {
		wrong(reading, name, value->fault);
	} else if (strcmp(name, "data") == 0) {
		reading->has_plain_data = true;
		take_data(event, value);
	} else if (is_null) {
		return; /* an attribute that is null is one that is not there */
	} else if (strcmp(name, "data_base64") == 0) {
		take_base64(reading, event, value);
	} else if (value->text[0] == '"') {
		const char *text = text_of_value(reading, value);
		reading->has_version |= strcmp(name, "specversion") == 0;
		if (text)
			cloudevent_set_text(event, name, text, pointer_to(reading, name), reading->arena,
			                    reading->violations);
	} else if (cloudevent_is_own_name(name)) {
		wrong(reading, name, "must be a string");
	} else {
		take_scalar(reading, event, name, value);
	}
}

/* ---- objects ---- */

static bool
is_new_name(struct reading *reading, const char *name)
{
	for (size_t i = 0; i < reading->name_count; i++)
		if (strcmp(reading->names[i], name) == 0)
			return false;
	if (reading->name_count < NAMES_MAX)
		reading->names[reading->name_count++] = name;
	return true;
}

static bool
read_member(struct reading *reading, NewEvent *event)
{
	struct token name_token, value;

	if (!lexer_string(&reading->lexer, &name_token) || !lexer_take(&reading->lexer, ':', "expected ':'"))
		return false;
	const char *name = decoded(reading, &name_token);
	if (!name || !lexer_skip(&reading->lexer, JSON_DEPTH_MAX - 2, &value))
		return false;
	if (reading->name_count == NAMES_MAX)
		violations_add(reading->violations, reading->arena, reading->place, "has more than %u members",
		               NAMES_MAX);
	else if (!is_new_name(reading, name))
		wrong(reading, name, "appears twice");
	else
		take_value(reading, event, name, &value);
	return !reading->is_out_of_memory;
}

static bool
read_members(struct reading *reading, NewEvent *event)
{
	if (!lexer_take(&reading->lexer, '{', "expected '{'"))
		return false;
	if (lexer_peek(&reading->lexer) == '}')
		return lexer_take(&reading->lexer, '}', "expected '}'");
	for (;;) {
		if (!read_member(reading, event))
			return false;
		if (lexer_peek(&reading->lexer) != ',')
			return lexer_take(&reading->lexer, '}', "expected ',' or '}'");
		reading->lexer.at++;
	}
}

static bool
read_event(struct reading *reading, Corbel__V1__PublishEventsRequest *request)
{
	NewEvent *event = cloudevent_new(reading->arena);

	reading->name_count = 0;
	reading->has_version = reading->has_plain_data = reading->has_base64_data = false;
	if (!read_members(reading, event))
		return false;
	cloudevent_require(event, reading->has_version, reading->place, reading->arena, reading->violations);
	if (reading->has_plain_data && reading->has_base64_data)
		wrong(reading, "data", "must not stand beside data_base64");
	if (!event->has_data) {
		event->cloud_event->has_data_as = true;
		event->cloud_event->data_as = CORBEL__V1__CLOUD_EVENT_DATA__DATA_NONE;
	}
	request->events[request->n_events++] = event;
	return true;
}

static bool
read_batch(struct reading *reading, Corbel__V1__PublishEventsRequest *request)
{
	if (!lexer_take(&reading->lexer, '[', "expected '['"))
		return false;
	if (lexer_peek(&reading->lexer) == ']')
		return lexer_take(&reading->lexer, ']', "expected ']'");
	for (;;) {
		if (request->n_events == EVENTS_MAX) {
			violations_add(reading->violations, reading->arena, "", "must have at most %d events",
			               EVENTS_MAX);
			return false;
		}
		reading->place = arena_printf(reading->arena, "/%zu", request->n_events);
		if (!read_event(reading, request))
			return false;
		if (lexer_peek(&reading->lexer) != ',')
			return lexer_take(&reading->lexer, ']', "expected ',' or ']'");
		reading->lexer.at++;
	}
}

static void
note_end(struct reading *reading)
{
	unsigned line, column;

	if (reading->is_out_of_memory) {
		violations_add(reading->violations, reading->arena, "", "is too large");
	} else if (reading->lexer.error) {
		lexer_position(&reading->lexer, &line, &column);
		violations_add(reading->violations, reading->arena, "", "is not JSON: %s (line %u, column %u)",
		               reading->lexer.error, line, column);
	}
}

Corbel__V1__PublishEventsRequest *
cloudevent_read(const char *text, size_t length, enum cloudevent_mode mode, struct arena *arena,
                struct violations *violations)
{
	struct reading *reading = ARENA_NEW(arena, struct reading);
	Corbel__V1__PublishEventsRequest *request = ARENA_NEW(arena, Corbel__V1__PublishEventsRequest);

	reading->arena = arena;
	reading->violations = violations;
	reading->place = "";
	corbel__v1__publish_events_request__init(request);
	request->events = ARENA_ARRAY(arena, NewEvent *, EVENTS_MAX);
	lexer_init(&reading->lexer, text, length);
	bool is_read = (mode == CLOUDEVENT_BATCH ? read_batch(reading, request) : read_event(reading, request)) &&
	               lexer_end(&reading->lexer);
	if (!is_read)
		note_end(reading);
	return is_read ? request : NULL;
}
