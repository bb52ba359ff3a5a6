/*
 * admission_log: see admission_log.h.
 */
#include "admission_log.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/arena.h"

struct entry {
	uint64_t at_us, cost;
};

struct admission_log {
	size_t head, count, capacity; /* capacity is a power of two */
	struct entry entries[];
};

static struct entry *
entry_at(struct admission_log *log, size_t index)
{
	return &log->entries[(log->head + index) & (log->capacity - 1)];
}

static const struct entry *
entry_of(const struct admission_log *log, size_t index)
{
	return &log->entries[(log->head + index) & (log->capacity - 1)];
}

static struct admission_log *
grown(struct admission_log *old)
{
	size_t capacity = old ? old->capacity * 2 : 8;
	struct admission_log *log = mem_alloc(sizeof(*log) + capacity * sizeof(struct entry));
	log->capacity = capacity;
	for (size_t i = 0; old && i < old->count; i++)
		log->entries[i] = *entry_at(old, i);
	log->count = old ? old->count : 0;
	mem_free(old);
	return log;
}

void
admission_log_add(struct admission_log **log, uint64_t at_us, uint64_t cost)
{
	if (!*log || (*log)->count == (*log)->capacity)
		*log = grown(*log);
	*entry_at(*log, (*log)->count++) = (struct entry){.at_us = at_us, .cost = cost};
}

void
admission_log_pop(struct admission_log *log)
{
	assert(log && log->count > 0);
	log->count--;
}

uint64_t
admission_log_drop(struct admission_log *log, uint64_t until_us)
{
	uint64_t cost = 0;
	while (log->count > 0 && entry_at(log, 0)->at_us <= until_us) {
		cost += entry_at(log, 0)->cost;
		log->head = (log->head + 1) & (log->capacity - 1);
		log->count--;
	}
	return cost;
}

uint64_t
admission_log_forget(struct admission_log *log, uint64_t units)
{
	uint64_t taken = 0;
	while (log->count > 0 && taken < units) {
		struct entry *newest = entry_at(log, log->count - 1);
		uint64_t part = units - taken < newest->cost ? units - taken : newest->cost;
		taken += part;
		newest->cost -= part;
		if (newest->cost == 0)
			log->count--;
	}
	return taken;
}

uint64_t
admission_log_time_of(const struct admission_log *log, uint64_t units)
{
	uint64_t sum = 0;
	for (size_t i = 0; log && i < log->count; i++) {
		sum += entry_of(log, i)->cost;
		if (sum >= units)
			return entry_of(log, i)->at_us;
	}
	return log ? admission_log_last(log) : 0;
}

void
admission_log_shift(struct admission_log *log, uint64_t by_us)
{
	for (size_t i = 0; log && i < log->count; i++) {
		struct entry *entry = entry_at(log, i);
		entry->at_us = entry->at_us > by_us ? entry->at_us - by_us : 0;
	}
}

uint64_t
admission_log_last(const struct admission_log *log)
{
	return log && log->count > 0 ? entry_of(log, log->count - 1)->at_us : 0;
}

size_t
admission_log_count(const struct admission_log *log)
{
	return log ? log->count : 0;
}

void
admission_log_at(const struct admission_log *log, size_t index, uint64_t *at_us, uint64_t *cost)
{
	*at_us = entry_of(log, index)->at_us;
	*cost = entry_of(log, index)->cost;
}

void
admission_log_free(struct admission_log *log)
{
	mem_free(log);
}
