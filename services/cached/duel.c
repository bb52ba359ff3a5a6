/*
 * duel: see duel.h.
 */
#include "duel.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"

#define SAMPLE       1024u /* entries, up to half as many again */
#define ROUND_LEAST  1024u /* keys seen between two decisions */
#define MARGIN       0.002 /* of the keys seen, by which another policy has to be better */
#define DECAY        0.9   /* what a round's hits count in the next one */
#define BUCKETS_MORE 4u

/* A policy's cache of keys: an index by hash over its eviction. */
struct lane {
	struct eviction *eviction;
	uint32_t *buckets; /* entry + 1; 0: empty */
	uint32_t mask;
	double hits;
};

struct duel {
	pthread_mutex_t lock; /* guards what follows */
	struct lane lanes[EVICTION_POLICIES];
	_Atomic int policy; /* read without the lock, too */
	uint32_t seen;      /* in this round */
	double total;
	_Atomic uint32_t sample_mask; /* of the hash's bits: none set is in the sample */
	unsigned shift;
	uint64_t bytes_max;
};

static void
lane_reset(struct lane *lane, enum eviction_policy policy, uint64_t bytes_max)
{
	eviction_free(lane->eviction);
	mem_free(lane->buckets);
	lane->eviction = eviction_new(bytes_max, policy);
	lane->mask = SAMPLE * BUCKETS_MORE - 1;
	lane->buckets = mem_array(lane->mask + 1, sizeof(lane->buckets[0]));
}

static void
reset(struct duel *duel)
{
	uint64_t bytes_max = duel->bytes_max >> duel->shift;

	for (int i = 0; i < EVICTION_POLICIES; i++)
		lane_reset(&duel->lanes[i], (enum eviction_policy)i, bytes_max > 0 ? bytes_max : 1);
	atomic_store_explicit(&duel->sample_mask, (1u << duel->shift) - 1, memory_order_relaxed);
}

struct duel *
duel_new(uint32_t entries, uint64_t bytes_max)
{
	struct duel *duel = mem_alloc(sizeof(*duel));

	pthread_mutex_init(&duel->lock, NULL);
	duel->bytes_max = bytes_max;
	while (entries >> duel->shift > SAMPLE + SAMPLE / 2)
		duel->shift++;
	atomic_init(&duel->policy, EVICTION_CLOCK);
	reset(duel);
	return duel;
}

void
duel_free(struct duel *duel)
{
	if (!duel)
		return;
	for (int i = 0; i < EVICTION_POLICIES; i++) {
		eviction_free(duel->lanes[i].eviction);
		mem_free(duel->lanes[i].buckets);
	}
	pthread_mutex_destroy(&duel->lock);
	mem_free(duel);
}

size_t
duel_overhead(const struct duel *duel)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&duel->lock;
	size_t bytes = sizeof(*duel);

	pthread_mutex_lock(lock);
	for (int i = 0; i < EVICTION_POLICIES; i++)
		bytes += eviction_overhead(duel->lanes[i].eviction) +
		         (duel->lanes[i].mask + 1) * sizeof(duel->lanes[i].buckets[0]);
	pthread_mutex_unlock(lock);
	return bytes;
}

/* ---- a lane ---- */

/* Where the hash's bucket is, or the empty one where it would be. */
static uint32_t
lane_probe(const struct lane *lane, uint32_t hash)
{
	uint32_t at = hash & lane->mask;

	while (lane->buckets[at] && eviction_hash(lane->eviction, lane->buckets[at] - 1) != hash)
		at = (at + 1) & lane->mask;
	return at;
}

/* Empties a bucket and moves later ones of the run back. */
static void
lane_erase(struct lane *lane, uint32_t hole)
{
	lane->buckets[hole] = 0;
	for (uint32_t at = (hole + 1) & lane->mask; lane->buckets[at]; at = (at + 1) & lane->mask) {
		uint32_t home = eviction_hash(lane->eviction, lane->buckets[at] - 1) & lane->mask;
		if (((at - home) & lane->mask) < ((at - hole) & lane->mask))
			continue;
		lane->buckets[hole] = lane->buckets[at];
		lane->buckets[at] = 0;
		hole = at;
	}
}

static void
lane_evict(struct lane *lane)
{
	uint32_t entry = eviction_evict(lane->eviction);
	lane_erase(lane, lane_probe(lane, eviction_hash(lane->eviction, entry)));
}

static bool
lane_see(struct lane *lane, uint32_t hash, uint32_t bytes)
{
	uint32_t at = lane_probe(lane, hash);

	if (lane->buckets[at]) {
		eviction_use(lane->eviction, lane->buckets[at] - 1, hash);
		return true;
	}
	/* Half of the buckets at most, whatever the sizes are. */
	if (eviction_count(lane->eviction) >= lane->mask / 2) {
		lane_evict(lane);
		at = lane_probe(lane, hash);
	}
	lane->buckets[at] = eviction_add(lane->eviction, hash, bytes) + 1;
	while (eviction_is_over(lane->eviction))
		lane_evict(lane);
	return false;
}

/* ---- the duel ---- */

static void
decide(struct duel *duel)
{
	double margin = duel->total * MARGIN;
	int best = atomic_load_explicit(&duel->policy, memory_order_relaxed);

	for (int i = 0; i < EVICTION_POLICIES; i++)
		if (duel->lanes[i].hits > duel->lanes[best].hits + margin)
			best = i;
	atomic_store_explicit(&duel->policy, best, memory_order_relaxed);
	for (int i = 0; i < EVICTION_POLICIES; i++)
		duel->lanes[i].hits *= DECAY;
	duel->total *= DECAY;
	duel->seen = 0;
}

bool
duel_wants(const struct duel *duel, uint64_t hash)
{
	/* Other bits than those that choose buckets. */
	uint32_t mask = atomic_load_explicit(&duel->sample_mask, memory_order_relaxed);
	return (((uint32_t)hash * UINT32_C(0x9E3779B1)) >> 8 & mask) == 0;
}

enum eviction_policy
duel_see(struct duel *duel, uint64_t hash, uint32_t bytes)
{
	if (pthread_mutex_trylock(&duel->lock) != 0)
		return (enum eviction_policy)atomic_load_explicit(&duel->policy, memory_order_relaxed);
	for (int i = 0; i < EVICTION_POLICIES; i++)
		duel->lanes[i].hits += lane_see(&duel->lanes[i], (uint32_t)hash, bytes);
	duel->total++;
	uint32_t count = eviction_count(duel->lanes[EVICTION_S3_FIFO].eviction);
	if (++duel->seen >= (count > ROUND_LEAST / 2 ? count * 2 : ROUND_LEAST))
		decide(duel);
	int policy = atomic_load_explicit(&duel->policy, memory_order_relaxed);
	pthread_mutex_unlock(&duel->lock);
	return (enum eviction_policy)policy;
}

/* What the lanes hold stays as far as it fits. */
static void
resize_lanes(struct duel *duel)
{
	uint64_t bytes_max = duel->bytes_max >> duel->shift;

	for (int i = 0; i < EVICTION_POLICIES; i++) {
		struct lane *lane = &duel->lanes[i];
		eviction_set_max(lane->eviction, bytes_max > 0 ? bytes_max : 1);
		while (eviction_is_over(lane->eviction))
			lane_evict(lane);
	}
}

void
duel_fit(struct duel *duel, uint32_t entries, uint64_t bytes_max)
{
	pthread_mutex_lock(&duel->lock);
	unsigned shift = duel->shift;
	while (entries >> shift > SAMPLE + SAMPLE / 2)
		shift++;
	while (shift > 0 && entries >> shift < SAMPLE / 4)
		shift--;
	bool is_other_sample = shift != duel->shift, is_other_size = bytes_max != duel->bytes_max;
	duel->shift = shift;
	duel->bytes_max = bytes_max;
	if (is_other_sample)
		reset(duel);
	else if (is_other_size)
		resize_lanes(duel);
	pthread_mutex_unlock(&duel->lock);
}
