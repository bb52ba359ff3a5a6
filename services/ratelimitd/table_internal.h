/*
 * table: its structure, shared by table.c, table_entries.c and table_records.c.
 *
 * A shard's counters lie densely in chunks, 64 bytes each; they never move, and the place of one that
 * expired is given to the next. They are found through an index: a power of two of 4-byte words, at most
 * seven eighths full, probed linearly. So a million counters take 64 bytes each and five to ten more for
 * the index, the 16 bytes of the key included, however the table grew.
 */
#ifndef CORBEL_RATELIMITD_TABLE_INTERNAL_H
#define CORBEL_RATELIMITD_TABLE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "table.h"

#define SHARDS        64u
#define CHUNK_ENTRIES 128u

struct entry {
	struct table_key key;
	struct counter counter;
	uint8_t strategy; /* 0: free, and counter.fixed.window is the next free place, plus 1 */
	bool is_dirty;    /* listed in the shard's dirty keys */
	bool is_durable;
};

_Static_assert(sizeof(struct entry) == 64, "one cache line a counter");

struct shard {
	pthread_mutex_t lock; /* guards everything here; several are taken in rising order */
	uint32_t *index;      /* 0: empty; else bits of the hash, and the counter's place, plus 1 */
	size_t capacity;      /* of the index */
	struct entry **chunks;
	size_t chunk_count, chunk_capacity;
	size_t places; /* ever used, from the first chunk on */
	uint32_t free; /* first free place, plus 1 */
	size_t count, hand;
	struct entry **dirty; /* may hold one whose place was freed or given to another since */
	size_t dirty_count, dirty_capacity;
	_Atomic uintptr_t hint_index; /* `index` and `capacity` - 1 for table_expect(), which has no lock */
	_Atomic size_t hint_mask;
} __attribute__((aligned(64)));

struct table {
	struct shard shards[SHARDS];
	size_t max_entries;
	_Atomic size_t entries;
	_Atomic uint64_t swept_us; /* when a full table was last looked through */
	const struct clock *clock;
	uint64_t start_us, start_mono_ns;
	pthread_mutex_t blocks_lock; /* guards what follows; taken last */
	void **blocks;               /* chunks are cut from them */
	size_t block_count, block_capacity;
	size_t cut_bytes; /* of the newest block */
};

static inline struct shard *
shard_for(struct table *table, const struct table_key *key)
{
	return &table->shards[key->high >> 58];
}

/* ---- table_entries.c: the shard is locked by the caller ---- */
struct entry *entry_find(const struct shard *shard, const struct table_key *key);
/* Where the counter should be, by the index alone; NULL: it is not there. For a prefetch. */
const struct entry *entry_likely(const struct shard *shard, const struct table_key *key);
/* A key that is not there; NULL: the table is full. */
struct entry *entry_insert(struct table *table, struct shard *shard, const struct table_key *key,
                           uint8_t strategy, uint64_t now_us);
/* Lets go of what the counter owns. */
void entry_clear(struct entry *entry);
/* Lists a durable counter for table_collect(). */
void entry_mark_dirty(struct shard *shard, struct entry *entry);
/* Lets everything go that has expired; locks one shard at a time. */
void entries_sweep(struct table *table, uint64_t now_us);
void entries_free(struct table *table);

#endif
