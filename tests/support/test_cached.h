/*
 * test_cached: replicas of cached in processes of their own, called over the bus one by one.
 *
 * With a Redis each replica reaches it through a proxy of its own.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_CACHED_H
#define CORBEL_TESTS_SUPPORT_TEST_CACHED_H

#include "bus/pool.h"
#include "corbel/contract.gen.h"
#include "support/test_dir.h"
#include "support/test_redis.h"
#include "support/test_redis_proxy.h"

#define TEST_CACHED_MAX 10u

struct test_replica {
	pid_t pid;
	struct test_redis_proxy *proxy; /* NULL: no Redis */
	struct pool *pool;
	char log[TEST_DIR_MAX + 16];
};

struct test_cached {
	struct test_dir dir;
	struct test_redis *redis; /* NULL: none, each replica is alone */
	struct bus *bus;
	unsigned count;
	struct test_replica replicas[TEST_CACHED_MAX];
};

struct test_cached_options {
	unsigned replicas;
	const char *program; /* in $CORBEL_BIN; NULL: "cached" */
	bool has_redis;
	const char *const *options; /* of each, NULL-terminated; NULL: none */
};
/* Starts them and waits until each answers. */
void test_cached_start(struct test_cached *rig, const struct test_cached_options *options);
void test_cached_stop(struct test_cached *rig);
/* The last lines of each replica's log. */
void test_cached_print_logs(const struct test_cached *rig);

/* A call of one replica, of tenant "ten_1", any thread. The reply is in the arena. */
struct status test_cached_call(struct test_cached *rig, unsigned replica, const struct api_method *method,
                               const ProtobufCMessage *request, uint32_t timeout_ms, struct arena *arena,
                               ProtobufCMessage **reply);

#endif
