/*
 * emit_openapi: the OpenAPI 3.1 document.
 *
 * Requests and replies are schemas of components; path and query parameters come out of the request
 * message. Written by hand-placed text with every string escaped by strbuf_json_string().
 */
#include <ctype.h>
#include <string.h>

#include "base/text.h"
#include "model.h"

#define TYPE(name) GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_##name

struct writer {
	struct strbuf out;
	struct arena *arena;
	bool needs_comma;
};

static void
put(struct writer *w, const char *text)
{
	strbuf_puts(&w->out, text);
}

static void
quote(struct writer *w, const char *text)
{
	strbuf_json_string(&w->out, text, strlen(text));
}

static void
key(struct writer *w, const char *name)
{
	if (w->needs_comma)
		put(w, ",\n");
	quote(w, name);
	put(w, ": ");
	w->needs_comma = false;
}

static void
open_object(struct writer *w)
{
	put(w, "{\n");
	w->needs_comma = false;
}

static void
close_object(struct writer *w)
{
	put(w, "\n}");
	w->needs_comma = true;
}

static void
text_member(struct writer *w, const char *name, const char *text)
{
	if (!text || !text[0])
		return;
	key(w, name);
	quote(w, text);
	w->needs_comma = true;
}

static void
raw_member(struct writer *w, const char *name, const char *json)
{
	key(w, name);
	put(w, json);
	w->needs_comma = true;
}

static void
number_member(struct writer *w, const char *name, long long value)
{
	raw_member(w, name, arena_printf(w->arena, "%lld", value));
}

static void
schema_ref(struct writer *w, const char *short_name)
{
	text_member(w, "$ref", arena_printf(w->arena, "#/components/schemas/%s", short_name));
}

static const char *
format_name(Corbel__Format format)
{
	switch (format) {
	case CORBEL__FORMAT__TIMESTAMP:
		return "date-time";
	case CORBEL__FORMAT__EMAIL:
		return "email";
	case CORBEL__FORMAT__URL:
		return "uri";
	case CORBEL__FORMAT__DATE:
		return "date";
	default:
		return NULL;
	}
}

static bool
is_integer(int type)
{
	return type == TYPE(INT64) || type == TYPE(UINT64) || type == TYPE(INT32) || type == TYPE(FIXED64) ||
	       type == TYPE(FIXED32) || type == TYPE(UINT32) || type == TYPE(SFIXED32) ||
	       type == TYPE(SFIXED64) || type == TYPE(SINT32) || type == TYPE(SINT64);
}

static bool
is_unsigned(int type)
{
	return type == TYPE(UINT64) || type == TYPE(FIXED64) || type == TYPE(FIXED32) || type == TYPE(UINT32);
}

static void
text_schema(struct writer *w, const Corbel__FieldOptions *options)
{
	text_member(w, "type", "string");
	text_member(w, "format", format_name(options->format));
	if (options->format == CORBEL__FORMAT__NAME)
		text_member(w, "pattern", "^[a-z0-9][a-z0-9._-]{0,63}$");
	if (options->pattern)
		text_member(w, "pattern", arena_printf(w->arena, "^(%s)$", options->pattern));
	if (options->min_len)
		number_member(w, "minLength", options->min_len);
	if (options->max_len)
		number_member(w, "maxLength", options->max_len);
}

static void
integer_schema(struct writer *w, const struct model_field *field)
{
	const Corbel__FieldOptions *options = field->options;

	if (options->format == CORBEL__FORMAT__TIMESTAMP) {
		text_member(w, "type", "string");
		text_member(w, "format", "date-time");
		return;
	}
	text_member(w, "type", "integer");
	if (options->has_min || is_unsigned((int)field->proto->type))
		number_member(w, "minimum", options->min);
	if (options->has_max)
		number_member(w, "maximum", options->max);
}

/* What the enum is, then a list of its values. */
static const char *
enum_text(struct arena *arena, const struct model_enum *entry)
{
	struct strbuf out;

	strbuf_init(&out, arena);
	strbuf_printf(&out, "%s\n", entry->note.doc);
	for (size_t i = 0; i < entry->proto->n_value; i++)
		if (entry->proto->value[i]->number != 0)
			strbuf_printf(&out, "\n- `%s`: %s", entry->proto->value[i]->name, entry->values[i].doc);
	return out.data;
}

static void
enum_schema(struct writer *w, const struct model_enum *entry)
{
	const EnumProto *proto = entry->proto;
	bool is_first = true;

	open_object(w);
	text_member(w, "type", "string");
	text_member(w, "description", enum_text(w->arena, entry));
	key(w, "enum");
	put(w, "[");
	for (size_t i = 0; i < proto->n_value; i++) {
		if (proto->value[i]->number == 0)
			continue; /* the value of absence */
		put(w, is_first ? "" : ", ");
		quote(w, proto->value[i]->name);
		is_first = false;
	}
	put(w, "]");
	close_object(w);
}

static void
item_schema(struct writer *w, const struct model_field *field)
{
	if (field->message)
		schema_ref(w, field->message->short_name);
	else if (field->enumeration)
		schema_ref(w, field->enumeration->short_name);
	else if (field->options->format == CORBEL__FORMAT__JSON)
		text_member(w, "description", "Any JSON value.");
	else if (is_integer((int)field->proto->type))
		integer_schema(w, field);
	else if (field->proto->type == TYPE(BOOL))
		text_member(w, "type", "boolean");
	else if (field->proto->type == TYPE(DOUBLE) || field->proto->type == TYPE(FLOAT))
		text_member(w, "type", "number");
	else if (field->proto->type == TYPE(BYTES)) {
		text_member(w, "type", "string");
		text_member(w, "contentEncoding", "base64");
	} else
		text_schema(w, field->options);
}

static void
map_schema(struct writer *w, const struct model_field *field)
{
	text_member(w, "type", "object");
	if (field->options->max_items)
		number_member(w, "maxProperties", field->options->max_items);
	key(w, "additionalProperties");
	open_object(w);
	item_schema(w, &field->message->fields[1]);
	if (field->options->max_len)
		number_member(w, "maxLength", field->options->max_len);
	close_object(w);
}

static void
array_schema(struct writer *w, const struct model_field *field)
{
	text_member(w, "type", "array");
	if (field->options->min_items)
		number_member(w, "minItems", field->options->min_items);
	if (field->options->max_items)
		number_member(w, "maxItems", field->options->max_items);
	key(w, "items");
	open_object(w);
	item_schema(w, field);
	close_object(w);
}

static void
field_schema(struct writer *w, const struct model_field *field)
{
	const Corbel__FieldOptions *options = field->options;

	open_object(w);
	if (field->is_map)
		map_schema(w, field);
	else if (field->is_repeated)
		array_schema(w, field);
	else
		item_schema(w, field);
	text_member(w, "description", field->note.doc);
	if (options->output_only)
		raw_member(w, "readOnly", "true");
	if (options->secret)
		text_member(w, "x-corbel-secret", "shown once, never listed");
	text_member(w, "x-corbel-unit", options->unit);
	if (options->example)
		raw_member(w, "examples", arena_printf(w->arena, "[%s]", options->example));
	close_object(w);
}

static bool
is_path_parameter(const struct model_method *method, const char *field)
{
	size_t at = 0, length;
	const char *name;
	while (method && method->options->path && path_parameter(method->options->path, &at, &name, &length))
		if (strlen(field) == length && memcmp(field, name, length) == 0)
			return true;
	return false;
}

/* Properties and required of a message; as the body of `method`, without its path parameters. */
static void
message_schema(struct writer *w, const struct model_message *message, const struct model_method *method)
{
	bool has_required = false;

	open_object(w);
	text_member(w, "type", "object");
	text_member(w, "description", message->note.doc);
	key(w, "properties");
	open_object(w);
	for (size_t i = 0; i < message->field_count; i++) {
		if (message->fields[i].options->nulls || is_path_parameter(method, message->fields[i].name))
			continue;
		key(w, message->fields[i].name);
		field_schema(w, &message->fields[i]);
	}
	close_object(w);
	for (size_t i = 0; i < message->field_count; i++) {
		if (!message->fields[i].options->required || is_path_parameter(method, message->fields[i].name))
			continue;
		if (!has_required) {
			key(w, "required");
			put(w, "[");
		}
		put(w, has_required ? ", " : "");
		quote(w, message->fields[i].name);
		has_required = true;
	}
	if (has_required) {
		put(w, "]");
		w->needs_comma = true;
	}
	close_object(w);
}

static bool
has_body(const struct model_method *method)
{
	Corbel__Verb verb = method->options->verb;
	if (verb == CORBEL__VERB__GET || verb == CORBEL__VERB__DELETE)
		return false;
	for (size_t i = 0; i < method->request->field_count; i++)
		if (!is_path_parameter(method, method->request->fields[i].name))
			return true;
	return false;
}

static void
parameter(struct writer *w, const struct model_field *field, const char *where)
{
	if (w->needs_comma)
		put(w, ",\n");
	open_object(w);
	text_member(w, "name", field->name);
	text_member(w, "in", where);
	text_member(w, "description", field->note.doc);
	raw_member(w, "required", strcmp(where, "path") == 0 || field->options->required ? "true" : "false");
	key(w, "schema");
	field_schema(w, field);
	close_object(w);
}

static void
parameters(struct writer *w, const struct model_method *method)
{
	key(w, "parameters");
	put(w, "[\n");
	w->needs_comma = false;
	for (size_t i = 0; i < method->request->field_count; i++) {
		const struct model_field *field = &method->request->fields[i];
		if (is_path_parameter(method, field->name))
			parameter(w, field, "path");
		else if ((method->options->verb == CORBEL__VERB__GET ||
		          method->options->verb == CORBEL__VERB__DELETE) &&
		         !field->message && !field->options->nulls)
			parameter(w, field, "query");
	}
	if (method->options->verb == CORBEL__VERB__POST) {
		put(w, w->needs_comma ? ",\n" : "");
		put(w, "{\"$ref\": \"#/components/parameters/IdempotencyKey\"}");
	}
	put(w, "\n]");
	w->needs_comma = true;
}

static void
responses(struct writer *w, const struct model_method *method)
{
	static const int FAILURES[] = {400, 401, 403, 404, 409, 422, 429, 500, 503, 504};

	key(w, "responses");
	open_object(w);
	key(w, arena_printf(w->arena, "%u", method->options->success));
	open_object(w);
	text_member(w, "description", "Success.");
	raw_member(w, "headers",
	           "{\"RateLimit\": {\"$ref\": \"#/components/headers/RateLimit\"}, "
	           "\"RateLimit-Policy\": {\"$ref\": \"#/components/headers/RateLimitPolicy\"}, "
	           "\"X-Request-Id\": {\"$ref\": \"#/components/headers/RequestId\"}}");
	if (method->options->success != 204) {
		key(w, "content");
		put(w, "{\"application/json\": {\"schema\": {\"$ref\": ");
		quote(w, arena_printf(w->arena, "#/components/schemas/%s", method->reply->short_name));
		put(w, "}}}");
		w->needs_comma = true;
	}
	close_object(w);
	for (size_t i = 0; i < sizeof(FAILURES) / sizeof(FAILURES[0]); i++)
		raw_member(w, arena_printf(w->arena, "%d", FAILURES[i]),
		           arena_printf(w->arena, "{\"$ref\": \"#/components/responses/Problem%d\"}", FAILURES[i]));
	close_object(w);
}

static void
operation(struct writer *w, const struct model_method *method)
{
	const char *sentence = method->note.doc[0] ? method->note.doc : method->service->note.doc;
	size_t summary = strcspn(sentence, ".\n");
	char *verb = arena_strdup(w->arena, verb_name(method->options->verb));

	for (char *p = verb; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	key(w, verb);
	open_object(w);
	text_member(w, "operationId",
	            arena_printf(w->arena, "%s_%s", name_snake(w->arena, method->service->name),
	                         name_snake(w->arena, method->name)));
	text_member(w, "summary",
	            method->note.doc[0] ? arena_strndup(w->arena, sentence, summary)
	                                : arena_printf(w->arena, "%s: %s", method->service->name, method->name));
	text_member(w, "description", method->note.doc);
	raw_member(w, "tags",
	           arena_printf(w->arena, "[\"%s\"]",
	                        method->options->tag ? method->options->tag : method->service->name));
	if (method->options->public_)
		raw_member(w, "security", "[]");
	else
		text_member(w, "x-corbel-scope", method->options->scope);
	parameters(w, method);
	if (has_body(method)) {
		key(w, "requestBody");
		open_object(w);
		raw_member(w, "required", "true");
		key(w, "content");
		put(w, "{\"application/json\": {\"schema\": ");
		message_schema(w, method->request, method);
		put(w, "}}");
		close_object(w);
	}
	responses(w, method);
	close_object(w);
}

/* "{path...}" is "{path}" in OpenAPI. */
static const char *
openapi_path(struct arena *arena, const char *path)
{
	const char *dots = strstr(path, "...}");
	return dots ? arena_printf(arena, "%.*s}", (int)(dots - path), path) : path;
}

/* All methods of one path together, at the first method that has it. */
static void
path_item(struct writer *w, const struct model *model, const struct model_method *first)
{
	key(w, openapi_path(w->arena, first->options->path));
	open_object(w);
	for (size_t s = 0; s < model->service_count; s++)
		for (size_t m = 0; m < model->services[s].method_count; m++) {
			const struct model_method *method = &model->services[s].methods[m];
			if (method->options->path && strcmp(method->options->path, first->options->path) == 0)
				operation(w, method);
		}
	close_object(w);
}

static const struct model_method *
first_with_path(const struct model *model, const char *path)
{
	for (size_t s = 0; s < model->service_count; s++)
		for (size_t m = 0; m < model->services[s].method_count; m++) {
			const struct model_method *method = &model->services[s].methods[m];
			if (method->options->path && strcmp(method->options->path, path) == 0)
				return method;
		}
	return NULL;
}

static void
paths(struct writer *w, const struct model *model)
{
	key(w, "paths");
	open_object(w);
	for (size_t s = 0; s < model->service_count; s++)
		for (size_t m = 0; m < model->services[s].method_count; m++) {
			const struct model_method *method = &model->services[s].methods[m];
			if (method->options->path && first_with_path(model, method->options->path) == method)
				path_item(w, model, method);
		}
	close_object(w);
}

static void
problems(struct writer *w)
{
	static const struct {
		int code;
		const char *text;
	} PROBLEMS[] = {
	    {400, "The request is wrong; `errors` names each bad field."},
	    {401, "No key, or one that is not good."},
	    {403, "The key may not do this."},
	    {404, "There is no such thing, or it belongs to another tenant."},
	    {409, "The state of things forbids it, or a call with the same Idempotency-Key is running."},
	    {422, "The Idempotency-Key was used with another body."},
	    {429, "A limit refuses the call; Retry-After says when to come back."},
	    {500, "A fault of the service."},
	    {503, "A service is away or its queue is full; Retry-After says when to come back."},
	    {504, "The service did not answer in time."},
	};
	key(w, "responses");
	open_object(w);
	for (size_t i = 0; i < sizeof(PROBLEMS) / sizeof(PROBLEMS[0]); i++) {
		key(w, arena_printf(w->arena, "Problem%d", PROBLEMS[i].code));
		open_object(w);
		text_member(w, "description", PROBLEMS[i].text);
		raw_member(
		    w, "content",
		    "{\"application/problem+json\": {\"schema\": {\"$ref\": \"#/components/schemas/Problem\"}}}");
		close_object(w);
	}
	close_object(w);
}

static const char PROBLEM_SCHEMA[] =
    "{\"type\": \"object\", \"description\": \"RFC 9457 problem details.\", \"properties\": {"
    "\"type\": {\"type\": \"string\", \"format\": \"uri-reference\"}, \"title\": {\"type\": \"string\"}, "
    "\"status\": {\"type\": \"integer\"}, \"detail\": {\"type\": \"string\"}, \"code\": {\"type\": "
    "\"string\", "
    "\"description\": \"Canonical status code, such as INVALID_ARGUMENT.\"}, \"request_id\": {\"type\": "
    "\"string\"}, "
    "\"violated-policies\": {\"type\": \"array\", \"items\": {\"type\": \"string\"}}, "
    "\"errors\": {\"type\": \"array\", \"items\": {\"type\": \"object\", \"properties\": {"
    "\"pointer\": {\"type\": \"string\", \"description\": \"JSON pointer of the field (RFC 6901).\"}, "
    "\"detail\": {\"type\": \"string\"}}}}}, \"required\": [\"type\", \"title\", \"status\"]}";

static void
components(struct writer *w, const struct model *model)
{
	key(w, "components");
	open_object(w);
	raw_member(w, "securitySchemes",
	           "{\"bearer\": {\"type\": \"http\", \"scheme\": \"bearer\", \"description\": \"An API key.\"}, "
	           "\"apiKey\": {\"type\": \"apiKey\", \"in\": \"header\", \"name\": \"X-API-Key\"}}");
	raw_member(w, "headers",
	           "{\"RateLimit\": {\"description\": \"What is left of each policy "
	           "(draft-ietf-httpapi-ratelimit-headers).\", "
	           "\"schema\": {\"type\": \"string\"}},\n"
	           "\"RateLimitPolicy\": {\"description\": \"Quota and window of each policy.\", \"schema\": "
	           "{\"type\": \"string\"}},\n"
	           "\"RequestId\": {\"description\": \"Name of this request in logs.\", \"schema\": {\"type\": "
	           "\"string\"}}}");
	raw_member(
	    w, "parameters",
	    "{\"IdempotencyKey\": {\"name\": \"Idempotency-Key\", \"in\": \"header\", \"required\": false, "
	    "\"description\": \"Makes a repeated call replay the first one's response for 24 hours.\", "
	    "\"schema\": {\"type\": \"string\", \"maxLength\": 255}}}");
	problems(w);
	key(w, "schemas");
	open_object(w);
	for (size_t i = 0; i < model->message_count; i++) {
		const struct model_message *message = &model->messages[i];
		if (message->is_map_entry || strncmp(message->full_name, "corbel.v1.", 10) != 0)
			continue;
		key(w, message->short_name);
		message_schema(w, message, NULL);
	}
	for (size_t i = 0; i < model->enum_count; i++) {
		key(w, model->enums[i].short_name);
		enum_schema(w, &model->enums[i]);
	}
	raw_member(w, "Problem", PROBLEM_SCHEMA);
	close_object(w);
	close_object(w);
}

char *
emit_openapi(const struct model *model)
{
	struct writer w = {.arena = model->arena};

	strbuf_init(&w.out, model->arena);
	open_object(&w);
	text_member(&w, "openapi", "3.1.0");
	raw_member(&w, "info",
	           "{\"title\": \"Corbel\", \"version\": \"1\", \"description\": "
	           "\"Back-office services for API products.\"}");
	raw_member(&w, "servers", "[{\"url\": \"/\"}]");
	raw_member(&w, "security", "[{\"bearer\": []}, {\"apiKey\": []}]");
	paths(&w, model);
	components(&w, model);
	close_object(&w);
	put(&w, "\n");
	return w.out.data;
}
