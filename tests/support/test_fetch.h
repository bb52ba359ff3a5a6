/*
 * test_fetch: outbound requests from a test's own thread: send, wait, look at a copy of the response.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_FETCH_H
#define CORBEL_TESTS_SUPPORT_TEST_FETCH_H

#include <semaphore.h>

#include "outbound/outbound.h"

#define TEST_FETCH_KEEP 8192

/* Plain data after test_fetch_wait(); the response's head and body are copies. */
struct test_fetch {
	struct outbound_request request;
	char head[OUTBOUND_HEAD_MAX + 1], body[TEST_FETCH_KEEP + 1];
	sem_t is_done;
	unsigned calls; /* of done() */
};

/* A GET of `url` with 5 s, 8 KiB kept and 1 MiB read at most; change fetch->request before sending. */
void test_fetch_init(struct test_fetch *fetch, const char *url);
void test_fetch_send(struct outbound *outbound, struct test_fetch *fetch);
/* At most 20 s; fails the test otherwise. */
const struct outbound_response *test_fetch_wait(struct test_fetch *fetch);

/* All three at once. */
const struct outbound_response *test_fetch(struct outbound *outbound, struct test_fetch *fetch,
                                           const char *url);

/* A client that may connect to the networks of `allow`. */
struct outbound *test_outbound(const char *allow);
struct outbound *test_outbound_with(struct outbound_options options);

#define test_expect(response, expected)                                                                      \
	ck_assert_msg((response)->result == (expected), "%s, not %s: status %u, %s",                             \
	              outbound_result_name((response)->result), outbound_result_name(expected),                  \
	              (response)->status, (response)->detail)

#endif
