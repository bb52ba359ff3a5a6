/*
 * ghost: keys that were evicted lately, by 32 bits of their hash.
 *
 * Remembers about as many of the latest as it is told to, forgets the oldest first, and takes 8 bytes for
 * each place. Two keys of one hash are one: a cache that is told "seen before" wrongly keeps an entry too
 * long, no more. One thread at a time.
 */
#ifndef CORBEL_CACHED_GHOST_H
#define CORBEL_CACHED_GHOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ghost;

struct ghost *ghost_new(void);
void ghost_free(struct ghost *ghost);
/* How many of the latest are remembered; places grow with it and never shrink. */
void ghost_set_span(struct ghost *ghost, uint32_t span);
void ghost_add(struct ghost *ghost, uint32_t hash);
/* True when it is remembered; it is forgotten then. */
bool ghost_take(struct ghost *ghost, uint32_t hash);
void ghost_clear(struct ghost *ghost);
size_t ghost_bytes(const struct ghost *ghost);

#endif
