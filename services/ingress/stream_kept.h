/*
 * stream_kept: the newest events of a tenant's log, one copy for all of its streams.
 *
 * The thread of streams only.
 */
#ifndef CORBEL_INGRESS_STREAM_KEPT_H
#define CORBEL_INGRESS_STREAM_KEPT_H

#include "stream.h"

/* All events there are of (from, to]. */
struct stream_kept {
	struct stream_item **items; /* held, with room for more than are kept, so that they seldom move */
	size_t begin, count, capacity, bytes;
	size_t *all_bytes; /* of all tenants together */
	uint64_t from, to;
	uint64_t cloud_from; /* behind it, all that is kept has its CloudEvent */
};

/* Nothing is kept yet, and what comes next is behind `at`. *all_bytes lives as long. */
void stream_kept_init(struct stream_kept *kept, uint64_t at, size_t *all_bytes);
void stream_kept_fini(struct stream_kept *kept);
/* The item that follows on `to`. Takes a hold of its own. */
void stream_kept_add(struct stream_kept *kept, struct stream_item *item);
/* Lets go of the oldest beyond 1000 events, 4 MiB, or 64 MiB of all tenants. */
void stream_kept_trim(struct stream_kept *kept);
/* Lets go of all, and goes on behind `at`. */
void stream_kept_skip(struct stream_kept *kept, uint64_t at);
/* Good until something is added or let go. */
struct stream_run stream_kept_run(const struct stream_kept *kept);

#endif
