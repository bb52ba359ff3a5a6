/*
 * health: one question to an admin port, and its answer as an exit code.
 */
#include "health.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

#define DEFAULT_ADDRESS "127.0.0.1:9600"
#define TIMEOUT_MS      3000

static const char USAGE[] =
    "corbel health [ADDRESS] [--live]\n\n"
    "Asks the admin port (admin.listen) of a daemon, " DEFAULT_ADDRESS " unless said, whether it is ready:\n"
    "prints its answer and ends with 0, or with 8 when it is not ready or does not answer.\n\n"
    "  --live   whether it runs, not whether it is ready\n";

static int
ask(const char *address, const char *path)
{
	struct arena arena;

	arena_init(&arena, 16u << 10, 1u << 20);
	struct exchange exchange = {
	    .verb = "GET", .url = arena_printf(&arena, "http://%s%s", address, path), .timeout_ms = TIMEOUT_MS};
	curl_global_init(CURL_GLOBAL_DEFAULT);
	http_exchange(&exchange, &arena);
	if (exchange.status == 0)
		fprintf(stderr, "corbel: %s\n", exchange.error);
	else
		fputs(exchange.response, stdout);
	curl_global_cleanup();
	arena_fini(&arena);
	return exchange.status == 200 ? EXIT_CODE_OK : EXIT_CODE_UNAVAILABLE;
}

int
health_main(int argc, char **argv)
{
	const char *address = NULL, *path = "/readyz";

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			fputs(USAGE, stdout);
			return EXIT_CODE_OK;
		}
		if (strcmp(argv[i], "--live") == 0) {
			path = "/livez";
		} else if (argv[i][0] != '-' && !address) {
			address = argv[i];
		} else {
			fputs(USAGE, stderr);
			return EXIT_CODE_USAGE;
		}
	}
	return ask(address ? address : DEFAULT_ADDRESS, path);
}
