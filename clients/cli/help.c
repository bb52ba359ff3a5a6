/*
 * help: from the comments of the contract.
 */
#include <string.h>

#include "base/text.h"
#include "cli.h"
#include "flags.h"
#include "own.h"

static const char COMMON_FLAGS[] =
    "Flags of every command:\n"
    "  --output table|json|yaml|csv   how the reply is shown (default table)\n"
    "  --url URL                      where Corbel is (CORBEL_URL)\n"
    "  --profile NAME                 profile of ~/.config/corbel/config.yaml (CORBEL_PROFILE)\n"
    "  --data JSON|@file|-            the whole request; flags win over it\n"
    "  --FLAG.MEMBER VALUE            a member of what takes JSON: --checks.limit charts --checks.key "
    "user-42;\n"
    "                                 one that comes again begins the list's next item\n"
    "  --all                          every page of a list\n"
    "  --watch                        show it again every second, of commands that only read\n"
    "  --yes                          do not ask before what cannot be undone\n"
    "  --retry N                      try again up to N times when Corbel is away or limits; 0 when absent\n"
    "  --idempotency-key KEY          name of a POST: repeated under it, it is done once (default: a random "
    "one)\n"
    "  --verbose                      show the request, the response's headers, the time and the trace id\n"
    "The API key is read from CORBEL_API_KEY or the profile, never from a flag.\n\n";

static const char EXIT_CODES[] =
    "Exit codes: 0 success, 1 other, 2 usage, 3 not allowed, 4 not found, 5 conflict, 6 invalid, 7 limited,\n"
    "8 unavailable.\n";

void
help_exit_codes(FILE *out)
{
	fputs(EXIT_CODES, out);
}

static void
print_sentence(const char *doc, FILE *out)
{
	size_t length = text_sentence(doc);

	for (size_t i = 0; i < length; i++)
		fputc(doc[i] == '\n' ? ' ' : doc[i], out);
}

static void
print_command(const char *command, const char *doc, FILE *out)
{
	fprintf(out, "  corbel %-26s ", command);
	print_sentence(doc, out);
	fputc('\n', out);
}

/* ---- every resource with its actions ---- */

/* Where the first action stands: behind "  corbel ", the resource in 16 columns and a space. */
#define ACTIONS_COLUMN 26
#define LINE_WIDTH     110

/* The line of a resource; it goes on in further ones. */
struct line {
	const char *resource;
	size_t length; /* of the resource's name */
	size_t column; /* 0: no action was printed so far */
	FILE *out;
};

static bool
is_of(const char *command, const char *resource, size_t length)
{
	return strncmp(command, resource, length) == 0 && (command[length] == ' ' || !command[length]);
}

static void
print_action(struct line *line, const char *action)
{
	size_t width = strlen(action) + 2;

	if (line->column + width > LINE_WIDTH)
		line->column = (size_t)fprintf(line->out, ",\n%*s", ACTIONS_COLUMN, "") - 2;
	else if (line->column > 0)
		fputs(", ", line->out);
	else
		line->column = (size_t)fprintf(line->out, "  corbel %-16.*s ", (int)line->length, line->resource);
	fputs(action, line->out);
	line->column += width;
}

static void
print_if_same(void *arg, const struct api_method *method)
{
	struct line *line = arg;

	if (is_of(method->cli, line->resource, line->length) && method->cli[line->length])
		print_action(line, method->cli + line->length + 1);
}

/* What of the contract was met so far. */
struct overview {
	struct strbuf seen; /* resources, each between line feeds */
	FILE *out;
};

static void
print_if_new(void *arg, const struct api_method *method)
{
	struct overview *overview = arg;
	struct line line = {.resource = method->cli, .length = strcspn(method->cli, " "), .out = overview->out};
	char name[64];

	snprintf(name, sizeof(name), "\n%.*s\n", (int)line.length, line.resource);
	if (overview->seen.data && strstr(overview->seen.data, name))
		return;
	strbuf_puts(&overview->seen, name);
	command_each(print_if_same, &line);
	for (size_t i = 0; own_commands[i]; i++)
		if (is_of(own_commands[i]->resource, line.resource, line.length))
			print_action(&line, own_commands[i]->action);
	fputc('\n', overview->out);
}

static void
print_overview(FILE *out)
{
	struct overview overview = {.out = out};

	command_each(print_if_new, &overview);
	strbuf_fini(&overview.seen);
}

void
help_all(FILE *out)
{
	fputs("Corbel: back-office services for API products.\n\n"
	      "  corbel serve                     run all of Corbel in this process\n"
	      "  corbel migrate                   bring the schemas of all services up to date, and end\n"
	      "  corbel health [ADDRESS]          tell whether a daemon is ready\n"
	      "  corbel top                       show live requests, limits and health\n"
	      "  corbel openapi                   print the OpenAPI document\n"
	      "  corbel completion SHELL          print completion for bash, zsh or fish\n"
	      "  corbel version                   print the version\n\n"
	      "Resources, and what can be done with them:\n\n",
	      out);
	print_overview(out);
	fputs("\ncorbel RESOURCE --help tells what each of them does, corbel RESOURCE ACTION --help everything "
	      "about one.\n\n",
	      out);
	fputs(COMMON_FLAGS, out);
	help_exit_codes(out);
}

/* ---- one resource ---- */

struct filter {
	const char *resource;
	size_t shown;
	FILE *out;
};

static void
print_if(void *arg, const struct api_method *method)
{
	struct filter *filter = arg;

	if (!is_of(method->cli, filter->resource, strlen(filter->resource)))
		return;
	print_command(method->cli, method->doc[0] ? method->doc : method->name, filter->out);
	filter->shown++;
}

/* The commands of a resource that are not of the contract; returns how many. */
static size_t
print_own(const char *resource, FILE *out)
{
	size_t shown = 0;

	for (size_t i = 0; own_commands[i]; i++) {
		char command[64];
		if (strcmp(resource, own_commands[i]->resource) != 0)
			continue;
		snprintf(command, sizeof(command), "%s %s", resource, own_commands[i]->action);
		print_command(command, own_commands[i]->summary, out);
		shown++;
	}
	return shown;
}

void
help_resource(const char *resource, FILE *out)
{
	struct filter filter = {.resource = resource, .out = out};
	command_each(print_if, &filter);
	if (filter.shown + print_own(resource, out) == 0)
		fprintf(out, "There is no command '%s'; corbel --help lists all.\n", resource);
	else
		fprintf(out, "\ncorbel %s ACTION --help explains one of them.\n", resource);
}

/* ---- one command ---- */

/* Bytes that are a body by themselves are given as they are; within JSON they are base64. */
static const char *
placeholder(const struct api_method *method, const ProtobufCFieldDescriptor *field,
            const struct api_field *rules)
{
	if (rules->is_map)
		return "KEY=VALUE";
	if (rules->format == API_TIMESTAMP)
		return "TIME";
	if (rules->format == API_JSON)
		return "JSON";
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		return "TEXT";
	case PROTOBUF_C_TYPE_BOOL:
		return "[true|false]";
	case PROTOBUF_C_TYPE_MESSAGE:
		return "JSON";
	case PROTOBUF_C_TYPE_BYTES:
		return method->raw_body ? "TEXT" : "BASE64";
	case PROTOBUF_C_TYPE_ENUM:
		return "NAME";
	default:
		return "NUMBER";
	}
}

/* The text, each of its lines behind `indent` spaces; the first stands where the cursor is. */
static void
print_doc(const char *doc, int indent, FILE *out)
{
	for (bool is_first = true; *doc; is_first = false) {
		size_t length = strcspn(doc, "\n");
		fprintf(out, "%*s%.*s\n", is_first ? 0 : indent, "", (int)length, doc);
		doc += length + (doc[length] == '\n');
	}
}

static void
print_values(const ProtobufCFieldDescriptor *field, FILE *out)
{
	const ProtobufCEnumDescriptor *descriptor = field->descriptor;
	if (field->type != PROTOBUF_C_TYPE_ENUM)
		return;
	for (unsigned i = 0; i < descriptor->n_values; i++) {
		if (descriptor->values[i].value == 0)
			continue; /* the value of absence */
		fprintf(out, "        %-16s ", descriptor->values[i].name);
		print_doc(api_enum_doc(descriptor, descriptor->values[i].value), 25, out);
	}
}

/* What the JSON of a message may hold, by the names of flags, which are also taken alone. */
static void
print_message(const ProtobufCFieldDescriptor *field, const struct api_field *rules, FILE *out)
{
	const struct api_message *message =
	    field->type == PROTOBUF_C_TYPE_MESSAGE && !rules->is_map ? api_message_of(field->descriptor) : NULL;

	for (unsigned i = 0; message && i < message->descriptor->n_fields; i++) {
		if (message->fields[i].is_output_only)
			continue;
		char name[FLAG_NAME_MAX];
		flags_name(message->descriptor->fields[i].name, name);
		fprintf(out, "        .%-16s ", name);
		fputs(message->fields[i].is_required ? "(needed) " : "", out);
		print_doc(message->fields[i].doc, 26, out);
	}
}

/* The rules of the contract that a value has to keep, such as "1 to 200 ms". */
static void
print_bounds(const struct api_field *rules, FILE *out)
{
	if (rules->has_min && rules->has_max)
		fprintf(out, " %lld to %lld", (long long)rules->min, (long long)rules->max);
	else if (rules->has_max)
		fprintf(out, " at most %lld", (long long)rules->max);
	if (rules->unit)
		fprintf(out, " %s", rules->unit);
}

static bool
takes_many(const struct api_method *method, const char *name)
{
	const ProtobufCFieldDescriptor *field =
	    protobuf_c_message_descriptor_get_field_by_name(method->request->descriptor, name);
	return field && field->label == PROTOBUF_C_LABEL_REPEATED;
}

void
help_method(const struct api_method *method, FILE *out)
{
	fprintf(out, "corbel %s", method->cli);
	for (const char *at = strchr(method->path, '{'); at; at = strchr(at + 1, '{'))
		fprintf(out, " <%.*s>", (int)strcspn(at + 1, ".}"), at + 1);
	if (method->cli_words[0])
		fprintf(out, " <%s%s>", method->cli_words, takes_many(method, method->cli_words) ? "..." : "");
	fprintf(out, " [flags]\n\n%s\n\nScope %s%s.\n\n", method->doc, method->scope,
	        method->is_operator_only ? ", for operators" : "");
	for (unsigned i = 0; i < method->request->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &method->request->descriptor->fields[i];
		const struct api_field *rules = &method->request->fields[i];
		char name[FLAG_NAME_MAX];
		if (rules->is_nulls || rules->is_output_only)
			continue;
		flags_name(field->name, name);
		fprintf(out, "  --%s %s", name, placeholder(method, field, rules));
		print_bounds(rules, out);
		fprintf(out, "%s%s\n", field->label == PROTOBUF_C_LABEL_REPEATED ? " (may be repeated)" : "",
		        rules->is_required ? " (needed)" : "");
		fputs("      ", out);
		print_doc(rules->doc, 6, out);
		print_values(field, out);
		print_message(field, rules, out);
	}
	fputc('\n', out);
	fputs(COMMON_FLAGS, out);
	help_exit_codes(out);
}
