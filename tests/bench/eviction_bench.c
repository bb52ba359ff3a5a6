/*
 * Hit ratios of eviction beside LRU, each policy alone, and the best possible (Belady), on traces of keys.
 *
 *   eviction_bench [FILE...]     each FILE holds one key a line; without any, traces that it makes itself
 *
 * The traces are drawn from fixed seeds, so the figures are the same at every run.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/random.h"
#include "cached/eviction.h"

#define LENGTH 1000000u

struct trace {
	char name[64];
	uint32_t *keys; /* numbered from 0 */
	size_t length;
	uint32_t distinct;
};

/* ---- traces ---- */

struct zipf {
	double *sums;
	uint32_t count;
};

static struct zipf
zipf_new(uint32_t count, double exponent)
{
	struct zipf zipf = {mem_array(count, sizeof(double)), count};
	double sum = 0;

	for (uint32_t i = 0; i < count; i++)
		zipf.sums[i] = sum += pow(i + 1, -exponent);
	return zipf;
}

static uint32_t
zipf_draw(const struct zipf *zipf, const struct random *random)
{
	double at = (double)(random_u64(random) >> 11) / 9007199254740992.0 * zipf->sums[zipf->count - 1];
	uint32_t low = 0, high = zipf->count - 1;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (zipf->sums[middle] < at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct trace
trace_new(const char *name, uint32_t distinct)
{
	struct trace trace = {
	    .keys = mem_array(LENGTH, sizeof(uint32_t)), .length = LENGTH, .distinct = distinct};
	snprintf(trace.name, sizeof(trace.name), "%s", name);
	return trace;
}

static struct trace
make_zipf(const char *name, uint32_t keys, double exponent)
{
	struct seeded_random seeded;
	struct zipf zipf = zipf_new(keys, exponent);
	struct trace trace = trace_new(name, keys);

	seeded_random_init(&seeded, 1);
	for (size_t i = 0; i < LENGTH; i++)
		trace.keys[i] = zipf_draw(&zipf, &seeded.random);
	mem_free(zipf.sums);
	return trace;
}

/* Popular keys, and now and then a run through 20,000 that are asked for once a run. */
static struct trace
make_scan(void)
{
	struct seeded_random seeded;
	struct zipf zipf = zipf_new(20000, 0.9);
	struct trace trace = trace_new("zipf 0.9 and scans", 40000);

	seeded_random_init(&seeded, 2);
	for (size_t i = 0; i < LENGTH; i++)
		trace.keys[i] = i % 60000 < 20000 ? 20000 + (uint32_t)(i % 60000) : zipf_draw(&zipf, &seeded.random);
	mem_free(zipf.sums);
	return trace;
}

static struct trace
make_loop(uint32_t keys)
{
	char name[32];
	snprintf(name, sizeof(name), "loop over %u", keys);
	struct trace trace = trace_new(name, keys);
	for (size_t i = 0; i < LENGTH; i++)
		trace.keys[i] = (uint32_t)(i % keys);
	return trace;
}

/* Every 100,000 requests half of the popular keys are others. */
static struct trace
make_shift(void)
{
	struct seeded_random seeded;
	struct zipf zipf = zipf_new(20000, 1.0);
	struct trace trace = trace_new("shifting working set", 20000 + 10 * 10000);

	seeded_random_init(&seeded, 3);
	for (size_t i = 0; i < LENGTH; i++)
		trace.keys[i] = zipf_draw(&zipf, &seeded.random) + (uint32_t)(i / 100000) * 10000;
	mem_free(zipf.sums);
	return trace;
}

/* Only recency helps: a key comes back soon or never. */
static struct trace
make_recent(void)
{
	struct seeded_random seeded;
	struct trace trace = trace_new("recency", LENGTH);
	uint32_t next = 0;

	seeded_random_init(&seeded, 4);
	for (size_t i = 0; i < LENGTH; i++) {
		uint32_t back = (uint32_t)random_below(&seeded.random, 1000);
		bool is_new = random_below(&seeded.random, 3) == 0 || next <= back;
		trace.keys[i] = is_new ? next++ : next - 1 - back;
	}
	trace.distinct = next;
	return trace;
}

/* Loops and popular keys in turn. */
static struct trace
make_phases(void)
{
	struct seeded_random seeded;
	struct zipf zipf = zipf_new(20000, 0.9);
	struct trace trace = trace_new("loops and zipf in turn", 20000 + 2200);

	seeded_random_init(&seeded, 5);
	for (size_t i = 0; i < LENGTH; i++)
		trace.keys[i] = i / 100000 % 2 ? zipf_draw(&zipf, &seeded.random) : 20000 + (uint32_t)(i % 2200);
	mem_free(zipf.sums);
	return trace;
}

/* ---- caches ---- */

static uint64_t
hash_of(uint32_t key)
{
	return hash_stable64(&key, sizeof(key), 0);
}

static double
run_eviction(const struct trace *trace, uint32_t size, enum eviction_policy policy)
{
	struct eviction *eviction = eviction_new(size, policy);
	uint32_t *entry_of = mem_array(trace->distinct, sizeof(uint32_t)); /* + 1 */
	uint32_t *key_of = mem_array(size + 2u, sizeof(uint32_t));
	size_t hits = 0;

	for (size_t i = 0; i < trace->length; i++) {
		uint32_t key = trace->keys[i];
		if (entry_of[key]) {
			hits++;
			eviction_use(eviction, entry_of[key] - 1, (uint32_t)hash_of(key));
			continue;
		}
		uint32_t entry = eviction_add(eviction, (uint32_t)hash_of(key), 1);
		entry_of[key] = entry + 1;
		key_of[entry] = key;
		while (eviction_is_over(eviction))
			entry_of[key_of[eviction_evict(eviction)]] = 0;
	}
	mem_free(entry_of);
	mem_free(key_of);
	eviction_free(eviction);
	return 100.0 * (double)hits / (double)trace->length;
}

struct recency {
	uint32_t *next, *previous; /* by key, a ring through `distinct` as its head */
	bool *is_in;
	uint32_t head, count;
};

static void
recency_remove(struct recency *list, uint32_t key)
{
	list->next[list->previous[key]] = list->next[key];
	list->previous[list->next[key]] = list->previous[key];
}

static void
recency_put_first(struct recency *list, uint32_t key)
{
	list->next[key] = list->next[list->head];
	list->previous[key] = list->head;
	list->previous[list->next[key]] = key;
	list->next[list->head] = key;
}

static double
run_lru(const struct trace *trace, uint32_t size)
{
	size_t room = (size_t)trace->distinct + 1, hits = 0;
	struct recency list = {.next = mem_array(room, sizeof(uint32_t)),
	                       .previous = mem_array(room, sizeof(uint32_t)),
	                       .is_in = mem_array(room, sizeof(bool)),
	                       .head = trace->distinct};

	list.next[list.head] = list.previous[list.head] = list.head;
	for (size_t i = 0; i < trace->length; i++) {
		uint32_t key = trace->keys[i];
		if (list.is_in[key]) {
			hits++;
			recency_remove(&list, key);
		} else if (list.count++ == size) {
			uint32_t last = list.previous[list.head];
			recency_remove(&list, last);
			list.is_in[last] = false;
			list.count--;
		}
		list.is_in[key] = true;
		recency_put_first(&list, key);
	}
	mem_free(list.next);
	mem_free(list.previous);
	mem_free(list.is_in);
	return 100.0 * (double)hits / (double)trace->length;
}

/* A heap of (next use, key), the farthest on top; outdated ones are passed over. */
struct far {
	uint64_t *items;
	size_t count;
};

static void
far_push(struct far *far, uint64_t item)
{
	size_t at = far->count++;
	for (; at > 0 && far->items[(at - 1) / 2] < item; at = (at - 1) / 2)
		far->items[at] = far->items[(at - 1) / 2];
	far->items[at] = item;
}

static uint64_t
far_pop(struct far *far)
{
	uint64_t top = far->items[0], item = far->items[--far->count];
	size_t at = 0;
	for (size_t child; (child = 2 * at + 1) < far->count; at = child) {
		if (child + 1 < far->count && far->items[child + 1] > far->items[child])
			child++;
		if (far->items[child] <= item)
			break;
		far->items[at] = far->items[child];
	}
	far->items[at] = item;
	return top;
}

static double
run_optimum(const struct trace *trace, uint32_t size)
{
	uint32_t *next_use = mem_array(trace->length, sizeof(uint32_t));
	uint32_t *due = mem_array(trace->distinct, sizeof(uint32_t)); /* next use of what is in, + 1 */
	struct far far = {.items = mem_array(trace->length + 1, sizeof(uint64_t))};
	size_t hits = 0, count = 0;

	for (size_t i = trace->length; i-- > 0;) {
		next_use[i] = due[trace->keys[i]] ? due[trace->keys[i]] - 1 : UINT32_MAX - 1;
		due[trace->keys[i]] = (uint32_t)i + 1;
	}
	memset(due, 0, trace->distinct * sizeof(uint32_t));
	for (size_t i = 0; i < trace->length; i++) {
		uint32_t key = trace->keys[i];
		if (due[key]) {
			hits++;
		} else if (count++ == size) {
			uint64_t top;
			do
				top = far_pop(&far);
			while (due[(uint32_t)top] != (uint32_t)(top >> 32) + 1);
			due[(uint32_t)top] = 0;
			count--;
		}
		due[key] = next_use[i] + 1;
		far_push(&far, (uint64_t)next_use[i] << 32 | key);
	}
	mem_free(next_use);
	mem_free(due);
	mem_free(far.items);
	return 100.0 * (double)hits / (double)trace->length;
}

/* ---- figures ---- */

struct sums {
	double lru, s3_fifo, ours, optimum, worst;
	unsigned count;
};

static void
compare(const struct trace *trace, uint32_t size, struct sums *sums)
{
	double lru = run_lru(trace, size), s3_fifo = run_eviction(trace, size, EVICTION_S3_FIFO);
	double clock = run_eviction(trace, size, EVICTION_CLOCK), hold = run_eviction(trace, size, EVICTION_HOLD);
	double ours = run_eviction(trace, size, EVICTION_ADAPTIVE), optimum = run_optimum(trace, size);

	printf("%-24s %7u  %6.2f  %6.2f  %6.2f  %6.2f  %6.2f  %6.2f  %+6.2f\n", trace->name, size, lru, s3_fifo,
	       clock, hold, ours, optimum, ours - lru);
	sums->lru += lru;
	sums->s3_fifo += s3_fifo;
	sums->ours += ours;
	sums->optimum += optimum;
	if (sums->count++ == 0 || ours - lru < sums->worst)
		sums->worst = ours - lru;
}

static void
compare_all(struct trace *trace, const uint32_t *sizes, struct sums *sums)
{
	for (size_t i = 0; sizes[i]; i++)
		compare(trace, sizes[i], sums);
	mem_free(trace->keys);
}

static void
compare_made(struct sums *sums)
{
	struct trace traces[] = {make_zipf("zipf 0.8", 100000, 0.8),
	                         make_zipf("zipf 1.0", 100000, 1.0),
	                         make_zipf("zipf 1.2", 100000, 1.2),
	                         make_scan(),
	                         make_shift(),
	                         make_recent(),
	                         make_phases()};
	for (size_t i = 0; i < sizeof(traces) / sizeof(traces[0]); i++)
		compare_all(&traces[i], (const uint32_t[]){200, 1000, 2000, 5000, 20000, 0}, sums);
	for (uint32_t size = 500; size <= 50000; size *= 10) {
		struct trace loop = make_loop(size / 10 * 11);
		compare_all(&loop, (const uint32_t[]){size, 0}, sums);
	}
}

/* Numbers the lines of a file by their first appearance. */
static bool
read_trace(const char *path, struct trace *trace)
{
	FILE *file = fopen(path, "r");
	size_t capacity = 1u << 16, slots = 1u << 24;
	char line[4096];

	if (!file) {
		perror(path);
		return false;
	}
	uint64_t *hashes = mem_array(slots, sizeof(uint64_t));
	uint32_t *numbers = mem_array(slots, sizeof(uint32_t));
	*trace = (struct trace){.keys = mem_array(capacity, sizeof(uint32_t))};
	snprintf(trace->name, sizeof(trace->name), "%s", path);
	while (fgets(line, sizeof(line), file) && trace->distinct < slots / 2) {
		uint64_t hash = hash_stable64(line, strlen(line), 0) | 1;
		size_t at = hash >> 40;
		while (hashes[at] && hashes[at] != hash)
			at = (at + 1) % slots;
		if (!hashes[at]) {
			hashes[at] = hash;
			numbers[at] = trace->distinct++;
		}
		if (trace->length == capacity)
			trace->keys = mem_resize(trace->keys, capacity *= 2, sizeof(uint32_t));
		trace->keys[trace->length++] = numbers[at];
	}
	fclose(file);
	mem_free(hashes);
	mem_free(numbers);
	return trace->length > 0;
}

int
main(int argc, char **argv)
{
	struct sums sums = {0};

	printf("hit ratio, %%            entries     LRU  S3FIFO   CLOCK    HOLD    ours    best  ours-LRU\n");
	for (int i = 1; i < argc; i++) {
		struct trace trace;
		if (!read_trace(argv[i], &trace))
			return EXIT_FAILURE;
		uint32_t sizes[] = {trace.distinct / 1000 + 1, trace.distinct / 100 + 1, trace.distinct / 10 + 1, 0};
		compare_all(&trace, sizes, &sums);
	}
	if (argc == 1)
		compare_made(&sums);
	printf(
	    "mean of %u: LRU %.2f, S3-FIFO %.2f, ours %.2f, best possible %.2f; ours at worst %+.2f beside LRU\n",
	    sums.count, sums.lru / sums.count, sums.s3_fifo / sums.count, sums.ours / sums.count,
	    sums.optimum / sums.count, sums.worst);
	return EXIT_SUCCESS;
}
