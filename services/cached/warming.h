/*
 * warming: the keys that are asked for most are known after a restart, and fetched again.
 *
 * Only of namespaces with an origin, since others have nobody whom the cache could ask. Keys are written down
 * every minute and at the end; after a start they are fetched a few at a time, so that origins do not feel
 * it.
 */
#ifndef CORBEL_CACHED_WARMING_H
#define CORBEL_CACHED_WARMING_H

#include "cached_internal.h"

struct warming;

struct warming *warming_new(struct cached *self);
void warming_free(struct warming *warming);
/* Reads what was written down; once, before the first tick. */
struct status warming_load(struct warming *warming, struct store_conn *conn);
/* Starts fetching the next few. The upkeep thread's. */
void warming_tick(struct warming *warming);
/* Writes down the hottest keys of now. */
struct status warming_save(struct cached *self, struct store_conn *conn);
/* The same as a worker's task. */
void warming_save_task(void *self, struct store_conn *conn);

#endif
