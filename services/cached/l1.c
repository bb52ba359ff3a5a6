/*
 * l1: see l1.h. The low bits of a key's hash choose the shard, the others its place in the shard's index.
 */
#include "l1.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "eviction.h"
#include "heap.h"
#include "l1_index.h"

#define SHARDS       (1u << L1_INDEX_SPENT_BITS)
#define ENTRIES_MAX  26000000u
#define PLACES_TRIED 65536u /* for one negative entry: a fifth of a millisecond */

struct shard {
	struct l1_index index;
} __attribute__((aligned(64)));

struct l1 {
	struct shard shards[SHARDS];
	struct eviction *eviction; /* numbers are the entries' own */
	struct readers *readers;
	_Atomic uint64_t units, count;
	/* the writer's */
	uint64_t negative_units, negative_count;
	uint32_t negative_cursor;
};

struct l1 *
l1_new(struct readers *readers)
{
	struct l1 *l1 = aligned_alloc(64, sizeof(*l1));

	if (!l1)
		return mem_alloc(SIZE_MAX / 2); /* reports and aborts */
	memset(l1, 0, sizeof(*l1));
	l1->readers = readers;
	l1->eviction = eviction_new(0, EVICTION_ADAPTIVE);
	return l1;
}

void
l1_free(struct l1 *l1)
{
	if (!l1)
		return;
	for (unsigned i = 0; i < SHARDS; i++)
		l1_index_fini(&l1->shards[i].index, readers_heap(l1->readers));
	eviction_free(l1->eviction);
	free(l1);
}

static struct l1_index *
index_of(const struct l1 *l1, uint32_t hash)
{
	return (struct l1_index *)(uintptr_t)&l1->shards[hash % SHARDS].index;
}

/* For the writer: the entry of a number that is held. */
static struct entry *
entry_at(const struct l1 *l1, uint32_t number)
{
	uint32_t hash = eviction_hash(l1->eviction, number);
	return l1_index_at(index_of(l1, hash), hash, number);
}

/* ---- readers ---- */

void
l1_expect(const struct l1 *l1, uint32_t hash)
{
	l1_index_expect(index_of(l1, hash), hash);
}

const struct entry *
l1_approach(const struct l1 *l1, uint32_t hash)
{
	return l1_index_approach(index_of(l1, hash), hash);
}

void
l1_arrive(const struct l1 *l1, const struct entry *approached)
{
	if (approached)
		eviction_expect_use(l1->eviction, entry_number(approached));
}

const struct entry *
l1_look(const struct l1 *l1, uint32_t hash, const char *key, size_t length)
{
	return l1_index_find(index_of(l1, hash), hash, key, length);
}

void
l1_use(struct l1 *l1, struct reader *reader, uint32_t hash, const struct entry *entry)
{
	struct use last = reader->use;

	reader->use = (struct use){l1, entry_number(entry), hash};
	eviction_expect_use(l1->eviction, reader->use.number);
	if (last.l1)
		eviction_use(last.l1->eviction, last.number, last.hash);
}

/* ---- the writer ---- */

/* An entry came (1) or went (-1). */
static void
count_entry(struct l1 *l1, const struct entry *entry, int64_t entries)
{
	uint64_t units = (uint64_t)(entries * (int64_t)entry_units(entry));

	atomic_fetch_add_explicit(&l1->units, units, memory_order_relaxed);
	atomic_fetch_add_explicit(&l1->count, (uint64_t)entries, memory_order_relaxed);
	if (entry_is_negative(entry)) {
		l1->negative_units += units;
		l1->negative_count += (uint64_t)entries;
	}
}

const struct entry *
l1_find(const struct l1 *l1, uint32_t hash, const char *key, size_t length)
{
	return l1_index_find(index_of(l1, hash), hash, key, length);
}

static void
retire(struct l1 *l1, struct entry *entry)
{
	count_entry(l1, entry, -1);
	readers_retire(l1->readers, entry, heap_block_size(entry));
}

static void
replace(struct l1 *l1, uint32_t hash, uint32_t number, struct entry *entry)
{
	entry_set_number(entry, number);
	count_entry(l1, entry, 1);
	eviction_resize(l1->eviction, number, entry_units(entry));
	eviction_mark(l1->eviction, number, entry_is_negative(entry));
	eviction_use(l1->eviction, number, hash);
	retire(l1, l1_index_replace(index_of(l1, hash), hash, entry));
}

void
l1_put(struct l1 *l1, uint32_t hash, struct entry *entry)
{
	struct entry_parts parts;

	entry_read(entry, &parts);
	const struct entry *old = l1_find(l1, hash, parts.key, parts.key_length);
	if (old) {
		replace(l1, hash, entry_number(old), entry);
		return;
	}
	if (eviction_count(l1->eviction) >= ENTRIES_MAX)
		l1_evict(l1);
	uint32_t number = eviction_add(l1->eviction, hash, entry_units(entry));
	eviction_mark(l1->eviction, number, entry_is_negative(entry));
	entry_set_number(entry, number);
	count_entry(l1, entry, 1);
	l1_index_add(index_of(l1, hash), l1->eviction, l1->readers, hash, entry);
}

bool
l1_set_fresh(struct l1 *l1, uint32_t hash, const char *key, size_t length, uint64_t fresh_ms)
{
	struct entry *entry = l1_index_find(index_of(l1, hash), hash, key, length);

	if (entry)
		entry_set_fresh(entry, fresh_ms);
	return entry != NULL;
}

/* Takes the entry of a number out of the index, whether or not the eviction holds it still. */
static void
unlink_number(struct l1 *l1, uint32_t number)
{
	uint32_t hash = eviction_hash(l1->eviction, number);

	retire(l1, l1_index_remove(index_of(l1, hash), l1->eviction, l1->readers, hash, number));
}

static void
remove_number(struct l1 *l1, uint32_t number)
{
	unlink_number(l1, number);
	eviction_remove(l1->eviction, number);
}

bool
l1_remove(struct l1 *l1, uint32_t hash, const char *key, size_t length)
{
	const struct entry *entry = l1_find(l1, hash, key, length);

	if (entry)
		remove_number(l1, entry_number(entry));
	return entry != NULL;
}

/* What leaves is as full as it may be: policies take their parts of that. */
bool
l1_evict(struct l1 *l1)
{
	eviction_set_max(l1->eviction, eviction_size(l1->eviction));
	uint32_t number = eviction_evict(l1->eviction);

	if (number == EVICTION_NONE)
		return false;
	unlink_number(l1, number);
	return true;
}

bool
l1_evict_negative(struct l1 *l1)
{
	uint32_t end = eviction_entries_end(l1->eviction);

	for (unsigned tried = 0; tried < PLACES_TRIED && l1->negative_count > 0; tried++) {
		uint32_t number = l1->negative_cursor < end ? l1->negative_cursor : 0;
		l1->negative_cursor = number + 1;
		if (!eviction_is_marked(l1->eviction, number))
			continue;
		remove_number(l1, number);
		return true;
	}
	return false;
}

bool
l1_sweep(struct l1 *l1, uint32_t *cursor, uint32_t count, l1_keep_fn *keep, void *arg)
{
	uint32_t end = eviction_entries_end(l1->eviction);

	for (; count > 0 && *cursor < end; count--, ++*cursor)
		if (eviction_holds(l1->eviction, *cursor) && !keep(arg, entry_at(l1, *cursor)))
			remove_number(l1, *cursor);
	if (*cursor < end)
		return true;
	*cursor = 0;
	return false;
}

static bool
keep_none(void *arg, const struct entry *entry)
{
	(void)arg;
	(void)entry;
	return false;
}

void
l1_clear(struct l1 *l1)
{
	uint32_t cursor = 0;
	l1_sweep(l1, &cursor, UINT32_MAX, keep_none, NULL);
}

/* ---- figures ---- */

uint64_t
l1_bytes(const struct l1 *l1)
{
	return atomic_load_explicit(&l1->units, memory_order_relaxed) * ENTRY_UNIT_BYTES;
}

uint64_t
l1_count(const struct l1 *l1)
{
	return atomic_load_explicit(&l1->count, memory_order_relaxed);
}

struct l1_part
l1_negatives(const struct l1 *l1)
{
	return (struct l1_part){l1->negative_units * ENTRY_UNIT_BYTES, l1->negative_count};
}

size_t
l1_overhead(const struct l1 *l1)
{
	size_t bytes = sizeof(*l1) + eviction_overhead(l1->eviction);

	for (unsigned i = 0; i < SHARDS; i++)
		bytes += l1_index_bytes(&l1->shards[i].index);
	return bytes;
}
