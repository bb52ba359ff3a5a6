/*
 * emit_openapi: the OpenAPI 3.1 document: its paths and how they hang together.
 *
 * Path and query parameters come out of the request message, as the ingress binds them.
 */
#include <ctype.h>
#include <string.h>

#include "openapi.h"

static void
put_parameter(struct document *doc, const struct model_field *field, const char *where)
{
	put_open(doc, '{');
	put_text_member(doc, "name", field->name);
	put_text_member(doc, "in", where);
	put_text_member(doc, "description", field->note.doc);
	put_raw_member(doc, "required",
	               strcmp(where, "path") == 0 || field->options->required ? "true" : "false");
	put_key(doc, "schema");
	openapi_field_schema(doc, field, false);
	put_close(doc, '}');
}

static bool
takes_query(const struct model_method *method)
{
	return method->options->verb == CORBEL__VERB__GET || method->options->verb == CORBEL__VERB__DELETE ||
	       method->options->raw_body;
}

/* What the body is when it is raw: bytes of either kind, and their type is a header. */
static bool
is_body(const struct model_method *method, const struct model_field *field)
{
	return method->options->raw_body &&
	       (field->proto->type == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BYTES ||
	        strcmp(field->name, "content_type") == 0);
}

static void
put_parameters(struct document *doc, const struct model_method *method)
{
	put_member(doc, "parameters", '[');
	for (size_t i = 0; i < method->request->field_count; i++) {
		const struct model_field *field = &method->request->fields[i];
		if (is_path_parameter(method, field->name))
			put_parameter(doc, field, "path");
		else if (takes_query(method) && !field->message && !field->options->nulls && !is_body(method, field))
			put_parameter(doc, field, "query");
	}
	if (method->options->verb == CORBEL__VERB__POST)
		put_raw(doc, "{\"$ref\": \"#/components/parameters/IdempotencyKey\"}");
	put_raw(doc, "{\"$ref\": \"#/components/parameters/RequestId\"}");
	put_raw(doc, "{\"$ref\": \"#/components/parameters/TraceParent\"}");
	put_close(doc, ']');
}

/* A body of which nothing is required may be left out. */
static bool
requires_body(const struct model_method *method)
{
	for (size_t i = 0; i < method->request->field_count; i++)
		if (method->request->fields[i].options->required &&
		    !is_path_parameter(method, method->request->fields[i].name))
			return true;
	return false;
}

static void
put_body(struct document *doc, const struct model_method *method)
{
	put_member(doc, "requestBody", '{');
	if (method->options->raw_body) {
		put_raw_member(doc, "content", "{\"*/*\": {\"schema\": {}, \"example\": \"hello\"}}");
		put_close(doc, '}');
		return;
	}
	put_raw_member(doc, "required", requires_body(method) ? "true" : "false");
	put_member(doc, "content", '{');
	put_member(doc, "application/json", '{');
	put_key(doc, "schema");
	openapi_body_schema(doc, method);
	openapi_put_request_example(doc, method);
	put_close(doc, '}');
	openapi_cloudevents_body(doc, method);
	put_close(doc, '}');
	put_close(doc, '}');
}

static const char *
lower(struct arena *arena, const char *text)
{
	char *out = arena_strdup(arena, text);
	for (char *p = out; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return out;
}

static const char *
operation_id(struct arena *arena, const struct model_method *method)
{
	return arena_printf(arena, "%s_%s", name_snake(arena, method->service->name),
	                    name_snake(arena, method->name));
}

static const char *
tag_of(const struct model_method *method)
{
	return method->options->tag ? method->options->tag : method->service->name;
}

/* The first sentence, on one line. */
static char *
summary_of(struct arena *arena, const char *doc)
{
	char *summary = arena_strndup(arena, doc, text_sentence(doc));

	for (char *at = summary; (at = strchr(at, '\n')) != NULL;)
		*at = ' ';
	return summary;
}

static void
put_operation(struct document *doc, const struct model_method *method)
{
	put_member(doc, lower(doc->arena, verb_name(method->options->verb)), '{');
	put_text_member(doc, "operationId", operation_id(doc->arena, method));
	put_text_member(doc, "summary", summary_of(doc->arena, method->note.doc));
	put_text_member(doc, "description", method->note.doc);
	put_raw_member(doc, "tags", arena_printf(doc->arena, "[\"%s\"]", tag_of(method)));
	if (method->options->public_)
		put_raw_member(doc, "security", "[]");
	else
		put_text_member(doc, "x-corbel-scope", method->options->scope);
	if (method->options->operator_only)
		put_raw_member(doc, "x-corbel-operators-only", "true");
	if (method->options->cli)
		put_text_member(doc, "x-corbel-cli", arena_printf(doc->arena, "corbel %s", method->options->cli));
	put_parameters(doc, method);
	if (has_body(method))
		put_body(doc, method);
	openapi_responses(doc, method);
	put_close(doc, '}');
}

/* ---- paths: all methods of one together, at the first method that has it ---- */

/* "{path...}" is "{path}" in OpenAPI. */
static const char *
openapi_path(struct arena *arena, const char *path)
{
	const char *dots = strstr(path, "...}");
	return dots ? arena_printf(arena, "%.*s}", (int)(dots - path), path) : path;
}

static void
put_path(struct document *doc, const struct model *model, const char *path)
{
	put_member(doc, openapi_path(doc->arena, path), '{');
	for (size_t s = 0; s < model->service_count; s++) {
		for (size_t m = 0; m < model->services[s].method_count; m++) {
			const struct model_method *method = &model->services[s].methods[m];
			if (method->options->path && strcmp(method->options->path, path) == 0)
				put_operation(doc, method);
		}
	}
	put_close(doc, '}');
}

static const struct model_method *
first_with_path(const struct model *model, const char *path)
{
	for (size_t s = 0; s < model->service_count; s++) {
		for (size_t m = 0; m < model->services[s].method_count; m++) {
			const struct model_method *method = &model->services[s].methods[m];
			if (method->options->path && strcmp(method->options->path, path) == 0)
				return method;
		}
	}
	return NULL;
}

static void
put_paths(struct document *doc, const struct model *model)
{
	put_member(doc, "paths", '{');
	for (size_t s = 0; s < model->service_count; s++) {
		for (size_t m = 0; m < model->services[s].method_count; m++) {
			const struct model_method *method = &model->services[s].methods[m];
			if (method->options->path && first_with_path(model, method->options->path) == method)
				put_path(doc, model, method->options->path);
		}
	}
	openapi_front_paths(doc);
	put_close(doc, '}');
}

static bool
has_public_method(const struct model_service *service)
{
	for (size_t m = 0; m < service->method_count; m++)
		if (service->methods[m].options->path)
			return true;
	return false;
}

static void
put_tag(struct document *doc, const char *name, const char *text)
{
	put_open(doc, '{');
	put_text_member(doc, "name", name);
	put_text_member(doc, "description", text);
	put_close(doc, '}');
}

static void
put_tags(struct document *doc, const struct model *model)
{
	put_member(doc, "tags", '[');
	for (size_t s = 0; s < model->service_count; s++)
		if (has_public_method(&model->services[s]))
			put_tag(doc, model->services[s].name, model->services[s].note.doc);
	put_tag(doc, "Front", "What the ingress answers by itself.");
	put_close(doc, ']');
}

static void
put_components(struct document *doc, const struct model *model)
{
	put_member(doc, "components", '{');
	openapi_security_schemes(doc);
	openapi_headers(doc);
	openapi_parameters(doc);
	openapi_problem_responses(doc);
	put_member(doc, "schemas", '{');
	openapi_schemas(doc, model);
	openapi_cloudevents_schema(doc, model);
	openapi_problem_schema(doc);
	put_close(doc, '}');
	put_close(doc, '}');
}

char *
emit_openapi(const struct model *model)
{
	struct document doc;

	document_init(&doc, model->arena);
	put_open(&doc, '{');
	openapi_front_matter(&doc);
	put_tags(&doc, model);
	put_paths(&doc, model);
	put_components(&doc, model);
	put_close(&doc, '}');
	strbuf_putc(&doc.out, '\n');
	return doc.out.data;
}
