/*
 * l1: a space's entries in memory, found by key.
 *
 * 32 shards, each an index that readers look into without a lock; what leaves when there is too much is
 * decided for all of them together (eviction.h). Nothing here knows of time, invalidation or quotas.
 *
 * Readers (l1_expect() to l1_use()) come from any thread, within a reading (readers.h). Everything else is
 * called by one writer at a time, which its owner's lock sees to; no reader waits for it.
 */
#ifndef CORBEL_CACHED_L1_H
#define CORBEL_CACHED_L1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "entry.h"
#include "readers.h"

struct l1;

/* `readers` lives longer, but nobody of them looks any further once an l1 of theirs was freed. */
struct l1 *l1_new(struct readers *readers);
void l1_free(struct l1 *l1);

/* ---- readers ---- */

/* A key that will be looked up soon: each step fetches what the next one needs. Where many are looked up
 * together, one step after the other for all of them hides most of the waiting for memory. */
void l1_expect(const struct l1 *l1, uint32_t hash);
const struct entry *l1_approach(const struct l1 *l1, uint32_t hash);
void l1_arrive(const struct l1 *l1, const struct entry *approached);

/* NULL: there is none. Stays as long as the reading, but for the time that it is fresh until. */
const struct entry *l1_look(const struct l1 *l1, uint32_t hash, const char *key, size_t length);
/* It was of use to this thread: noted when it uses the next one, for the line that this is noted in has to
 * come from memory, and has by then. */
void l1_use(struct l1 *l1, struct reader *reader, uint32_t hash, const struct entry *entry);

/* ---- the writer ---- */

/* NULL: none. Valid until the next change. */
const struct entry *l1_find(const struct l1 *l1, uint32_t hash, const char *key, size_t length);
/* Takes the entry; one of the same key leaves. */
void l1_put(struct l1 *l1, uint32_t hash, struct entry *entry);
bool l1_set_fresh(struct l1 *l1, uint32_t hash, const char *key, size_t length, uint64_t fresh_ms);
bool l1_remove(struct l1 *l1, uint32_t hash, const char *key, size_t length);
/* Lets one entry go; false: there is none. */
bool l1_evict(struct l1 *l1);
/* Lets one negative entry go, round and round by place. False: the next 65536 places have none. */
bool l1_evict_negative(struct l1 *l1);
void l1_clear(struct l1 *l1);

/* Offers entries from `*cursor` on, at most `count` places of them, to `keep`, and lets those go that it
 * refuses. False: the end was reached, and `*cursor` begins anew. Entries that are put in meanwhile may be
 * offered or not. */
typedef bool l1_keep_fn(void *arg, const struct entry *entry);
bool l1_sweep(struct l1 *l1, uint32_t *cursor, uint32_t count, l1_keep_fn *keep, void *arg);

/* Of entries, the tables' part included. */
uint64_t l1_bytes(const struct l1 *l1);
uint64_t l1_count(const struct l1 *l1);
/* The negative ones among them; for the writer. */
struct l1_part {
	uint64_t bytes, count;
};
struct l1_part l1_negatives(const struct l1 *l1);
/* Memory beside entries and keys' values: index, nodes, ghosts. */
size_t l1_overhead(const struct l1 *l1);

#endif
