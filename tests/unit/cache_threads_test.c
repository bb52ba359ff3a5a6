/*
 * The engine under several threads: readers, fillers, writers and upkeep at once. What a reader is given is
 * whole, is its key's, and is never older than what was invalidated before it asked.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cached/engine.h"

#define KEYS    64u
#define READERS 3u
#define GETS    40000u
#define COPIES  20u /* of the number in a value: a torn one shows */

struct shared {
	struct engine *engine;
	struct space *space;
	_Atomic uint64_t origin[KEYS], acknowledged[KEYS];
	_Atomic unsigned readers_left;
	_Atomic uint64_t hits, fills, wrong, stale;
};

static const char *const TAGS[] = {"red", "green", "blue"};

static struct get
get_for(unsigned key, char name[4])
{
	name[0] = (char)('a' + key % 4);
	name[1] = '/';
	name[2] = (char)('0' + key / 4);
	return (struct get){.key = name, .key_length = 3, .may_fill = true};
}

static void
check_hit(struct shared *shared, const struct get *get, unsigned key, uint64_t at_least)
{
	uint64_t numbers[COPIES];

	atomic_fetch_add(&shared->hits, 1);
	if (get->value_length != sizeof(numbers)) {
		atomic_fetch_add(&shared->wrong, 1);
		return;
	}
	memcpy(numbers, get->value, sizeof(numbers));
	for (unsigned i = 0; i < COPIES; i++)
		if (numbers[i] != numbers[0] || numbers[i] % KEYS != key)
			atomic_fetch_add(&shared->wrong, 1);
	if (numbers[0] / KEYS < at_least)
		atomic_fetch_add(&shared->stale, 1);
}

static void
fill(struct shared *shared, const struct get *get, unsigned key)
{
	uint64_t numbers[COPIES], number = atomic_load(&shared->origin[key]);

	for (unsigned i = 0; i < COPIES; i++)
		numbers[i] = number * KEYS + key;
	struct set set = {.key = get->key,
	                  .key_length = 3,
	                  .value = numbers,
	                  .value_length = sizeof(numbers),
	                  .tags = &TAGS[key % 3],
	                  .tag_count = 1,
	                  .ttl_ms = 60000,
	                  .token = get->token};
	engine_set(shared->space, &set, 1);
	if (set.outcome == SET_STORED)
		atomic_fetch_add(&shared->fills, 1);
}

static void *
read_and_fill(void *arg)
{
	struct shared *shared = arg;
	struct arena arena;
	char names[4][4];

	arena_init(&arena, 4096, 1 << 16);
	for (unsigned i = 0; i < GETS; i++) {
		struct get gets[4];
		unsigned first = (unsigned)(random_fast_u64() % KEYS);
		uint64_t at_least[4];
		for (unsigned j = 0; j < 4; j++) {
			gets[j] = get_for((first + j * 5) % KEYS, names[j]);
			at_least[j] = atomic_load(&shared->acknowledged[(first + j * 5) % KEYS]);
		}
		arena_reset(&arena);
		engine_get(shared->space, gets, 1 + i % 4, &arena, NULL);
		for (unsigned j = 0; j < 1 + i % 4; j++) {
			if (gets[j].outcome == GET_HIT)
				check_hit(shared, &gets[j], (first + j * 5) % KEYS, at_least[j]);
			if (gets[j].token)
				fill(shared, &gets[j], (first + j * 5) % KEYS);
		}
	}
	arena_fini(&arena);
	atomic_fetch_sub(&shared->readers_left, 1);
	return NULL;
}

/* One writer: what it acknowledges only rises. */
static void
invalidate(struct shared *shared, unsigned key, unsigned way)
{
	char name[4], pattern[] = "?/0";
	struct get get = get_for(key, name);
	uint64_t number = atomic_fetch_add(&shared->origin[key], 1) + 1, sequence;

	pattern[2] = name[2];
	if (way == 0)
		engine_invalidate_tag(shared->space, TAGS[key % 3], strlen(TAGS[key % 3]));
	else if (way == 1)
		engine_invalidate_prefix(shared->space, name, 1);
	else if (way == 2)
		engine_invalidate_glob(shared->space, pattern, 3, &sequence);
	else if (way == 3)
		engine_invalidate_all(shared->space);
	else
		engine_delete(shared->space, get.key, 3);
	atomic_store(&shared->acknowledged[key], number);
}

static void *
write_and_invalidate(void *arg)
{
	struct shared *shared = arg;

	for (unsigned i = 0; atomic_load(&shared->readers_left) > 0; i++) {
		invalidate(shared, (unsigned)(random_fast_u64() % KEYS), i % 16);
		if (i % 64 == 0)
			engine_tick(shared->engine);
		if (i % 1024 == 0)
			engine_shrink(shared->engine, 1 << 19);
	}
	return NULL;
}

START_TEST(under_threads_values_are_whole_and_never_older_than_an_acknowledged_invalidation)
{
	struct shared shared = {.engine = engine_new(&(struct engine_options){.bytes_max = 1 << 20}),
	                        .readers_left = READERS};
	struct space_options options = space_options_default();
	pthread_t readers[READERS], writer;

	engine_space(shared.engine, "t", "s", &shared.space);
	options.entries_max = KEYS - 4; /* some are always evicted */
	space_configure(shared.space, &options);
	for (unsigned i = 0; i < READERS; i++)
		pthread_create(&readers[i], NULL, read_and_fill, &shared);
	pthread_create(&writer, NULL, write_and_invalidate, &shared);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	pthread_join(writer, NULL);
	ck_assert_uint_eq(shared.wrong, 0);
	ck_assert_uint_eq(shared.stale, 0);
	ck_assert_uint_gt(shared.fills, 100);
	ck_assert_uint_gt(shared.hits, 100);
	engine_free(shared.engine);
}
END_TEST

#define COUNTERS 12u /* more than have figures of their own */
#define COUNTED  5000u

static void *
get_what_is_not_there(void *arg)
{
	struct shared *shared = arg;
	struct arena arena;
	char name[4];

	arena_init(&arena, 4096, 1 << 16);
	atomic_fetch_sub(&shared->readers_left, 1);
	while (atomic_load(&shared->readers_left) > 0)
		sched_yield(); /* all of them are there at once */
	for (unsigned i = 0; i < COUNTED; i++) {
		struct get gets[2] = {get_for(i % KEYS, name), get_for(i % KEYS, name)};
		gets[0].may_fill = gets[1].may_fill = false;
		arena_reset(&arena);
		engine_get(shared->space, gets, 1 + i % 2, &arena, NULL);
	}
	arena_fini(&arena);
	return NULL;
}

START_TEST(however_many_threads_ask_every_get_is_counted)
{
	struct shared shared = {.engine = engine_new(&(struct engine_options){.bytes_max = 1 << 20}),
	                        .readers_left = COUNTERS};
	pthread_t threads[COUNTERS];
	struct space_stats stats;

	engine_space(shared.engine, "t", "s", &shared.space);
	for (unsigned i = 0; i < COUNTERS; i++)
		pthread_create(&threads[i], NULL, get_what_is_not_there, &shared);
	for (unsigned i = 0; i < COUNTERS; i++)
		pthread_join(threads[i], NULL);
	engine_space_stats(shared.space, &stats);
	ck_assert_uint_eq(stats.misses, COUNTERS * COUNTED * 3 / 2);
	ck_assert_uint_eq(stats.hits, 0);
	engine_free(shared.engine);
}
END_TEST

/* Spaces that are made, used and dropped by all at once, over the bound of all together. */
static void *
use_spaces(void *arg)
{
	struct shared *shared = arg;
	char tenant[16], name[16], key[16], value[600] = "";

	for (unsigned i = 0; i < 6000; i++) {
		struct space *space;
		snprintf(tenant, sizeof(tenant), "t%u", (unsigned)(random_fast_u64() % 4));
		snprintf(name, sizeof(name), "s%u", (unsigned)(random_fast_u64() % 8));
		snprintf(key, sizeof(key), "k%u", (unsigned)(random_fast_u64() % 1000));
		ck_assert(engine_space(shared->engine, tenant, name, &space).code == STATUS_OK);
		struct set set = {.key = key,
		                  .key_length = strlen(key),
		                  .value = value,
		                  .value_length = (size_t)(random_fast_u64() % sizeof(value)),
		                  .ttl_ms = 60000};
		engine_set(space, &set, 1);
		if (i % 500 == 0)
			engine_drop_space(space);
		if (i % 100 == 0)
			engine_tick(shared->engine);
	}
	return NULL;
}

START_TEST(under_threads_spaces_and_tenants_share_one_bound)
{
	struct shared shared = {.engine = engine_new(&(struct engine_options){.bytes_max = 4 << 20})};
	pthread_t users[READERS];

	for (unsigned i = 0; i < READERS; i++)
		pthread_create(&users[i], NULL, use_spaces, &shared);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(users[i], NULL);
	engine_tick(shared.engine);
	ck_assert_uint_le(engine_bytes(shared.engine), 4 << 20);
	engine_free(shared.engine);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache threads");
	TCase *tests = tcase_create("threads");

	tcase_set_timeout(tests, 300);
	tcase_add_test(tests, under_threads_values_are_whole_and_never_older_than_an_acknowledged_invalidation);
	tcase_add_test(tests, however_many_threads_ask_every_get_is_counted);
	tcase_add_test(tests, under_threads_spaces_and_tenants_share_one_bound);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
