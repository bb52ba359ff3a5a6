/*
 * The decision itself, in process, with a million distinct keys, decided in batches as the bus
 * brings them, beside a bare hash of the same keys.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/hash.h"
#include "ratelimitd/table.h"

#define KEYS   1000000u
#define BATCH  64u /* calls of a bus message, of at most 128 */
#define ROUNDS 5

static double
seconds_since(uint64_t start_ns)
{
	return (double)(clock_mono_ns(clock_system()) - start_ns) / 1e9;
}

static struct table_key
key_of(uint64_t i)
{
	uint64_t low = hash_stable64(&i, sizeof(i), 1);
	return (struct table_key){.high = hash_mix64(low, i), .low = low};
}

static int
by_value(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;
	return left < right ? -1 : left > right;
}

static size_t
resident_bytes(void)
{
	size_t size = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || fscanf(file, "%zu %zu", &size, &resident) != 2)
		resident = 0;
	if (file)
		fclose(file);
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static double
decisions_per_second(struct table *table, const struct rule *rule)
{
	uint64_t start = clock_mono_ns(clock_system()), step = 7919;
	struct table_item items[BATCH];
	for (uint64_t i = 0, at = 0; i < KEYS; i += BATCH) {
		for (size_t b = 0; b < BATCH; b++, at = (at + step) % KEYS) {
			items[b] = (struct table_item){.key = key_of(at), .rule = rule, .cost = 1};
			table_expect(table, &items[b].key);
		}
		for (size_t b = 0; b < BATCH; b++)
			table_approach(table, &items[b].key);
		for (size_t b = 0; b < BATCH; b++)
			(void)table_take(table, &items[b], 1);
	}
	return KEYS / seconds_since(start);
}

static double
hashes_per_second(void)
{
	static volatile uint64_t sink;
	uint64_t start = clock_mono_ns(clock_system()), sum = 0;
	for (uint64_t i = 0; i < KEYS; i++)
		sum += key_of(i).high;
	sink = sum;
	(void)sink;
	return KEYS / seconds_since(start);
}

static void
run(const char *name, enum strategy strategy)
{
	struct rule rule = {.strategy = strategy, .limit = 1000, .burst = 1000, .window_us = 3000000000};
	struct table *table = table_new(4 * KEYS, clock_system());
	double rates[ROUNDS], hashes[ROUNDS];

	size_t before = resident_bytes();
	(void)decisions_per_second(table, &rule); /* fills it */
	double bytes = (double)(resident_bytes() - before) / (double)table_entries(table);
	for (int i = 0; i < ROUNDS; i++) {
		rates[i] = decisions_per_second(table, &rule);
		hashes[i] = hashes_per_second();
	}
	qsort(rates, ROUNDS, sizeof(rates[0]), by_value);
	qsort(hashes, ROUNDS, sizeof(hashes[0]), by_value);
	printf("%-16s %6.2f M decisions/s on one core, %zu keys of %.1f bytes beside the key's 16; a hash of the "
	       "key alone: %.1f M/s (ratio %.3f)\n",
	       name, rates[ROUNDS / 2] / 1e6, table_entries(table), bytes - sizeof(struct table_key),
	       hashes[ROUNDS / 2] / 1e6, rates[ROUNDS / 2] / hashes[ROUNDS / 2]);
	table_free(table);
}

int
main(void)
{
	run("token bucket", STRATEGY_TOKEN_BUCKET);
	run("fixed window", STRATEGY_FIXED_WINDOW);
	run("sliding counter", STRATEGY_SLIDING_COUNTER);
	run("GCRA", STRATEGY_GCRA);
	return 0;
}
