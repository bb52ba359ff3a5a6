/*
 * invalidations: what was invalidated in a space, by sequence number.
 *
 * An entry is dead when its version is lower than the number of any invalidation that covers it: of the whole
 * space (the floor), of one of its tags, of a path prefix of its key, of a pattern. Only numbers are
 * compared, never clocks.
 *
 * Memory is bounded. Beyond the bound of tags, prefixes or patterns the oldest are forgotten and the floor
 * rises to the last of them, which kills what is older: too much, never too little. Who has looked through
 * all entries says so (invalidations_forget()), and what they were looked at for is forgotten without that.
 *
 * One thread at a time changes it, any number look.
 */
#ifndef CORBEL_CACHED_INVALIDATIONS_H
#define CORBEL_CACHED_INVALIDATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define INVALIDATIONS_GLOBS_MAX 1024u
#define INVALIDATIONS_DEPTH_MAX 32u /* segments of a path prefix that count */

struct invalidations;

/* What is asked about. */
struct subject {
	const char *key;
	size_t key_length;
	const uint64_t *tags; /* tag_hash() of each */
	size_t tag_count;
};

/* `names_max`: tags, and as many prefixes. */
struct invalidations *invalidations_new(size_t names_max, uint64_t seed);
void invalidations_free(struct invalidations *invalidations);

uint64_t tag_hash(const char *tag, size_t length);
/* The part of a prefix that counts: its first segments, without slashes at the end. */
size_t invalidations_prefix_length(const char *prefix, size_t length);
/* "a/b", "a/b/" and "a/b//" are the same; 0: "", "/" and the like, which cover everything. */
uint64_t prefix_hash(const char *prefix, size_t length);
/* Those of all prefixes that cover a key; returns how many. */
size_t prefix_hashes_of(const char *key, size_t length, uint64_t hashes[INVALIDATIONS_DEPTH_MAX + 1]);

/* In any order of their numbers, also more than once. */
void invalidations_add_all(struct invalidations *invalidations, uint64_t sequence);
void invalidations_add_tag(struct invalidations *invalidations, uint64_t tag, uint64_t sequence);
/* "a/b", "a/b/" and "a/b//" are the same; "" and "/" are everything. */
void invalidations_add_prefix(struct invalidations *invalidations, const char *prefix, size_t length,
                              uint64_t sequence);
/* As glob_new(); nothing is added on failure. */
struct status invalidations_add_glob(struct invalidations *invalidations, const char *pattern, size_t length,
                                     uint64_t sequence);

/* True when an entry of this version is dead. */
bool invalidations_cover(const struct invalidations *invalidations, const struct subject *subject,
                         uint64_t version);
/* True when a value that was asked for at this number may be put in now. Also false when too much was
 * forgotten since to say. */
bool invalidations_allow(const struct invalidations *invalidations, const struct subject *subject,
                         uint64_t since);

/* Forgets all, for which everything that is older than the latest of them is dead. */
void invalidations_widen(struct invalidations *invalidations);
/* No dead entry is left whose version is lower than this. */
void invalidations_forget(struct invalidations *invalidations, uint64_t sequence);
/* The latest of them; an entry that is not older needs no look. 0: none. */
uint64_t invalidations_latest(const struct invalidations *invalidations);
uint64_t invalidations_floor(const struct invalidations *invalidations);
/* How many patterns a look at an entry may have to try; for whoever changes it. */
size_t invalidations_globs(const struct invalidations *invalidations);
size_t invalidations_bytes(const struct invalidations *invalidations);

#endif
