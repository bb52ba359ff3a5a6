/*
 * eviction: hit ratios beside a plain LRU on traces that are hard in different ways, and bounds that hold
 * whatever the sizes are. The traces are those of tests/bench/eviction_bench.c at about a seventh of the
 * scale.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/random.h"
#include "cached/eviction.h"
#include "cached/ghost.h"

#define LENGTH   150000u
#define DISTINCT 60000u

static struct seeded_random seeded;
static uint32_t *trace;

static void
set_up(void)
{
	seeded_random_init(&seeded, 4);
	trace = mem_array(LENGTH, sizeof(*trace));
}

static void
tear_down(void)
{
	mem_free(trace);
}

static uint32_t
draw(uint32_t bound)
{
	return (uint32_t)random_below(&seeded.random, bound);
}

static uint32_t
hash_of(uint32_t key)
{
	return (uint32_t)hash_stable64(&key, sizeof(key), 0);
}

/* ---- a cache of keys under each, in per cent of hits ---- */

static double
ours(uint32_t size)
{
	struct eviction *eviction = eviction_new(size, EVICTION_ADAPTIVE);
	uint32_t *entry_of = mem_array(DISTINCT, sizeof(uint32_t)); /* + 1 */
	uint32_t *key_of = mem_array(size + 2u, sizeof(uint32_t)), hits = 0;

	for (size_t i = 0; i < LENGTH; i++) {
		uint32_t *entry = &entry_of[trace[i]];
		if (*entry) {
			hits++;
			eviction_use(eviction, *entry - 1, hash_of(trace[i]));
			continue;
		}
		*entry = eviction_add(eviction, hash_of(trace[i]), 1) + 1;
		key_of[*entry - 1] = trace[i];
		while (eviction_is_over(eviction))
			entry_of[key_of[eviction_evict(eviction)]] = 0;
		ck_assert_uint_le(eviction_count(eviction), size);
	}
	mem_free(entry_of);
	mem_free(key_of);
	eviction_free(eviction);
	return 100.0 * hits / LENGTH;
}

/* By the time of the last use. */
static double
lru(uint32_t size)
{
	uint32_t *used_at = mem_array(DISTINCT, sizeof(uint32_t)); /* + 1; 0: not in */
	uint32_t oldest = 0, count = 0, hits = 0;

	for (uint32_t i = 0; i < LENGTH; i++) {
		if (used_at[trace[i]])
			hits++;
		else if (count++ == size) {
			/* The trace itself is the queue: its oldest place that was a key's last use. */
			while (used_at[trace[oldest]] != oldest + 1)
				oldest++;
			used_at[trace[oldest++]] = 0;
			count--;
		}
		used_at[trace[i]] = i + 1;
	}
	mem_free(used_at);
	return 100.0 * hits / LENGTH;
}

/* ---- traces ---- */

static void
draw_zipf(double exponent, uint32_t keys, size_t begin, size_t end, uint32_t first)
{
	double *sums = mem_array(keys, sizeof(double)), sum = 0;

	for (uint32_t i = 0; i < keys; i++)
		sums[i] = sum += pow(i + 1, -exponent);
	for (size_t i = begin; i < end; i++) {
		double at = (double)draw(1u << 30) / (1u << 30) * sum;
		uint32_t low = 0, high = keys - 1;
		while (low < high) {
			uint32_t middle = (low + high) / 2;
			if (sums[middle] < at)
				low = middle + 1;
			else
				high = middle;
		}
		trace[i] = first + low;
	}
	mem_free(sums);
}

static void
draw_loop(uint32_t keys, size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i++)
		trace[i] = (uint32_t)(i % keys);
}

static void
assert_not_below_lru(const char *what)
{
	static const uint32_t sizes[] = {100, 300, 1000, 3000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		double our_hits = ours(sizes[i]), lru_hits = lru(sizes[i]);
		ck_assert_msg(our_hits >= lru_hits - 0.5, "%s, %u entries: %.2f, LRU %.2f", what, sizes[i], our_hits,
		              lru_hits);
	}
}

START_TEST(popular_keys_are_kept_at_least_as_well_as_by_lru)
{
	draw_zipf(0.8, 20000, 0, LENGTH, 0);
	assert_not_below_lru("zipf 0.8");
	ck_assert_double_ge(ours(1000), lru(1000) + 5);
	draw_zipf(1.1, 20000, 0, LENGTH, 0);
	assert_not_below_lru("zipf 1.1");
}
END_TEST

START_TEST(runs_through_keys_that_do_not_come_back_cost_no_more_than_with_lru)
{
	draw_zipf(0.9, 10000, 0, LENGTH, 0);
	for (size_t i = 0; i < LENGTH; i++)
		if (i % 15000 < 5000)
			trace[i] = 10000 + (uint32_t)(i % 15000);
	assert_not_below_lru("scans");
	ck_assert_double_ge(ours(1000), lru(1000) + 3);
}
END_TEST

START_TEST(keys_that_only_come_back_soon_are_kept_as_by_lru)
{
	uint32_t next = 0;

	for (size_t i = 0; i < LENGTH; i++) {
		uint32_t back = draw(1000);
		bool is_new = next <= back || draw(3) == 0;
		trace[i] = is_new ? next++ : next - 1 - back;
	}
	assert_not_below_lru("recency");
}
END_TEST

START_TEST(a_working_set_that_moves_is_followed_as_by_lru)
{
	for (uint32_t part = 0; part < 10; part++)
		draw_zipf(1.0, 5000, part * (LENGTH / 10), (part + 1) * (LENGTH / 10), part * 2500);
	assert_not_below_lru("shift");
}
END_TEST

START_TEST(loops_and_popular_keys_in_turn_are_both_kept)
{
	for (uint32_t part = 0; part < 10; part++)
		if (part % 2)
			draw_zipf(0.9, 3000, part * (LENGTH / 10), (part + 1) * (LENGTH / 10), 330);
		else
			draw_loop(330, part * (LENGTH / 10), (part + 1) * (LENGTH / 10));
	assert_not_below_lru("turns");
}
END_TEST

START_TEST(of_a_loop_a_tenth_larger_than_the_cache_more_than_40_per_cent_hit)
{
	static const uint32_t sizes[] = {100, 500, 2000, 5000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		draw_loop(sizes[i] / 10 * 11, 0, LENGTH);
		double hits = ours(sizes[i]);
		ck_assert_msg(hits >= 40, "%u entries: %.2f", sizes[i], hits);
		ck_assert_double_le(lru(sizes[i]), 0.01);
	}
}
END_TEST

/* ---- bounds ---- */

/* What the eviction should hold, by number. */
struct model {
	uint32_t sizes[DISTINCT]; /* 0: not in */
	uint64_t sum;
	uint32_t count;
};

static void
model_drop(struct model *model, uint32_t entry)
{
	ck_assert_uint_ne(model->sizes[entry], 0);
	model->sum -= model->sizes[entry];
	model->sizes[entry] = 0;
	model->count--;
}

static void
model_step(struct model *model, struct eviction *eviction, uint32_t most)
{
	uint32_t entry = draw(eviction_entries_end(eviction) + 1), size = 1 + draw(most), what = draw(10);
	bool is_in = entry < eviction_entries_end(eviction) && model->sizes[entry] != 0;

	if (what < 5) {
		entry = eviction_add(eviction, draw(UINT32_MAX), size);
		ck_assert_uint_eq(model->sizes[entry], 0);
		model->sizes[entry] = size;
		model->sum += size;
		model->count++;
	} else if (is_in && what < 7) {
		eviction_use(eviction, entry, eviction_hash(eviction, entry));
	} else if (is_in && what < 8) {
		eviction_remove(eviction, entry);
		model_drop(model, entry);
	} else if (is_in) {
		eviction_resize(eviction, entry, size);
		model->sum += size - (uint64_t)model->sizes[entry];
		model->sizes[entry] = size;
	}
	while (eviction_is_over(eviction))
		model_drop(model, eviction_evict(eviction));
}

static void
assert_follows_model(enum eviction_policy policy)
{
	struct eviction *eviction = eviction_new(20000, policy);
	struct model *model = mem_alloc(sizeof(*model));

	for (int i = 0; i < 60000; i++) {
		model_step(model, eviction, i / 5000 % 2 ? 4u : 15000u >> i % 12);
		ck_assert_uint_eq(eviction_size(eviction), model->sum);
		ck_assert_uint_eq(eviction_count(eviction), model->count);
		ck_assert_uint_le(model->sum, 20000);
	}
	for (uint32_t entry = 0; entry < eviction_entries_end(eviction); entry++)
		ck_assert(eviction_holds(eviction, entry) == (model->sizes[entry] != 0));
	while (model->count > 0)
		model_drop(model, eviction_evict(eviction));
	ck_assert_uint_eq(eviction_evict(eviction), EVICTION_NONE);
	eviction_free(eviction);
	mem_free(model);
}

START_TEST(sums_and_bounds_hold_under_any_sizes_removals_and_replacements)
{
	for (int policy = EVICTION_S3_FIFO; policy <= EVICTION_ADAPTIVE; policy++)
		assert_follows_model((enum eviction_policy)policy);
}
END_TEST

START_TEST(removing_what_was_put_in_again_and_again_takes_no_more_memory)
{
	struct eviction *eviction = eviction_new(1000000, EVICTION_ADAPTIVE);

	for (uint32_t i = 0; i < 1000; i++)
		eviction_add(eviction, hash_of(i), 1);
	for (uint32_t i = 0; i < 100000; i++)
		eviction_remove(eviction, eviction_add(eviction, hash_of(i), 1));
	ck_assert_uint_eq(eviction_count(eviction), 1000);
	ck_assert_uint_le(eviction_entries_end(eviction), 1400);
	eviction_free(eviction);
}
END_TEST

START_TEST(a_ghost_remembers_about_as_many_of_the_latest_as_it_was_told)
{
	struct ghost *ghost = ghost_new();
	unsigned young = 0, old = 0;

	ghost_set_span(ghost, 10000);
	for (uint32_t i = 0; i < 50000; i++)
		ghost_add(ghost, hash_of(i));
	for (uint32_t i = 0; i < 1000; i++) {
		young += ghost_take(ghost, hash_of(50000 - 1 - i * 5));
		old += ghost_take(ghost, hash_of(i * 30));
	}
	ck_assert_uint_ge(young, 980);
	ck_assert_uint_le(old, 20);
	ck_assert(!ghost_take(ghost, hash_of(49999)));
	ck_assert_uint_le(ghost_bytes(ghost), 10000 * 2 + 1000);
	ghost_free(ghost);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache eviction");
	TCase *tests = tcase_create("eviction");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, popular_keys_are_kept_at_least_as_well_as_by_lru);
	tcase_add_test(tests, runs_through_keys_that_do_not_come_back_cost_no_more_than_with_lru);
	tcase_add_test(tests, keys_that_only_come_back_soon_are_kept_as_by_lru);
	tcase_add_test(tests, a_working_set_that_moves_is_followed_as_by_lru);
	tcase_add_test(tests, loops_and_popular_keys_in_turn_are_both_kept);
	tcase_add_test(tests, of_a_loop_a_tenth_larger_than_the_cache_more_than_40_per_cent_hit);
	tcase_add_test(tests, sums_and_bounds_hold_under_any_sizes_removals_and_replacements);
	tcase_add_test(tests, removing_what_was_put_in_again_and_again_takes_no_more_memory);
	tcase_add_test(tests, a_ghost_remembers_about_as_many_of_the_latest_as_it_was_told);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
