/*
 * eviction: which entry leaves when a cache is full.
 *
 * Entries are numbers, handed out by eviction_add(); whoever holds the entries keeps an array beside it.
 * Three policies work on the same two queues, so one can follow another at any time:
 *
 *   S3-FIFO (Yang and others, SOSP 2023): newcomers pass a small queue, a tenth of the bytes. Who was used
 *     twice there, or comes back soon after leaving it, gets into the main queue, which forgives as many
 *     turns as an entry was used lately, three at most.
 *   CLOCK: everybody gets into the main queue at once, and one turn is forgiven if the last use was in its
 *     later half. Within half a point of LRU, without moving an entry when it is used.
 *   HOLD: the main queue, once full, admits only who was used twice in the small one. A loop larger than
 *     the cache, of which the others keep nothing, is kept as far as it fits.
 *
 * EVICTION_ADAPTIVE tries all three on a sample of the keys and follows the one that would have hit most
 * (see duel.h). It begins with CLOCK, and a policy is left only for one that is better by a margin.
 *
 * Removing leaves a hole in a queue, whose place is given back when it gets to the end, or when holes are
 * more than an eighth: so 14 bytes are enough for an entry.
 *
 * eviction_use() may be called by several threads beside each other and beside one that does anything else.
 */
#ifndef CORBEL_CACHED_EVICTION_H
#define CORBEL_CACHED_EVICTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum eviction_policy { EVICTION_S3_FIFO, EVICTION_CLOCK, EVICTION_HOLD, EVICTION_ADAPTIVE };
#define EVICTION_POLICIES 3 /* that can be in force */

#define EVICTION_NONE UINT32_MAX

#define EVICTION_SIZE_MAX ((1u << 19) - 1) /* of an entry, in the caller's unit */

struct eviction;

/* `size_max` bounds the sum of the entries' sizes. */
struct eviction *eviction_new(uint64_t size_max, enum eviction_policy policy);
void eviction_free(struct eviction *eviction);

/* Takes an entry in and returns its number: small ones first, those of entries that left are used again.
 * The caller then evicts while eviction_is_over(). `size` is at least 1. */
uint32_t eviction_add(struct eviction *eviction, uint32_t hash, uint32_t size);
/* The entry, whose hash this is, was asked for. Of one that left meanwhile it does no harm. */
void eviction_use(struct eviction *eviction, uint32_t entry, uint32_t hash);
/* It will be: fetches what that writes to. */
void eviction_expect_use(const struct eviction *eviction, uint32_t entry);
/* It has another size. */
void eviction_resize(struct eviction *eviction, uint32_t entry, uint32_t size);
/* A mark of the caller's, not set at first. */
void eviction_mark(struct eviction *eviction, uint32_t entry, bool is_marked);
/* Of any number that was given out: an entry has it now and is marked. */
bool eviction_is_marked(const struct eviction *eviction, uint32_t entry);
/* The entry leaves for another cause. */
void eviction_remove(struct eviction *eviction, uint32_t entry);

bool eviction_is_over(const struct eviction *eviction);
/* The entry that leaves, EVICTION_NONE when there are none. Its number and hash are its own until the
 * next eviction_add(). */
uint32_t eviction_evict(struct eviction *eviction);
/* Numbers that were ever given out are below it. */
uint32_t eviction_entries_end(const struct eviction *eviction);
/* False for a number that no entry has now. */
bool eviction_holds(const struct eviction *eviction, uint32_t entry);

void eviction_set_max(struct eviction *eviction, uint64_t size_max);
uint64_t eviction_size(const struct eviction *eviction);
uint32_t eviction_count(const struct eviction *eviction);
uint32_t eviction_hash(const struct eviction *eviction, uint32_t entry);
/* In force now; never EVICTION_ADAPTIVE. */
enum eviction_policy eviction_policy(const struct eviction *eviction);
/* Memory of its own. */
size_t eviction_overhead(const struct eviction *eviction);

#endif
