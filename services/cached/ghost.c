/*
 * ghost: see ghost.h. Buckets of a cache line, chosen by the hash: each is a ring of 31 marks, so that
 * what comes in pushes out what has been there longest. A bucket gets its part of what is added, more or
 * less, and its rings together turn once in as many additions as there are places.
 */
#include "ghost.h"

#include "base/arena.h"

#define WAYS 31u

struct bucket {
	uint16_t hand;        /* where the next mark goes */
	uint16_t marks[WAYS]; /* 0: none */
};

_Static_assert(sizeof(struct bucket) == 64, "a cache line");

struct ghost {
	struct bucket *buckets; /* none before the first addition */
	uint32_t count, ways;
	uint32_t span;
};

struct ghost *
ghost_new(void)
{
	return mem_alloc(sizeof(struct ghost));
}

void
ghost_free(struct ghost *ghost)
{
	if (!ghost)
		return;
	mem_free(ghost->buckets);
	mem_free(ghost);
}

size_t
ghost_bytes(const struct ghost *ghost)
{
	return sizeof(*ghost) + (size_t)ghost->count * sizeof(struct bucket);
}

static struct bucket *
bucket_of(const struct ghost *ghost, uint32_t hash)
{
	uint32_t mixed = hash * UINT32_C(0x9E3779B1);
	return &ghost->buckets[(uint64_t)mixed * ghost->count >> 32];
}

static uint16_t
mark_of(uint32_t hash)
{
	uint16_t mark = (uint16_t)(hash ^ hash >> 16);
	return mark ? mark : 1;
}

static void
resize(struct ghost *ghost)
{
	mem_free(ghost->buckets);
	ghost->count = ghost->span / WAYS + 1;
	ghost->ways = ghost->span < WAYS ? ghost->span + 1 : WAYS;
	ghost->buckets = mem_array(ghost->count, sizeof(struct bucket));
}

void
ghost_set_span(struct ghost *ghost, uint32_t span)
{
	uint64_t places = (uint64_t)ghost->count * ghost->ways;

	ghost->span = span;
	/* Marks say too little to move them to other buckets. */
	if (ghost->buckets && (span > places + places / 4 || span < places / 2))
		resize(ghost);
}

void
ghost_add(struct ghost *ghost, uint32_t hash)
{
	if (!ghost->buckets)
		resize(ghost);
	struct bucket *bucket = bucket_of(ghost, hash);
	bucket->marks[bucket->hand] = mark_of(hash);
	bucket->hand = (uint16_t)((bucket->hand + 1u) % ghost->ways);
}

bool
ghost_take(struct ghost *ghost, uint32_t hash)
{
	if (!ghost->buckets)
		return false;
	struct bucket *bucket = bucket_of(ghost, hash);
	for (uint32_t i = 0; i < ghost->ways; i++) {
		if (bucket->marks[i] != mark_of(hash))
			continue;
		bucket->marks[i] = 0;
		return true;
	}
	return false;
}
