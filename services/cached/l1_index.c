/*
 * l1_index: see l1_index.h.
 *
 * An open table of 4-byte words, at most seven eighths full: 7 bits of the hash, and the entry's number,
 *plus 1. It grows by a quarter, so that a million entries take about 5 bytes each. Linear probing with
 *backward-shift deletion: no tombstones.
 *
 *	hash:  home in the index (from the top) ... | 7 bits of the word | 5 bits that are spent
 */
#include "l1_index.h"

#include "base/arena.h"
#include "entry.h"

#define MARK_BITS      7u
#define PLACE_BITS     25u
#define PLACE_MASK     L1_INDEX_NUMBERS
#define FIRST_CAPACITY 16u

void
l1_index_fini(struct l1_index *index)
{
	mem_free(index->words);
}

size_t
l1_index_bytes(const struct l1_index *index)
{
	return index->capacity * sizeof(uint32_t);
}

/* ---- words ---- */

static uint32_t
mark_of(uint32_t hash)
{
	return hash >> L1_INDEX_SPENT_BITS & ((1u << MARK_BITS) - 1);
}

static uint32_t
home_of(uint32_t hash, uint32_t capacity)
{
	return (uint32_t)((uint64_t)hash * capacity >> 32);
}

static uint32_t
number_of(uint32_t word)
{
	return (word & PLACE_MASK) - 1;
}

static uint32_t
after(const struct l1_index *index, uint32_t at)
{
	return at + 1 == index->capacity ? 0 : at + 1;
}

/* How far `at` is behind `from`, round the end. */
static uint32_t
distance(const struct l1_index *index, uint32_t from, uint32_t at)
{
	return at >= from ? at - from : at + index->capacity - from;
}

/* ---- looking ---- */

/* An index that is replaced meanwhile costs a useless fetch: a prefetch never faults. */
void
l1_index_expect(const struct l1_index *index, uint32_t hash)
{
	uintptr_t words = atomic_load_explicit(&index->hint_words, memory_order_relaxed);
	uint32_t capacity = atomic_load_explicit(&index->hint_capacity, memory_order_relaxed);

	__builtin_prefetch((const void *)(words + home_of(hash, capacity) * sizeof(uint32_t)));
}

uint32_t
l1_index_guess(const struct l1_index *index, uint32_t hash)
{
	uint32_t mark = mark_of(hash), word;

	if (index->capacity == 0)
		return EVICTION_NONE;
	for (uint32_t at = home_of(hash, index->capacity); (word = index->words[at]) != 0; at = after(index, at))
		if (word >> PLACE_BITS == mark)
			return number_of(word);
	return EVICTION_NONE;
}

uint32_t
l1_index_find(const struct l1_index *index, const struct eviction *entries, uint32_t hash, const char *key,
              size_t length)
{
	uint32_t mark = mark_of(hash), word;

	if (index->capacity == 0)
		return EVICTION_NONE;
	for (uint32_t at = home_of(hash, index->capacity); (word = index->words[at]) != 0; at = after(index, at))
		if (word >> PLACE_BITS == mark && entry_has_key(eviction_item(entries, number_of(word)), key, length))
			return number_of(word);
	return EVICTION_NONE;
}

/* ---- changing ---- */

static uint32_t
probe_empty(const struct l1_index *index, uint32_t hash)
{
	uint32_t at = home_of(hash, index->capacity);

	while (index->words[at])
		at = after(index, at);
	return at;
}

static void
resize(struct l1_index *index, const struct eviction *entries, uint32_t capacity)
{
	uint32_t *old = index->words, old_capacity = index->capacity;

	index->words = mem_array(capacity, sizeof(index->words[0]));
	index->capacity = capacity;
	for (uint32_t i = 0; i < old_capacity; i++)
		if (old[i])
			index->words[probe_empty(index, eviction_hash(entries, number_of(old[i])))] = old[i];
	atomic_store_explicit(&index->hint_words, (uintptr_t)index->words, memory_order_relaxed);
	atomic_store_explicit(&index->hint_capacity, capacity, memory_order_relaxed);
	mem_free(old);
}

void
l1_index_add(struct l1_index *index, const struct eviction *entries, uint32_t hash, uint32_t number)
{
	if (((uint64_t)index->count + 1) * 8 > (uint64_t)index->capacity * 7)
		resize(index, entries, index->capacity ? index->capacity + index->capacity / 4 : FIRST_CAPACITY);
	index->words[probe_empty(index, hash)] = mark_of(hash) << PLACE_BITS | (number + 1);
	index->count++;
}

/* Empties a word and moves later ones of the run back, so that probing never meets a hole. */
static void
erase(struct l1_index *index, const struct eviction *entries, uint32_t hole)
{
	index->words[hole] = 0;
	index->count--;
	for (uint32_t at = after(index, hole); index->words[at]; at = after(index, at)) {
		uint32_t home = home_of(eviction_hash(entries, number_of(index->words[at])), index->capacity);
		if (distance(index, home, at) < distance(index, hole, at))
			continue;
		index->words[hole] = index->words[at];
		index->words[at] = 0;
		hole = at;
	}
}

void
l1_index_remove(struct l1_index *index, const struct eviction *entries, uint32_t hash, uint32_t number)
{
	uint32_t at = home_of(hash, index->capacity);

	while (number_of(index->words[at]) != number)
		at = after(index, at);
	erase(index, entries, at);
	if ((uint64_t)index->count * 4 < index->capacity && index->capacity > FIRST_CAPACITY)
		resize(index, entries, index->capacity / 2);
}
