/*
 * ghost: keys that were evicted lately, by 16 bits of their hash.
 *
 * Remembers about as many of the latest as it is told to and takes little more than 2 bytes for each. Two
 * keys of one mark are one, which happens to one key in two thousand: a cache that is told "seen before"
 * wrongly keeps an entry too long, no more. One thread at a time.
 */
#ifndef CORBEL_CACHED_GHOST_H
#define CORBEL_CACHED_GHOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ghost;

struct ghost *ghost_new(void);
void ghost_free(struct ghost *ghost);
/* How many of the latest are remembered. Going far beyond or below what it was forgets them all. */
void ghost_set_span(struct ghost *ghost, uint32_t span);
void ghost_add(struct ghost *ghost, uint32_t hash);
/* True when it is remembered; it is forgotten then. */
bool ghost_take(struct ghost *ghost, uint32_t hash);
size_t ghost_bytes(const struct ghost *ghost);

#endif
