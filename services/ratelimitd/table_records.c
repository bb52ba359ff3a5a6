/*
 * table_records: counters on their way to the store that keeps them, and back.
 */
#include <string.h>

#include "admission_log.h"
#include "base/arena.h"
#include "table_internal.h"

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
			struct entry *entry = shard->dirty[d];
			if (!entry->is_dirty)
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
	struct shard *shard = shard_for(table, key);
	pthread_mutex_lock(&shard->lock);
	struct entry *entry = entry_find(shard, key);
	if (entry)
		entry_mark_dirty(shard, entry);
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
	struct shard *shard = shard_for(table, &record->key);
	pthread_mutex_lock(&shard->lock);
	struct entry *entry = entry_find(shard, &record->key);
	bool is_new = !entry;
	if (is_new)
		entry = entry_insert(table, shard, &record->key, (uint8_t)strategy, table_now_us(table));
	if (is_new && entry) {
		entry->counter = counter;
		entry->is_durable = true;
	} else if (strategy == STRATEGY_SLIDING_LOG) {
		admission_log_free(counter.log.log);
	}
	pthread_mutex_unlock(&shard->lock);
	return true;
}
