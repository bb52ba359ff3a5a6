/*
 * plugin_check: `corbel plugins validate FILE`: what is wrong with a program, as compilers say it.
 */
#include <string.h>

#include "corbel/contract.gen.h"
#include "own.h"

#define CODE_MAX (256u << 10)

static const char *
text_of(struct arena *arena, const json_t *one, const char *name)
{
	const char *text = json_string_value(json_object_get(one, name));
	return text ? show_text(arena, text) : "";
}

static void
show(const char *path, const json_t *reply, struct arena *arena)
{
	size_t index;
	json_t *one;

	json_array_foreach(json_object_get(reply, "violations"), index, one)
	{
		const char *hint = text_of(arena, one, "hint");
		printf("%s:%lld:%lld: %s%s%s%s\n", path, (long long)json_integer_value(json_object_get(one, "line")),
		       (long long)json_integer_value(json_object_get(one, "column")), text_of(arena, one, "reason"),
		       *hint ? " (" : "", hint, *hint ? ")" : "");
	}
}

static int
run(int argc, char **argv, struct arena *arena)
{
	struct command command = {.arena = arena, .method = PLUGINS_VALIDATE};
	const struct own_flag flags[] = {{.name = NULL}};
	bool has_path = argc > 0 && (argv[0][0] != '-' || strcmp(argv[0], "-") == 0);
	json_t *reply = NULL;
	int code;

	if (!own_flags(&own_plugin_check, flags, argc - has_path, argv + has_path, &command.settings, arena,
	               &code))
		return code;
	if (!has_path) {
		fputs("corbel: say which file, or - for standard input\n", stderr);
		return EXIT_CODE_USAGE;
	}
	const char *text = text_file_read(argv[0], CODE_MAX, arena);
	if (!text)
		return EXIT_CODE_USAGE;
	command.fields = json_object();
	json_object_set_new(command.fields, "code", json_string(text));
	code = call_make(&command, &reply);
	bool is_valid = json_is_true(json_object_get(reply, "valid"));
	if (code == EXIT_CODE_OK && !is_valid) {
		show(argv[0], reply, arena);
		code = EXIT_CODE_INVALID;
	} else if (code == EXIT_CODE_OK) {
		printf("%s: good\n", argv[0]);
	}
	json_decref(reply);
	json_decref(command.fields);
	return code;
}

const struct own_command own_plugin_check = {
    .resource = "plugins",
    .action = "validate",
    .summary =
        "Looks whether a program would be taken as a plugin, without running it: plugins validate FILE.",
    .help = "Each fault is a line: file, line, column, reason. Ends with 6 when there is one. The key needs "
            "the scope\n"
            "plugins.write.",
    .flags = "",
    .run = run};
