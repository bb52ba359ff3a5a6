/*
 * sequence_map: the latest sequence number of each of many things, known by a 64-bit hash, in bounded memory.
 *
 * Numbers are put in rising order. When it is full the older half goes, and the caller hears up to which
 * number anything may be missing from then on. One thread at a time; several may read.
 */
#ifndef CORBEL_CACHED_SEQUENCE_MAP_H
#define CORBEL_CACHED_SEQUENCE_MAP_H

#include <stddef.h>
#include <stdint.h>

struct sequence_half {
	struct sequence_slot *slots;
	size_t capacity, count;
	uint64_t newest; /* number in it */
};

struct sequence_map {
	struct sequence_half young, old;
	size_t half_max;
	uint64_t seed;
};

/* `seed` places the hashes, which may come from outside. */
void sequence_map_init(struct sequence_map *map, size_t max, uint64_t seed);
void sequence_map_fini(struct sequence_map *map);
/* Returns 0, or the highest number that was forgotten. */
uint64_t sequence_map_put(struct sequence_map *map, uint64_t hash, uint64_t sequence);
/* 0: not known. */
uint64_t sequence_map_get(const struct sequence_map *map, uint64_t hash);
/* Numbers up to this one matter no more. */
void sequence_map_forget(struct sequence_map *map, uint64_t sequence);
size_t sequence_map_bytes(const struct sequence_map *map);

#endif
