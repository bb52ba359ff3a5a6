/*
 * follow: the events of a tenant, one after the other, for as long as the command runs.
 *
 * A stream that ends, breaks or falls silent is opened again behind the last event that was taken, with
 * pauses that grow: no event is left out, and none comes twice.
 */
#ifndef CORBEL_CLI_FOLLOW_H
#define CORBEL_CLI_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

struct follow_event {
	uint64_t sequence;
	const char *json; /* the event as the API shows it */
	size_t json_size;
};

struct follow {
	const char *url, *api_key;
	const char *types, *subject, *tenant_id; /* NULL: any, any, the key's own */
	bool has_after;
	uint64_t after; /* of the last event that was taken */
	bool is_verbose;
	void (*take)(void *arg, const struct follow_event *event);
	void *arg;
};

/* Returns only when it is pointless to go on: the exit code, having told why. A first connection that fails
 * is told at once. */
int follow_run(struct follow *follow);

#endif
