/*
 * l1: see l1.h. The low bits of a key's hash choose the shard, the others its place in the shard's index.
 */
#include "l1.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "eviction.h"
#include "l1_index.h"

#define SHARDS       (1u << L1_INDEX_SPENT_BITS)
#define ENTRIES_MAX  (L1_INDEX_NUMBERS / 10u * 8u) /* and an eighth of holes */
#define PLACES_TRIED 65536u                        /* for one negative entry: a fifth of a millisecond */

struct shard {
	pthread_rwlock_t lock; /* the writer's exclusively; guards what follows, and this shard's entries */
	struct l1_index index;
} __attribute__((aligned(64)));

struct l1 {
	struct shard shards[SHARDS];
	struct eviction *eviction; /* items are the entries */
	_Atomic uint64_t units, count;
	/* the writer's */
	uint64_t negative_units, negative_count;
	uint32_t negative_cursor;
};

struct l1 *
l1_new(void)
{
	struct l1 *l1 = aligned_alloc(64, sizeof(*l1));

	if (!l1)
		return mem_alloc(SIZE_MAX / 2); /* reports and aborts */
	memset(l1, 0, sizeof(*l1));
	for (unsigned i = 0; i < SHARDS; i++)
		pthread_rwlock_init(&l1->shards[i].lock, NULL);
	l1->eviction = eviction_new(0, EVICTION_ADAPTIVE);
	return l1;
}

static void
free_entries(struct l1 *l1)
{
	for (uint32_t i = 0; i < eviction_entries_end(l1->eviction); i++)
		if (eviction_holds(l1->eviction, i))
			entry_free(eviction_item(l1->eviction, i));
}

void
l1_free(struct l1 *l1)
{
	if (!l1)
		return;
	free_entries(l1);
	for (unsigned i = 0; i < SHARDS; i++) {
		l1_index_fini(&l1->shards[i].index);
		pthread_rwlock_destroy(&l1->shards[i].lock);
	}
	eviction_free(l1->eviction);
	free(l1);
}

static struct shard *
shard_of(const struct l1 *l1, uint32_t hash)
{
	return (struct shard *)(uintptr_t)&l1->shards[hash % SHARDS];
}

static uint32_t
find(const struct l1 *l1, const struct shard *shard, uint32_t hash, const char *key, size_t length)
{
	return l1_index_find(&shard->index, l1->eviction, hash, key, length);
}

/* ---- readers ---- */

void
l1_expect(const struct l1 *l1, uint32_t hash)
{
	l1_index_expect(&shard_of(l1, hash)->index, hash);
}

uint32_t
l1_approach(struct l1 *l1, uint32_t hash)
{
	struct shard *shard = shard_of(l1, hash);

	pthread_rwlock_rdlock(&shard->lock);
	uint32_t entry = l1_index_guess(&shard->index, hash);
	pthread_rwlock_unlock(&shard->lock);
	if (entry != EVICTION_NONE)
		eviction_prefetch(l1->eviction, entry);
	return entry;
}

void
l1_arrive(const struct l1 *l1, uint32_t approached)
{
	if (approached != EVICTION_NONE)
		entry_prefetch(eviction_item(l1->eviction, approached));
}

bool
l1_look(struct l1 *l1, uint32_t hash, const char *key, size_t length, l1_look_fn *look, void *arg)
{
	struct shard *shard = shard_of(l1, hash);

	pthread_rwlock_rdlock(&shard->lock);
	uint32_t entry = find(l1, shard, hash, key, length);
	if (entry != EVICTION_NONE && look(arg, eviction_item(l1->eviction, entry)))
		eviction_use(l1->eviction, entry);
	pthread_rwlock_unlock(&shard->lock);
	return entry != EVICTION_NONE;
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
	uint32_t entry = find(l1, shard_of(l1, hash), hash, key, length);
	return entry == EVICTION_NONE ? NULL : eviction_item(l1->eviction, entry);
}

static void
replace(struct l1 *l1, struct shard *shard, uint32_t number, struct entry *entry)
{
	struct entry *old = eviction_item(l1->eviction, number);

	count_entry(l1, entry, 1);
	count_entry(l1, old, -1);
	pthread_rwlock_wrlock(&shard->lock);
	eviction_replace(l1->eviction, number, entry_units(entry), entry);
	pthread_rwlock_unlock(&shard->lock);
	eviction_mark(l1->eviction, number, entry_is_negative(entry));
	eviction_use(l1->eviction, number);
	entry_free(old);
}

void
l1_put(struct l1 *l1, uint32_t hash, struct entry *entry)
{
	struct shard *shard = shard_of(l1, hash);
	struct entry_parts parts;

	entry_read(entry, &parts);
	uint32_t number = find(l1, shard, hash, parts.key, parts.key_length);
	if (number != EVICTION_NONE) {
		replace(l1, shard, number, entry);
		return;
	}
	if (eviction_count(l1->eviction) >= ENTRIES_MAX)
		l1_evict(l1);
	number = eviction_add(l1->eviction, hash, entry_units(entry), entry);
	eviction_mark(l1->eviction, number, entry_is_negative(entry));
	count_entry(l1, entry, 1);
	pthread_rwlock_wrlock(&shard->lock);
	l1_index_add(&shard->index, l1->eviction, hash, number);
	pthread_rwlock_unlock(&shard->lock);
}

bool
l1_set_fresh(struct l1 *l1, uint32_t hash, const char *key, size_t length, uint64_t fresh_ms)
{
	struct shard *shard = shard_of(l1, hash);
	uint32_t number = find(l1, shard, hash, key, length);

	if (number == EVICTION_NONE)
		return false;
	pthread_rwlock_wrlock(&shard->lock);
	entry_set_fresh(eviction_item(l1->eviction, number), fresh_ms);
	pthread_rwlock_unlock(&shard->lock);
	return true;
}

/* Takes the word away, after which no reader has the entry, and frees it. */
static void
unlink_entry(struct l1 *l1, uint32_t number, struct entry *entry)
{
	uint32_t hash = eviction_hash(l1->eviction, number);
	struct shard *shard = shard_of(l1, hash);

	pthread_rwlock_wrlock(&shard->lock);
	l1_index_remove(&shard->index, l1->eviction, hash, number);
	pthread_rwlock_unlock(&shard->lock);
	count_entry(l1, entry, -1);
	entry_free(entry);
}

static void
remove_number(struct l1 *l1, uint32_t number)
{
	unlink_entry(l1, number, eviction_item(l1->eviction, number));
	eviction_remove(l1->eviction, number);
}

bool
l1_remove(struct l1 *l1, uint32_t hash, const char *key, size_t length)
{
	uint32_t number = find(l1, shard_of(l1, hash), hash, key, length);

	if (number != EVICTION_NONE)
		remove_number(l1, number);
	return number != EVICTION_NONE;
}

/* What leaves is as full as it may be: policies take their parts of that. */
bool
l1_evict(struct l1 *l1)
{
	eviction_set_max(l1->eviction, eviction_size(l1->eviction));
	uint32_t number = eviction_evict(l1->eviction);

	if (number == EVICTION_NONE)
		return false;
	unlink_entry(l1, number, eviction_item(l1->eviction, number));
	return true;
}

bool
l1_evict_negative(struct l1 *l1)
{
	uint32_t end = eviction_entries_end(l1->eviction);

	for (unsigned tried = 0; tried < PLACES_TRIED && l1->negative_count > 0; tried++) {
		uint32_t number = l1->negative_cursor < end ? l1->negative_cursor : 0;
		l1->negative_cursor = number + 1;
		if (!eviction_holds(l1->eviction, number) || !entry_is_negative(eviction_item(l1->eviction, number)))
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
		if (eviction_holds(l1->eviction, *cursor) && !keep(arg, eviction_item(l1->eviction, *cursor)))
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
