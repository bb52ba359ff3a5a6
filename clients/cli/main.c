/*
 * corbel: the command line.
 */
#include <curl/curl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "health.h"
#include "own.h"
#include "serve.h"
#include "top.h"

static int
run_method(int argc, char **argv)
{
	struct arena arena;
	struct command command = {.arena = &arena};
	int used = 0, code = EXIT_CODE_USAGE;

	/* Texts are UTF-8 whatever the terminal is set to; numbers stay those of C. */
	setlocale(LC_CTYPE, "C.UTF-8");
	command.method = command_find(argc, argv, &used);
	if (!command.method) {
		fprintf(stderr, "corbel: there is no command '%s%s%s'\n", argv[0], argc > 1 ? " " : "",
		        argc > 1 ? argv[1] : "");
		help_resource(argv[0], stderr);
		return EXIT_CODE_USAGE;
	}
	arena_init(&arena, 16u << 10, SIZE_MAX);
	command.fields = json_object();
	if (arguments_read(&command, argc - used, argv + used)) {
		if (command.wants_help) {
			help_method(command.method, stdout);
			code = EXIT_CODE_OK;
		} else if (profile_apply(&command.settings, &arena)) {
			curl_global_init(CURL_GLOBAL_DEFAULT);
			code = command_run(&command);
			curl_global_cleanup();
		}
	}
	json_decref(command.fields);
	arena_fini(&arena);
	return code;
}

int
main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "--help";

	if (strcmp(word, "serve") == 0)
		return serve_main(argc - 1, argv + 1);
	if (strcmp(word, "migrate") == 0)
		return migrate_main(argc - 1, argv + 1);
	if (strcmp(word, "health") == 0)
		return health_main(argc - 1, argv + 1);
	if (strcmp(word, "top") == 0)
		return top_main(argc - 1, argv + 1);
	if (strcmp(word, "welcome") == 0)
		return welcome_main();
	if (strcmp(word, "version") == 0 || strcmp(word, "--version") == 0) {
		printf("corbel %s\n", CORBEL_VERSION);
		return EXIT_CODE_OK;
	}
	if (strcmp(word, "openapi") == 0) {
		fputs(api_openapi_json, stdout);
		return EXIT_CODE_OK;
	}
	if (strcmp(word, "completion") == 0)
		return completion_print(argc > 2 ? argv[2] : "");
	if (strcmp(word, "--help") == 0 || strcmp(word, "help") == 0) {
		help_all(argc > 1 ? stdout : stderr);
		return argc > 1 ? EXIT_CODE_OK : EXIT_CODE_USAGE;
	}
	if (argc == 3 && strcmp(argv[2], "--help") == 0) {
		help_resource(word, stdout);
		return EXIT_CODE_OK;
	}
	const struct own_command *own = own_find(argc - 1, argv + 1);
	return own ? own_run(own, argc - 3, argv + 3) : run_method(argc - 1, argv + 1);
}
