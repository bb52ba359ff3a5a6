/*
 * help: from the comments of the contract.
 */
#include <string.h>

#include "cli.h"

static const char COMMON_FLAGS[] =
    "Flags of every command:\n"
    "  --output table|json|yaml|csv   how the reply is shown (default table)\n"
    "  --url URL                      where Corbel is (CORBEL_URL)\n"
    "  --profile NAME                 profile of ~/.config/corbel/config.yaml (CORBEL_PROFILE)\n"
    "  --data JSON|@file|-            the whole request; flags win over it\n"
    "  --all                          every page of a list\n"
    "  --yes                          do not ask before what cannot be undone\n"
    "  --verbose                      show the request, the response's headers, the time and the trace id\n"
    "The API key is read from CORBEL_API_KEY or the profile, never from a flag.\n\n"
    "Exit codes: 0 success, 1 other, 2 usage, 3 not allowed, 4 not found, 5 conflict, 6 invalid, 7 limited,\n"
    "8 unavailable.\n";

static void
first_sentence(const char *doc, FILE *out)
{
	fprintf(out, "%.*s", (int)strcspn(doc, ".\n"), doc);
}

static void
print_line(void *arg, const struct api_method *method)
{
	fprintf(arg, "  corbel %-26s ", method->cli);
	first_sentence(method->doc[0] ? method->doc : method->name, arg);
	fputc('\n', arg);
}

void
help_all(FILE *out)
{
	fputs("Corbel: back-office services for API products.\n\n"
	      "  corbel serve                     run all of Corbel in this process\n"
	      "  corbel openapi                   print the OpenAPI document\n"
	      "  corbel completion SHELL          print completion for bash, zsh or fish\n"
	      "  corbel version                   print the version\n\n",
	      out);
	command_each(print_line, out);
	fputs("\ncorbel RESOURCE ACTION --help explains one of them.\n\n", out);
	fputs(COMMON_FLAGS, out);
}

struct filter {
	const char *resource;
	size_t shown;
	FILE *out;
};

static void
print_if(void *arg, const struct api_method *method)
{
	struct filter *filter = arg;
	size_t length = strlen(filter->resource);
	if (strncmp(method->cli, filter->resource, length) != 0 || method->cli[length] != ' ')
		return;
	print_line(filter->out, method);
	filter->shown++;
}

void
help_resource(const char *resource, FILE *out)
{
	struct filter filter = {.resource = resource, .out = out};
	command_each(print_if, &filter);
	if (filter.shown == 0)
		fprintf(out, "There is no command '%s'; corbel --help lists all.\n", resource);
}

static const char *
placeholder(const ProtobufCFieldDescriptor *field, const struct api_field *rules)
{
	if (rules->is_map)
		return "KEY=VALUE";
	if (rules->format == API_TIMESTAMP)
		return "TIME";
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		return "TEXT";
	case PROTOBUF_C_TYPE_BOOL:
		return "[true|false]";
	case PROTOBUF_C_TYPE_MESSAGE:
		return "JSON";
	case PROTOBUF_C_TYPE_ENUM:
		return "NAME";
	default:
		return "NUMBER";
	}
}

static void
print_values(const ProtobufCFieldDescriptor *field, FILE *out)
{
	const ProtobufCEnumDescriptor *descriptor = field->descriptor;
	if (field->type != PROTOBUF_C_TYPE_ENUM)
		return;
	fputs("      one of", out);
	for (unsigned i = 0; i < descriptor->n_values; i++)
		if (descriptor->values[i].value != 0)
			fprintf(out, " %s", descriptor->values[i].name);
	fputc('\n', out);
}

static void
print_doc(const char *doc, FILE *out)
{
	while (*doc) {
		size_t length = strcspn(doc, "\n");
		fprintf(out, "      %.*s\n", (int)length, doc);
		doc += length + (doc[length] == '\n');
	}
}

void
help_method(const struct api_method *method, FILE *out)
{
	fprintf(out, "corbel %s", method->cli);
	for (const char *at = strchr(method->path, '{'); at; at = strchr(at + 1, '{'))
		fprintf(out, " <%.*s>", (int)strcspn(at + 1, ".}"), at + 1);
	fprintf(out, " [flags]\n\n%s\n\nScope %s%s.\n\n", method->doc, method->scope,
	        method->is_operator_only ? ", for operators" : "");
	for (unsigned i = 0; i < method->request->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &method->request->descriptor->fields[i];
		const struct api_field *rules = &method->request->fields[i];
		char name[128];
		if (rules->is_nulls || rules->is_output_only)
			continue;
		arguments_flag_name(field->name, name);
		fprintf(out, "  --%s %s%s%s\n", name, placeholder(field, rules),
		        field->label == PROTOBUF_C_LABEL_REPEATED ? " (may be repeated)" : "",
		        rules->is_required ? " (needed)" : "");
		print_doc(rules->doc, out);
		print_values(field, out);
	}
	fputc('\n', out);
	fputs(COMMON_FLAGS, out);
}
