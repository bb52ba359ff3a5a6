/*
 * hot_keys: which keys are asked for most, in bounded memory (Space-Saving: Metwally, Agrawal and El Abbadi,
 * ICDT 2005). What was asked for more than once in HOT_KEYS times of everything is among them, and a count
 * is at most its error too high. Counts are halved now and then, so that what was popular once is forgotten.
 *
 * Any thread; one that finds another inside goes on without counting.
 */
#ifndef CORBEL_CACHED_HOT_KEYS_H
#define CORBEL_CACHED_HOT_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "engine.h"

#define HOT_KEYS 64u

struct hot_keys;

struct hot_keys *hot_keys_new(void);
void hot_keys_free(struct hot_keys *keys);
/* Any thread. */
size_t hot_keys_bytes(const struct hot_keys *keys);
/* None was seen. */
void hot_keys_clear(struct hot_keys *keys);
void hot_keys_see(struct hot_keys *keys, uint64_t hash, const char *key, size_t length, uint64_t weight);
/* The most asked for first; keys are copied into the arena. */
size_t hot_keys_list(struct hot_keys *keys, struct hot_key *out, size_t count, struct arena *arena);

#endif
