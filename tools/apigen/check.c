/*
 * check: what the compiler of .proto files cannot see.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model.h"

struct checker {
	const struct model *model;
	size_t errors;
};

static void __attribute__((format(printf, 3, 4)))
breach(struct checker *checker, const struct model_method *method, const char *format, ...)
{
	va_list args;
	fprintf(stderr, "%s: %s.%s: ", method->note.place, method->service->name, method->name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	checker->errors++;
}

static void
check_path(struct checker *checker, const struct model_method *method)
{
	const char *path = method->options->path, *name;
	size_t at = 0, length;

	if (!path)
		return;
	if (strncmp(path, "/v1/", 4) != 0)
		breach(checker, method, "path '%s' must begin with /v1/", path);
	if (method->options->verb == CORBEL__VERB__VERB_NONE)
		breach(checker, method, "a path needs a verb");
	while (path_parameter(path, &at, &name, &length))
		if (!model_field_find(method->request, name, length))
			breach(checker, method, "path parameter '%.*s' is no field of %s", (int)length, name,
			       method->request->short_name);
	if (!method->options->public_ && !(method->options->scope && method->options->scope[0]))
		breach(checker, method, "a method with a path needs a scope, or to be public");
}

/* Whether names with dots between them lead from a message to a field. */
static bool
leads_to_field(const struct model_message *message, const char *path, size_t length)
{
	const char *end = path + length;

	while (path < end) {
		const char *dot = memchr(path, '.', (size_t)(end - path)), *stop = dot ? dot : end;
		const struct model_field *field =
		    message ? model_field_find(message, path, (size_t)(stop - path)) : NULL;
		if (!field)
			return false;
		message = field->message;
		path = dot ? dot + 1 : end;
	}
	return true;
}

static void
check_route_by(struct checker *checker, const struct model_method *method)
{
	const char *path = method->options->route_by;

	if (path && !leads_to_field(method->request, path, strlen(path)))
		breach(checker, method, "route_by '%s' names no field", path);
}

static void
check_columns(struct checker *checker, const struct model_method *method)
{
	const char *at = method->options->columns;

	while (at && *at) {
		size_t length = strcspn(at, ",");
		if (!leads_to_field(method->reply, at, length))
			breach(checker, method, "column '%.*s' names no field of %s", (int)length, at,
			       method->reply->short_name);
		at += length + (at[length] == ',');
	}
}

/* CloudEvents can be made of these messages only. */
static bool
has_events(const struct model_method *method)
{
	return strcmp(method->request->short_name, "PublishEventsRequest") == 0 ||
	       strcmp(method->reply->short_name, "Event") == 0 ||
	       strcmp(method->reply->short_name, "ListEventsReply") == 0;
}

static void
check_pair(struct checker *checker, const struct model_method *a, const struct model_method *b)
{
	const Corbel__MethodOptions *left = a->options, *right = b->options;

	if (a->id == b->id)
		breach(checker, b, "its id collides with that of %s.%s", a->service->name, a->name);
	if (left->path && right->path && left->verb == right->verb && strcmp(left->path, right->path) == 0)
		breach(checker, b, "%s %s is already that of %s.%s", verb_name(left->verb), left->path,
		       a->service->name, a->name);
	if (left->cli && right->cli && strcmp(left->cli, right->cli) == 0)
		breach(checker, b, "command line '%s' is already that of %s.%s", left->cli, a->service->name,
		       a->name);
}

static const struct model_method *
sibling(const struct model_method *method, const char *name)
{
	for (size_t m = 0; m < method->service->method_count; m++)
		if (strcmp(method->service->methods[m].name, name) == 0)
			return &method->service->methods[m];
	return NULL;
}

static void
check_or_waits(struct checker *checker, const struct model_method *method)
{
	const struct model_method *other =
	    method->options->or_waits ? sibling(method, method->options->or_waits) : NULL;

	if (!method->options->or_waits)
		return;
	if (!other || !other->options->waits || other->request != method->request ||
	    other->reply != method->reply || !other->options->scope || !method->options->scope ||
	    strcmp(other->options->scope, method->options->scope) != 0)
		breach(checker, method, "or_waits names no method that waits, of the same messages and scope");
}

static void
check_hung_up(struct checker *checker, const struct model_method *method)
{
	const struct model_method *other =
	    method->options->hung_up ? sibling(method, method->options->hung_up) : NULL;

	if (!method->options->hung_up)
		return;
	if (!method->options->waits || !other || other->options->path ||
	    strcmp(other->request->short_name, "HungUpRequest") != 0)
		breach(checker, method,
		       "hung_up is for methods that wait, and names an internal one of a HungUpRequest");
}

static void
check_raw(struct checker *checker, const struct model_method *method, const char *option, const char *name,
          const struct model_message *message)
{
	const struct model_field *field = name ? model_field_find(message, name, strlen(name)) : NULL;

	if (!name)
		return;
	if (!field || field->is_repeated ||
	    field->proto->type != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BYTES)
		breach(checker, method, "%s names no field of bytes", option);
	if (!model_field_find(message, "content_type", strlen("content_type")))
		breach(checker, method, "%s needs a field content_type beside it", option);
}

/* A flag of every command would never be that, where a field has its name. `--url` is the exception:
 * endpoints have one, and the server is named by CORBEL_URL or a profile as well. */
static void
check_flags(struct checker *checker, const struct model_method *method)
{
	static const char *const COMMON[] = {"output", "profile", "data", "retry",   "idempotency_key",
	                                     "all",    "watch",   "yes",  "verbose", "help"};

	for (size_t i = 0; i < sizeof(COMMON) / sizeof(COMMON[0]) && method->options->cli; i++)
		if (model_field_find(method->request, COMMON[i], strlen(COMMON[i])))
			breach(checker, method, "its field %s has the name of a flag of every command; name it otherwise",
			       COMMON[i]);
}

static bool
is_one_text(const struct model_field *field)
{
	return !field->is_repeated &&
	       field->proto->type == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING;
}

static void
check_words(struct checker *checker, const struct model_method *method)
{
	const char *name = method->options->cli_words;
	const struct model_field *field = name ? model_field_find(method->request, name, strlen(name)) : NULL;

	if (name && (!field || field->is_map || field->message || !(field->is_repeated || is_one_text(field))))
		breach(checker, method, "cli_words names no text and no list of plain values");
}

static void
check_method(struct checker *checker, const struct model_method *method)
{
	check_path(checker, method);
	check_or_waits(checker, method);
	check_hung_up(checker, method);
	check_raw(checker, method, "raw_body", method->options->raw_body, method->request);
	check_raw(checker, method, "raw_answer", method->options->raw_answer, method->reply);
	check_route_by(checker, method);
	check_columns(checker, method);
	check_flags(checker, method);
	check_words(checker, method);
	if (method->options->batched && !method->options->fast && !method->options->waits)
		breach(checker, method, "only methods that are fast or wait can be batched");
	if (method->options->waits && (!method->options->batched || method->options->fast))
		breach(checker, method, "a method that waits is batched and not fast");
	if (method->options->cloud_events && !has_events(method))
		breach(checker, method, "cloud_events needs a request or a reply of events");
	if (method->options->deadline_ms < 1 || method->options->deadline_ms > 600000)
		breach(checker, method, "deadline_ms must be 1 to 600000");
	for (size_t s = 0; s < checker->model->service_count; s++) {
		const struct model_service *service = &checker->model->services[s];
		for (size_t m = 0; m < service->method_count; m++) {
			if (&service->methods[m] == method)
				return;
			check_pair(checker, &service->methods[m], method);
		}
	}
}

/* ---- comments: they are the documentation, so nothing of the contract goes without ---- */

static void
check_note(struct checker *checker, const struct model_note *note, const char *kind, const char *name)
{
	if (note->doc[0])
		return;
	fprintf(stderr, "%s: %s %s needs a comment\n", note->place, kind, name);
	checker->errors++;
}

static void
check_message_notes(struct checker *checker, const struct model_message *message)
{
	if (message->is_map_entry)
		return;
	check_note(checker, &message->note, "message", message->short_name);
	for (size_t i = 0; i < message->field_count; i++)
		check_note(
		    checker, &message->fields[i].note, "field",
		    arena_printf(checker->model->arena, "%s.%s", message->short_name, message->fields[i].name));
}

static void
check_enum_notes(struct checker *checker, const struct model_enum *entry)
{
	check_note(checker, &entry->note, "enum", entry->short_name);
	for (size_t i = 0; i < entry->proto->n_value; i++)
		check_note(checker, &entry->values[i], "value", entry->proto->value[i]->name);
}

static void
check_service_notes(struct checker *checker, const struct model_service *service)
{
	check_note(checker, &service->note, "service", service->name);
	for (size_t i = 0; i < service->method_count; i++)
		check_note(checker, &service->methods[i].note, "method",
		           arena_printf(checker->model->arena, "%s.%s", service->name, service->methods[i].name));
}

static void
check_notes(struct checker *checker)
{
	const struct model *model = checker->model;

	for (size_t i = 0; i < model->service_count; i++)
		check_service_notes(checker, &model->services[i]);
	for (size_t i = 0; i < model->message_count; i++)
		check_message_notes(checker, &model->messages[i]);
	for (size_t i = 0; i < model->enum_count; i++)
		check_enum_notes(checker, &model->enums[i]);
}

/* ---- fields: what common/api and protobuf-c can do ---- */

#define TYPE(name) GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_##name
#define FIELDS_MAX 256u /* of a message: common/api keeps a bit for each while it reads */

static void
refuse_field(struct checker *checker, const struct model_message *message, const struct model_field *field,
             const char *why)
{
	fprintf(stderr, "%s: field %s.%s %s\n", field->note.place, message->short_name, field->name, why);
	checker->errors++;
}

static void
check_field(struct checker *checker, const struct model_message *message, const struct model_field *field)
{
	Corbel__Format format = field->options->format;
	bool is_text = field->proto->type == TYPE(STRING);

	if (field->proto->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REQUIRED)
		refuse_field(checker, message, field, "must be optional, with (corbel.field).required");
	if (field->proto->type == TYPE(GROUP))
		refuse_field(checker, message, field, "must not be a group");
	if (field->is_map && field->message->fields[0].proto->type != TYPE(STRING))
		refuse_field(checker, message, field, "must have strings for keys, as JSON has");
	if (format == CORBEL__FORMAT__TIMESTAMP && field->proto->type != TYPE(INT64))
		refuse_field(checker, message, field, "must be an int64 to be a timestamp");
	if (format == CORBEL__FORMAT__JSON && !is_text && field->proto->type != TYPE(BYTES))
		refuse_field(checker, message, field, "must be a string or bytes to hold JSON");
	if (format != CORBEL__FORMAT__FORMAT_NONE && format != CORBEL__FORMAT__TIMESTAMP &&
	    format != CORBEL__FORMAT__JSON && !is_text)
		refuse_field(checker, message, field, "must be a string to have a format");
	if (field->options->nulls && (!is_text || !field->is_repeated))
		refuse_field(checker, message, field, "must be a repeated string to hold the names of nulls");
}

static void
check_fields(struct checker *checker)
{
	const struct model *model = checker->model;

	for (size_t m = 0; m < model->message_count; m++) {
		const struct model_message *message = &model->messages[m];
		if (message->field_count > FIELDS_MAX)
			refuse_field(checker, message, &message->fields[FIELDS_MAX],
			             "is one field too many: 256 is the bound");
		for (size_t i = 0; i < message->field_count; i++)
			check_field(checker, message, &message->fields[i]);
	}
}

/* Requests of the documents are put together from the examples of their fields. */
static void
check_examples(struct checker *checker)
{
	const struct model *model = checker->model;
	struct model_reach reach = reach_methods(model, NULL);

	for (size_t m = 0; m < model->message_count; m++) {
		for (size_t i = 0; i < model->messages[m].field_count && reach.messages[m]; i++) {
			const struct model_field *field = &model->messages[m].fields[i];
			if (!field->options->required || field->options->example || field->message)
				continue;
			fprintf(stderr, "%s: field %s.%s is required and needs an example\n", field->note.place,
			        model->messages[m].short_name, field->name);
			checker->errors++;
		}
	}
}

size_t
model_check(const struct model *model)
{
	struct checker checker = {.model = model};
	check_notes(&checker);
	check_fields(&checker);
	check_examples(&checker);
	for (size_t s = 0; s < model->service_count; s++)
		for (size_t m = 0; m < model->services[s].method_count; m++)
			check_method(&checker, &model->services[s].methods[m]);
	return checker.errors;
}
