/*
 * What a look-up in the cache's memory costs, beside a bare hash table that does nothing else, and beside the
 * waiting for memory alone, what an entry costs beside its key and value, and what it costs to invalidate all
 * or a part of them.
 *
 *   cache_bench [ENTRIES]     a million when absent
 */
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/random.h"
#include "cached/engine_internal.h"

#define KEY_LENGTH 20u
#define VALUE      100u
#define SECONDS    1u
#define BATCH_MAX  64u
#define DRAWS      (1u << 20)

/* Made rather than read from a list: in a service the key comes with the message, and is in the processor's
 * cache already. */
static void
key_of(uint32_t number, char key[KEY_LENGTH])
{
	memcpy(key, "user:........./views", KEY_LENGTH);
	for (unsigned i = 0; i < 8; i++)
		key[5 + i] = "0123456789abcdef"[number >> 4 * i & 15];
}

static uint64_t
in_use(const struct engine *engine)
{
	struct mallinfo2 info = mallinfo2();
	return info.uordblks + info.hblkhd + heap_used(engine->heap);
}

static void
put(struct space *space, uint32_t number, size_t value_length)
{
	char key[KEY_LENGTH], value[2 * VALUE] = "x";
	struct set set = {.key = key,
	                  .key_length = KEY_LENGTH,
	                  .value = value,
	                  .value_length = value_length,
	                  .ttl_ms = 3600000};

	key_of(number, key);
	engine_set(space, &set, 1);
}

/* ---- what an entry costs ---- */

static uint64_t
fill(struct engine *engine, uint32_t entries, size_t least, size_t most, const char *name)
{
	struct space *space;
	struct seeded_random seeded;
	uint64_t before = in_use(engine), payload = 0;

	seeded_random_init(&seeded, 1);
	engine_space(engine, "t", name, &space);
	for (uint32_t i = 0; i < entries; i++) {
		size_t length = least + (size_t)random_below(&seeded.random, most - least + 1);
		put(space, i, length);
	}
	struct space_stats stats;
	engine_space_stats(space, &stats);
	payload = stats.entries * (KEY_LENGTH + (least + most) / 2);
	return stats.entries ? (in_use(engine) - before - payload) / stats.entries : 0;
}

static void
print_costs(uint32_t entries)
{
	struct engine *engine = engine_new(&(struct engine_options){.bytes_max = UINT64_C(8) << 30});
	printf("bytes an entry beside key and value: %lu, values of %u bytes\n",
	       (unsigned long)fill(engine, entries, VALUE, VALUE, "one size"), VALUE);
	printf("bytes an entry beside key and value: %lu, values of %u to %u bytes\n",
	       (unsigned long)fill(engine, entries, VALUE / 2, VALUE / 2 * 3, "many sizes"), VALUE / 2,
	       VALUE / 2 * 3);
	engine_free(engine);
	/* Full: half of what is put in leaves again, and is remembered for a while. */
	engine =
	    engine_new(&(struct engine_options){.bytes_max = (uint64_t)entries * (KEY_LENGTH + VALUE + 64) / 2});
	printf("bytes an entry beside key and value: %lu, the same in a full cache\n",
	       (unsigned long)fill(engine, entries, VALUE / 2, VALUE / 2 * 3, "full"));
	engine_free(engine);
}

/* ---- a bare table ---- */

/* In memory of the same kind as the cache's. */
struct bare {
	struct heap *heap;
	struct pair {
		char key[KEY_LENGTH];
		char value[VALUE];
	} * *slots;
	size_t mask;
};

static struct bare
bare_new(uint32_t entries)
{
	struct bare bare = {.heap = heap_new(), .mask = 1};
	char key[KEY_LENGTH];

	while (bare.mask < (size_t)entries * 2)
		bare.mask *= 2;
	bare.slots = heap_alloc(bare.heap, bare.mask * sizeof(struct pair *));
	memset(bare.slots, 0, bare.mask * sizeof(struct pair *));
	bare.mask--;
	for (uint32_t i = 0; i < entries; i++) {
		key_of(i, key);
		size_t at = hash_stable64(key, KEY_LENGTH, 0) & bare.mask;
		while (bare.slots[at])
			at = (at + 1) & bare.mask;
		bare.slots[at] = heap_alloc(bare.heap, sizeof(struct pair));
		memcpy(bare.slots[at]->key, key, KEY_LENGTH);
		memset(bare.slots[at]->value, 'x', VALUE);
	}
	return bare;
}

static bool
bare_get(const struct bare *bare, const char *key, void *value)
{
	size_t at = hash_stable64(key, KEY_LENGTH, 0) & bare->mask;

	for (; bare->slots[at]; at = (at + 1) & bare->mask) {
		if (memcmp(bare->slots[at]->key, key, KEY_LENGTH) != 0)
			continue;
		memcpy(value, bare->slots[at]->value, VALUE);
		return true;
	}
	return false;
}

/* ---- what waiting for memory costs ---- */

/* As many places as a look-up reads one after the other, of the sizes that they have: a word of the index and
 * an entry. The first tells only where the next is. */
struct chase {
	uint64_t *words;
	struct block {
		char bytes[152];
	} * blocks;
	size_t sizes[2];
};

static void *
map(size_t size, bool is_large)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED) {
		perror("mmap");
		exit(EXIT_FAILURE);
	}
	(void)madvise(at, size, is_large ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return at;
}

/* Numbers below `count`, each once, in no order: an odd factor of a power of two, walked over what is too
 * large. */
static uint32_t
scattered(uint32_t number, uint32_t count)
{
	uint32_t mask = 1;

	while (mask < count)
		mask *= 2;
	do
		number = (number * 2654435761u + 12345u) & (mask - 1);
	while (number >= count);
	return number;
}

static struct chase
chase_new(uint32_t entries, bool is_large)
{
	struct chase chase = {.sizes = {entries * sizeof(uint64_t), entries * sizeof(struct block)}};

	chase.words = map(chase.sizes[0], is_large);
	chase.blocks = map(chase.sizes[1], is_large);
	for (uint32_t i = 0; i < entries; i++) {
		chase.words[i] = scattered(i, entries);
		memset(chase.blocks[i].bytes, 'x', sizeof(chase.blocks[i].bytes));
	}
	return chase;
}

static void
chase_free(struct chase *chase)
{
	(void)munmap(chase->words, chase->sizes[0]);
	(void)munmap(chase->blocks, chase->sizes[1]);
}

/* ---- look-ups ---- */

/* Keys as callers of a cache ask for them: the n-th most popular one as often as 1/n says, popular ones
 * anywhere in memory. Drawn before the clock runs. */
struct popularity {
	uint32_t *draws;
};

static struct popularity
popularity_new(uint32_t entries)
{
	struct popularity popularity = {mem_array(DRAWS, sizeof(uint32_t))};
	struct seeded_random seeded;
	double sum = log((double)entries + 1);

	seeded_random_init(&seeded, 2);
	for (uint32_t i = 0; i < DRAWS; i++) {
		/* The sum of 1/n up to n is ln n, near enough. */
		double u = (double)(random_u64(&seeded.random) >> 11) / 9007199254740992.0;
		uint32_t rank = (uint32_t)exp(u * sum) - 1;
		popularity.draws[i] = scattered(rank < entries ? rank : entries - 1, entries);
	}
	return popularity;
}

struct run {
	struct space *space;
	const struct popularity *popularity; /* NULL: each key as often as any other */
	const struct bare *bare;
	const struct chase *chase;
	uint32_t entries, batch;
	uint64_t seed;
	uint64_t gets, wrong; /* out */
	double seconds;
};

/* The thread's own time: what others do on the machine counts little. */
static double
now_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static const char *
draw_key(const struct run *run, const struct random *random, uint64_t turn, char key[KEY_LENGTH])
{
	if (run->popularity)
		key_of(run->popularity->draws[turn % DRAWS], key);
	else
		key_of((uint32_t)((random_u64(random) >> 32) * run->entries >> 32), key);
	return key;
}

static void *
run_engine(void *arg)
{
	struct run *run = arg;
	struct seeded_random seeded;
	struct get gets[BATCH_MAX] = {0};
	char keys[BATCH_MAX][KEY_LENGTH];
	struct arena arena;
	double begin = now_s();

	seeded_random_init(&seeded, run->seed);
	arena_init(&arena, 65536, 1 << 20);
	for (; (run->seconds = now_s() - begin) < SECONDS; run->gets += 64 * run->batch)
		for (unsigned turn = 0; turn < 64; turn++) {
			for (uint32_t i = 0; i < run->batch; i++)
				gets[i] = (struct get){
				    .key = draw_key(run, &seeded.random, run->gets + turn * run->batch + i, keys[i]),
				    .key_length = KEY_LENGTH};
			arena_reset(&arena);
			engine_get(run->space, gets, run->batch, &arena, NULL);
			for (uint32_t i = 0; i < run->batch; i++)
				run->wrong += gets[i].outcome != GET_HIT;
		}
	arena_fini(&arena);
	return NULL;
}

static void *
run_bare(void *arg)
{
	struct run *run = arg;
	struct seeded_random seeded;
	char value[VALUE], key[KEY_LENGTH];
	double begin = now_s();

	seeded_random_init(&seeded, run->seed);
	for (; (run->seconds = now_s() - begin) < SECONDS; run->gets += 4096)
		for (unsigned turn = 0; turn < 4096; turn++)
			run->wrong += !bare_get(run->bare, draw_key(run, &seeded.random, run->gets + turn, key), value);
	return NULL;
}

/* The next number depends on what was read, as nobody asks for the next key before the last was answered. */
static void *
run_chase(void *arg)
{
	struct run *run = arg;
	const struct chase *chase = run->chase;
	struct seeded_random seeded;
	char value[VALUE];
	double begin = now_s();
	uint32_t last = 0;

	seeded_random_init(&seeded, run->seed);
	for (; (run->seconds = now_s() - begin) < SECONDS; run->gets += 4096)
		for (unsigned turn = 0; turn < 4096; turn++) {
			uint64_t drawn = (random_u64(&seeded.random) >> 32) * run->entries >> 32;
			uint32_t at = (uint32_t)(drawn + last) % run->entries;
			const struct block *block = &chase->blocks[chase->words[at]];
			memcpy(value, block->bytes + 40, VALUE);
			last = (uint32_t)(value[0] - 'x');
			run->wrong += value[VALUE - 1] != 'x';
		}
	return NULL;
}

static double
rate(const struct run *run)
{
	if (run->wrong > 0)
		printf("%lu of %lu were not found\n", (unsigned long)run->wrong, (unsigned long)run->gets);
	return (double)run->gets / run->seconds / 1e6;
}

static double
rate_of_two(const struct run *run)
{
	struct run runs[2] = {*run, *run};
	pthread_t threads[2];

	for (unsigned i = 0; i < 2; i++) {
		runs[i].seed += i;
		pthread_create(&threads[i], NULL, run_engine, &runs[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	return rate(&runs[0]) + rate(&runs[1]);
}

static void
print_waits(const struct run *run, bool is_large)
{
	struct chase chase = chase_new(run->entries, is_large);
	struct run alone = *run;

	alone.chase = &chase;
	run_chase(&alone);
	printf("two places read one after the other, and nothing else%s: %.2f M/s\n",
	       is_large ? ", in large pages" : "", rate(&alone));
	chase_free(&chase);
}

static void
print_popular(struct run run)
{
	struct popularity popularity = popularity_new(run.entries);
	struct run bare = run;

	run.popularity = bare.popularity = &popularity;
	run.batch = 1;
	run_bare(&bare);
	struct run one = run;
	run_engine(&one);
	printf(
	    "gets, 1 at once, some keys asked for more than others (Zipf 1): %.2f M/s a core, %.2f of the bare "
	    "table's %.2f\n",
	    rate(&one), rate(&one) / rate(&bare), rate(&bare));
	mem_free(popularity.draws);
}

static void
print_rates(uint32_t entries)
{
	struct engine *engine = engine_new(&(struct engine_options){.bytes_max = UINT64_C(8) << 30});
	struct bare bare = bare_new(entries);
	struct run run = {.entries = entries, .seed = 1};

	engine_space(engine, "t", "s", &run.space);
	for (uint32_t i = 0; i < entries; i++)
		put(run.space, i, VALUE);
	run.bare = &bare;
	struct run alone = run;
	run_bare(&alone);
	printf("a bare table: %.2f M/s\n", rate(&alone));
	print_waits(&run, false);
	print_waits(&run, true);
	for (run.batch = 1; run.batch <= BATCH_MAX; run.batch *= 8) {
		struct run one = run;
		run_engine(&one);
		printf("gets, %2u at once: %.2f M/s a core, %.2f of the bare table's; two threads %.2f M/s\n",
		       run.batch, rate(&one), rate(&one) / rate(&alone), rate_of_two(&run));
	}
	print_popular(run);
	engine_free(engine);
	heap_free(bare.heap);
}

/* ---- invalidating ---- */

static double
wall_us(void)
{
	return (double)clock_mono_ns(clock_system()) / 1e3;
}

static uint64_t
resident_mib(void)
{
	unsigned long total = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || fscanf(file, "%lu %lu", &total, &resident) != 2)
		resident = 0;
	if (file)
		fclose(file);
	return resident / 256;
}

/* Every entry is older than what is invalidated, and none is covered: each get has to find that out. */
static void
print_old(struct run run, const char *after)
{
	run.batch = BATCH_MAX;
	run_engine(&run);
	printf("gets, %u at once, after %s: %.2f M/s a core\n", run.batch, after, rate(&run));
}

static void
print_invalidations(uint32_t entries)
{
	struct engine *engine = engine_new(&(struct engine_options){.bytes_max = UINT64_C(8) << 30});
	struct run run = {.entries = entries, .seed = 1};
	uint64_t sequence;

	engine_space(engine, "t", "s", &run.space);
	for (uint32_t i = 0; i < entries; i++)
		put(run.space, i, VALUE);
	double begin = wall_us();
	engine_invalidate_tag(run.space, "tag", 3);
	double tagged = wall_us();
	engine_invalidate_prefix(run.space, "prefix", 6);
	double prefixed = wall_us();
	printf("a tag over %u entries: %.1f us, a prefix %.1f us\n", entries, tagged - begin, prefixed - tagged);
	print_old(run, "a tag and a prefix");
	begin = wall_us();
	engine_invalidate_glob(run.space, "other:*", 7, &sequence);
	printf("a pattern over %u entries: %.1f us\n", entries, wall_us() - begin);
	print_old(run, "a pattern, too");
	for (unsigned i = 0; i < 1000; i++)
		engine_invalidate_glob(run.space, "other:*", 7, &sequence);
	print_old(run, "a thousand patterns");
	engine_invalidate_all(run.space);
	uint64_t before = resident_mib();
	engine_shrink(engine, 1 << 20);
	printf("resident: %lu MiB, after shrinking %lu MiB\n", (unsigned long)before,
	       (unsigned long)resident_mib());
	engine_free(engine);
}

int
main(int argc, char **argv)
{
	uint32_t entries = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000u;

	print_costs(entries);
	print_rates(entries);
	print_invalidations(entries);
	return EXIT_SUCCESS;
}
