/*
 * emit_c: the run-time tables of common/api, and each daemon's typed handlers.
 */
#include <string.h>

#include "base/text.h"
#include "model.h"

static const char *
verb_constant(Corbel__Verb verb)
{
	switch (verb) {
	case CORBEL__VERB__GET:
		return "API_GET";
	case CORBEL__VERB__POST:
		return "API_POST";
	case CORBEL__VERB__PUT:
		return "API_PUT";
	case CORBEL__VERB__PATCH:
		return "API_PATCH";
	case CORBEL__VERB__DELETE:
		return "API_DELETE";
	default:
		return "API_NONE";
	}
}

static const char *const FORMATS[] = {"API_PLAIN", "API_TIMESTAMP", "API_EMAIL", "API_URL",
                                      "API_ID",    "API_NAME",      "API_JSON",  "API_DATE"};
static const char *const COSTS[] = {"API_FREE", "API_READ", "API_WRITE", "API_HEAVY"};

static void
add_literal(struct strbuf *out, struct arena *arena, const char *name, const char *text)
{
	if (text)
		strbuf_printf(out, ", .%s = \"%s\"", name, c_escape(arena, text));
}

static void
add_flag(struct strbuf *out, const char *name, bool is_set)
{
	if (is_set)
		strbuf_printf(out, ", .%s = true", name);
}

static void
add_number(struct strbuf *out, const char *name, uint32_t value)
{
	if (value)
		strbuf_printf(out, ", .%s = %uu", name, value);
}

static void
emit_field(struct strbuf *out, struct arena *arena, const struct model_field *field)
{
	const Corbel__FieldOptions *options = field->options;

	strbuf_printf(out, "\t{.name = \"%s\", .tag = %d, .format = %s", field->name, field->proto->number,
	              FORMATS[options->format]);
	add_flag(out, "is_required", options->required);
	add_flag(out, "is_secret", options->secret);
	add_flag(out, "is_output_only", options->output_only);
	add_flag(out, "is_nulls", options->nulls);
	add_flag(out, "is_map", field->is_map);
	if (options->has_min)
		strbuf_printf(out, ", .has_min = true, .min = INT64_C(%lld)", (long long)options->min);
	if (options->has_max)
		strbuf_printf(out, ", .has_max = true, .max = INT64_C(%lld)", (long long)options->max);
	add_number(out, "min_len", options->min_len);
	add_number(out, "max_len", options->max_len);
	add_number(out, "min_items", options->min_items);
	add_number(out, "max_items", options->max_items);
	add_literal(out, arena, "pattern", options->pattern);
	add_literal(out, arena, "unit", options->unit);
	add_literal(out, arena, "example", options->example);
	add_literal(out, arena, "doc", field->note.doc);
	strbuf_puts(out, "},\n");
}

static void
emit_message(struct strbuf *out, struct arena *arena, const struct model_message *message)
{
	const char *symbol = name_c_symbol(arena, message->full_name);

	strbuf_printf(out, "static const struct api_field %s__fields[] = {\n", symbol);
	for (size_t i = 0; i < message->field_count; i++)
		emit_field(out, arena, &message->fields[i]);
	if (!message->field_count)
		strbuf_puts(out, "\t{.name = NULL},\n");
	strbuf_printf(out,
	              "};\nstatic const struct api_message %s__rules = {.descriptor = &%s__descriptor, .fields = "
	              "%s__fields",
	              symbol, symbol, symbol);
	add_literal(out, arena, "doc", message->note.doc);
	strbuf_puts(out, "};\n\n");
}

static void
emit_enum(struct strbuf *out, struct arena *arena, const struct model_enum *entry)
{
	const char *symbol = name_c_symbol(arena, entry->full_name);

	strbuf_printf(out, "static const struct api_enum_value %s__values[] = {\n", symbol);
	for (size_t i = 0; i < entry->proto->n_value; i++)
		strbuf_printf(out, "\t{.number = %d, .doc = \"%s\"},\n", entry->proto->value[i]->number,
		              c_escape(arena, entry->values[i].doc));
	strbuf_printf(out,
	              "};\nstatic const struct api_enum %s__enum = {.descriptor = &%s__descriptor, .values = "
	              "%s__values, .value_count = %zu, .doc = \"%s\"};\n\n",
	              symbol, symbol, symbol, entry->proto->n_value, c_escape(arena, entry->note.doc));
}

static void
emit_method(struct strbuf *out, struct arena *arena, const struct model_method *method)
{
	const Corbel__MethodOptions *options = method->options;

	strbuf_printf(out,
	              "\t{.id = 0x%08Xu, .name = \"%s/%s\", .full_name = \"corbel.v1.%s/%s\", .daemon = \"%s\",\n"
	              "\t .request = &%s__rules, .reply = &%s__rules,\n"
	              "\t .verb = %s, .cost = %s, .deadline_ms = %u, .success = %u, .index = %zu",
	              method->id, method->service->name, method->name, method->service->name, method->name,
	              method->service->daemon, name_c_symbol(arena, method->request->full_name),
	              name_c_symbol(arena, method->reply->full_name), verb_constant(options->verb),
	              COSTS[options->cost], options->deadline_ms, options->success, method->index);
	add_flag(out, "is_public", options->public_);
	add_flag(out, "is_idempotent", options->idempotent);
	add_flag(out, "is_fast", options->fast);
	add_flag(out, "is_waiting", options->waits);
	add_flag(out, "is_batched", options->batched);
	add_flag(out, "is_operator_only", options->operator_only);
	add_flag(out, "is_cloud_events", options->cloud_events);
	add_flag(out, "spends_held", options->spends_held);
	add_flag(out, "ends_held", options->ends_held);
	add_literal(out, arena, "path", options->path);
	if (options->or_waits)
		add_literal(out, arena, "or_waits",
		            arena_printf(arena, "corbel.v1.%s/%s", method->service->name, options->or_waits));
	add_literal(out, arena, "plan_limit", options->plan_limit);
	if (options->hung_up)
		add_literal(out, arena, "hung_up",
		            arena_printf(arena, "corbel.v1.%s/%s", method->service->name, options->hung_up));
	add_literal(out, arena, "raw_body", options->raw_body);
	add_literal(out, arena, "raw_answer", options->raw_answer);
	add_literal(out, arena, "scope", options->scope ? options->scope : "");
	add_literal(out, arena, "route_by", options->route_by ? options->route_by : "");
	add_literal(out, arena, "cli", options->cli ? options->cli : "");
	add_literal(out, arena, "cli_words", options->cli_words ? options->cli_words : "");
	add_literal(out, arena, "confirm", options->confirm ? options->confirm : "");
	add_literal(out, arena, "columns", options->columns ? options->columns : "");
	add_literal(out, arena, "tag", options->tag ? options->tag : method->service->name);
	add_literal(out, arena, "doc", method->note.doc);
	strbuf_puts(out, "},\n");
}

static void
emit_service(struct strbuf *out, struct arena *arena, const struct model_service *service)
{
	const char *name = name_snake(arena, service->name);

	strbuf_printf(out, "static const struct api_method %s_methods[] = {\n", name);
	for (size_t i = 0; i < service->method_count; i++)
		emit_method(out, arena, &service->methods[i]);
	strbuf_printf(
	    out,
	    "};\nconst struct api_service api_%s = {.name = \"%s\", .daemon = \"%s\", .methods = %s_methods, "
	    ".method_count = %zu",
	    name, service->name, service->daemon, name, service->method_count);
	add_literal(out, arena, "doc", service->note.doc);
	strbuf_puts(out, "};\n\n");
}

/* The document as a string literal; compilers bound the length of one literal, not of a list of bytes'
 * concatenated parts, so it is written a line at a time. */
static void
emit_openapi_text(struct strbuf *out, struct arena *arena, const char *openapi)
{
	strbuf_puts(out, "const char api_openapi_json[] =\n");
	for (const char *line = openapi; *line;) {
		size_t length = strcspn(line, "\n");
		length += line[length] == '\n';
		strbuf_printf(out, "\t\"%s\"\n", c_escape(arena, arena_strndup(arena, line, length)));
		line += length;
	}
	strbuf_puts(out, ";\nconst size_t api_openapi_json_size = sizeof(api_openapi_json) - 1;\n");
}

static void
emit_source(const struct model *model, const char *out_dir, const char *openapi)
{
	struct arena *arena = model->arena;
	struct strbuf out;

	strbuf_init(&out, arena);
	strbuf_puts(&out, "/* Generated by apigen from proto/. */\n#include \"corbel/contract.gen.h\"\n\n");
	for (size_t i = 0; i < model->message_count; i++)
		emit_message(&out, arena, &model->messages[i]);
	for (size_t i = 0; i < model->enum_count; i++)
		emit_enum(&out, arena, &model->enums[i]);
	for (size_t i = 0; i < model->service_count; i++)
		emit_service(&out, arena, &model->services[i]);
	strbuf_puts(&out, "const struct api_service *const api_services[] = {\n");
	for (size_t i = 0; i < model->service_count; i++)
		strbuf_printf(&out, "\t&api_%s,\n", name_snake(arena, model->services[i].name));
	strbuf_puts(&out, "\tNULL,\n};\n\nconst struct api_message *const api_messages[] = {\n");
	for (size_t i = 0; i < model->message_count; i++)
		strbuf_printf(&out, "\t&%s__rules,\n", name_c_symbol(arena, model->messages[i].full_name));
	strbuf_printf(&out, "\tNULL,\n};\nconst size_t api_message_count = %zu;\n\n", model->message_count);
	strbuf_puts(&out, "const struct api_enum *const api_enums[] = {\n");
	for (size_t i = 0; i < model->enum_count; i++)
		strbuf_printf(&out, "\t&%s__enum,\n", name_c_symbol(arena, model->enums[i].full_name));
	strbuf_puts(&out, "\tNULL,\n};\n\n");
	emit_openapi_text(&out, arena, openapi);
	write_file(out_dir, "corbel/contract.gen.c", out.data, out.length);
}

static void
emit_header(const struct model *model, const char *out_dir)
{
	struct arena *arena = model->arena;
	struct strbuf out;

	strbuf_init(&out, arena);
	strbuf_puts(&out, "/* Generated by apigen from proto/. */\n#ifndef CORBEL_CONTRACT_GEN_H\n#define "
	                  "CORBEL_CONTRACT_GEN_H\n\n#include \"api/api.h\"\n");
	for (size_t i = 0; i < model->file_count; i++)
		strbuf_printf(&out, "#include \"%.*s.pb-c.h\"\n", (int)(strlen(model->files[i]) - strlen(".proto")),
		              model->files[i]);
	strbuf_puts(&out, "\nextern const struct api_message *const api_messages[];\nextern const size_t "
	                  "api_message_count;\n\n");
	for (size_t i = 0; i < model->service_count; i++) {
		const struct model_service *service = &model->services[i];
		const char *name = name_snake(arena, service->name);
		strbuf_printf(&out, "extern const struct api_service api_%s;\n", name);
		for (size_t m = 0; m < service->method_count; m++)
			strbuf_printf(&out, "#define %s_%s (&api_%s.methods[%zu])\n", name_upper(arena, service->name),
			              name_upper(arena, service->methods[m].name), name, m);
		strbuf_putc(&out, '\n');
	}
	strbuf_puts(&out, "#endif\n");
	write_file(out_dir, "corbel/contract.gen.h", out.data, out.length);
}

void
emit_c(const struct model *model, const char *out, const char *openapi)
{
	emit_source(model, out, openapi);
	emit_header(model, out);
}

static void
emit_prototype(struct strbuf *out, struct arena *arena, const struct model_method *method)
{
	strbuf_printf(out, "struct status %s_%s(struct call *call, const %s *request, %s *reply);\n",
	              name_snake(arena, method->service->name), name_snake(arena, method->name),
	              name_c_type(arena, method->request->full_name),
	              name_c_type(arena, method->reply->full_name));
}

static void
emit_thunk(struct strbuf *out, struct arena *arena, const struct model_method *method)
{
	const char *service = name_snake(arena, method->service->name);
	const char *name = name_snake(arena, method->name);

	strbuf_printf(
	    out,
	    "static struct status\n%s_%s_thunk(struct call *call, const ProtobufCMessage *request, "
	    "ProtobufCMessage *reply)\n{\n\treturn %s_%s(call, (const %s *)request, (%s *)reply);\n}\n\n",
	    service, name, service, name, name_c_type(arena, method->request->full_name),
	    name_c_type(arena, method->reply->full_name));
}

static void
emit_handler_table(struct strbuf *out, struct arena *arena, const struct model_service *service)
{
	const char *name = name_snake(arena, service->name);

	for (size_t m = 0; m < service->method_count; m++)
		if (!service->methods[m].options->batched)
			emit_thunk(out, arena, &service->methods[m]);
	strbuf_printf(out, "static const api_handler %s_handlers[] = {\n", name);
	for (size_t m = 0; m < service->method_count; m++) {
		if (service->methods[m].options->batched)
			strbuf_puts(out, "\tNULL,\n");
		else
			strbuf_printf(out, "\t%s_%s_thunk,\n", name, name_snake(arena, service->methods[m].name));
	}
	strbuf_puts(out, "};\n\n");
}

static bool
is_first_of_daemon(const struct model *model, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (strcmp(model->services[i].daemon, model->services[at].daemon) == 0)
			return false;
	return true;
}

/* The prototypes of a daemon's typed handlers, for the files that define them. */
static void
emit_methods_header(const struct model *model, const char *daemon, const char *out_dir)
{
	struct strbuf out;

	strbuf_init(&out, model->arena);
	strbuf_puts(&out, "/* Generated by apigen from proto/. */\n#pragma once\n"
	                  "#include \"corbel/contract.gen.h\"\n#include \"daemon/call.h\"\n\n");
	for (size_t s = 0; s < model->service_count; s++)
		for (size_t m = 0; m < model->services[s].method_count; m++)
			if (strcmp(model->services[s].daemon, daemon) == 0 &&
			    !model->services[s].methods[m].options->batched)
				emit_prototype(&out, model->arena, &model->services[s].methods[m]);
	write_file(out_dir, arena_printf(model->arena, "corbel/%s.methods.gen.h", daemon), out.data, out.length);
}

static void
emit_tables_header(const struct model *model, const char *daemon, const char *out_dir)
{
	struct strbuf out;

	strbuf_init(&out, model->arena);
	strbuf_printf(&out,
	              "/* Generated by apigen from proto/: for the main file of %s alone. */\n"
	              "#include \"corbel/%s.methods.gen.h\"\n\n",
	              daemon, daemon);
	for (size_t s = 0; s < model->service_count; s++)
		if (strcmp(model->services[s].daemon, daemon) == 0)
			emit_handler_table(&out, model->arena, &model->services[s]);
	write_file(out_dir, arena_printf(model->arena, "corbel/%s.handlers.gen.h", daemon), out.data, out.length);
}

/* Two headers a daemon; a daemon may have several services. */
void
emit_handlers(const struct model *model, const char *out_dir)
{
	for (size_t i = 0; i < model->service_count; i++) {
		if (!is_first_of_daemon(model, i))
			continue;
		emit_methods_header(model, model->services[i].daemon, out_dir);
		emit_tables_header(model, model->services[i].daemon, out_dir);
	}
}
