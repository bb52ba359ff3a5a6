/*
 * l1_index: see l1_index.h.
 *
 * An open table of 8-byte words, at most seven eighths full. It grows by a quarter, so that a million entries
 * take about 10 bytes each. Linear probing with backward-shift deletion: no tombstones.
 *
 *	hash:  home in the table (from the top) ... | 13 bits of the word | 5 bits that are spent
 *	word:  the entry's address:45 (of 48 bits, and a multiple of 8) | how far it is from its home:6 | mark:13
 *
 * Readers take no lock. Who finds a key's entry has it, for a word is written at once; who does not find it
 * may have passed by a word while it was moved back, and looks again if any was moved meanwhile.
 */
#include "l1_index.h"

#include <assert.h>
#include <sched.h>
#include <string.h>

#include "heap.h"

#define MARK_BITS      13u
#define AWAY_BITS      6u
#define AWAY_FAR       ((1u << AWAY_BITS) - 1) /* that far or farther: the eviction knows the hash */
#define ADDRESS_SHIFT  (MARK_BITS + AWAY_BITS)
#define FIRST_CAPACITY 16u

struct l1_table {
	uint32_t capacity;
	_Atomic uint64_t words[]; /* 0: empty */
};

/* ---- words ---- */

static uint64_t
word_of(const struct entry *entry, uint32_t hash, uint32_t away)
{
	uint64_t mark = hash >> L1_INDEX_SPENT_BITS & ((1u << MARK_BITS) - 1);
	uint64_t address = (uint64_t)(uintptr_t)entry / HEAP_ALIGNMENT;

	assert((uintptr_t)entry % HEAP_ALIGNMENT == 0 && address >> (64 - ADDRESS_SHIFT) == 0);
	return address << ADDRESS_SHIFT | (uint64_t)(away < AWAY_FAR ? away : AWAY_FAR) << MARK_BITS | mark;
}

static struct entry *
entry_of(uint64_t word)
{
	return (struct entry *)(uintptr_t)((word >> ADDRESS_SHIFT) * HEAP_ALIGNMENT);
}

static bool
has_mark(uint64_t word, uint32_t hash)
{
	return ((word ^ hash >> L1_INDEX_SPENT_BITS) & ((1u << MARK_BITS) - 1)) == 0;
}

static uint64_t
read_word(const struct l1_table *table, uint32_t at)
{
	return atomic_load_explicit(&table->words[at], memory_order_acquire);
}

/* What the word leads to was written before. */
static void
write_word(struct l1_table *table, uint32_t at, uint64_t word)
{
	atomic_store_explicit(&table->words[at], word, memory_order_release);
}

/* ---- places ---- */

static const struct l1_table *
table_of(const struct l1_index *index)
{
	return atomic_load_explicit(&index->table, memory_order_acquire);
}

/* For the writer. */
static struct l1_table *
own_table(const struct l1_index *index)
{
	return atomic_load_explicit(&index->table, memory_order_relaxed);
}

static uint32_t
home_of(const struct l1_table *table, uint32_t hash)
{
	return (uint32_t)((uint64_t)hash * table->capacity >> 32);
}

static uint32_t
after(const struct l1_table *table, uint32_t at)
{
	return at + 1 == table->capacity ? 0 : at + 1;
}

/* How far `at` is behind `from`, round the end. */
static uint32_t
distance(const struct l1_table *table, uint32_t from, uint32_t at)
{
	return at >= from ? at - from : at + table->capacity - from;
}

static size_t
table_bytes(const struct l1_table *table)
{
	return table ? sizeof(*table) + table->capacity * sizeof(table->words[0]) : 0;
}

/* ---- life ---- */

void
l1_index_fini(struct l1_index *index, struct heap *heap)
{
	struct l1_table *table = own_table(index);

	for (uint32_t at = 0; table && at < table->capacity; at++)
		entry_free(heap, entry_of(read_word(table, at)));
	heap_release(heap, table);
}

size_t
l1_index_bytes(const struct l1_index *index)
{
	return table_bytes(own_table(index));
}

static struct l1_table *
table_new(struct heap *heap, uint32_t capacity)
{
	size_t bytes = sizeof(struct l1_table) + capacity * sizeof(uint64_t);
	struct l1_table *table = heap_alloc(heap, bytes);

	memset(table, 0, bytes);
	table->capacity = capacity;
	return table;
}

/* ---- looking ---- */

void
l1_index_expect(const struct l1_index *index, uint32_t hash)
{
	const struct l1_table *table = table_of(index);

	if (table)
		__builtin_prefetch(&table->words[home_of(table, hash)]);
}

const struct entry *
l1_index_approach(const struct l1_index *index, uint32_t hash)
{
	const struct l1_table *table = table_of(index);
	uint64_t word;

	for (uint32_t at = table ? home_of(table, hash) : 0; table && (word = read_word(table, at)) != 0;
	     at = after(table, at))
		if (has_mark(word, hash)) {
			entry_prefetch(entry_of(word));
			return entry_of(word);
		}
	return NULL;
}

static struct entry *
probe(const struct l1_table *table, uint32_t hash, const char *key, size_t length)
{
	uint64_t word;

	for (uint32_t at = home_of(table, hash); (word = read_word(table, at)) != 0; at = after(table, at))
		if (has_mark(word, hash) && entry_has_key(entry_of(word), key, length))
			return entry_of(word);
	return NULL;
}

/* The words are read in their order and before `moves` is read again: if a word was read that was written
 * while words moved, `moves` is another. */
struct entry *
l1_index_find(const struct l1_index *index, uint32_t hash, const char *key, size_t length)
{
	for (;;) {
		uint32_t moves = atomic_load_explicit(&index->moves, memory_order_acquire);
		const struct l1_table *table = table_of(index);
		struct entry *entry = table ? probe(table, hash, key, length) : NULL;
		if (entry || (moves % 2 == 0 && atomic_load_explicit(&index->moves, memory_order_relaxed) == moves))
			return entry;
		if (moves % 2)
			(void)sched_yield();
	}
}

/* ---- changing ---- */

static uint32_t
place_of(const struct l1_table *table, uint32_t hash, uint32_t number)
{
	uint32_t at = home_of(table, hash);

	while (!has_mark(read_word(table, at), hash) || entry_number(entry_of(read_word(table, at))) != number)
		at = after(table, at);
	return at;
}

struct entry *
l1_index_at(const struct l1_index *index, uint32_t hash, uint32_t number)
{
	const struct l1_table *table = own_table(index);
	return entry_of(read_word(table, place_of(table, hash, number)));
}

static void
put(struct l1_table *table, uint32_t hash, const struct entry *entry)
{
	uint32_t home = home_of(table, hash), at = home;

	while (read_word(table, at))
		at = after(table, at);
	write_word(table, at, word_of(entry, hash, distance(table, home, at)));
}

/* Readers go on in the old table meanwhile, and to its end if they are in it. */
static void
resize(struct l1_index *index, const struct eviction *entries, struct readers *readers, uint32_t capacity)
{
	struct l1_table *old = own_table(index);
	struct l1_table *table = table_new(readers_heap(readers), capacity);

	for (uint32_t i = 0; old && i < old->capacity; i++) {
		const struct entry *entry = entry_of(read_word(old, i));
		if (entry)
			put(table, eviction_hash(entries, entry_number(entry)), entry);
	}
	atomic_store_explicit(&index->table, table, memory_order_release);
	if (old)
		readers_retire(readers, old, table_bytes(old));
}

void
l1_index_add(struct l1_index *index, const struct eviction *entries, struct readers *readers, uint32_t hash,
             struct entry *entry)
{
	const struct l1_table *table = own_table(index);
	uint32_t capacity = table ? table->capacity : 0;

	if (((uint64_t)index->count + 1) * 8 > (uint64_t)capacity * 7)
		resize(index, entries, readers, capacity ? capacity + capacity / 4 : FIRST_CAPACITY);
	put(own_table(index), hash, entry);
	index->count++;
}

struct entry *
l1_index_replace(struct l1_index *index, uint32_t hash, struct entry *entry)
{
	struct l1_table *table = own_table(index);
	uint32_t at = place_of(table, hash, entry_number(entry));
	uint32_t away = distance(table, home_of(table, hash), at);
	struct entry *old = entry_of(read_word(table, at));

	write_word(table, at, word_of(entry, hash, away));
	return old;
}

/* How far the word at `at` is from its home. */
static uint32_t
away_of(const struct l1_table *table, const struct eviction *entries, uint32_t at)
{
	uint64_t word = read_word(table, at);
	uint32_t away = (uint32_t)(word >> MARK_BITS) & AWAY_FAR;

	if (away < AWAY_FAR)
		return away;
	return distance(table, home_of(table, eviction_hash(entries, entry_number(entry_of(word)))), at);
}

static void
move_back(struct l1_table *table, uint32_t to, uint32_t at, uint32_t away)
{
	uint64_t word = read_word(table, at), field = (uint64_t)AWAY_FAR << MARK_BITS;

	write_word(table, to, (word & ~field) | (uint64_t)(away < AWAY_FAR ? away : AWAY_FAR) << MARK_BITS);
}

/* Empties a word, for which later ones of the run move back, so that probing never meets a hole. */
static void
erase(struct l1_table *table, const struct eviction *entries, uint32_t hole)
{
	for (uint32_t at = after(table, hole); read_word(table, at); at = after(table, at)) {
		uint32_t away = away_of(table, entries, at), back = distance(table, hole, at);
		if (away < back)
			continue;
		move_back(table, hole, at, away - back);
		hole = at;
	}
	write_word(table, hole, 0);
}

struct entry *
l1_index_remove(struct l1_index *index, const struct eviction *entries, struct readers *readers,
                uint32_t hash, uint32_t number)
{
	struct l1_table *table = own_table(index);
	uint32_t at = place_of(table, hash, number);
	struct entry *entry = entry_of(read_word(table, at));

	uint32_t moves = atomic_load_explicit(&index->moves, memory_order_relaxed);
	atomic_store_explicit(&index->moves, moves + 1, memory_order_relaxed);
	erase(table, entries, at);
	atomic_store_explicit(&index->moves, moves + 2, memory_order_release);
	index->count--;
	if ((uint64_t)index->count * 4 < table->capacity && table->capacity > FIRST_CAPACITY)
		resize(index, entries, readers, table->capacity / 2);
	return entry;
}
