/*
 * cached: the service's structure, and what its files call in each other.
 */
#ifndef CORBEL_CACHED_INTERNAL_H
#define CORBEL_CACHED_INTERNAL_H

#include <stdatomic.h>

#include "corbel/contract.gen.h"
#include "daemon/service.h"
#include "definitions.h"

struct cached {
	struct service_env env;
	struct definitions *definitions;
	struct subscriber *changes; /* of other replicas' definitions */
};

/* ---- namespaces.c ---- */
/* Loads the definitions if they changed since; a worker's task. */
void namespaces_refresh_task(void *self, struct store_conn *conn);
struct status namespaces_refresh(struct cached *self, struct store_conn *conn);

#endif
