/*
 * serve: hosts every service, on embedded stores unless told otherwise, and tells whoever started it
 * what to do next. The list of services comes from the build: one corbel_service() line each.
 */
#include "serve.h"

#include <stdio.h>
#include <stdlib.h>

#include "corbel/services.gen.h"
#include "daemon/service.h"

/* Calls to paste into a shell: a tenant and its key, a decision, and the headers of one. */
static const char CALLS[] =
    "Three calls to paste:\n"
    "\n"
    "  # 1. make a tenant on the plan \"free\", and a key for it\n"
    "  TENANT=$(curl -sS \"$CORBEL_URL/v1/tenants\" -H \"Authorization: Bearer $CORBEL_API_KEY\" \\\n"
    "    -H 'Content-Type: application/json' -d '{\"name\":\"Acme\"}' | sed -n 's/.*\"id\": "
    "*\"\\([^\"]*\\)\".*/\\1/p')\n"
    "  KEY=$(curl -sS \"$CORBEL_URL/v1/keys\" -H \"Authorization: Bearer $CORBEL_API_KEY\" \\\n"
    "    -H 'Content-Type: application/json' -d \"{\\\"tenant_id\\\":\\\"$TENANT\\\"}\" | sed -n "
    "'s/.*\"secret\": *\"\\([^\"]*\\)\".*/\\1/p')\n"
    "\n"
    "  # 2. may user-42 draw a chart now?\n"
    "  curl -sS \"$CORBEL_URL/v1/ratelimits/check\" -H \"Authorization: Bearer $KEY\" \\\n"
    "    -H 'Content-Type: application/json' -d '{\"checks\":[{\"limit\":\"charts\",\"key\":\"user-42\"}]}'; "
    "echo\n"
    "\n"
    "  # 3. the same with the headers of the answer\n"
    "  curl -sSi \"$CORBEL_URL/v1/ratelimits/check\" -H \"Authorization: Bearer $KEY\" \\\n"
    "    -H 'Content-Type: application/json' -d '{\"checks\":[{\"limit\":\"charts\",\"key\":\"user-42\"}]}'; "
    "echo\n"
    "\n";

static void
welcome(const char *address, const char *key, FILE *out)
{
	fprintf(out, "Corbel is ready at %s\n\n", address ? address : "(no address)");
	if (key) {
		fprintf(out,
		        "Keep the admin key: it is not shown again.\n\n"
		        "  export CORBEL_API_KEY=%s\n  export CORBEL_URL=%s\n\n",
		        key, address ? address : "");
		fputs(CALLS, out);
	}
	fprintf(out, "corbel --help leads through everything else. Ctrl-C stops.\n");
}

static void
say_ready(struct host *host, FILE *out)
{
	welcome(host_announced(host, "address"), host_announced(host, "first admin key"), out);
}

static const char *
from_environment(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

int
welcome_main(void)
{
	welcome(from_environment("CORBEL_URL"), from_environment("CORBEL_API_KEY"), stdout);
	return 0;
}

static const struct service *const services[] = {CORBEL_SERVICES NULL};

int
migrate_main(int argc, char **argv)
{
	struct daemon_options options = {.argc = argc, .argv = argv, .services = services, .only_migrates = true};

	return daemon_run(&options);
}

int
serve_main(int argc, char **argv)
{
	struct daemon_options options = {
	    .argc = argc, .argv = argv, .services = services, .is_exclusive = true, .ready = say_ready};

	return daemon_run(&options);
}
