/*
 * table: the memory store of counters.
 *
 * A counter is found by a 128-bit keyed hash of tenant, limit and key; the key's text is not kept. Two
 * keys would share a counter with a probability of 2^-64 at four billion keys.
 *
 * 64 shards, each under its own lock. A decision over several counters locks
 * their shards in rising order, takes all or nothing, and unlocks. Counters that have expired leave as
 * others come; at the bound, a new counter is refused (TABLE_FULL) rather than an old one forgotten,
 * since forgetting would admit too much.
 *
 * Counters whose window is an hour or more are marked dirty when they change: table_collect() hands them
 * to whoever keeps them.
 */
#ifndef CORBEL_RATELIMITD_TABLE_H
#define CORBEL_RATELIMITD_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "strategy.h"

#define TABLE_ITEMS_MAX  16
#define TABLE_DURABLE_US UINT64_C(3600000000)

struct table;

struct table_key {
	uint64_t high, low;
};

struct table_item {
	struct table_key key;
	const struct rule *rule;
	uint64_t cost;
	struct decision decision; /* out */
};

enum table_result { TABLE_OK, TABLE_REFUSED, TABLE_FULL };

struct table *table_new(size_t max_entries, const struct clock *clock);
void table_free(struct table *table);
/* The store's clock: wall time at the start, then monotonic. */
uint64_t table_now_us(const struct table *table);

/* The counter will be asked for soon: what leads to it is fetched meanwhile, and by the second call the
 * counter itself. Where many decisions follow each other, one after the other for all of them hides most
 * of the waiting for memory. Any thread. */
void table_expect(const struct table *table, const struct table_key *key);
void table_approach(struct table *table, const struct table_key *key);
/* All are taken, or none. In every case each decision tells the state afterwards. */
enum table_result table_take(struct table *table, struct table_item *items, size_t count);
enum table_result table_give_back(struct table *table, struct table_item *item);
void table_reset(struct table *table, struct table_item *item);
enum table_result table_report(struct table *table, struct table_item *item, bool is_throttled,
                               uint32_t latency_ms);

size_t table_entries(const struct table *table);

/* A counter as it is kept: plain bytes. */
struct table_record {
	struct table_key key;
	uint64_t expires_us;
	const void *bytes;
	size_t size;
};
/* Calls `each` for every counter that became dirty since the last time. Holds a shard's lock: `each`
 * copies and returns. */
void table_collect(struct table *table, void (*each)(void *arg, const struct table_record *record),
                   void *arg);
/* Lists a counter as dirty again: it could not be kept. */
void table_mark(struct table *table, const struct table_key *key);
/* Puts a kept counter back; false when the bytes are not one. */
bool table_restore(struct table *table, const struct table_record *record);

#endif
