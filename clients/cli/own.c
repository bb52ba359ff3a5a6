/*
 * own: see own.h.
 */
#include "own.h"

#include <curl/curl.h>
#include <locale.h>
#include <string.h>

const struct own_command *const own_commands[] = {&own_tail, &own_listen, &own_plugin_check, &own_plugin_logs,
                                                  NULL};

const struct own_command *
own_find(int argc, char *const *argv)
{
	for (size_t i = 0; argc >= 2 && own_commands[i]; i++)
		if (strcmp(own_commands[i]->resource, argv[0]) == 0 && strcmp(own_commands[i]->action, argv[1]) == 0)
			return own_commands[i];
	return NULL;
}

int
own_run(const struct own_command *command, int argc, char **argv)
{
	struct arena arena;

	setlocale(LC_CTYPE, "C.UTF-8");
	arena_init(&arena, 16u << 10, SIZE_MAX);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	int code = command->run(argc, argv, &arena);
	curl_global_cleanup();
	arena_fini(&arena);
	return code;
}

static void
help(const struct own_command *command, const struct own_flag *flags, FILE *out)
{
	fprintf(out, "corbel %s %s [flags]\n\n%s\n\n%s\n\n", command->resource, command->action, command->summary,
	        command->help);
	for (; flags->name; flags++)
		fprintf(out, "  --%s %s%s\n      %s\n", flags->name, flags->placeholder,
		        flags->is_list ? " (may be repeated)" : "", flags->doc);
	fputs("\n  --url URL, --profile NAME, --verbose, --help\n\n", out);
	help_exit_codes(out);
}

static const char *
joined(const struct own_flag *flag, const char *value, struct arena *arena)
{
	return flag->is_list && *flag->value ? arena_printf(arena, "%s,%s", *flag->value, value) : value;
}

static bool
refuse(int *code, const char *what, const char *detail)
{
	fprintf(stderr, "corbel: %s: %s\n", what, detail);
	*code = EXIT_CODE_USAGE;
	return false;
}

/* The value of the flag in argv[*i]: behind "=", or the next word; NULL: there is none. */
static const char *
value_of(int argc, char **argv, int *i, size_t length)
{
	if (argv[*i][2 + length] == '=')
		return argv[*i] + 3 + length;
	return *i + 1 < argc ? argv[++*i] : NULL;
}

static bool
take_flag(const struct own_flag *flags, int argc, char **argv, int *i, struct arena *arena, int *code)
{
	const char *word = argv[*i];
	size_t length = strncmp(word, "--", 2) == 0 ? strcspn(word + 2, "=") : 0;

	for (; flags->name; flags++) {
		if (strlen(flags->name) != length || memcmp(flags->name, word + 2, length) != 0)
			continue;
		const char *value = value_of(argc, argv, i, length);
		if (!value)
			return refuse(code, word, "needs a value");
		*flags->value = joined(flags, value, arena);
		return true;
	}
	return refuse(code, word, "there is no such flag here");
}

bool
own_flags(const struct own_command *command, const struct own_flag *flags, int argc, char **argv,
          struct settings *settings, struct arena *arena, int *code)
{
	const struct own_flag common[] = {{"url", "", "", &settings->url, false},
	                                  {"profile", "", "", &settings->profile, false},
	                                  {.name = NULL}};

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			help(command, flags, stdout);
			*code = EXIT_CODE_OK;
			return false;
		}
		bool is_common = strncmp(argv[i], "--url", 5) == 0 || strncmp(argv[i], "--profile", 9) == 0;
		if (strcmp(argv[i], "--verbose") == 0)
			settings->is_verbose = true;
		else if (!take_flag(is_common ? common : flags, argc, argv, &i, arena, code))
			return false;
	}
	if (!profile_apply(settings, arena)) {
		*code = EXIT_CODE_USAGE;
		return false;
	}
	return settings->url || refuse(code, "say where Corbel is", "--url, CORBEL_URL, or a profile");
}
