/*
 * heap: blocks beside a plain list of what each should hold, and memory that comes back.
 */
#include <check.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "cached/heap.h"

#define BLOCKS 3000u
#define STEPS  200000u

static struct seeded_random seeded;

static size_t
draw(size_t bound)
{
	return (size_t)random_below(&seeded.random, bound);
}

/* Mostly small ones, some of every size. */
static size_t
draw_size(unsigned step)
{
	size_t most = step / 20000 % 2 ? 200 : (size_t)16 << draw(14);
	return 1 + draw(most);
}

struct held {
	unsigned char *block;
	size_t size;
	unsigned char mark;
};

static void
assert_whole(const struct held *held)
{
	for (size_t i = 0; i<held->size; i += held->size> 64 ? held->size / 8 : 1)
		ck_assert_uint_eq(held->block[i], held->mark);
	ck_assert_uint_eq(held->block[held->size - 1], held->mark);
}

static void
change(struct heap *heap, struct held *held, unsigned step)
{
	if (held->block) {
		assert_whole(held);
		heap_release(heap, held->block);
		held->block = NULL;
		return;
	}
	*held = (struct held){.size = draw_size(step), .mark = (unsigned char)draw(256)};
	held->block = heap_alloc(heap, held->size);
	ck_assert_uint_eq((uintptr_t)held->block % HEAP_ALIGNMENT, 0);
	ck_assert_uint_ge(heap_block_size(held->block), held->size);
	ck_assert_uint_le(heap_block_size(held->block), (held->size > HEAP_LEAST ? held->size : HEAP_LEAST) + 31);
	memset(held->block, held->mark, held->size);
}

START_TEST(blocks_of_any_size_keep_what_is_in_them_and_never_overlap)
{
	struct heap *heap = heap_new();
	struct held *held = calloc(BLOCKS, sizeof(*held));

	seeded_random_init(&seeded, 5);
	for (unsigned step = 0; step < STEPS; step++)
		change(heap, &held[draw(BLOCKS)], step);
	for (unsigned i = 0; i < BLOCKS; i++)
		if (held[i].block)
			change(heap, &held[i], 0);
	heap_trim(heap);
	ck_assert_uint_eq(heap_used(heap), 0);
	ck_assert_uint_le(heap_mapped(heap), 32 << 20); /* one region is kept */
	free(held);
	heap_free(heap);
}
END_TEST

static size_t
bytes_of(const void *block)
{
	return heap_block_size(block) + HEAP_BLOCK_BYTES;
}

/* The size of entries changes again and again, as a cache that is full lets the oldest go for the newest. */
START_TEST(a_full_cache_whose_sizes_change_takes_little_more_than_it_holds)
{
	static const size_t sizes[] = {40, 3000, 100, 20000, 64, 500, 100000, 48};
	struct heap *heap = heap_new();
	size_t bytes_max = 32 << 20, bytes = 0, oldest = 0, newest = 0;
	void **blocks = calloc(1 << 22, sizeof(*blocks));

	for (unsigned turn = 0; turn < sizeof(sizes) / sizeof(sizes[0]); turn++)
		for (size_t put = 0; put < bytes_max * 3 / 2; newest++) {
			blocks[newest] = heap_alloc(heap, sizes[turn] + newest % 32);
			put += bytes_of(blocks[newest]);
			bytes += bytes_of(blocks[newest]);
			for (; bytes > bytes_max; oldest++) {
				bytes -= bytes_of(blocks[oldest]);
				heap_release(heap, blocks[oldest]);
			}
		}
	ck_assert_uint_le(heap_mapped(heap), bytes_max * 3 / 2);
	for (; oldest < newest; oldest++)
		heap_release(heap, blocks[oldest]);
	ck_assert_uint_le(heap_mapped(heap), 32 << 20);
	free(blocks);
	heap_free(heap);
}
END_TEST

START_TEST(a_heap_of_little_takes_a_megabyte)
{
	struct heap *heap = heap_new();
	void *blocks[1000];

	for (unsigned i = 0; i < 1000; i++)
		blocks[i] = heap_alloc(heap, 500);
	ck_assert_uint_le(heap_mapped(heap), 1 << 20);
	unsigned char *large = heap_alloc(heap, 100 << 20); /* than any region is */
	large[(100 << 20) - 1] = 1;
	heap_release(heap, large);
	for (unsigned i = 0; i < 1000; i++)
		heap_release(heap, blocks[i]);
	heap_release(heap, NULL);
	heap_free(heap);
}
END_TEST

static void *
alloc_and_release(void *arg)
{
	struct heap *heap = arg;
	unsigned char *blocks[64] = {0};

	for (unsigned i = 0; i < 20000; i++) {
		unsigned at = (unsigned)(random_fast_u64() % 64);
		size_t size = 1 + random_fast_u64() % 1000;
		if (blocks[at])
			ck_assert_uint_eq(blocks[at][0], at);
		heap_release(heap, blocks[at]);
		blocks[at] = heap_alloc(heap, size);
		memset(blocks[at], (int)at, size);
	}
	for (unsigned at = 0; at < 64; at++)
		heap_release(heap, blocks[at]);
	return NULL;
}

START_TEST(threads_share_a_heap)
{
	struct heap *heap = heap_new();
	pthread_t threads[3];

	for (unsigned i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, alloc_and_release, heap);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_le(heap_mapped(heap), 1 << 20);
	heap_free(heap);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache heap");
	TCase *tests = tcase_create("heap");

	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, blocks_of_any_size_keep_what_is_in_them_and_never_overlap);
	tcase_add_test(tests, a_full_cache_whose_sizes_change_takes_little_more_than_it_holds);
	tcase_add_test(tests, a_heap_of_little_takes_a_megabyte);
	tcase_add_test(tests, threads_share_a_heap);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
