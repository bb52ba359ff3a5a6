/*
 * output: replies as tables, JSON, YAML or CSV; problems for people.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli.h"

#define COLUMNS_MAX 16

bool
output_format_from(const char *text, enum output_format *out)
{
	static const char *const NAMES[] = {"table", "json", "yaml", "csv"};
	for (int i = 0; i < 4; i++) {
		if (strcmp(NAMES[i], text) == 0) {
			*out = (enum output_format)i;
			return true;
		}
	}
	return false;
}

static char *
cell_text(struct arena *arena, const json_t *value)
{
	if (!value || json_is_null(value))
		return arena_strdup(arena, "");
	if (json_is_string(value))
		return arena_strdup(arena, json_string_value(value));
	char *dumped = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	char *text = arena_strdup(arena, dumped ? dumped : "");
	free(dumped);
	return text;
}

/* A cell for people: what others wrote must neither break the line nor command the terminal, so control
 * characters (C0, DEL, and C1 in UTF-8) become spaces. */
static char *
shown_text(struct arena *arena, const json_t *value)
{
	char *text = cell_text(arena, value);
	for (unsigned char *at = (unsigned char *)text; *at; at++) {
		if (*at < 0x20 || *at == 0x7F)
			*at = ' ';
		else if (at[0] == 0xC2 && at[1] >= 0x80 && at[1] < 0xA0)
			at[0] = at[1] = ' ';
	}
	return text;
}

/* ---- YAML ---- */

static void
put_yaml_scalar(const json_t *value, FILE *out)
{
	/* JSON's scalars, in double quotes where they are texts, are YAML's. */
	char *text = json_dumps(value, JSON_ENCODE_ANY);
	fputs(text ? text : "null", out);
	free(text);
}

static void
put_yaml(const json_t *value, int depth, bool is_item, FILE *out)
{
	const char *name;
	json_t *member;
	size_t index;
	bool is_first = true;

	if (json_is_object(value) && json_object_size(value) > 0) {
		json_object_foreach((json_t *)(uintptr_t)value, name, member)
		{
			bool is_nested = (json_is_object(member) || json_is_array(member)) &&
			                 (json_object_size(member) > 0 || json_array_size(member) > 0);
			fprintf(out, "%*s%s:%s", is_item && is_first ? 0 : depth * 2, "", name, is_nested ? "\n" : " ");
			put_yaml(member, depth + 1, false, out);
			is_first = false;
		}
	} else if (json_is_array(value) && json_array_size(value) > 0) {
		json_array_foreach(value, index, member)
		{
			fprintf(out, "%*s- ", depth * 2, "");
			put_yaml(member, depth + 1, true, out);
		}
	} else {
		put_yaml_scalar(value, out);
		fputc('\n', out);
	}
}

/* ---- tables ---- */

struct table {
	struct arena *arena;
	const char *names[COLUMNS_MAX];
	size_t columns;
	const json_t *rows; /* an array */
};

/* The list of a reply, if it has one, and its columns: those that the contract names, or all members of the
 * first row. */
static bool
find_table(const struct command *command, const json_t *reply, struct table *table)
{
	const char *at = command->method->columns, *name;
	json_t *value;

	table->arena = command->arena;
	json_object_foreach((json_t *)(uintptr_t)reply, name, value)
	{
		if (json_is_array(value) && (json_array_size(value) == 0 || json_is_object(json_array_get(value, 0))))
			table->rows = value;
	}
	if (!at[0] && !table->rows)
		return false;
	while (*at && table->columns < COLUMNS_MAX) {
		size_t length = strcspn(at, ",");
		const char *dot = memchr(at, '.', length);
		const char *start = dot ? dot + 1 : at;
		table->names[table->columns++] = arena_strndup(table->arena, start, length - (size_t)(start - at));
		at += length + (at[length] == ',');
	}
	if (table->columns == 0 && json_array_size(table->rows) > 0)
		json_object_foreach(json_array_get(table->rows, 0), name, value) if (table->columns < COLUMNS_MAX)
		    table->names[table->columns++] = name;
	return table->columns > 0;
}

static void
put_table(const struct table *table, FILE *out)
{
	size_t widths[COLUMNS_MAX], index;
	bool is_bold = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	json_t *row;

	for (size_t c = 0; c < table->columns; c++) {
		widths[c] = strlen(table->names[c]);
		json_array_foreach(table->rows, index, row)
		{
			size_t length = strlen(shown_text(table->arena, json_object_get(row, table->names[c])));
			widths[c] = length > widths[c] ? length : widths[c];
		}
	}
	fputs(is_bold ? "\033[1m" : "", out);
	for (size_t c = 0; c < table->columns; c++)
		fprintf(out, "%-*s%s", c + 1 < table->columns ? (int)widths[c] : 0, table->names[c],
		        c + 1 < table->columns ? "  " : "\n");
	fputs(is_bold ? "\033[0m" : "", out);
	json_array_foreach(table->rows, index, row) for (size_t c = 0; c < table->columns; c++)
	    fprintf(out, "%-*s%s", c + 1 < table->columns ? (int)widths[c] : 0,
	            shown_text(table->arena, json_object_get(row, table->names[c])),
	            c + 1 < table->columns ? "  " : "\n");
}

/* RFC 4180; a cell that a spreadsheet would take for a formula gets an apostrophe in front. */
static void
put_csv_cell(const char *text, FILE *out)
{
	bool is_formula = text[0] && strchr("=+-@", text[0]) && strspn(text, "-0123456789.") != strlen(text);
	bool needs_quotes = is_formula || strpbrk(text, ",\"\r\n") != NULL;

	fputs(needs_quotes ? "\"" : "", out);
	fputs(is_formula ? "'" : "", out);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', out);
		fputc(*text, out);
	}
	fputs(needs_quotes ? "\"" : "", out);
}

static void
put_csv(const struct table *table, FILE *out)
{
	size_t index;
	json_t *row;

	for (size_t c = 0; c < table->columns; c++)
		fprintf(out, "%s%s", c ? "," : "", table->names[c]);
	fputs("\r\n", out);
	json_array_foreach(table->rows, index, row)
	{
		for (size_t c = 0; c < table->columns; c++) {
			fputs(c ? "," : "", out);
			put_csv_cell(cell_text(table->arena, json_object_get(row, table->names[c])), out);
		}
		fputs("\r\n", out);
	}
}

/* One thing: a line a member. */
static void
put_members(const struct command *command, const json_t *reply, FILE *out)
{
	const char *name;
	json_t *value;
	int width = 0;

	json_object_foreach((json_t *)(uintptr_t)reply, name, value) width =
	    (int)strlen(name) > width ? (int)strlen(name) : width;
	json_object_foreach((json_t *)(uintptr_t)reply, name, value)
	{
		if (json_is_object(value) && json_object_size(value) > 0) {
			fprintf(out, "%s\n", name);
			put_members(command, value, out);
		} else {
			fprintf(out, "%-*s  %s\n", width, name, shown_text(command->arena, value));
		}
	}
}

void
output_reply(const struct command *command, const json_t *reply, FILE *out)
{
	struct table table = {.columns = 0};
	bool is_table = find_table(command, reply, &table);

	switch (command->settings.output) {
	case OUTPUT_JSON:
		json_dumpf(reply, out, JSON_INDENT(2));
		fputc('\n', out);
		return;
	case OUTPUT_YAML:
		put_yaml(reply, 0, false, out);
		return;
	case OUTPUT_CSV: {
		json_t *single = is_table ? NULL : json_pack("[O]", reply);
		const char *name;
		json_t *value;
		if (single) {
			table = (struct table){.arena = command->arena, .rows = single};
			json_object_foreach((json_t *)(uintptr_t)reply, name, value) if (table.columns < COLUMNS_MAX)
			    table.names[table.columns++] = name;
		}
		put_csv(&table, out);
		json_decref(single);
		return;
	}
	default:
		break;
	}
	if (is_table)
		put_table(&table, out);
	if (!is_table || json_object_get(reply, "allowed"))
		put_members(command, reply, out);
	if (json_object_get(reply, "next_page_token"))
		fputs("There is more: --all shows everything.\n", stderr);
}

void
output_problem(long status, const json_t *problem, FILE *out)
{
	const char *title = json_string_value(json_object_get(problem, "title"));
	const char *detail = json_string_value(json_object_get(problem, "detail"));
	const json_t *errors = json_object_get(problem, "errors");
	size_t index;
	json_t *error;

	fprintf(out, "corbel: %s (%ld)", title ? title : "the call failed", status);
	if (detail && json_array_size(errors) == 0)
		fprintf(out, ": %s", detail);
	fputc('\n', out);
	json_array_foreach(errors, index, error)
	{
		const char *pointer = json_string_value(json_object_get(error, "pointer"));
		const char *what = json_string_value(json_object_get(error, "detail"));
		fprintf(out, "  %s: %s\n", pointer && pointer[0] ? pointer : "body", what ? what : "");
	}
	const char *request = json_string_value(json_object_get(problem, "request_id"));
	if (request)
		fprintf(out, "  request %s\n", request);
}
