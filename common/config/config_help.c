/*
 * config: the options, for people: --help, and the tables of docs/configuration.md.
 */
#include <string.h>

#include "base/text.h"
#include "config_internal.h"

static void
print_option(const struct config_option *option, FILE *out)
{
	static const char *const TYPES[] = {"TEXT", "NUMBER", "", "DURATION", "SIZE", "", "LIST"};
	const char *type = option->type == CONFIG_CHOICE ? option->choices : TYPES[option->type];
	fprintf(out, "  --%s%s%s\n      %s", option->name, type[0] ? "=" : "", type,
	        option->help ? option->help : "");
	if (option->def && option->def[0])
		fprintf(out, " (default %s)", option->def);
	fputc('\n', out);
}

void
config_print_help(const struct config_option *const *tables, FILE *out)
{
	for (size_t t = 0; tables && tables[t]; t++)
		for (const struct config_option *option = tables[t]; option->name; option++)
			print_option(option, out);
	for (const struct config_option *option = config_built_in(); option->name; option++)
		print_option(option, out);
}

/* ---- Markdown ---- */

struct unit {
	const char *name;
	int64_t size;
};

/* A whole number of the largest unit that divides it. */
static void
put_in_units(struct strbuf *out, int64_t value, const struct unit *units)
{
	while (value != 0 && value % units->size != 0)
		units++;
	strbuf_i64(out, value / units->size);
	if (value != 0)
		strbuf_puts(out, units->name);
}

static void
put_bound(struct strbuf *out, const struct config_option *option, int64_t value)
{
	static const struct unit TIME[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
	static const struct unit SIZE[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {" bytes", 1}};

	if (option->type == CONFIG_DURATION)
		put_in_units(out, value, TIME);
	else if (option->type == CONFIG_SIZE)
		put_in_units(out, value, SIZE);
	else
		strbuf_i64(out, value);
}

const char *
config_bounds_text(struct arena *arena, const struct config_option *option)
{
	bool is_count = option->type == CONFIG_TEXT || option->type == CONFIG_LIST;
	struct strbuf out;

	strbuf_init(&out, arena);
	if (is_count && option->min == 0) {
		strbuf_puts(&out, "at most ");
	} else {
		put_bound(&out, option, option->min);
		strbuf_puts(&out, " to ");
	}
	put_bound(&out, option, option->max);
	if (is_count)
		strbuf_puts(&out, option->type == CONFIG_TEXT ? " bytes" : " elements");
	return out.data;
}

static void
print_bounds(const struct config_option *option, FILE *out)
{
	struct arena arena;

	if (!option->min && !option->max)
		return;
	arena_init(&arena, 512, SIZE_MAX);
	fprintf(out, "%s%s", option->type == CONFIG_LIST || option->type == CONFIG_TEXT ? " of " : " ",
	        config_bounds_text(&arena, option));
	arena_fini(&arena);
}

static void
print_type(const struct config_option *option, FILE *out)
{
	static const char *const TYPES[] = {"text", "number", "true or false", "duration", "size", "", "list"};

	if (option->type == CONFIG_CHOICE) {
		for (const char *at = option->choices; *at; at += strcspn(at, "|"), at += *at == '|')
			fprintf(out, "%s`%.*s`", at == option->choices ? "" : ", ", (int)strcspn(at, "|"), at);
		return;
	}
	fputs(option->is_secret ? "secret " : "", out);
	fputs(TYPES[option->type], out);
	print_bounds(option, out);
}

/* A text in a table's cell. */
static void
print_cell(const char *text, FILE *out)
{
	for (; *text; text++) {
		if (*text == '|')
			fputc('\\', out);
		fputc(*text, out);
	}
}

static void
print_row(const struct config_option *option, FILE *out)
{
	fprintf(out, "| `%s` | ", option->name);
	if (option->def && option->def[0]) {
		fputc('`', out);
		print_cell(option->def, out);
		fputc('`', out);
	}
	fputs(" | ", out);
	print_type(option, out);
	fputs(" | ", out);
	print_cell(option->help ? option->help : "", out);
	fputs(" |\n", out);
}

/* Options without a dot stand together: they are of the process itself. */
static bool
is_of_group(const struct config_option *option, const char *group, size_t length)
{
	size_t own = strcspn(option->name, ".");
	bool has_group = option->name[own] == '.';
	return has_group ? own == length && memcmp(option->name, group, own) == 0 : length == 0;
}

static void
print_group(const struct config_option *const *tables, const char *group, size_t length, FILE *out)
{
	fprintf(out, "### %.*s\n\n| option | default | value | meaning |\n|---|---|---|---|\n",
	        length ? (int)length : 7, length ? group : "process");
	for (size_t t = 0; tables[t]; t++)
		for (const struct config_option *option = tables[t]; option->name; option++)
			if (is_of_group(option, group, length))
				print_row(option, out);
	if (length == 0)
		for (const struct config_option *option = config_built_in(); option->name; option++)
			print_row(option, out);
	fputc('\n', out);
}

static bool
is_first_of_group(const struct config_option *const *tables, const struct config_option *option,
                  size_t length)
{
	for (size_t t = 0; tables[t]; t++)
		for (const struct config_option *other = tables[t]; other->name; other++) {
			if (other == option)
				return true;
			if (is_of_group(other, option->name, length))
				return false;
		}
	return false;
}

void
config_print_markdown(const struct config_option *const *tables, FILE *out)
{
	for (size_t t = 0; tables[t]; t++)
		for (const struct config_option *option = tables[t]; option->name; option++) {
			size_t own = strcspn(option->name, ".");
			size_t length = option->name[own] == '.' ? own : 0;
			if (is_first_of_group(tables, option, length))
				print_group(tables, option->name, length, out);
		}
}
