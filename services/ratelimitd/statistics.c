/*
 * statistics: see statistics.h. A chained hash table under one lock a stripe.
 */
#include "statistics.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define STRIPES    16u
#define BUCKETS    256u /* of a stripe */
#define LIMITS_MAX 10000u
#define TOP        32u
#define KEY_TEXT   64u

struct top {
	uint64_t hash, total, throttled;
	char key[KEY_TEXT];
};

struct item {
	struct item *next;
	uint64_t hash;
	uint64_t total, throttled, shadow, degraded, waited_ms;
	size_t top_count;
	struct top top[TOP];
	char tenant[64], limit[72];
};

struct stripe {
	pthread_mutex_t lock;
	struct item *buckets[BUCKETS];
	size_t count;
} __attribute__((aligned(64)));

struct statistics {
	struct stripe stripes[STRIPES];
};

struct statistics *
statistics_new(void)
{
	struct statistics *statistics = aligned_alloc(64, sizeof(*statistics));
	if (!statistics)
		return mem_alloc(SIZE_MAX / 2); /* reports and aborts */
	memset(statistics, 0, sizeof(*statistics));
	for (size_t i = 0; i < STRIPES; i++)
		pthread_mutex_init(&statistics->stripes[i].lock, NULL);
	return statistics;
}

void
statistics_free(struct statistics *statistics)
{
	for (size_t s = 0; statistics && s < STRIPES; s++) {
		for (size_t b = 0; b < BUCKETS; b++) {
			for (struct item *item = statistics->stripes[s].buckets[b], *next; item; item = next) {
				next = item->next;
				mem_free(item);
			}
		}
		pthread_mutex_destroy(&statistics->stripes[s].lock);
	}
	free(statistics);
}

/* Under the stripe's lock. NULL when there are too many limits. */
static struct item *
item_for(struct stripe *stripe, uint64_t hash, const char *tenant, const char *limit)
{
	struct item **bucket = &stripe->buckets[(hash >> 8) % BUCKETS];
	for (struct item *item = *bucket; item; item = item->next)
		if (item->hash == hash && strcmp(item->limit, limit) == 0 && strcmp(item->tenant, tenant) == 0)
			return item;
	if (stripe->count >= LIMITS_MAX / STRIPES)
		return NULL;
	struct item *item = mem_alloc(sizeof(*item));
	item->hash = hash;
	snprintf(item->tenant, sizeof(item->tenant), "%s", tenant);
	snprintf(item->limit, sizeof(item->limit), "%s", limit);
	item->next = *bucket;
	*bucket = item;
	stripe->count++;
	return item;
}

/* The sketch's counter of a key: a new key inherits the smallest one's count. */
static struct top *
top_for(struct item *item, uint64_t hash, const char *key)
{
	struct top *least = &item->top[0];
	for (size_t i = 0; i < item->top_count; i++) {
		if (item->top[i].hash == hash)
			return &item->top[i];
		if (item->top[i].total < least->total)
			least = &item->top[i];
	}
	if (item->top_count < TOP) {
		least = &item->top[item->top_count++];
		least->total = least->throttled = 0;
	}
	least->hash = hash;
	size_t size = strnlen(key, sizeof(least->key) - 1);
	memcpy(least->key, key, size);
	least->key[size] = '\0';
	return least;
}

void
statistics_note(struct statistics *statistics, const char *tenant, const char *limit, const char *key,
                const struct outcome *outcome)
{
	uint64_t hash = hash_mix64(hash_table64(tenant, strlen(tenant)), hash_table64(limit, strlen(limit)));
	uint64_t key_hash = hash_table64(key, strlen(key));
	struct stripe *stripe = &statistics->stripes[hash % STRIPES];

	pthread_mutex_lock(&stripe->lock);
	struct item *item = item_for(stripe, hash, tenant, limit);
	if (item) {
		struct top *top = top_for(item, key_hash, key);
		uint64_t decisions = outcome->decisions;
		top->total += decisions;
		top->throttled += outcome->is_throttled ? decisions : 0;
		item->total += decisions;
		item->throttled += outcome->is_throttled ? decisions : 0;
		item->shadow += outcome->is_shadow_throttled ? decisions : 0;
		item->degraded += outcome->is_degraded ? decisions : 0;
		item->waited_ms += outcome->waited_ms;
	}
	pthread_mutex_unlock(&stripe->lock);
}

static int
by_total(const void *a, const void *b)
{
	const Corbel__V1__TopKey *left = *(Corbel__V1__TopKey *const *)a,
	                         *right = *(Corbel__V1__TopKey *const *)b;
	return left->total < right->total ? 1 : left->total > right->total ? -1 : 0;
}

static Corbel__V1__LimitStatistics *
to_message(const struct item *item, struct arena *arena)
{
	Corbel__V1__LimitStatistics *out = ARENA_NEW(arena, Corbel__V1__LimitStatistics);

	corbel__v1__limit_statistics__init(out);
	out->limit = arena_strdup(arena, item->limit);
	out->has_total = out->has_throttled = out->has_shadow_throttled = out->has_degraded = out->has_waited_ms =
	    true;
	out->total = item->total;
	out->throttled = item->throttled;
	out->shadow_throttled = item->shadow;
	out->degraded = item->degraded;
	out->waited_ms = item->waited_ms;
	out->n_top_keys = item->top_count;
	out->top_keys = ARENA_ARRAY(arena, Corbel__V1__TopKey *, item->top_count + 1);
	for (size_t i = 0; i < item->top_count; i++) {
		Corbel__V1__TopKey *key = ARENA_NEW(arena, Corbel__V1__TopKey);
		corbel__v1__top_key__init(key);
		key->key = arena_strdup(arena, item->top[i].key);
		key->has_total = key->has_throttled = true;
		key->total = item->top[i].total;
		key->throttled = item->top[i].throttled;
		out->top_keys[i] = key;
	}
	qsort(out->top_keys, out->n_top_keys, sizeof(void *), by_total);
	return out;
}

void
statistics_read(struct statistics *statistics, const char *tenant, const char *limit, struct arena *arena,
                Corbel__V1__StatisticsReply *out)
{
	const size_t max = 200; /* limits in one reply */

	out->limits = ARENA_ARRAY(arena, Corbel__V1__LimitStatistics *, max);
	for (size_t s = 0; s < STRIPES; s++) {
		struct stripe *stripe = &statistics->stripes[s];
		pthread_mutex_lock(&stripe->lock);
		for (size_t b = 0; b < BUCKETS; b++)
			for (const struct item *item = stripe->buckets[b]; item && out->n_limits < max; item = item->next)
				if (strcmp(item->tenant, tenant) == 0 &&
				    (!limit || !limit[0] || strcmp(item->limit, limit) == 0))
					out->limits[out->n_limits++] = to_message(item, arena);
		pthread_mutex_unlock(&stripe->lock);
	}
}
