/*
 * emit_docs: the reference pages, one a daemon, from the comments of the contract.
 */
#include <string.h>

#include "base/text.h"
#include "model.h"

static const char *
type_text(struct arena *arena, const struct model_field *field)
{
	static const char *const NAMES[] = {"",       "number",  "number", "int64", "uint64", "int32",  "uint64",
	                                    "uint32", "boolean", "string", "",      "object", "base64", "uint32",
	                                    "enum",   "int32",   "int64",  "int32", "int64"};
	const char *base = NAMES[field->proto->type];
	if (field->options->format == CORBEL__FORMAT__TIMESTAMP)
		base = "timestamp";
	if (field->is_map)
		return "map of string";
	if (field->message)
		base = field->message->short_name;
	if (field->enumeration)
		base = field->enumeration->proto->name;
	return field->is_repeated ? arena_printf(arena, "list of %s", base) : base;
}

/* A table cell: one line, bars escaped. */
static void
add_cell(struct strbuf *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '|')
			strbuf_puts(out, "\\|");
		else
			strbuf_putc(out, *text == '\n' ? ' ' : *text);
	}
}

static void
add_bounds(struct strbuf *out, const struct model_field *field)
{
	const Corbel__FieldOptions *options = field->options;
	if (options->required)
		strbuf_puts(out, "required; ");
	if (options->output_only)
		strbuf_puts(out, "set by the service; ");
	if (options->secret)
		strbuf_puts(out, "secret; ");
	if (options->has_min || options->has_max) {
		strbuf_printf(out, "%lld to ", (long long)(options->has_min ? options->min : 0));
		if (options->has_max)
			strbuf_printf(out, "%lld", (long long)options->max);
		else
			strbuf_puts(out, "…");
		strbuf_printf(out, " %s; ", options->unit ? options->unit : "");
	} else if (options->unit) {
		strbuf_printf(out, "%s; ", options->unit);
	}
	if (options->max_len)
		strbuf_printf(out, "%u to %u bytes; ", options->min_len, options->max_len);
	if (options->max_items)
		strbuf_printf(out, "%u to %u items; ", options->min_items, options->max_items);
	if (options->pattern)
		strbuf_printf(out, "matches `%s`; ", options->pattern);
}

static void
emit_message_table(struct strbuf *out, struct arena *arena, const struct model_message *message,
                   const char *title)
{
	strbuf_printf(out, "%s `%s`: ", title, message->short_name);
	add_cell(out, message->note.doc);
	strbuf_puts(out, "\n\n");
	if (!message->field_count) {
		strbuf_puts(out, "No fields.\n\n");
		return;
	}
	strbuf_puts(out, "| field | type | bounds | meaning |\n|---|---|---|---|\n");
	for (size_t i = 0; i < message->field_count; i++) {
		const struct model_field *field = &message->fields[i];
		struct strbuf bounds;
		if (field->options->nulls)
			continue;
		strbuf_init(&bounds, arena);
		strbuf_add(&bounds, "", 0);
		add_bounds(&bounds, field);
		strbuf_printf(out, "| `%s` | %s | ", field->name, type_text(arena, field));
		add_cell(out, bounds.data);
		strbuf_puts(out, " | ");
		add_cell(out, field->note.doc);
		strbuf_puts(out, " |\n");
	}
	strbuf_putc(out, '\n');
}

static void
emit_method_page(struct strbuf *out, struct arena *arena, const struct model_method *method)
{
	const Corbel__MethodOptions *options = method->options;
	if (!options->path)
		return;
	strbuf_printf(out, "### %s %s\n\n%s\n\n", verb_name(options->verb), options->path, method->note.doc);
	strbuf_printf(out, "Scope `%s`%s. Deadline %u ms.", options->scope ? options->scope : "none",
	              options->operator_only ? ", operators only" : "", options->deadline_ms);
	if (options->cli)
		strbuf_printf(out, " Command line: `corbel %s`.", options->cli);
	strbuf_puts(out, "\n\n");
	emit_message_table(out, arena, method->request, "Request");
	emit_message_table(out, arena, method->reply, "Reply");
}

static void
emit_enum_table(struct strbuf *out, const struct model_enum *entry)
{
	strbuf_printf(out, "### `%s`\n\n%s\n\n| value | meaning |\n|---|---|\n", entry->short_name,
	              entry->note.doc);
	for (size_t i = 0; i < entry->proto->n_value; i++) {
		if (entry->proto->value[i]->number == 0)
			continue; /* the value of absence */
		strbuf_printf(out, "| `%s` | ", entry->proto->value[i]->name);
		add_cell(out, entry->values[i].doc);
		strbuf_puts(out, " |\n");
	}
	strbuf_putc(out, '\n');
}

/* Tables of requests and replies stand with their methods. */
static bool
is_shown_with_a_method(const struct model *model, const char *daemon, const struct model_message *message)
{
	for (size_t s = 0; s < model->service_count; s++) {
		const struct model_service *service = &model->services[s];
		for (size_t m = 0; m < service->method_count && strcmp(service->daemon, daemon) == 0; m++)
			if (service->methods[m].options->path &&
			    (service->methods[m].request == message || service->methods[m].reply == message))
				return true;
	}
	return false;
}

/* What requests and replies hold. */
static void
emit_types(struct strbuf *out, const struct model *model, const char *daemon)
{
	struct model_reach reach = reach_methods(model, daemon);

	strbuf_puts(out, "## Types\n\n");
	for (size_t i = 0; i < model->message_count; i++) {
		const struct model_message *message = &model->messages[i];
		if (reach.messages[i] && !message->is_map_entry && !is_shown_with_a_method(model, daemon, message))
			emit_message_table(out, model->arena, message, "###");
	}
	for (size_t i = 0; i < model->enum_count; i++)
		if (reach.enums[i])
			emit_enum_table(out, &model->enums[i]);
}

static void
emit_daemon(const struct model *model, const char *daemon, const char *out_dir)
{
	struct strbuf out;
	strbuf_init(&out, model->arena);
	strbuf_printf(&out, "# %s: reference\n\nMade from the comments of `proto/`.\n\n", daemon);
	for (size_t i = 0; i < model->service_count; i++) {
		const struct model_service *service = &model->services[i];
		if (strcmp(service->daemon, daemon) != 0)
			continue;
		strbuf_printf(&out, "## %s\n\n%s\n\n", service->name, service->note.doc);
		for (size_t m = 0; m < service->method_count; m++)
			emit_method_page(&out, model->arena, &service->methods[m]);
	}
	emit_types(&out, model, daemon);
	write_file(out_dir, arena_printf(model->arena, "docs/api/%s.md", daemon), out.data, out.length);
}

void
emit_docs(const struct model *model, const char *out_dir)
{
	for (size_t i = 0; i < model->service_count; i++) {
		bool is_first = true;
		for (size_t j = 0; j < i; j++)
			is_first = is_first && strcmp(model->services[j].daemon, model->services[i].daemon) != 0;
		if (is_first)
			emit_daemon(model, model->services[i].daemon, out_dir);
	}
}
