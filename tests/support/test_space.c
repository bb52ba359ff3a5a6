/*
 * test_space: see test_space.h.
 */
#include "support/test_space.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct engine *
test_space_engine(struct test_space *test, uint64_t bytes_max)
{
	return engine_new(&(struct engine_options){
	    .bytes_max = bytes_max, .clock = &test->clock.clock, .random = &test->random.random});
}

void
test_space_init(struct test_space *test)
{
	fake_clock_init(&test->clock, 1000000000000);
	seeded_random_init(&test->random, 9);
	arena_init(&test->arena, 4096, 1 << 20);
	test->engine = test_space_engine(test, 64 << 20);
	ck_assert_int_eq(engine_space(test->engine, "tenant", "space", &test->space).code, STATUS_OK);
}

void
test_space_fini(struct test_space *test)
{
	engine_free(test->engine);
	arena_fini(&test->arena);
}

void
test_space_configure(struct test_space *test, uint64_t ttl_ms, uint64_t grace_ms, uint64_t error_grace_ms)
{
	struct space_options options = space_options_default();

	options.ttl_ms = ttl_ms;
	options.grace_ms = grace_ms;
	options.error_grace_ms = error_grace_ms;
	options.early = 0;
	space_configure(test->space, &options);
}

/* ---- writing ---- */

struct set
test_set_of(const char *key, const char *value)
{
	return (struct set){.key = key,
	                    .key_length = strlen(key),
	                    .value = value,
	                    .value_length = strlen(value),
	                    .ttl_ms = ENGINE_DEFAULT_MS,
	                    .grace_ms = ENGINE_DEFAULT_MS,
	                    .error_grace_ms = ENGINE_DEFAULT_MS};
}

enum set_outcome
test_set(struct space *space, struct set set)
{
	engine_set(space, &set, 1);
	return set.outcome;
}

uint64_t
test_put(struct space *space, const char *key, const char *value)
{
	struct set set = test_set_of(key, value);

	engine_set(space, &set, 1);
	ck_assert_int_eq(set.outcome, SET_STORED);
	return set.version;
}

enum set_outcome
test_fill(struct space *space, const char *key, const char *value, uint64_t token)
{
	struct set set = test_set_of(key, value);

	set.token = token;
	return test_set(space, set);
}

void
test_put_many(struct space *space, const char *prefix, unsigned count, size_t length)
{
	char *value = calloc(1, length + 1), key[64];

	for (unsigned i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "%s%u", prefix, i);
		struct set set = test_set_of(key, "");
		set.value = value;
		set.value_length = length;
		ck_assert_int_ne(test_set(space, set), SET_LEASE_LOST);
	}
	free(value);
}

uint64_t
test_entries(const struct space *space)
{
	struct space_stats stats;

	engine_space_stats(space, &stats);
	return stats.entries;
}

/* ---- reading ---- */

struct get
test_get(struct test_space *test, const char *key, bool may_fill, bool has_failed)
{
	struct get get = {.key = key, .key_length = strlen(key), .may_fill = may_fill, .has_failed = has_failed};

	engine_get(test->space, &get, 1, &test->arena, NULL);
	return get;
}

struct get
test_look(struct test_space *test, const char *key)
{
	return test_get(test, key, false, false);
}

void
test_assert_value(const struct get *get, const char *value)
{
	ck_assert_uint_eq(get->value_length, strlen(value));
	ck_assert_mem_eq(get->value, value, strlen(value));
}
