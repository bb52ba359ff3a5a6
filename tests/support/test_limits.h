/*
 * test_limits: services in this process, and limits and checks of one tenant, called over the bus.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_LIMITS_H
#define CORBEL_TESTS_SUPPORT_TEST_LIMITS_H

#include "corbel/contract.gen.h"
#include "support/test_dir.h"
#include "support/test_host.h"
#include "support/test_redis.h"

struct test_limits {
	struct test_dir dir;
	struct test_redis *redis; /* NULL: counters in memory */
	struct test_host self;
	struct arena arena; /* of the test's own thread */
};

/* `services` lives as long; takes `redis`, which may not be running yet. `option` may be NULL. */
void test_limits_start(struct test_limits *rig, const struct service *const *services,
                       struct test_redis *redis, const char *const *options); /* NULL-terminated, or NULL */
void test_limits_stop(struct test_limits *rig);

struct test_limit {
	const char *name;
	Corbel__V1__Strategy strategy; /* 0: FIXED_WINDOW */
	uint64_t limit, window_ms;     /* 0: a day */
	Corbel__V1__FailureMode on_failure;
};
const char *test_limits_make(struct test_limits *rig, const struct test_limit *limit); /* its id */

/* Takes `cost` for the key, in any thread with an arena of its own. */
const Corbel__V1__LimitState *test_limits_take(struct test_limits *rig, struct arena *arena,
                                               const char *limit, const char *key, uint64_t cost);
void test_limits_give_back(struct test_limits *rig, const char *limit, const char *key, uint64_t units);
void test_limits_reset(struct test_limits *rig, const char *limit, const char *key);
void test_limits_raise(struct test_limits *rig, const char *id, uint64_t limit);
/* Checks until one is not degraded; fails after `ms`. */
void test_limits_await_redis(struct test_limits *rig, const char *limit, uint64_t ms);

#endif
