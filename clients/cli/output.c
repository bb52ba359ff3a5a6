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

/* A cell for people. */
static char *
shown_text(struct arena *arena, const json_t *value)
{
	return show_text(arena, cell_text(arena, value));
}

/* ---- YAML ---- */

/* A member's name: as it is if YAML cannot take it for anything else, or in double quotes. */
static void
put_yaml_name(struct arena *arena, const char *name, FILE *out)
{
	static const char PLAIN[] = "abcdefghijklmnopqrstuvwxyz_";
	json_t *text = json_string(name);

	fputs(name[0] && strspn(name, PLAIN) == strlen(name) ? name : show_json(arena, text, 0), out);
	json_decref(text);
}

static void
put_yaml(struct arena *arena, const json_t *value, int depth, bool is_item, FILE *out)
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
			fprintf(out, "%*s", is_item && is_first ? 0 : depth * 2, "");
			put_yaml_name(arena, name, out);
			fputs(is_nested ? ":\n" : ": ", out);
			put_yaml(arena, member, depth + 1, false, out);
			is_first = false;
		}
	} else if (json_is_array(value) && json_array_size(value) > 0) {
		json_array_foreach(value, index, member)
		{
			fprintf(out, "%*s- ", depth * 2, "");
			put_yaml(arena, member, depth + 1, true, out);
		}
	} else {
		/* JSON's scalars, in double quotes where they are texts, are YAML's. */
		fprintf(out, "%s\n", show_json(arena, value, 0));
	}
}

/* ---- tables ---- */

struct table {
	struct arena *arena;
	const char *names[COLUMNS_MAX];
	size_t columns;
	const json_t *rows; /* an array */
};

/* All members of the first row. */
static void
name_columns(struct table *table)
{
	const char *name;
	json_t *value;

	json_object_foreach(json_array_get(table->rows, 0), name, value) if (table->columns < COLUMNS_MAX)
	    table->names[table->columns++] = name;
}

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
	if (table->columns == 0)
		name_columns(table);
	return table->columns > 0;
}

/* What a column's name leads to in a row: a member, or with dots one further in. */
static const json_t *
cell_of(const struct table *table, const json_t *row, size_t column)
{
	const char *at = table->names[column], *dot;

	for (; (dot = strchr(at, '.')) != NULL; at = dot + 1)
		row = json_object_get(row, arena_strndup(table->arena, at, (size_t)(dot - at)));
	return json_object_get(row, at);
}

static const char *
shown_cell(const struct table *table, const json_t *row, size_t column)
{
	return shown_text(table->arena, cell_of(table, row, column));
}

/* Columns of the widest cell; 0 for the last column, behind which nothing stands. */
static size_t
width_of(const struct table *table, size_t column)
{
	size_t widest = show_width(table->names[column]), index;
	json_t *row;

	if (column + 1 == table->columns)
		return 0;
	json_array_foreach(table->rows, index, row)
	{
		size_t width = show_width(shown_cell(table, row, column));
		widest = width > widest ? width : widest;
	}
	return widest;
}

static void
put_table(const struct table *table, FILE *out)
{
	size_t widths[COLUMNS_MAX], index;
	bool is_bold = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	json_t *row;

	fputs(is_bold ? "\033[1m" : "", out);
	for (size_t c = 0; c < table->columns; c++) {
		widths[c] = width_of(table, c);
		show_padded(table->names[c], widths[c], out);
		fputs(c + 1 < table->columns ? "  " : "\n", out);
	}
	fputs(is_bold ? "\033[0m" : "", out);
	json_array_foreach(table->rows, index, row)
	{
		for (size_t c = 0; c < table->columns; c++) {
			show_padded(shown_cell(table, row, c), widths[c], out);
			fputs(c + 1 < table->columns ? "  " : "\n", out);
		}
	}
}

/* What else a row has that stands alone: its lists, each as a table. Of many rows they would be too much. */
static void
put_inner_tables(struct arena *arena, const json_t *row, FILE *out)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)row, name, value)
	{
		struct table table = {.arena = arena, .rows = value};
		if (!json_is_array(value) || !json_is_object(json_array_get(value, 0)))
			continue;
		name_columns(&table);
		fprintf(out, "\n%s\n", show_text(arena, name));
		put_table(&table, out);
	}
}

/* Figures that are sums say whose are not in them. */
static void
put_missing(struct arena *arena, const json_t *names)
{
	size_t index;
	json_t *name;

	json_array_foreach(names, index, name)
	    fprintf(stderr, "%s%s", index ? ", " : "Did not answer: ", shown_text(arena, name));
	if (json_array_size(names) > 0)
		fputc('\n', stderr);
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

/* A file gets the bytes as they are, a terminal what it can take. */
static const char *
csv_text(const struct table *table, const json_t *value)
{
	return isatty(STDOUT_FILENO) ? shown_text(table->arena, value) : cell_text(table->arena, value);
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
			put_csv_cell(csv_text(table, cell_of(table, row, c)), out);
		}
		fputs("\r\n", out);
	}
}

/* One thing: a line a member but for `shown`; those of a member further in. */
static void
put_members(const struct command *command, const json_t *reply, const json_t *shown, int depth, FILE *out)
{
	const char *name;
	json_t *value;
	size_t widest = 0;

	json_object_foreach((json_t *)(uintptr_t)reply, name, value)
	{
		size_t width = show_width(show_text(command->arena, name));
		widest = width > widest ? width : widest;
	}
	json_object_foreach((json_t *)(uintptr_t)reply, name, value)
	{
		bool is_nested = json_is_object(value) && json_object_size(value) > 0;
		if (shown && value == shown)
			continue;
		fprintf(out, "%*s", depth * 2, "");
		show_padded(show_text(command->arena, name), is_nested ? 0 : widest, out);
		if (is_nested) {
			fputc('\n', out);
			put_members(command, value, NULL, depth + 1, out);
		} else {
			fprintf(out, "  %s\n", shown_text(command->arena, value));
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
		fprintf(out, "%s\n", show_json(command->arena, reply, JSON_INDENT(2)));
		return;
	case OUTPUT_YAML:
		put_yaml(command->arena, reply, 0, false, out);
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
	if (is_table && json_array_size(table.rows) == 1)
		put_inner_tables(command->arena, json_array_get(table.rows, 0), out);
	put_missing(command->arena, json_object_get(reply, "missing"));
	if (!is_table || json_object_get(reply, "allowed"))
		put_members(command, reply, is_table ? table.rows : NULL, 0, out);
	if (json_object_get(reply, "next_page_token"))
		fputs("There is more: --all shows everything.\n", stderr);
}

/* A member that is a text, safe to show; NULL when it is none. */
static const char *
text_member(struct arena *arena, const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));
	return text ? show_text(arena, text) : NULL;
}

void
output_problem(struct arena *arena, long status, const json_t *problem, FILE *out)
{
	const char *title = text_member(arena, problem, "title"), *detail = text_member(arena, problem, "detail");
	const char *request = text_member(arena, problem, "request_id");
	const json_t *errors = json_object_get(problem, "errors");
	size_t index;
	json_t *error;

	fprintf(out, "corbel: %s (%ld)", title ? title : "the call failed", status);
	if (detail && json_array_size(errors) == 0)
		fprintf(out, ": %s", detail);
	fputc('\n', out);
	json_array_foreach(errors, index, error)
	{
		const char *pointer = text_member(arena, error, "pointer"),
		           *what = text_member(arena, error, "detail");
		fprintf(out, "  %s: %s\n", pointer && pointer[0] ? pointer : "body", what ? what : "");
	}
	if (request)
		fprintf(out, "  request %s\n", request);
}
