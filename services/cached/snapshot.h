/*
 * snapshot: what the cache holds is written to the data directory now and then and at the end, and read back
 * at the next start.
 *
 * For the embedded size only, where nobody else changes what is cached. What was changed after the last
 * snapshot is known from a file beside it (change_marks.h), so nothing that was deleted, overwritten or
 * invalidated is ever given back, also when the process was killed. Where that cannot be told, a snapshot is
 * thrown away.
 */
#ifndef CORBEL_CACHED_SNAPSHOT_H
#define CORBEL_CACHED_SNAPSHOT_H

#include "cached_internal.h"

struct snapshot;

/* Puts back what was kept and begins to note changes. Before the first call. Without snapshots it removes
 * what former ones left, as nobody will note what changes, and *out is NULL. */
struct status snapshot_open(struct cached *self, struct snapshot **out);
/* A worker's task. */
void snapshot_write_task(void *self, struct store_conn *conn);
/* After the last call: the last snapshot. */
void snapshot_close(struct snapshot *snapshot);

#endif
