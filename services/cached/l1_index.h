/*
 * l1_index: where the entry of a key is: its number with the eviction.
 *
 * One writer at a time, and no reader beside it; l1_index_expect() alone may be called at any time, by any
 * thread.
 */
#ifndef CORBEL_CACHED_L1_INDEX_H
#define CORBEL_CACHED_L1_INDEX_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "eviction.h"

/* Bits at the hash's low end that chose this index among others: it does not use them. */
#define L1_INDEX_SPENT_BITS 5u
/* Numbers are below it: there is room for them beside their holes with the eviction, which are an eighth. */
#define L1_INDEX_NUMBERS ((1u << 25) - 1)

/* Zeros: empty. */
struct l1_index {
	uint32_t *words; /* 0: empty */
	uint32_t capacity, count;
	/* The same for l1_index_expect(), which may find them of two times: that costs a useless fetch. */
	_Atomic uintptr_t hint_words;
	_Atomic uint32_t hint_capacity;
};

void l1_index_fini(struct l1_index *index);
size_t l1_index_bytes(const struct l1_index *index);

/* Fetches what a look-up of the key reads first. */
void l1_index_expect(const struct l1_index *index, uint32_t hash);
/* An entry that may be the key's, without reading it; EVICTION_NONE: none can. */
uint32_t l1_index_guess(const struct l1_index *index, uint32_t hash);
/* Items of `entries` are struct entry. EVICTION_NONE: there is none. */
uint32_t l1_index_find(const struct l1_index *index, const struct eviction *entries, uint32_t hash,
                       const char *key, size_t length);

/* The key is not in it. */
void l1_index_add(struct l1_index *index, const struct eviction *entries, uint32_t hash, uint32_t number);
/* The number is in it, under this hash. */
void l1_index_remove(struct l1_index *index, const struct eviction *entries, uint32_t hash, uint32_t number);

#endif
