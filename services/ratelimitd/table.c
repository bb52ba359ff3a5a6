/*
 * table: see table.h. Linear probing with backward-shift deletion: no tombstones.
 */
#include "table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "admission_log.h"
#include "base/arena.h"

#define SHARDS         64u
#define FIRST_CAPACITY 64u
#define HUGE_PAGE      (size_t)0x200000

struct entry {
	struct table_key key;
	struct counter counter;
	uint8_t strategy; /* 0: free slot */
	bool is_dirty;    /* listed in the shard's dirty keys */
	bool is_durable;
};

_Static_assert(sizeof(struct entry) == 64, "one cache line a counter");

struct shard {
	pthread_mutex_t lock;
	struct entry *entries;
	size_t capacity, count, hand;
	struct table_key *dirty;
	size_t dirty_count, dirty_capacity;
	_Atomic uintptr_t hint_entries; /* `entries` and `capacity` - 1 for table_expect(), which has no lock */
	_Atomic size_t hint_mask;
} __attribute__((aligned(64)));

struct table {
	struct shard shards[SHARDS];
	size_t max_entries;
	_Atomic size_t entries;
	const struct clock *clock;
	uint64_t start_us, start_mono_ns;
};

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
	for (size_t i = 0; i < SHARDS; i++)
		pthread_mutex_init(&table->shards[i].lock, NULL);
	return table;
}

static void
entry_free(struct entry *entry)
{
	if (entry->strategy == STRATEGY_SLIDING_LOG)
		admission_log_free(entry->counter.log.log);
	memset(entry, 0, sizeof(*entry));
}

void
table_free(struct table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < SHARDS; i++) {
		struct shard *shard = &table->shards[i];
		for (size_t e = 0; e < shard->capacity; e++)
			entry_free(&shard->entries[e]);
		free(shard->entries);
		mem_free(shard->dirty);
		pthread_mutex_destroy(&shard->lock);
	}
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

static size_t
shard_of(const struct table_key *key)
{
	return key->high >> 58;
}

static size_t
slot_of(const struct shard *shard, const struct table_key *key)
{
	return key->low & (shard->capacity - 1);
}

/* A table that is replaced meanwhile costs a useless fetch: a prefetch never faults. */
void
table_expect(const struct table *table, const struct table_key *key)
{
	const struct shard *shard = &table->shards[shard_of(key)];
	uintptr_t entries = atomic_load_explicit(&shard->hint_entries, memory_order_relaxed);
	size_t mask = atomic_load_explicit(&shard->hint_mask, memory_order_relaxed);

	__builtin_prefetch((const void *)(entries + (key->low & mask) * sizeof(struct entry)), 1);
}

static bool
is_same(const struct table_key *a, const struct table_key *b)
{
	return a->low == b->low && a->high == b->high;
}

static struct entry *
find(const struct shard *shard, const struct table_key *key)
{
	if (shard->capacity == 0)
		return NULL;
	for (size_t slot = slot_of(shard, key);; slot = (slot + 1) & (shard->capacity - 1)) {
		struct entry *entry = &shard->entries[slot];
		if (!entry->strategy)
			return NULL;
		if (is_same(&entry->key, key))
			return entry;
	}
}

/* Empties a slot and moves later ones of the run back, so that probing never meets a hole. */
static void
erase(struct table *table, struct shard *shard, struct entry *entry)
{
	size_t hole = (size_t)(entry - shard->entries), mask = shard->capacity - 1;

	entry_free(entry);
	for (size_t at = (hole + 1) & mask; shard->entries[at].strategy; at = (at + 1) & mask) {
		size_t home = slot_of(shard, &shard->entries[at].key);
		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		shard->entries[hole] = shard->entries[at];
		memset(&shard->entries[at], 0, sizeof(struct entry));
		hole = at;
	}
	shard->count--;
	atomic_fetch_sub_explicit(&table->entries, 1, memory_order_relaxed);
}

/* Looks at the next two slots of the clock's hand and lets what has expired go. */
static void
sweep_a_little(struct table *table, struct shard *shard, uint64_t now_us)
{
	for (int i = 0; i < 2 && shard->capacity > 0; i++) {
		struct entry *entry = &shard->entries[shard->hand];
		if (entry->strategy && entry->counter.expires_us <= now_us)
			erase(table, shard, entry);
		else
			shard->hand = (shard->hand + 1) & (shard->capacity - 1);
	}
}

static void
sweep(struct table *table, struct shard *shard, uint64_t now_us)
{
	for (size_t slot = 0; slot < shard->capacity;) {
		struct entry *entry = &shard->entries[slot];
		if (entry->strategy && entry->counter.expires_us <= now_us)
			erase(table, shard, entry); /* another may have moved into the slot */
		else
			slot++;
	}
}

static void
grow(struct shard *shard)
{
	size_t capacity = shard->capacity ? shard->capacity * 2 : FIRST_CAPACITY;
	size_t bytes = capacity * sizeof(struct entry), alignment = bytes < HUGE_PAGE ? 64 : HUGE_PAGE;
	struct entry *old = shard->entries, *entries = aligned_alloc(alignment, bytes);

	if (!entries)
		(void)mem_alloc(SIZE_MAX / 2); /* reports and aborts */
	/* A look-up in a large table misses the TLB nearly every time without them; advice, may be refused. */
	if (alignment == HUGE_PAGE)
		(void)madvise(entries, bytes, MADV_HUGEPAGE);
	memset(entries, 0, capacity * sizeof(*entries));
	size_t old_capacity = shard->capacity;
	shard->entries = entries;
	shard->capacity = capacity;
	atomic_store_explicit(&shard->hint_entries, (uintptr_t)entries, memory_order_relaxed);
	atomic_store_explicit(&shard->hint_mask, capacity - 1, memory_order_relaxed);
	shard->hand = 0;
	for (size_t i = 0; i < old_capacity; i++) {
		if (!old[i].strategy)
			continue;
		size_t slot = slot_of(shard, &old[i].key);
		while (entries[slot].strategy)
			slot = (slot + 1) & (capacity - 1);
		entries[slot] = old[i];
	}
	free(old);
}

static struct entry *
insert(struct table *table, struct shard *shard, const struct table_key *key, uint8_t strategy,
       uint64_t now_us)
{
	sweep_a_little(table, shard, now_us);
	if (table_entries(table) >= table->max_entries) {
		sweep(table, shard, now_us);
		if (table_entries(table) >= table->max_entries)
			return NULL;
	}
	if (shard->count * 8 >= shard->capacity * 7) {
		sweep(table, shard, now_us);
		if (shard->count * 4 >= shard->capacity * 3)
			grow(shard);
	}
	size_t slot = slot_of(shard, key);
	while (shard->entries[slot].strategy)
		slot = (slot + 1) & (shard->capacity - 1);
	struct entry *entry = &shard->entries[slot];
	entry->key = *key;
	entry->strategy = strategy;
	entry->counter.expires_us = now_us + 1; /* not before the decision that it is made for */
	shard->count++;
	atomic_fetch_add_explicit(&table->entries, 1, memory_order_relaxed);
	return entry;
}

/* The counter of an item; one of another strategy is a limit that was redefined: it starts anew. */
static struct entry *
entry_for(struct table *table, struct shard *shard, const struct table_item *item, uint64_t now_us)
{
	struct entry *entry = find(shard, &item->key);
	if (!entry)
		entry = insert(table, shard, &item->key, (uint8_t)item->rule->strategy, now_us);
	if (!entry)
		return NULL;
	if (entry->strategy != (uint8_t)item->rule->strategy) {
		struct table_key key = entry->key;
		entry_free(entry);
		entry->key = key;
		entry->strategy = (uint8_t)item->rule->strategy;
		entry->counter.expires_us = now_us + 1;
	}
	entry->is_durable = item->rule->window_us >= TABLE_DURABLE_US;
	return entry;
}

static void
mark_dirty(struct shard *shard, struct entry *entry)
{
	if (!entry->is_durable || entry->is_dirty)
		return;
	if (shard->dirty_count == shard->dirty_capacity) {
		shard->dirty_capacity = shard->dirty_capacity ? shard->dirty_capacity * 2 : 64;
		shard->dirty = mem_resize(shard->dirty, shard->dirty_capacity, sizeof(shard->dirty[0]));
	}
	shard->dirty[shard->dirty_count++] = entry->key;
	entry->is_dirty = true;
}

/* Shards of the items as bits: locking from the lowest up is the locks' order. */
static uint64_t
shards_of(const struct table_item *items, size_t count)
{
	uint64_t shards = 0;
	for (size_t i = 0; i < count; i++)
		shards |= UINT64_C(1) << shard_of(&items[i].key);
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

static struct shard *
shard_for(struct table *table, const struct table_item *item)
{
	return &table->shards[shard_of(&item->key)];
}

/* Takes back items [0, count) from the last to the first; a refused one took nothing. */
static void
undo(struct table *table, struct table_item *items, const struct counter *before, size_t count)
{
	while (count-- > 0) {
		struct entry *entry = find(shard_for(table, &items[count]), &items[count].key);
		counter_undo(items[count].rule, &entry->counter, &before[count], items[count].cost);
	}
}

/* The state of each after nothing was taken. What refused keeps its own decision. */
static void
look_again(struct table *table, struct table_item *items, size_t count, uint64_t now_us)
{
	for (size_t i = 0; i < count; i++) {
		struct entry *entry = find(shard_for(table, &items[i]), &items[i].key);
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
		if (!entry_for(table, shard_for(table, &items[i]), &items[i], now_us))
			return TABLE_FULL;
	for (; done < count; done++) {
		entry = find(shard_for(table, &items[done]), &items[done].key);
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
			mark_dirty(shard_for(table, &items[i]), find(shard_for(table, &items[i]), &items[i].key));
	return TABLE_OK;
}

/* One counter: no snapshot, no second look-up. */
static enum table_result
take_one(struct table *table, struct table_item *item, uint64_t now_us)
{
	struct shard *shard = shard_for(table, item);
	struct entry *entry = entry_for(table, shard, item, now_us);
	if (!entry)
		return TABLE_FULL;
	counter_take(item->rule, &entry->counter, now_us, item->cost, &item->decision);
	if (item->decision.is_allowed && item->cost > 0)
		mark_dirty(shard, entry);
	return item->decision.is_allowed ? TABLE_OK : TABLE_REFUSED;
}

enum table_result
table_take(struct table *table, struct table_item *items, size_t count)
{
	uint64_t now_us = table_now_us(table), shards = shards_of(items, count);
	lock_all(table, shards);
	enum table_result result =
	    count == 1 ? take_one(table, items, now_us) : take_locked(table, items, count, now_us);
	unlock_all(table, shards);
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
	struct shard *shard = shard_for(table, item);

	pthread_mutex_lock(&shard->lock);
	struct entry *entry = entry_for(table, shard, item, now_us);
	if (entry) {
		if (change->kind == GIVE_BACK)
			counter_give_back(item->rule, &entry->counter, now_us, item->cost);
		else
			counter_report(item->rule, &entry->counter, now_us, change->is_throttled, change->latency_ms);
		counter_take(item->rule, &entry->counter, now_us, 0, &item->decision);
		mark_dirty(shard, entry);
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
	struct shard *shard = shard_for(table, item);
	struct counter fresh = {.expires_us = 0};

	pthread_mutex_lock(&shard->lock);
	struct entry *entry = find(shard, &item->key);
	if (entry && entry->strategy == (uint8_t)item->rule->strategy) {
		counter_reset(item->rule, &entry->counter);
		mark_dirty(shard, entry);
	}
	pthread_mutex_unlock(&shard->lock);
	counter_take(item->rule, &fresh, now_us, 0, &item->decision);
}

/* ---- keeping ---- */

#define RECORD_MAX (sizeof(struct counter) + 8 + RULE_LOG_MAX * 16)

/* strategy, the counter, and for a log its entries; host byte order, since one machine writes and reads. */
static size_t
record_bytes(const struct entry *entry, uint8_t *out)
{
	uint64_t head = entry->strategy;
	size_t size = 0;

	memcpy(out, &head, sizeof(head));
	size += sizeof(head);
	memcpy(out + size, &entry->counter, sizeof(entry->counter));
	size += sizeof(entry->counter);
	if (entry->strategy != STRATEGY_SLIDING_LOG)
		return size;
	for (size_t i = 0; i < admission_log_count(entry->counter.log.log) && i < RULE_LOG_MAX; i++) {
		uint64_t pair[2];
		admission_log_at(entry->counter.log.log, i, &pair[0], &pair[1]);
		memcpy(out + size, pair, sizeof(pair));
		size += sizeof(pair);
	}
	return size;
}

void
table_collect(struct table *table, void (*each)(void *arg, const struct table_record *record), void *arg)
{
	uint8_t *bytes = mem_alloc(RECORD_MAX);
	for (size_t i = 0; i < SHARDS; i++) {
		struct shard *shard = &table->shards[i];
		pthread_mutex_lock(&shard->lock);
		for (size_t d = 0; d < shard->dirty_count; d++) {
			struct entry *entry = find(shard, &shard->dirty[d]);
			if (!entry || !entry->is_dirty)
				continue;
			entry->is_dirty = false;
			struct table_record record = {
			    .key = entry->key, .expires_us = entry->counter.expires_us, .bytes = bytes};
			record.size = record_bytes(entry, bytes);
			each(arg, &record);
		}
		shard->dirty_count = 0;
		pthread_mutex_unlock(&shard->lock);
	}
	mem_free(bytes);
}

void
table_mark(struct table *table, const struct table_key *key)
{
	struct shard *shard = &table->shards[shard_of(key)];
	pthread_mutex_lock(&shard->lock);
	struct entry *entry = find(shard, key);
	if (entry)
		mark_dirty(shard, entry);
	pthread_mutex_unlock(&shard->lock);
}

static bool
restore_log(struct counter *counter, const uint8_t *bytes, size_t size)
{
	uint64_t used = 0;

	counter->log.log = NULL;
	for (; size >= 16; bytes += 16, size -= 16) {
		uint64_t pair[2];
		memcpy(pair, bytes, sizeof(pair));
		admission_log_add(&counter->log.log, pair[0], pair[1]);
		used += pair[1];
	}
	counter->log.used = used;
	return size == 0;
}

bool
table_restore(struct table *table, const struct table_record *record)
{
	const uint8_t *bytes = record->bytes;
	struct counter counter;
	uint64_t strategy;

	if (record->size < sizeof(strategy) + sizeof(counter))
		return false;
	memcpy(&strategy, bytes, sizeof(strategy));
	memcpy(&counter, bytes + sizeof(strategy), sizeof(counter));
	size_t rest = record->size - sizeof(strategy) - sizeof(counter);
	if (strategy < STRATEGY_FIXED_WINDOW || strategy > STRATEGY_ADAPTIVE ||
	    (strategy == STRATEGY_SLIDING_LOG ? !restore_log(&counter, bytes + record->size - rest, rest)
	                                      : rest != 0))
		return false;
	struct shard *shard = &table->shards[shard_of(&record->key)];
	pthread_mutex_lock(&shard->lock);
	struct entry *entry = find(shard, &record->key);
	bool is_new = !entry;
	if (is_new)
		entry = insert(table, shard, &record->key, (uint8_t)strategy, table_now_us(table));
	if (is_new && entry) {
		entry->counter = counter;
		entry->is_durable = true;
	} else if (strategy == STRATEGY_SLIDING_LOG) {
		admission_log_free(counter.log.log);
	}
	pthread_mutex_unlock(&shard->lock);
	return true;
}
