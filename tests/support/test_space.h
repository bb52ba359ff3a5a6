/*
 * test_space: an engine of the cache with one namespace, whose time and chance are the test's, and what tests
 * do with it in one line.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_SPACE_H
#define CORBEL_TESTS_SUPPORT_TEST_SPACE_H

#include "cached/engine.h"

struct test_space {
	struct fake_clock clock;
	struct seeded_random random;
	struct engine *engine;
	struct space *space; /* "space" of "tenant" */
	struct arena arena;  /* of what was looked up */
};

/* 64 MiB, one process alone. */
void test_space_init(struct test_space *test);
void test_space_fini(struct test_space *test);
/* Another engine under the same time and chance; engine_free() frees it. */
struct engine *test_space_engine(struct test_space *test, uint64_t bytes_max);
/* No early renewal; everything else as the engine has it. */
void test_space_configure(struct test_space *test, uint64_t ttl_ms, uint64_t grace_ms,
                          uint64_t error_grace_ms);

struct set test_set_of(const char *key, const char *value);
enum set_outcome test_set(struct space *space, struct set set);
/* Stores it and returns its version. */
uint64_t test_put(struct space *space, const char *key, const char *value);
enum set_outcome test_fill(struct space *space, const char *key, const char *value, uint64_t token);
/* PREFIX0, PREFIX1 and so on, with values of that many bytes. */
void test_put_many(struct space *space, const char *prefix, unsigned count, size_t length);
uint64_t test_entries(const struct space *space);

struct get test_get(struct test_space *test, const char *key, bool may_fill, bool has_failed);
/* Without wanting to fill. */
struct get test_look(struct test_space *test, const char *key);
void test_assert_value(const struct get *get, const char *value);

#endif
