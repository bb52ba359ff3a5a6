/*
 * ghost: see ghost.h. Buckets of a cache line: eight places, each a hash and the number of its addition.
 * What was added more than `span` additions ago counts as not there, and its place as free.
 */
#include "ghost.h"

#include <string.h>

#include "base/arena.h"

#define WAYS          8u
#define FIRST_BUCKETS 8u

struct place {
	uint32_t hash;
	uint32_t number; /* 0: empty */
};

struct ghost {
	struct place *places;
	uint32_t buckets; /* a power of two */
	uint32_t span, next;
};

struct ghost *
ghost_new(void)
{
	struct ghost *ghost = mem_alloc(sizeof(*ghost));

	ghost->buckets = FIRST_BUCKETS;
	ghost->places = mem_array((size_t)ghost->buckets * WAYS, sizeof(struct place));
	ghost->next = 1;
	return ghost;
}

void
ghost_free(struct ghost *ghost)
{
	if (!ghost)
		return;
	mem_free(ghost->places);
	mem_free(ghost);
}

size_t
ghost_bytes(const struct ghost *ghost)
{
	return sizeof(*ghost) + (size_t)ghost->buckets * WAYS * sizeof(struct place);
}

void
ghost_clear(struct ghost *ghost)
{
	memset(ghost->places, 0, (size_t)ghost->buckets * WAYS * sizeof(struct place));
	ghost->next = 1;
}

static uint32_t
age(const struct ghost *ghost, const struct place *place)
{
	return place->number ? ghost->next - place->number : UINT32_MAX;
}

static struct place *
bucket_of(const struct ghost *ghost, uint32_t hash)
{
	return &ghost->places[(size_t)(hash & (ghost->buckets - 1)) * WAYS];
}

/* The hash's own place, or the one that was added longest ago. */
static struct place *
place_for(const struct ghost *ghost, uint32_t hash)
{
	struct place *bucket = bucket_of(ghost, hash), *oldest = bucket;

	for (uint32_t i = 0; i < WAYS; i++) {
		if (bucket[i].number && bucket[i].hash == hash)
			return &bucket[i];
		if (age(ghost, &bucket[i]) > age(ghost, oldest))
			oldest = &bucket[i];
	}
	return oldest;
}

void
ghost_set_span(struct ghost *ghost, uint32_t span)
{
	uint32_t old_buckets = ghost->buckets;
	struct place *old = ghost->places;

	ghost->span = span;
	/* Half as many places again as are in use: few buckets overflow before their oldest is due anyway. */
	while ((uint64_t)ghost->buckets * WAYS * 2 < (uint64_t)span * 3 && ghost->buckets < 1u << 28)
		ghost->buckets *= 2;
	if (ghost->buckets == old_buckets)
		return;
	ghost->places = mem_array((size_t)ghost->buckets * WAYS, sizeof(struct place));
	for (size_t i = 0; i < (size_t)old_buckets * WAYS; i++)
		if (age(ghost, &old[i]) <= span)
			*place_for(ghost, old[i].hash) = old[i];
	mem_free(old);
}

void
ghost_add(struct ghost *ghost, uint32_t hash)
{
	if (ghost->next >= UINT32_MAX / 2) /* numbers begin anew, and with them the memory */
		ghost_clear(ghost);
	*place_for(ghost, hash) = (struct place){.hash = hash, .number = ghost->next++};
}

bool
ghost_take(struct ghost *ghost, uint32_t hash)
{
	struct place *place = place_for(ghost, hash);

	if (!place->number || place->hash != hash || age(ghost, place) > ghost->span)
		return false;
	place->number = 0;
	return true;
}
