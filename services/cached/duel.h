/*
 * duel: which policy suits what is asked for now.
 *
 * Each policy runs a small cache of its own, without values, on a sample of the keys: those whose hash says
 * so, and with that part of the bytes (miniature simulation: Waldspurger and others, USENIX ATC 2017). The
 * sample is kept near a thousand entries, by halving it as the cache grows. Hits count
 * less with each round that follows, and a policy in force is left only for one that is better by a margin.
 *
 * Calls may come from several threads; duel_see() goes on without counting where it finds another inside.
 */
#ifndef CORBEL_CACHED_DUEL_H
#define CORBEL_CACHED_DUEL_H

#include "eviction.h"

struct duel;

/* For a cache that holds so many entries and may hold so many bytes. */
struct duel *duel_new(uint32_t entries, uint64_t bytes_max);
void duel_free(struct duel *duel);
/* A key was asked for, found or put in. Returns the policy to follow. */
enum eviction_policy duel_see(struct duel *duel, uint64_t hash, uint32_t bytes);
/* True when duel_see() would look at the key. */
bool duel_wants(const struct duel *duel, uint64_t hash);
/* Both are others now. */
void duel_fit(struct duel *duel, uint32_t entries, uint64_t bytes_max);
size_t duel_overhead(const struct duel *duel);

#endif
