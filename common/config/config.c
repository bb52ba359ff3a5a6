/*
 * config: merging the sources of options into one table of values.
 *
 * Each option has one slot; sources are applied from the weakest to the strongest (default, file,
 * profile, environment, flags), so that a later value replaces an earlier one with its origin. Values
 * are parsed once all sources have spoken, so that only what is in force is judged, and all faults are
 * reported together.
 */
#include "config/config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "config_internal.h"

static const struct config_option BUILT_IN[] = {
    {.name = "config", .type = CONFIG_TEXT, .help = "YAML file to read options from."},
    {.name = "profile",
     .type = CONFIG_TEXT,
     .help = "Section under 'profiles:' of the file, laid over the rest."},
    {.name = "check-config",
     .type = CONFIG_BOOL,
     .def = "false",
     .help = "Check the configuration and exit."},
    {.name = "print-config",
     .type = CONFIG_BOOL,
     .def = "false",
     .help = "Print every option with its origin and exit."},
    {.name = "help", .type = CONFIG_BOOL, .def = "false", .help = "Print the options and exit."},
    {.name = "version", .type = CONFIG_BOOL, .def = "false", .help = "Print the version and exit."},
    {.name = "print-options",
     .type = CONFIG_BOOL,
     .def = "false",
     .help = "Print the options as a page of documentation and exit."},
    {.name = NULL},
};

const struct config_option *
config_built_in(void)
{
	return BUILT_IN;
}

void
config_complain(struct config *config, const char *where, const char *format, ...)
{
	va_list args;
	config->errors++;
	if (!config->error_out)
		return;
	va_start(args, format);
	char *text = arena_vprintf(&config->arena, format, args);
	va_end(args);
	fprintf(config->error_out, "%s: %s\n", where, text);
}

struct slot *
config_slot(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->slot_count; i++)
		if (strcmp(config->slots[i].option->name, name) == 0)
			return &config->slots[i];
	return NULL;
}

static void
add_table(struct config *config, const struct config_option *table)
{
	for (; table->name; table++) {
		if (config_slot(config, table->name))
			continue; /* services of one process may share an option */
		struct slot *slot = &config->slots[config->slot_count++];
		slot->option = table;
		slot->text = table->def;
		slot->origin = "default";
	}
}

static void
make_slots(struct config *config, const struct config_option *const *tables)
{
	size_t count = sizeof(BUILT_IN) / sizeof(BUILT_IN[0]);
	for (size_t t = 0; tables && tables[t]; t++)
		for (const struct config_option *option = tables[t]; option->name; option++)
			count++;
	config->slots = ARENA_ARRAY(&config->arena, struct slot, count);
	add_table(config, BUILT_IN);
	for (size_t t = 0; tables && tables[t]; t++)
		add_table(config, tables[t]);
}

void
config_set(struct config *config, struct slot *slot, const char *text, enum config_source source,
           const char *origin)
{
	slot->text = arena_strdup(&config->arena, text);
	slot->source = source;
	slot->origin = arena_strdup(&config->arena, origin);
}

/* Reads a secret from a file, without the newline at its end. At most 64 KiB. */
static char *
read_secret(struct config *config, const char *path, const char *origin)
{
	size_t size = 64u << 10;
	char *text = arena_alloc(&config->arena, size + 1);
	FILE *file = fopen(path, "re");
	if (!file) {
		config_complain(config, origin, "cannot read the file '%s'", path);
		return NULL;
	}
	size_t length = fread(text, 1, size, file);
	bool is_whole = !ferror(file) && fgetc(file) == EOF;
	(void)fclose(file);
	if (!is_whole) {
		config_complain(config, origin, "cannot read the file '%s', or it is larger than 64 KiB", path);
		return NULL;
	}
	while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
		length--;
	text[length] = '\0';
	return text;
}

static bool
is_out_of_bounds(const struct config_option *option, int64_t value)
{
	return (option->min || option->max) && (value < option->min || value > option->max);
}

/* A value as an error may show it. */
static const char *
shown(const struct slot *slot)
{
	return slot->option->is_secret ? "[redacted]" : slot->text;
}

static void
complain_bounds(struct config *config, const struct slot *slot)
{
	config_complain(config, slot->origin, "%s must be %s, is '%s'", slot->option->name,
	                config_bounds_text(&config->arena, slot->option), shown(slot));
}

static void
parse_number(struct config *config, struct slot *slot)
{
	size_t length = strlen(slot->text);
	uint64_t value = 0;
	bool is_ok;
	const char *wanted;

	switch (slot->option->type) {
	case CONFIG_DURATION:
		is_ok = text_to_duration_ms(slot->text, length, &value) && value <= INT64_MAX;
		wanted = "a duration such as 250ms, 10s, 5m, 2h or 7d";
		break;
	case CONFIG_SIZE:
		is_ok = text_to_size_bytes(slot->text, length, &value) && value <= INT64_MAX;
		wanted = "a size such as 512, 64KiB or 16MiB";
		break;
	default:
		is_ok = text_to_i64(slot->text, length, &slot->number);
		value = (uint64_t)slot->number;
		wanted = "a whole number";
		break;
	}
	slot->number = (int64_t)value;
	if (!is_ok)
		config_complain(config, slot->origin, "%s must be %s, is '%s'", slot->option->name, wanted,
		                shown(slot));
	else if (is_out_of_bounds(slot->option, slot->number))
		complain_bounds(config, slot);
}

static void
parse_choice(struct config *config, struct slot *slot)
{
	size_t length = strlen(slot->text);
	for (const char *at = slot->option->choices; at && *at;) {
		size_t word = strcspn(at, "|");
		if (word == length && memcmp(at, slot->text, length) == 0)
			return;
		at += word + (at[word] == '|');
	}
	config_complain(config, slot->origin, "%s must be one of %s, is '%s'", slot->option->name,
	                slot->option->choices, shown(slot));
}

static void
parse_list(struct config *config, struct slot *slot)
{
	size_t count = 0, at = 0;
	for (const char *p = slot->text; *p; p++)
		count += *p == ',';
	slot->list = ARENA_ARRAY(&config->arena, const char *, count + 2);
	for (const char *p = slot->text; *p;) {
		p += strspn(p, " \t");
		size_t length = strcspn(p, ",");
		size_t kept = length;
		while (kept > 0 && (p[kept - 1] == ' ' || p[kept - 1] == '\t'))
			kept--;
		if (kept > 0)
			slot->list[at++] = arena_strndup(&config->arena, p, kept);
		p += length + (p[length] == ',');
	}
	if (is_out_of_bounds(slot->option, (int64_t)at))
		config_complain(config, slot->origin, "%s must have %s, has %zu", slot->option->name,
		                config_bounds_text(&config->arena, slot->option), at);
}

static void
parse_slot(struct config *config, struct slot *slot)
{
	static const char *const EMPTY[] = {NULL};
	slot->list = (const char **)(uintptr_t)EMPTY;
	if (!slot->text)
		return;
	if (slot->option->is_secret && strncmp(slot->text, "file:", 5) == 0)
		slot->text = read_secret(config, slot->text + 5, slot->origin);
	if (!slot->text)
		return;
	switch (slot->option->type) {
	case CONFIG_TEXT:
		if (is_out_of_bounds(slot->option, (int64_t)strlen(slot->text)))
			complain_bounds(config, slot);
		break;
	case CONFIG_BOOL:
		if (!text_to_bool(slot->text, strlen(slot->text), &slot->boolean))
			config_complain(config, slot->origin, "%s must be true or false, is '%s'", slot->option->name,
			                shown(slot));
		break;
	case CONFIG_CHOICE:
		parse_choice(config, slot);
		break;
	case CONFIG_LIST:
		parse_list(config, slot);
		break;
	default:
		parse_number(config, slot);
		break;
	}
}

struct status
config_load(const struct config_input *input, FILE *errors, struct config **out)
{
	struct config *config = mem_alloc(sizeof(*config));

	arena_init(&config->arena, 16u << 10, SIZE_MAX);
	config->error_out = errors;
	make_slots(config, input->tables);
	/* Flags and environment are read first to find the file, and applied last. */
	config_read_environment(config, input->environ);
	config_read_flags(config, input->argc, input->argv);
	config_read_file(config);
	config_apply(config);
	for (size_t i = 0; i < config->slot_count; i++)
		parse_slot(config, &config->slots[i]);
	if (config->errors > 0) {
		size_t count = config->errors;
		config_free(config);
		return status_make(STATUS_INVALID_ARGUMENT, "the configuration has %zu error%s", count,
		                   count == 1 ? "" : "s");
	}
	*out = config;
	return status_ok_value();
}

void
config_free(struct config *config)
{
	if (!config)
		return;
	arena_fini(&config->arena);
	mem_free(config);
}

static const struct slot *
slot_of(const struct config *config, const char *name, enum config_type type)
{
	const struct slot *slot = config_slot(config, name);
	assert(slot && slot->option->type == type);
	return slot;
}

const char *
config_text(const struct config *config, const char *name)
{
	const struct slot *slot = config_slot(config, name);
	assert(slot && (slot->option->type == CONFIG_TEXT || slot->option->type == CONFIG_CHOICE));
	return slot->text;
}

int64_t
config_integer(const struct config *config, const char *name)
{
	return slot_of(config, name, CONFIG_INTEGER)->number;
}

bool
config_bool(const struct config *config, const char *name)
{
	return slot_of(config, name, CONFIG_BOOL)->boolean;
}

uint64_t
config_duration_ms(const struct config *config, const char *name)
{
	return (uint64_t)slot_of(config, name, CONFIG_DURATION)->number;
}

uint64_t
config_size_bytes(const struct config *config, const char *name)
{
	return (uint64_t)slot_of(config, name, CONFIG_SIZE)->number;
}

const char *const *
config_list(const struct config *config, const char *name)
{
	return slot_of(config, name, CONFIG_LIST)->list;
}

enum config_source
config_source(const struct config *config, const char *name)
{
	const struct slot *slot = config_slot(config, name);
	assert(slot);
	return slot->source;
}

const char *const *
config_arguments(const struct config *config)
{
	return config->arguments;
}

void
config_print(const struct config *config, FILE *out)
{
	for (size_t i = 0; i < config->slot_count; i++) {
		const struct slot *slot = &config->slots[i];
		const char *text = slot->text;
		if (slot->option->is_secret && text && text[0])
			text = "[redacted]";
		fprintf(out, "%s = %s  # %s\n", slot->option->name, text ? text : "(unset)", slot->origin);
	}
}
