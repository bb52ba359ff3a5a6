/*
 * table: deciding over counters that lie in memory. See table.h.
 */
#include "table.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "table_internal.h"

#define SWEEP_US 100000u

struct table *
table_new(size_t max_entries, const struct clock *clock)
{
	struct table *table = aligned_alloc(64, sizeof(*table));
	if (!table)
		return mem_alloc(SIZE_MAX / 2); /* reports and aborts */
	memset(table, 0, sizeof(*table));
	table->max_entries = max_entries;
	table->clock = clock;
	table->start_us = (uint64_t)clock_wall_us(clock);
	table->start_mono_ns = clock_mono_ns(clock);
	pthread_mutex_init(&table->blocks_lock, NULL);
	for (size_t i = 0; i < SHARDS; i++)
		pthread_mutex_init(&table->shards[i].lock, NULL);
	return table;
}

void
table_free(struct table *table)
{
	if (!table)
		return;
	entries_free(table);
	for (size_t i = 0; i < SHARDS; i++)
		pthread_mutex_destroy(&table->shards[i].lock);
	pthread_mutex_destroy(&table->blocks_lock);
	free(table);
}

uint64_t
table_now_us(const struct table *table)
{
	return table->start_us + (clock_mono_ns(table->clock) - table->start_mono_ns) / 1000;
}

size_t
table_entries(const struct table *table)
{
	return atomic_load_explicit(&table->entries, memory_order_relaxed);
}

/* An index that is replaced meanwhile costs a useless fetch: a prefetch never faults. */
void
table_expect(const struct table *table, const struct table_key *key)
{
	const struct shard *shard = &table->shards[key->high >> 58];
	uintptr_t index = atomic_load_explicit(&shard->hint_index, memory_order_relaxed);
	size_t mask = atomic_load_explicit(&shard->hint_mask, memory_order_relaxed);

	__builtin_prefetch((const void *)(index + (key->low & mask) * sizeof(uint32_t)));
}

void
table_approach(struct table *table, const struct table_key *key)
{
	struct shard *shard = shard_for(table, key);

	pthread_mutex_lock(&shard->lock);
	__builtin_prefetch(entry_likely(shard, key), 1);
	pthread_mutex_unlock(&shard->lock);
}

/* The counter of an item; one of another strategy is a limit that was redefined: it starts anew. */
static struct entry *
entry_for(struct table *table, struct shard *shard, const struct table_item *item, uint64_t now_us)
{
	struct entry *entry = entry_find(shard, &item->key);
	if (!entry)
		entry = entry_insert(table, shard, &item->key, (uint8_t)item->rule->strategy, now_us);
	if (!entry)
		return NULL;
	if (entry->strategy != (uint8_t)item->rule->strategy) {
		struct table_key key = entry->key;
		entry_clear(entry);
		entry->key = key;
		entry->strategy = (uint8_t)item->rule->strategy;
		entry->counter.expires_us = now_us + 1;
	}
	entry->is_durable = item->rule->window_us >= TABLE_DURABLE_US;
	return entry;
}

/* Shards of the items as bits: locking from the lowest up is the locks' order. */
static uint64_t
shards_of(const struct table_item *items, size_t count)
{
	uint64_t shards = 0;
	for (size_t i = 0; i < count; i++)
		shards |= UINT64_C(1) << (items[i].key.high >> 58);
	return shards;
}

static void
lock_all(struct table *table, uint64_t shards)
{
	for (; shards; shards &= shards - 1)
		pthread_mutex_lock(&table->shards[__builtin_ctzll(shards)].lock);
}

static void
unlock_all(struct table *table, uint64_t shards)
{
	for (; shards; shards &= shards - 1)
		pthread_mutex_unlock(&table->shards[__builtin_ctzll(shards)].lock);
}

/* Takes back items [0, count) from the last to the first; a refused one took nothing. */
static void
undo(struct table *table, struct table_item *items, const struct counter *before, size_t count)
{
	while (count-- > 0) {
		struct entry *entry = entry_find(shard_for(table, &items[count].key), &items[count].key);
		counter_undo(items[count].rule, &entry->counter, &before[count], items[count].cost);
	}
}

/* The state of each after nothing was taken. What refused keeps its own decision. */
static void
look_again(struct table *table, struct table_item *items, size_t count, uint64_t now_us)
{
	for (size_t i = 0; i < count; i++) {
		struct entry *entry = entry_find(shard_for(table, &items[i].key), &items[i].key);
		struct decision seen;
		struct counter copy = entry->counter;
		bool is_log = items[i].rule->strategy == STRATEGY_SLIDING_LOG;
		counter_take(items[i].rule, is_log ? &entry->counter : &copy, now_us, 0, &seen);
		if (!items[i].decision.is_allowed)
			continue;
		seen.delay_us = 0;
		items[i].decision = seen;
	}
}

static enum table_result
take_locked(struct table *table, struct table_item *items, size_t count, uint64_t now_us)
{
	struct counter before[TABLE_ITEMS_MAX];
	struct entry *entry = NULL;
	bool is_allowed = true;
	size_t done = 0;

	/* Inserting may move others, so pointers are looked up again when they are needed. */
	for (size_t i = 0; i < count; i++)
		if (!entry_for(table, shard_for(table, &items[i].key), &items[i], now_us))
			return TABLE_FULL;
	for (; done < count; done++) {
		entry = entry_find(shard_for(table, &items[done].key), &items[done].key);
		before[done] = entry->counter;
		counter_take(items[done].rule, &entry->counter, now_us, items[done].cost, &items[done].decision);
		is_allowed = is_allowed && items[done].decision.is_allowed;
		if (!items[done].decision.is_allowed)
			items[done].cost = 0; /* took nothing: nothing to undo */
	}
	if (!is_allowed) {
		undo(table, items, before, count);
		look_again(table, items, count, now_us);
		return TABLE_REFUSED;
	}
	for (size_t i = 0; i < count; i++)
		if (items[i].cost > 0 && items[i].rule->window_us >= TABLE_DURABLE_US)
			entry_mark_dirty(shard_for(table, &items[i].key),
			                 entry_find(shard_for(table, &items[i].key), &items[i].key));
	return TABLE_OK;
}

/* One counter: no snapshot, no second look-up. */
static enum table_result
take_one(struct table *table, struct table_item *item, uint64_t now_us)
{
	struct shard *shard = shard_for(table, &item->key);
	struct entry *entry = entry_for(table, shard, item, now_us);
	if (!entry)
		return TABLE_FULL;
	counter_take(item->rule, &entry->counter, now_us, item->cost, &item->decision);
	if (item->decision.is_allowed && item->cost > 0)
		entry_mark_dirty(shard, entry);
	return item->decision.is_allowed ? TABLE_OK : TABLE_REFUSED;
}

static enum table_result
take(struct table *table, struct table_item *items, size_t count, uint64_t now_us)
{
	uint64_t shards = shards_of(items, count);

	lock_all(table, shards);
	enum table_result result =
	    count == 1 ? take_one(table, items, now_us) : take_locked(table, items, count, now_us);
	unlock_all(table, shards);
	return result;
}

/* A full table is looked through for what has expired, by one caller, and not again within SWEEP_US. */
static bool
may_sweep(struct table *table, uint64_t now_us)
{
	uint64_t swept_us = atomic_load(&table->swept_us);
	return now_us - swept_us >= SWEEP_US &&
	       atomic_compare_exchange_strong(&table->swept_us, &swept_us, now_us);
}

enum table_result
table_take(struct table *table, struct table_item *items, size_t count)
{
	uint64_t now_us = table_now_us(table);
	enum table_result result = take(table, items, count, now_us);

	if (result == TABLE_FULL && may_sweep(table, now_us)) {
		entries_sweep(table, now_us);
		result = take(table, items, count, now_us);
	}
	return result;
}

/* What one operation does to a counter under its lock. */
struct change {
	enum { GIVE_BACK, REPORT } kind;
	bool is_throttled;
	uint32_t latency_ms;
};

static enum table_result
apply(struct table *table, struct table_item *item, const struct change *change)
{
	uint64_t now_us = table_now_us(table);
	struct shard *shard = shard_for(table, &item->key);

	pthread_mutex_lock(&shard->lock);
	struct entry *entry = entry_for(table, shard, item, now_us);
	if (entry) {
		if (change->kind == GIVE_BACK)
			counter_give_back(item->rule, &entry->counter, now_us, item->cost);
		else
			counter_report(item->rule, &entry->counter, now_us, change->is_throttled, change->latency_ms);
		counter_take(item->rule, &entry->counter, now_us, 0, &item->decision);
		entry_mark_dirty(shard, entry);
	}
	pthread_mutex_unlock(&shard->lock);
	return entry ? TABLE_OK : TABLE_FULL;
}

enum table_result
table_give_back(struct table *table, struct table_item *item)
{
	return apply(table, item, &(struct change){.kind = GIVE_BACK});
}

enum table_result
table_report(struct table *table, struct table_item *item, bool is_throttled, uint32_t latency_ms)
{
	return apply(table, item,
	             &(struct change){.kind = REPORT, .is_throttled = is_throttled, .latency_ms = latency_ms});
}

void
table_reset(struct table *table, struct table_item *item)
{
	uint64_t now_us = table_now_us(table);
	struct shard *shard = shard_for(table, &item->key);
	struct counter fresh = {.expires_us = 0};

	pthread_mutex_lock(&shard->lock);
	struct entry *entry = entry_find(shard, &item->key);
	if (entry && entry->strategy == (uint8_t)item->rule->strategy) {
		counter_reset(item->rule, &entry->counter);
		entry_mark_dirty(shard, entry);
	}
	pthread_mutex_unlock(&shard->lock);
	counter_take(item->rule, &fresh, now_us, 0, &item->decision);
}
