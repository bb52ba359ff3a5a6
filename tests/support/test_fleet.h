/*
 * test_fleet: replicas of the cache in one process, on one Redis, without HTTP or a bus.
 *
 * Each has an engine, a connection pool and threads of its own; calls wait until they are answered.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_FLEET_H
#define CORBEL_TESTS_SUPPORT_TEST_FLEET_H

#include "cached/engine.h"
#include "cached/errands.h"
#include "cached/fleet.h"
#include "support/test_redis.h"

struct test_replica {
	struct test_dir dir; /* of its journal */
	struct redis *redis;
	struct fleet *fleet;
	struct engine *engine;
	struct space *space; /* "tenant/space" */
	struct arena arena;  /* of the values that the last get gave */
};

/* Waits until it is in step. `url` may be that of a proxy. */
void test_replica_start(struct test_replica *replica, const char *url, uint32_t patience_ms);
void test_replica_stop(struct test_replica *replica);
void test_replica_configure(struct test_replica *replica, uint64_t ttl_ms, uint64_t grace_ms,
                            uint64_t outage_ms);

/* What a caller of that replica gets; the value stays until the next get. */
struct get test_replica_get(struct test_replica *replica, const char *key, bool may_fill);
bool test_replica_has(struct test_replica *replica, const char *key, const char *value);
/* A write of its own right, or a fill when the token is not 0. */
enum set_outcome test_replica_set(struct test_replica *replica, const char *key, const char *value,
                                  uint64_t token);
enum set_outcome test_replica_set_tagged(struct test_replica *replica, const char *key, const char *value,
                                         uint64_t token, const char *tag);
struct op test_replica_do(struct test_replica *replica, struct op op, struct status *status);

/* Until it decides by itself, and until it is in step with Redis again. */
void test_replica_until_alone(struct test_replica *replica);
void test_replica_until_together(struct test_replica *replica);

#endif
