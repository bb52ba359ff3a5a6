/*
 * table_entries: where counters lie, and how they are found. See table_internal.h.
 *
 * Linear probing with backward-shift deletion: no tombstones.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "admission_log.h"
#include "base/arena.h"
#include "table_internal.h"

#define FIRST_CAPACITY 64u
#define BLOCK_BYTES    ((size_t)1 << 21) /* a huge page */
#define PLACE_BITS     24u
#define PLACE_MASK     ((1u << PLACE_BITS) - 1)

_Static_assert((size_t)SHARDS << PLACE_BITS > 1000000000, "a place for every counter of ratelimitd.max_keys");

/* The index's bits of a key: those above its home, which the low bits choose. */
static uint32_t
word_of(const struct table_key *key, uint32_t place)
{
	return (uint32_t)(key->low >> 56) << PLACE_BITS | (place + 1);
}

static struct entry *
entry_at(const struct shard *shard, size_t place)
{
	return &shard->chunks[place / CHUNK_ENTRIES][place % CHUNK_ENTRIES];
}

static struct entry *
entry_of(const struct shard *shard, uint32_t word)
{
	return entry_at(shard, (word & PLACE_MASK) - 1);
}

static bool
is_same(const struct table_key *a, const struct table_key *b)
{
	return a->low == b->low && a->high == b->high;
}

/* Where the key's word is, or the empty one where it would be. */
static size_t
probe(const struct shard *shard, const struct table_key *key)
{
	size_t mask = shard->capacity - 1, at = key->low & mask;
	uint32_t word, bits = word_of(key, 0) >> PLACE_BITS;

	for (; (word = shard->index[at]) != 0; at = (at + 1) & mask)
		if (word >> PLACE_BITS == bits && is_same(&entry_of(shard, word)->key, key))
			break;
	return at;
}

struct entry *
entry_find(const struct shard *shard, const struct table_key *key)
{
	uint32_t word = shard->capacity ? shard->index[probe(shard, key)] : 0;
	return word ? entry_of(shard, word) : NULL;
}

const struct entry *
entry_likely(const struct shard *shard, const struct table_key *key)
{
	uint32_t word, bits = word_of(key, 0) >> PLACE_BITS;

	if (shard->capacity == 0)
		return NULL;
	for (size_t mask = shard->capacity - 1, at = key->low & mask; (word = shard->index[at]) != 0;
	     at = (at + 1) & mask)
		if (word >> PLACE_BITS == bits)
			return entry_of(shard, word);
	return NULL;
}

void
entry_clear(struct entry *entry)
{
	if (entry->strategy == STRATEGY_SLIDING_LOG)
		admission_log_free(entry->counter.log.log);
	memset(entry, 0, sizeof(*entry));
}

/* Empties a word and moves later ones of the run back, so that probing never meets a hole. */
static void
index_erase(struct shard *shard, size_t hole)
{
	size_t mask = shard->capacity - 1;

	shard->index[hole] = 0;
	for (size_t at = (hole + 1) & mask; shard->index[at]; at = (at + 1) & mask) {
		size_t home = entry_of(shard, shard->index[at])->key.low & mask;
		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		shard->index[hole] = shard->index[at];
		shard->index[at] = 0;
		hole = at;
	}
}

static void
entry_erase(struct table *table, struct shard *shard, size_t place)
{
	struct entry *entry = entry_at(shard, place);

	index_erase(shard, probe(shard, &entry->key));
	entry_clear(entry);
	entry->counter.fixed.window = shard->free;
	shard->free = (uint32_t)place + 1;
	shard->count--;
	atomic_fetch_sub_explicit(&table->entries, 1, memory_order_relaxed);
}

/* Looks at `count` places from the clock's hand on and lets what has expired go. */
static void
sweep(struct table *table, struct shard *shard, uint64_t now_us, size_t count)
{
	for (; count > 0 && shard->places > 0; count--) {
		if (shard->hand >= shard->places)
			shard->hand = 0;
		const struct entry *entry = entry_at(shard, shard->hand);
		if (entry->strategy && entry->counter.expires_us <= now_us)
			entry_erase(table, shard, shard->hand);
		shard->hand++;
	}
}

static void
index_grow(struct shard *shard)
{
	size_t capacity = shard->capacity ? shard->capacity * 2 : FIRST_CAPACITY, mask = capacity - 1;
	uint32_t *index = mem_array(capacity, sizeof(*index));

	for (size_t i = 0; i < shard->capacity; i++) {
		if (!shard->index[i])
			continue;
		size_t at = entry_of(shard, shard->index[i])->key.low & mask;
		while (index[at])
			at = (at + 1) & mask;
		index[at] = shard->index[i];
	}
	mem_free(shard->index);
	shard->index = index;
	shard->capacity = capacity;
	atomic_store_explicit(&shard->hint_index, (uintptr_t)index, memory_order_relaxed);
	atomic_store_explicit(&shard->hint_mask, mask, memory_order_relaxed);
}

/* Large pages, when the kernel grants them: a look-up in a large table misses the TLB nearly every time
 * without. */
static void
add_block(struct table *table)
{
	void *block = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);

	if (!block)
		block = mem_alloc(SIZE_MAX / 2); /* reports and aborts */
	(void)madvise(block, BLOCK_BYTES, MADV_HUGEPAGE);
	if (table->block_count == table->block_capacity) {
		table->block_capacity = table->block_capacity ? table->block_capacity * 2 : 16;
		table->blocks = mem_resize(table->blocks, table->block_capacity, sizeof(table->blocks[0]));
	}
	table->blocks[table->block_count++] = block;
	table->cut_bytes = 0;
}

static struct entry *
cut_chunk(struct table *table)
{
	const size_t bytes = CHUNK_ENTRIES * sizeof(struct entry);

	pthread_mutex_lock(&table->blocks_lock);
	if (table->block_count == 0 || table->cut_bytes == BLOCK_BYTES)
		add_block(table);
	char *chunk = (char *)table->blocks[table->block_count - 1] + table->cut_bytes;
	table->cut_bytes += bytes;
	pthread_mutex_unlock(&table->blocks_lock);
	return memset(chunk, 0, bytes);
}

static uint32_t
place_take(struct table *table, struct shard *shard)
{
	if (shard->free) {
		uint32_t place = shard->free - 1;
		shard->free = (uint32_t)entry_at(shard, place)->counter.fixed.window;
		return place;
	}
	if (shard->places == shard->chunk_count * CHUNK_ENTRIES) {
		if (shard->chunk_count == shard->chunk_capacity) {
			shard->chunk_capacity = shard->chunk_capacity ? shard->chunk_capacity * 2 : 4;
			shard->chunks = mem_resize(shard->chunks, shard->chunk_capacity, sizeof(shard->chunks[0]));
		}
		shard->chunks[shard->chunk_count++] = cut_chunk(table);
	}
	return (uint32_t)shard->places++;
}

void
entries_sweep(struct table *table, uint64_t now_us)
{
	for (size_t i = 0; i < SHARDS; i++) {
		struct shard *shard = &table->shards[i];
		pthread_mutex_lock(&shard->lock);
		sweep(table, shard, now_us, shard->places);
		pthread_mutex_unlock(&shard->lock);
	}
}

struct entry *
entry_insert(struct table *table, struct shard *shard, const struct table_key *key, uint8_t strategy,
             uint64_t now_us)
{
	/* Expired counters leave as others come. */
	sweep(table, shard, now_us, 2);
	if (atomic_load_explicit(&table->entries, memory_order_relaxed) >= table->max_entries ||
	    (!shard->free && shard->places >= PLACE_MASK))
		return NULL;
	if ((shard->count + 1) * 8 > shard->capacity * 7)
		sweep(table, shard, now_us, shard->places);
	if ((shard->count + 1) * 8 > shard->capacity * 6)
		index_grow(shard);
	uint32_t place = place_take(table, shard);
	struct entry *entry = entry_at(shard, place);
	shard->index[probe(shard, key)] = word_of(key, place);
	memset(entry, 0, sizeof(*entry));
	entry->key = *key;
	entry->strategy = strategy;
	entry->counter.expires_us = now_us + 1; /* not before the decision that it is made for */
	shard->count++;
	atomic_fetch_add_explicit(&table->entries, 1, memory_order_relaxed);
	return entry;
}

void
entry_mark_dirty(struct shard *shard, struct entry *entry)
{
	if (!entry->is_durable || entry->is_dirty)
		return;
	if (shard->dirty_count == shard->dirty_capacity) {
		shard->dirty_capacity = shard->dirty_capacity ? shard->dirty_capacity * 2 : 64;
		shard->dirty = mem_resize(shard->dirty, shard->dirty_capacity, sizeof(shard->dirty[0]));
	}
	shard->dirty[shard->dirty_count++] = entry;
	entry->is_dirty = true;
}

void
entries_free(struct table *table)
{
	for (size_t i = 0; i < SHARDS; i++) {
		struct shard *shard = &table->shards[i];
		for (size_t place = 0; place < shard->places; place++)
			entry_clear(entry_at(shard, place));
		mem_free(shard->chunks);
		mem_free(shard->index);
		mem_free(shard->dirty);
	}
	for (size_t i = 0; i < table->block_count; i++)
		free(table->blocks[i]);
	mem_free(table->blocks);
}
