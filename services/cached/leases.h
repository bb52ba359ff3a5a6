/*
 * leases: who is filling which key of a space.
 *
 * A lease is known by its key's hash and belongs to whoever has its token. Two keys of one hash would take
 * turns, no more: a token that is not the lease's is refused. Time and sequence numbers are handed in, and
 * whoever waits for the end of a lease is handed out, so that its owner can wake it outside of its lock.
 *
 * One thread at a time.
 */
#ifndef CORBEL_CACHED_LEASES_H
#define CORBEL_CACHED_LEASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine.h"

struct leases;

struct lease {
	uint64_t hash, token;
	uint64_t since; /* the space's sequence when it was granted */
	uint64_t granted_ms, expires_ms;
	bool is_others; /* no token of it was handed out here: its end is no loss */
};

struct leases *leases_new(size_t max);
void leases_free(struct leases *leases);

/* How many there may be from now on; those beyond it end as they do. */
void leases_set_max(struct leases *leases, size_t max);
/* The lease in force; NULL: none, or it ran out. */
const struct lease *leases_find(const struct leases *leases, uint64_t hash, uint64_t now_ms);
/* Grants it, in the place of one that ran out or that the owner wants gone: its waiters are put before
 * `*woken`. False: there are too many. `*lost` counts tokens that ran out. */
bool leases_grant(struct leases *leases, const struct lease *lease, uint64_t now_ms,
                  struct engine_waiter **woken, uint64_t *lost);
/* Ends the lease, whoever has it; its waiters are put before `*woken`. */
void leases_end(struct leases *leases, uint64_t hash, struct engine_waiter **woken);
/* Ends what ran out, returns how many tokens that were. */
size_t leases_expire(struct leases *leases, uint64_t now_ms, struct engine_waiter **woken);

/* False: nobody is filling. */
bool leases_wait(struct leases *leases, uint64_t hash, uint64_t now_ms, struct engine_waiter *waiter);
/* False: it does not wait any more. */
bool leases_wait_end(struct engine_waiter *waiter);

/* The lowest `since` of those in force; `otherwise` when there is none. */
uint64_t leases_oldest(const struct leases *leases, uint64_t otherwise);
size_t leases_count(const struct leases *leases);
size_t leases_bytes(const struct leases *leases);

#endif
