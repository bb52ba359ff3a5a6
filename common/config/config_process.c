/*
 * config: what the process was given: environment variables and flags.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"

static void
say(struct config *config, struct slot *slot, const char *text, enum config_source source, const char *origin)
{
	struct said *said = ARENA_NEW(&config->arena, struct said);
	said->slot = slot;
	said->text = text;
	said->source = source;
	said->origin = origin;
	if (!config->last)
		config->last = &config->first;
	*config->last = said;
	config->last = &said->next;
}

/* "CORBEL_RATELIMITD_STORE" for "ratelimitd.store". */
static const char *
variable_name(struct arena *arena, const char *option)
{
	char *name = arena_printf(arena, "CORBEL_%s", option);
	for (char *p = name; *p; p++)
		*p = *p == '.' || *p == '-' ? '_' : (char)toupper((unsigned char)*p);
	return name;
}

static const char *
lookup(const char *const *environ, const char *name)
{
	size_t length = strlen(name);
	for (; environ && *environ; environ++)
		if (strncmp(*environ, name, length) == 0 && (*environ)[length] == '=')
			return *environ + length + 1;
	return NULL;
}

void
config_read_environment(struct config *config, const char *const *environ)
{
	for (size_t i = 0; i < config->slot_count; i++) {
		struct slot *slot = &config->slots[i];
		const char *name = variable_name(&config->arena, slot->option->name);
		const char *value = lookup(environ, name);
		if (!value && slot->option->is_secret) {
			name = arena_printf(&config->arena, "%s_FILE", name);
			value = lookup(environ, name);
			if (value)
				value = arena_printf(&config->arena, "file:%s", value);
		}
		if (value)
			say(config, slot, value, CONFIG_ENVIRONMENT,
			    arena_printf(&config->arena, "environment %s", name));
	}
}

/* Takes the flag at argv[i]; returns how many arguments it used. */
static int
read_flag(struct config *config, int left, const char *const *argv)
{
	const char *name = argv[0] + 2;
	size_t length = strcspn(name, "=");
	const char *key = arena_strndup(&config->arena, name, length);
	const char *origin = arena_printf(&config->arena, "flag --%s", key);
	struct slot *slot = config_slot(config, key);
	bool is_negated = !slot && strncmp(key, "no-", 3) == 0;

	if (is_negated)
		slot = config_slot(config, key + 3);
	if (!slot || (is_negated && slot->option->type != CONFIG_BOOL)) {
		config_complain(config, origin, "there is no such option");
		return 1;
	}
	if (name[length] == '=') {
		say(config, slot, name + length + 1, CONFIG_FLAG, origin);
		return 1;
	}
	if (slot->option->type == CONFIG_BOOL) {
		say(config, slot, is_negated ? "false" : "true", CONFIG_FLAG, origin);
		return 1;
	}
	if (left < 2) {
		config_complain(config, origin, "needs a value");
		return 1;
	}
	say(config, slot, argv[1], CONFIG_FLAG, origin);
	return 2;
}

void
config_read_flags(struct config *config, int argc, const char *const *argv)
{
	size_t count = 0;
	config->arguments = ARENA_ARRAY(&config->arena, const char *, (size_t)(argc > 0 ? argc : 0) + 1);
	for (int i = 1; i < argc;) {
		if (strcmp(argv[i], "--") == 0) {
			for (i++; i < argc; i++)
				config->arguments[count++] = arena_strdup(&config->arena, argv[i]);
		} else if (strncmp(argv[i], "--", 2) == 0) {
			i += read_flag(config, argc - i, argv + i);
		} else {
			config->arguments[count++] = arena_strdup(&config->arena, argv[i++]);
		}
	}
}

void
config_apply(struct config *config)
{
	for (const struct said *said = config->first; said; said = said->next)
		config_set(config, said->slot, said->text, said->source, said->origin);
}

const char *
config_said(const struct config *config, const char *name)
{
	const char *text = NULL;
	for (const struct said *said = config->first; said; said = said->next)
		if (strcmp(said->slot->option->name, name) == 0)
			text = said->text;
	return text;
}
