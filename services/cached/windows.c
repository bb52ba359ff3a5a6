/*
 * windows: see windows.h. A hash table by the space's address, which lives as long as the engine.
 */
#include "windows.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"

static const double LENGTHS_MS[WINDOWS] = {60e3, 600e3, 3600e3};

struct record {
	const struct space *space; /* NULL: free */
	uint64_t gets, found;      /* counted before */
	double recent_gets[WINDOWS], recent_found[WINDOWS];
};

struct windows {
	pthread_mutex_t lock; /* guards all */
	struct record *records;
	size_t size, count;
	uint64_t ticked_ms;
};

struct turn {
	struct windows *windows;
	double fade[WINDOWS];
};

struct windows *
windows_new(void)
{
	struct windows *windows = mem_alloc(sizeof(*windows));
	pthread_mutex_init(&windows->lock, NULL);
	windows->size = 64;
	windows->records = mem_array(windows->size, sizeof(struct record));
	return windows;
}

void
windows_free(struct windows *windows)
{
	if (!windows)
		return;
	pthread_mutex_destroy(&windows->lock);
	mem_free(windows->records);
	mem_free(windows);
}

/* Where the space is, or would be. */
static struct record *
place_of(const struct windows *windows, const struct space *space)
{
	size_t at = hash_table64(&space, sizeof(void *)) & (windows->size - 1);
	while (windows->records[at].space && windows->records[at].space != space)
		at = (at + 1) & (windows->size - 1);
	return &windows->records[at];
}

static void
grow(struct windows *windows)
{
	struct record *old = windows->records;
	size_t size = windows->size;

	windows->size *= 2;
	windows->records = mem_array(windows->size, sizeof(struct record));
	for (size_t i = 0; i < size; i++)
		if (old[i].space)
			*place_of(windows, old[i].space) = old[i];
	mem_free(old);
}

static struct record *
record_of(struct windows *windows, const struct space *space)
{
	struct record *record = place_of(windows, space);

	if (record->space)
		return record;
	if (2 * (windows->count + 1) > windows->size) {
		grow(windows);
		record = place_of(windows, space);
	}
	windows->count++;
	record->space = space;
	return record;
}

static void
add_space(void *arg, struct space *space)
{
	struct turn *turn = arg;
	struct record *record = record_of(turn->windows, space);
	struct space_stats stats;

	engine_space_stats(space, &stats);
	uint64_t found = stats.hits + stats.stale, gets = found + stats.misses + stats.negative;
	for (int i = 0; i < WINDOWS; i++) {
		record->recent_gets[i] = record->recent_gets[i] * turn->fade[i] + (double)(gets - record->gets);
		record->recent_found[i] = record->recent_found[i] * turn->fade[i] + (double)(found - record->found);
	}
	record->gets = gets;
	record->found = found;
}

void
windows_tick(struct windows *windows, struct engine *engine, uint64_t now_ms)
{
	struct turn turn = {.windows = windows};

	pthread_mutex_lock(&windows->lock);
	for (int i = 0; i < WINDOWS; i++)
		turn.fade[i] = exp(-(double)(now_ms - windows->ticked_ms) / LENGTHS_MS[i]);
	windows->ticked_ms = now_ms;
	engine_each_space(engine, NULL, add_space, &turn);
	pthread_mutex_unlock(&windows->lock);
}

void
windows_read(struct windows *windows, const struct space *space, struct window out[WINDOWS])
{
	pthread_mutex_lock(&windows->lock);
	const struct record *record = place_of(windows, space);
	for (int i = 0; i < WINDOWS; i++) {
		out[i] = (struct window){.gets = 0};
		if (!record->space || record->recent_gets[i] < 0.5)
			continue;
		out[i].gets = (uint64_t)ceil(record->recent_gets[i]);
		out[i].hit_permille = (uint32_t)(record->recent_found[i] * 1000 / record->recent_gets[i] + 0.5);
	}
	pthread_mutex_unlock(&windows->lock);
}
