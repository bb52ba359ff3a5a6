/*
 * hot_keys: see hot_keys.h. 64 counters are looked through one after the other: eight cache lines.
 */
#include "hot_keys.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

#define HALVE_AT (UINT64_C(1) << 24) /* of everything seen */

struct counted {
	char *key;
	size_t length;
	uint64_t count, error;
};

struct hot_keys {
	pthread_mutex_t lock; /* guards what follows */
	uint64_t hashes[HOT_KEYS];
	struct counted counted[HOT_KEYS];
	size_t count;
	uint64_t total;
	_Atomic size_t key_bytes; /* read without the lock, too */
};

struct hot_keys *
hot_keys_new(void)
{
	struct hot_keys *keys = mem_alloc(sizeof(*keys));

	pthread_mutex_init(&keys->lock, NULL);
	return keys;
}

static void
forget_all(struct hot_keys *keys)
{
	for (size_t i = 0; i < keys->count; i++)
		mem_free(keys->counted[i].key);
	memset(keys->counted, 0, sizeof(keys->counted));
	keys->count = 0;
	keys->total = 0;
	atomic_store_explicit(&keys->key_bytes, 0, memory_order_relaxed);
}

size_t
hot_keys_bytes(const struct hot_keys *keys)
{
	return sizeof(*keys) + atomic_load_explicit(&keys->key_bytes, memory_order_relaxed);
}

void
hot_keys_clear(struct hot_keys *keys)
{
	pthread_mutex_lock(&keys->lock);
	forget_all(keys);
	pthread_mutex_unlock(&keys->lock);
}

void
hot_keys_free(struct hot_keys *keys)
{
	if (!keys)
		return;
	forget_all(keys);
	pthread_mutex_destroy(&keys->lock);
	mem_free(keys);
}

static size_t
least(const struct hot_keys *keys)
{
	size_t at = 0;
	for (size_t i = 1; i < keys->count; i++)
		if (keys->counted[i].count < keys->counted[at].count)
			at = i;
	return at;
}

/* A new key takes the place of the least, and its count as the error of its own. */
static size_t
place_for(struct hot_keys *keys, uint64_t hash, const char *key, size_t length)
{
	size_t at = keys->count < HOT_KEYS ? keys->count++ : least(keys);
	struct counted *counted = &keys->counted[at];

	atomic_fetch_add_explicit(&keys->key_bytes, length - counted->length, memory_order_relaxed);
	counted->key = mem_resize(counted->key, length + 1, 1);
	memcpy(counted->key, key, length);
	counted->key[length] = '\0';
	counted->length = length;
	counted->error = counted->count;
	keys->hashes[at] = hash;
	return at;
}

static void
halve(struct hot_keys *keys)
{
	for (size_t i = 0; i < keys->count; i++) {
		keys->counted[i].count /= 2;
		keys->counted[i].error /= 2;
	}
	keys->total /= 2;
}

void
hot_keys_see(struct hot_keys *keys, uint64_t hash, const char *key, size_t length, uint64_t weight)
{
	size_t at = 0;

	if (pthread_mutex_trylock(&keys->lock) != 0)
		return;
	while (at < keys->count && keys->hashes[at] != hash)
		at++;
	if (at == keys->count)
		at = place_for(keys, hash, key, length);
	keys->counted[at].count += weight;
	keys->total += weight;
	if (keys->total >= HALVE_AT)
		halve(keys);
	pthread_mutex_unlock(&keys->lock);
}

static int
by_count(const void *a, const void *b)
{
	const struct hot_key *left = a, *right = b;
	return left->gets < right->gets ? 1 : left->gets > right->gets ? -1 : 0;
}

size_t
hot_keys_list(struct hot_keys *keys, struct hot_key *out, size_t count, struct arena *arena)
{
	struct hot_key all[HOT_KEYS];

	pthread_mutex_lock(&keys->lock);
	for (size_t i = 0; i < keys->count; i++) {
		const struct counted *counted = &keys->counted[i];
		char *key = arena_try(arena, 1, counted->length + 1);
		if (key)
			memcpy(key, counted->key, counted->length);
		all[i] = (struct hot_key){key ? key : "", key ? counted->length : 0, counted->count, counted->error};
	}
	size_t held = keys->count;
	pthread_mutex_unlock(&keys->lock);
	qsort(all, held, sizeof(all[0]), by_count);
	if (count > held)
		count = held;
	memcpy(out, all, count * sizeof(out[0]));
	return count;
}
