/*
 * l1_index: where the entry of a key is.
 *
 * One writer at a time changes it; any thread looks at any time, within a reading (readers.h), as long as
 * the writer lets entries go by readers_retire() only.
 */
#ifndef CORBEL_CACHED_L1_INDEX_H
#define CORBEL_CACHED_L1_INDEX_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "entry.h"
#include "eviction.h"
#include "readers.h"

/* Bits at the hash's low end that chose this index among others: it does not use them. */
#define L1_INDEX_SPENT_BITS 5u

struct l1_table;

/* Zeros: empty. */
struct l1_index {
	struct l1_table *_Atomic table; /* NULL: nothing was put in yet; a larger one replaces it */
	_Atomic uint32_t moves;         /* odd: words are being moved */
	uint32_t count;                 /* the writer's */
};

/* Frees its entries, too; nobody reads. */
void l1_index_fini(struct l1_index *index, struct heap *heap);
size_t l1_index_bytes(const struct l1_index *index);

/* ---- readers, and the writer ---- */

/* Fetches what a look-up of the key reads first. */
void l1_index_expect(const struct l1_index *index, uint32_t hash);
/* Fetches the entry that may be the key's, and returns it unread; NULL: none can be. */
const struct entry *l1_index_approach(const struct l1_index *index, uint32_t hash);
/* NULL: there is none. */
struct entry *l1_index_find(const struct l1_index *index, uint32_t hash, const char *key, size_t length);

/* ---- the writer ---- */

/* The entry of this number; it is in the index, under this hash. */
struct entry *l1_index_at(const struct l1_index *index, uint32_t hash, uint32_t number);
/* The key is not in it. `entries` knows the hashes of those that are, by their numbers. */
void l1_index_add(struct l1_index *index, const struct eviction *entries, struct readers *readers,
                  uint32_t hash, struct entry *entry);
/* Another entry of the same key and number. Returns the one that was there. */
struct entry *l1_index_replace(struct l1_index *index, uint32_t hash, struct entry *entry);
/* The entry of this number, taken out; it is in the index, under this hash. */
struct entry *l1_index_remove(struct l1_index *index, const struct eviction *entries, struct readers *readers,
                              uint32_t hash, uint32_t number);

#endif
