/*
 * corbel: the command line.
 */
#include <stdio.h>
#include <string.h>

#include "serve.h"

static const char HELP[] = "corbel serve [--option=value …]   every service in one process\n"
                           "corbel serve --help               its options\n"
                           "corbel --version\n";

int
main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "serve") == 0)
		return serve_main(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "welcome") == 0)
		return welcome_main();
	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		printf("corbel %s\n", CORBEL_VERSION);
		return 0;
	}
	fputs(HELP, argc > 1 && strcmp(argv[1], "--help") == 0 ? stdout : stderr);
	return argc > 1 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
}
