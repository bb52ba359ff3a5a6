/*
 * test_redis_proxy: what lies between a client and a Redis of a test, and does what networks and failing
 * servers do.
 *
 * It knows RESP well enough to tell news, which are entries of streams as XREAD gives them, from other
 * answers, and loses or reorders news, or holds back everything. One thread of its own serves all
 * connections.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_REDIS_PROXY_H
#define CORBEL_TESTS_SUPPORT_TEST_REDIS_PROXY_H

#include <stdbool.h>
#include <stdint.h>

struct test_redis_proxy;

/* To port `redis_port` of 127.0.0.1, which need not be there yet. What happens to which message is drawn from
 * `seed`. */
struct test_redis_proxy *test_redis_proxy_start(uint16_t redis_port, uint64_t seed);
void test_redis_proxy_stop(struct test_redis_proxy *proxy);
const char *test_redis_proxy_url(const struct test_redis_proxy *proxy);

struct test_redis_trouble {
	uint32_t drop_permille;    /* of news, which never arrive */
	uint32_t reorder_permille; /* of those that are left: they arrive after the next one */
	uint32_t delay_max_ms;     /* what Redis sends is late by up to so much; its order stays */
	bool is_mute;              /* no news arrive, while answers do */
	bool is_cut;               /* nothing arrives, either way, until this ends */
};
/* From now on; all zero: as it should be. */
void test_redis_proxy_trouble(struct test_redis_proxy *proxy, const struct test_redis_trouble *trouble);
/* Closes every connection; new ones are taken. */
void test_redis_proxy_hang_up(struct test_redis_proxy *proxy);

struct test_redis_proxy_counts {
	uint64_t published, dropped, reordered; /* news that Redis sent; of these */
};
struct test_redis_proxy_counts test_redis_proxy_counts(struct test_redis_proxy *proxy);

#endif
