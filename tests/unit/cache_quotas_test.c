/*
 * engine: bounds of bytes, entries and namespaces, and who has to leave.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "cached/eviction.h"
#include "support/test_space.h"

static struct test_space t;

static void
set_up(void)
{
	test_space_init(&t);
}

static void
tear_down(void)
{
	test_space_fini(&t);
}

static uint64_t
bytes_of(const char *tenant)
{
	struct tenant_stats stats;

	ck_assert(engine_tenant_stats(t.engine, tenant, &stats));
	return stats.bytes;
}

/* ---- namespaces ---- */

START_TEST(tenants_and_spaces_of_one_name_are_apart_and_their_number_is_bounded)
{
	struct engine_options options = {.bytes_max = 1 << 20, .spaces_max = 3};
	struct engine *small = engine_new(&options);
	struct space *a, *b, *other;
	char name[16];

	ck_assert_int_eq(engine_space(small, "a", "s", &a).code, STATUS_OK);
	ck_assert_int_eq(engine_space(small, "b", "s", &b).code, STATUS_OK);
	ck_assert_ptr_ne(a, b);
	ck_assert_int_eq(engine_space(small, "a", "s", &other).code, STATUS_OK);
	ck_assert_ptr_eq(a, other);
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		ck_assert_int_eq(engine_space(small, "a", name, &other).code, STATUS_OK);
	}
	ck_assert_int_eq(engine_space(small, "a", "more", &other).code, STATUS_RESOURCE_EXHAUSTED);
	ck_assert_ptr_null(engine_find_space(small, "a", "more"));
	ck_assert_int_eq(engine_space(small, "b", "more", &other).code, STATUS_OK);
	engine_free(small);
}
END_TEST

/* What spaces take by themselves cannot be evicted. */
START_TEST(no_tenant_fills_the_memory_with_namespaces_alone)
{
	struct engine *small = engine_new(&(struct engine_options){.bytes_max = 8 << 20});
	struct space *other;
	char name[32];
	unsigned made = 0;

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		if (engine_space(small, "many", name, &other).code != STATUS_OK)
			continue;
		made++;
		struct set set = test_set_of("k", "v");
		engine_set(other, &set, 1);
	}
	engine_tick(small);
	ck_assert_uint_ge(made, 100);
	ck_assert_uint_le(engine_bytes(small), 3 << 20);
	ck_assert_int_eq(engine_space(small, "another", "s", &other).code, STATUS_OK);
	struct set set = test_set_of("k", "v");
	engine_set(other, &set, 1);
	ck_assert_int_eq(set.outcome, SET_STORED);
	engine_free(small);
}
END_TEST

START_TEST(all_tenants_together_fill_half_of_the_memory_with_namespaces_at_most)
{
	struct engine *small = test_space_engine(&t, 8 << 20);
	struct space *other;
	char tenant[16], name[16];
	unsigned made = 0;

	for (int i = 0; i < 1000; i++) {
		snprintf(tenant, sizeof(tenant), "t%d", i / 100);
		snprintf(name, sizeof(name), "s%d", i % 100);
		made += engine_space(small, tenant, name, &other).code == STATUS_OK;
	}
	/* Each tenant has one in any case. */
	ck_assert_uint_ge(made, 200);
	ck_assert_uint_le(made, (4 << 20) / 16384 + 10);
	engine_free(small);
}
END_TEST

/* ---- room ---- */

START_TEST(bytes_never_exceed_the_bound_whatever_the_sizes)
{
	const uint64_t bytes_max = (4 << 20) - 5; /* no whole number of anything */
	struct engine *small = test_space_engine(&t, bytes_max);
	struct space *spaces[3];
	char name[16], key[32];
	char *value = calloc(1, 400000);

	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		engine_space(small, i ? "one" : "two", name, &spaces[i]);
	}
	for (unsigned i = 0; i < 60000; i++) {
		snprintf(key, sizeof(key), "%u", (unsigned)random_below(&t.random.random, 20000));
		struct set set = test_set_of(key, "");
		set.value = value;
		/* Phases of small and of large ones, and some that are too large. */
		set.value_length = (size_t)random_below(&t.random.random, i / 6000 % 2 ? 16u : 300000u >> i % 13);
		engine_set(spaces[i % 3], &set, 1);
		ck_assert_int_eq(set.outcome, set.value_length > 262032 ? SET_TOO_LARGE : SET_STORED);
		ck_assert_uint_le(engine_bytes(small), bytes_max);
		if (i % 500 == 0)
			engine_tick(small);
		ck_assert_uint_le(engine_bytes(small), bytes_max);
	}
	ck_assert_uint_gt(engine_bytes(small), bytes_max / 10 * 9);
	engine_free(small);
	free(value);
}
END_TEST

START_TEST(an_entry_that_is_too_large_is_refused_and_takes_the_old_value_with_it)
{
	char *value = calloc(1, 5 << 20);
	struct set set = test_set_of("k", "");
	struct space_options options = space_options_default();

	test_put(t.space, "k", "old");
	set.value = value;
	set.value_length = 5 << 20;
	ck_assert_int_eq(test_set(t.space, set), SET_TOO_LARGE);
	ck_assert_int_eq(test_look(&t, "k").outcome, GET_MISS);
	set.value_length = 1 << 20;
	ck_assert_int_eq(test_set(t.space, set), SET_STORED);
	options.value_max = 100;
	space_configure(t.space, &options);
	ck_assert_int_eq(test_set(t.space, set), SET_TOO_LARGE);
	set.value_length = 100;
	ck_assert_int_eq(test_set(t.space, set), SET_STORED);
	free(value);
}
END_TEST

START_TEST(a_space_keeps_to_its_own_bounds)
{
	struct space_options options = space_options_default();
	struct space_stats stats;

	options.entries_max = 100;
	space_configure(t.space, &options);
	test_put_many(t.space, "k", 1000, 10);
	ck_assert_uint_eq(test_entries(t.space), 100);
	options.entries_max = 0;
	options.bytes_max = 20000;
	space_configure(t.space, &options);
	test_put_many(t.space, "k", 1000, 100);
	engine_space_stats(t.space, &stats);
	ck_assert_uint_le(stats.bytes, 20000);
	ck_assert_uint_gt(stats.bytes, 19000);
	options.bytes_max = 5000;
	space_configure(t.space, &options);
	engine_space_stats(t.space, &stats);
	ck_assert_uint_le(stats.bytes, 5000);
	ck_assert_uint_gt(stats.evicted[EVICTED_FOR_SPACE], 1900);
}
END_TEST

static void
put_negatives(const char *prefix, unsigned count)
{
	char key[64];

	for (unsigned i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "%s%u", prefix, i);
		struct set set = test_set_of(key, "");
		set.is_negative = true;
		ck_assert_int_eq(test_set(t.space, set), SET_STORED);
		ck_assert_int_eq(test_look(&t, key).outcome, GET_NEGATIVE);
	}
}

START_TEST(that_there_is_no_value_takes_a_tenth_of_the_entries_at_most)
{
	struct space_options options = space_options_default();
	struct space_stats stats;

	options.entries_max = 1000;
	space_configure(t.space, &options);
	test_put_many(t.space, "k", 900, 10);
	put_negatives("none", 5000);
	engine_space_stats(t.space, &stats);
	ck_assert_uint_eq(stats.negative_entries, 100);
	ck_assert_uint_eq(stats.entries, 1000);
	test_put(t.space, "none4999", "created");
	engine_space_stats(t.space, &stats);
	ck_assert_uint_eq(stats.negative_entries, 99);
	engine_invalidate_all(t.space);
	for (unsigned i = 0; i < 20; i++)
		engine_tick(t.engine);
	engine_space_stats(t.space, &stats);
	ck_assert_uint_eq(stats.negative_entries, 0);
	ck_assert_uint_eq(stats.negative_bytes, 0);
}
END_TEST

START_TEST(that_there_is_no_value_takes_a_tenth_of_the_bytes_at_most)
{
	struct space_options options = space_options_default();
	struct space_stats stats;

	options.bytes_max = 100000;
	space_configure(t.space, &options);
	test_put_many(t.space, "k", 200, 100);
	put_negatives("none", 2000);
	engine_space_stats(t.space, &stats);
	ck_assert_uint_gt(stats.negative_bytes, 9000);
	ck_assert_uint_le(stats.negative_bytes, 10000);
	ck_assert_uint_eq(stats.entries, 200 + stats.negative_entries);
	/* Where a tenth is less than one, one has its place. */
	options.bytes_max = 1000;
	space_configure(t.space, &options);
	put_negatives("none", 10);
	engine_space_stats(t.space, &stats);
	ck_assert_uint_eq(stats.negative_entries, 1);
}
END_TEST

START_TEST(a_tenant_keeps_to_its_quota_and_cannot_push_out_anothers_share)
{
	struct engine *small = test_space_engine(&t, 4 << 20);
	struct space *meek, *greedy;
	struct tenant_stats stats;

	engine_space(small, "meek", "s", &meek);
	engine_space(small, "greedy", "s", &greedy);
	test_put_many(meek, "m", 5000, 100);
	uint64_t kept = test_entries(meek);
	ck_assert_uint_eq(kept, 5000);
	test_put_many(greedy, "g", 100000, 100);
	ck_assert_uint_eq(test_entries(meek), kept);
	ck_assert_uint_gt(test_entries(greedy), 8000);
	/* Above its share, it loses to who is below. */
	test_put_many(meek, "m", 100000, 100);
	engine_tenant_stats(small, "meek", &stats);
	ck_assert_uint_gt(stats.bytes, 1900000);
	ck_assert_uint_lt(stats.bytes, 2300000);
	engine_set_quota(small, "greedy", &(struct tenant_quota){.weight = 3});
	test_put_many(greedy, "h", 100000, 100);
	engine_tenant_stats(small, "meek", &stats);
	ck_assert_uint_lt(stats.bytes, 1200000);
	engine_set_quota(small, "greedy", &(struct tenant_quota){.bytes_max = 500000, .entries_max = 1000});
	engine_tick(small);
	engine_tenant_stats(small, "greedy", &stats);
	ck_assert_uint_le(stats.bytes, 500000);
	ck_assert_uint_le(stats.entries, 1000);
	test_put_many(greedy, "i", 5000, 10);
	engine_tenant_stats(small, "greedy", &stats);
	ck_assert_uint_le(stats.entries, 1000);
	engine_free(small);
}
END_TEST

START_TEST(which_of_a_tenants_namespaces_loses_is_drawn_by_what_they_take)
{
	struct engine *small = test_space_engine(&t, 4 << 20);
	struct space *little, *large;

	engine_space(small, "tenant", "little", &little);
	engine_space(small, "tenant", "large", &large);
	test_put_many(little, "k", 6000, 100);
	test_put_many(large, "k", 20000, 100);
	uint64_t before = test_entries(large), kept = test_entries(little);
	ck_assert_uint_ge(before, 10000);
	ck_assert_uint_ge(kept, 2500);
	/* As much comes as is a fifth of all: each namespace loses about that part of its own. */
	test_put_many(large, "more", (unsigned)(before + kept) / 5, 100);
	ck_assert_uint_ge(test_entries(little), kept * 7 / 10);
	ck_assert_uint_le(test_entries(little), kept * 19 / 20);
	engine_free(small);
}
END_TEST

START_TEST(room_that_was_not_had_is_given_back)
{
	char *value = calloc(1, 30000);
	struct set set = test_set_of("k", "");

	set.value = value;
	set.value_length = 30000;
	test_put(t.space, "small", "v");
	engine_tick(t.engine);
	uint64_t beside = bytes_of("tenant"), all = engine_bytes(t.engine);
	/* Less than the entry and what the namespace takes by itself. */
	engine_set_quota(t.engine, "tenant", &(struct tenant_quota){.bytes_max = 31000});
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(test_set(t.space, set), SET_TOO_LARGE);
	ck_assert_uint_le(bytes_of("tenant"), beside);
	ck_assert_uint_le(engine_bytes(t.engine), all);
	free(value);
}
END_TEST

/* Gets of keys that are put in when they miss, in a space of a thousand entries. */
static double
hit_ratio(uint32_t (*draw_key)(uint32_t i), uint32_t gets)
{
	struct space_options options = space_options_default();
	uint32_t hits = 0;
	char key[32];

	options.entries_max = 1000;
	space_configure(t.space, &options);
	for (uint32_t i = 0; i < gets; i++) {
		snprintf(key, sizeof(key), "key%u", draw_key(i));
		arena_reset(&t.arena);
		if (test_look(&t, key).outcome == GET_HIT)
			hits++;
		else
			test_put(t.space, key, "value");
	}
	return (double)hits / gets;
}

#define DRAWN 60000u

/* The same, of the eviction by itself. */
static double
hit_ratio_of_eviction(uint32_t (*draw_key)(uint32_t i), uint32_t gets)
{
	struct eviction *eviction = eviction_new(1000, EVICTION_ADAPTIVE);
	uint32_t *entry_of = calloc(DRAWN, sizeof(*entry_of)); /* + 1 */
	uint32_t key_of[1002], hits = 0;

	for (uint32_t i = 0; i < gets; i++) {
		uint32_t key = draw_key(i), *entry = &entry_of[key];
		if (*entry) {
			hits++;
			eviction_use(eviction, *entry - 1, (uint32_t)hash_stable64(&key, sizeof(key), 0));
			continue;
		}
		*entry = eviction_add(eviction, (uint32_t)hash_stable64(&key, sizeof(key), 0), 1) + 1;
		key_of[*entry - 1] = key;
		while (eviction_is_over(eviction))
			entry_of[key_of[eviction_evict(eviction)]] = 0;
	}
	free(entry_of);
	eviction_free(eviction);
	return (double)hits / gets;
}

static uint32_t
draw_looped(uint32_t i)
{
	return i % 1100;
}

/* Half of the gets are of 600 keys, the others of a hundred times as many. */
static uint32_t
draw_popular(uint32_t i)
{
	return (uint32_t)hash_mix64(i, 1) % (i % 2 ? 600u : DRAWN);
}

START_TEST(the_whole_keeps_what_its_eviction_promises)
{
	double looped = hit_ratio(draw_looped, 40000);
	ck_assert_double_ge(looped, 0.4);
	ck_assert_double_ge(looped, hit_ratio_of_eviction(draw_looped, 40000) - 0.02);
	ck_assert_int_eq(engine_space(t.engine, "tenant", "other", &t.space).code, STATUS_OK);
	ck_assert_double_ge(hit_ratio(draw_popular, 60000), hit_ratio_of_eviction(draw_popular, 60000) - 0.02);
}
END_TEST

START_TEST(shrinking_lets_entries_go_until_the_bytes_are_what_was_asked)
{
	struct space_stats stats;

	test_put_many(t.space, "k", 50000, 200);
	engine_shrink(t.engine, 2 << 20);
	ck_assert_uint_le(engine_bytes(t.engine), 2 << 20);
	engine_space_stats(t.space, &stats);
	ck_assert_uint_gt(stats.entries, 4000);
	ck_assert_uint_eq(stats.entries + stats.evicted[EVICTED_SHRUNK], 50000);
}
END_TEST

/* ---- what is remembered beside entries ---- */

#define NAMES 400u /* of namespaces of one tenant */

static void
for_each_name(void (*act)(struct space *space))
{
	struct space *other;
	char name[32];

	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		ck_assert_int_eq(engine_space(t.engine, "many", name, &other).code, STATUS_OK);
		act(other);
		if (i % 4 == 0)
			engine_tick(t.engine);
	}
	engine_tick(t.engine);
}

/* Another tenant's entries, which have to stay, and room for its next one. */
static void
assert_others_are_left_alone(void)
{
	ck_assert_uint_eq(test_entries(t.space), 50000);
	ck_assert_uint_lt(bytes_of("many"), 64 << 20 >> 1);
	test_put(t.space, "another", "v");
	ck_assert_uint_eq(test_entries(t.space), 50001);
}

static void
use_a_pattern(struct space *space)
{
	uint64_t sequence;
	ck_assert_int_eq(engine_invalidate_glob(space, "*a*", 3, &sequence).code, STATUS_OK);
}

START_TEST(a_pattern_takes_what_it_needs_and_nothing_once_it_is_forgotten)
{
	test_put_many(t.space, "k", 50000, 100);
	for_each_name(use_a_pattern);
	assert_others_are_left_alone();
	ck_assert_uint_lt(bytes_of("many"), NAMES * 16384);
}
END_TEST

static void
ask_for_long_keys(struct space *space)
{
	char key[ENGINE_KEY_MAX + 1];

	memset(key, 'k', ENGINE_KEY_MAX);
	key[ENGINE_KEY_MAX] = '\0';
	for (unsigned i = 0; i < 64; i++) {
		key[i] = 'x';
		struct get get = {.key = key, .key_length = ENGINE_KEY_MAX};
		engine_get(space, &get, 1, &t.arena, NULL);
	}
}

START_TEST(keys_that_are_counted_as_hot_take_their_tenants_memory)
{
	test_put_many(t.space, "k", 50000, 100);
	for_each_name(ask_for_long_keys);
	assert_others_are_left_alone();
	ck_assert_uint_gt(bytes_of("many"), 8 << 20);
	ck_assert_uint_lt(bytes_of("many"), 24 << 20);
}
END_TEST

static void
take_leases(struct space *space)
{
	char key[32];

	for (unsigned i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "key%u", i);
		struct get get = {.key = key, .key_length = strlen(key), .may_fill = true};
		engine_get(space, &get, 1, &t.arena, NULL);
	}
}

START_TEST(leases_push_out_nothing_of_others_and_are_had_again_when_they_are_over)
{
	struct space *last;

	test_put_many(t.space, "k", 50000, 100);
	for_each_name(take_leases);
	assert_others_are_left_alone();
	ck_assert_int_eq(engine_space(t.engine, "many", "s399", &last).code, STATUS_OK);
	struct get get = {.key = "more", .key_length = 4, .may_fill = true};
	engine_get(last, &get, 1, &t.arena, NULL);
	ck_assert_uint_eq(get.token, 0);
	ck_assert(!get.is_filling);
	fake_clock_advance_ms(&t.clock, 10000);
	for (int i = 0; i < 2; i++)
		engine_tick(t.engine);
	ck_assert_uint_lt(bytes_of("many"), NAMES * 13500);
	engine_get(last, &get, 1, &t.arena, NULL);
	ck_assert_uint_ne(get.token, 0);
}
END_TEST

/* A token that is out keeps what was invalidated since from being forgotten. */
static void
invalidate_much(struct space *space)
{
	struct get get = {.key = "held", .key_length = 4, .may_fill = true};
	char tag[32];

	engine_get(space, &get, 1, &t.arena, NULL);
	for (unsigned i = 0; i < 8000; i++) {
		snprintf(tag, sizeof(tag), "tag%u", i);
		engine_invalidate_tag(space, tag, strlen(tag));
		engine_invalidate_prefix(space, tag, strlen(tag));
	}
}

START_TEST(what_was_invalidated_pushes_out_nothing_of_others_and_is_never_given)
{
	static const char *const tags[] = {"tag7"};
	struct space *first, *other;

	test_put_many(t.space, "k", 50000, 100);
	ck_assert_int_eq(engine_space(t.engine, "many", "s0", &first).code, STATUS_OK);
	struct set set = test_set_of("tagged", "v");
	set.tags = tags;
	set.tag_count = 1;
	ck_assert_int_eq(test_set(first, set), SET_STORED);
	for_each_name(invalidate_much);
	assert_others_are_left_alone();
	struct get get = {.key = "tagged", .key_length = 6};
	engine_get(first, &get, 1, &t.arena, NULL);
	ck_assert_int_eq(get.outcome, GET_MISS);
	/* A value that is written afterwards is nobody's business. */
	ck_assert_int_eq(engine_space(t.engine, "many", "s399", &other).code, STATUS_OK);
	ck_assert_int_eq(test_set(other, set), SET_STORED);
	engine_tick(t.engine);
	engine_get(other, &get, 1, &t.arena, NULL);
	ck_assert_int_eq(get.outcome, GET_HIT);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache quotas");
	TCase *tests = tcase_create("quotas");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, tenants_and_spaces_of_one_name_are_apart_and_their_number_is_bounded);
	tcase_add_test(tests, no_tenant_fills_the_memory_with_namespaces_alone);
	tcase_add_test(tests, bytes_never_exceed_the_bound_whatever_the_sizes);
	tcase_add_test(tests, an_entry_that_is_too_large_is_refused_and_takes_the_old_value_with_it);
	tcase_add_test(tests, a_space_keeps_to_its_own_bounds);
	tcase_add_test(tests, that_there_is_no_value_takes_a_tenth_of_the_entries_at_most);
	tcase_add_test(tests, that_there_is_no_value_takes_a_tenth_of_the_bytes_at_most);
	tcase_add_test(tests, a_tenant_keeps_to_its_quota_and_cannot_push_out_anothers_share);
	tcase_add_test(tests, all_tenants_together_fill_half_of_the_memory_with_namespaces_at_most);
	tcase_add_test(tests, which_of_a_tenants_namespaces_loses_is_drawn_by_what_they_take);
	tcase_add_test(tests, room_that_was_not_had_is_given_back);
	tcase_add_test(tests, the_whole_keeps_what_its_eviction_promises);
	tcase_add_test(tests, shrinking_lets_entries_go_until_the_bytes_are_what_was_asked);
	tcase_add_test(tests, a_pattern_takes_what_it_needs_and_nothing_once_it_is_forgotten);
	tcase_add_test(tests, keys_that_are_counted_as_hot_take_their_tenants_memory);
	tcase_add_test(tests, leases_push_out_nothing_of_others_and_are_had_again_when_they_are_over);
	tcase_add_test(tests, what_was_invalidated_pushes_out_nothing_of_others_and_is_never_given);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
