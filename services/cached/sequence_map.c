/*
 * sequence_map: see sequence_map.h. Two open tables: what is put goes into the young one; when that is full
 * it becomes the old one, whose predecessor is thrown away whole.
 */
#include "sequence_map.h"

#include <stdbool.h>

#include "base/arena.h"
#include "base/hash.h"

#define FIRST_CAPACITY 16u

struct sequence_slot {
	uint64_t hash, sequence; /* 0: empty */
};

void
sequence_map_init(struct sequence_map *map, size_t max, uint64_t seed)
{
	*map = (struct sequence_map){.half_max = max / 2 > 0 ? max / 2 : 1, .seed = seed};
}

static void
half_clear(struct sequence_half *half)
{
	mem_free(half->slots);
	*half = (struct sequence_half){0};
}

void
sequence_map_fini(struct sequence_map *map)
{
	half_clear(&map->young);
	half_clear(&map->old);
}

/* The hash's slot, or the empty one where it would be. */
static struct sequence_slot *
slot_of(const struct sequence_map *map, const struct sequence_half *half, uint64_t hash)
{
	size_t mask = half->capacity - 1, at = hash_mix64(hash, map->seed) & mask;

	while (half->slots[at].sequence && half->slots[at].hash != hash)
		at = (at + 1) & mask;
	return &half->slots[at];
}

static void
half_grow(const struct sequence_map *map, struct sequence_half *half)
{
	struct sequence_half grown = *half;

	grown.capacity = half->capacity ? half->capacity * 2 : FIRST_CAPACITY;
	grown.slots = mem_array(grown.capacity, sizeof(grown.slots[0]));
	for (size_t i = 0; i < half->capacity; i++)
		if (half->slots[i].sequence)
			*slot_of(map, &grown, half->slots[i].hash) = half->slots[i];
	mem_free(half->slots);
	*half = grown;
}

uint64_t
sequence_map_put(struct sequence_map *map, uint64_t hash, uint64_t sequence)
{
	uint64_t forgotten = 0;

	if (map->young.count == map->half_max) {
		forgotten = map->old.newest;
		half_clear(&map->old);
		map->old = map->young;
		map->young = (struct sequence_half){0};
	}
	if (map->young.count * 2 >= map->young.capacity)
		half_grow(map, &map->young);
	struct sequence_slot *slot = slot_of(map, &map->young, hash);
	map->young.count += slot->sequence == 0;
	*slot = (struct sequence_slot){hash, sequence > slot->sequence ? sequence : slot->sequence};
	if (sequence > map->young.newest)
		map->young.newest = sequence;
	return forgotten;
}

uint64_t
sequence_map_get(const struct sequence_map *map, uint64_t hash)
{
	uint64_t young = map->young.slots ? slot_of(map, &map->young, hash)->sequence : 0;
	uint64_t old = map->old.slots ? slot_of(map, &map->old, hash)->sequence : 0;

	return young > old ? young : old;
}

void
sequence_map_forget(struct sequence_map *map, uint64_t sequence)
{
	if (map->old.newest <= sequence)
		half_clear(&map->old);
	if (map->young.newest <= sequence)
		half_clear(&map->young);
}

size_t
sequence_map_bytes(const struct sequence_map *map)
{
	return (map->young.capacity + map->old.capacity) * sizeof(struct sequence_slot);
}
