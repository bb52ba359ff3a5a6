/*
 * test_collector: a real HTTP server that takes what an OTLP exporter sends, and answers as it is told.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_COLLECTOR_H
#define CORBEL_TESTS_SUPPORT_TEST_COLLECTOR_H

#include <stddef.h>
#include <stdint.h>

struct test_collector;

/* What was received, complete; lives as long as the collector. */
struct test_collector_request {
	char path[64];
	char content_type[64];
	char authorization[64];
	uint64_t at_ms; /* monotonic */
	uint8_t *body;
	size_t length;
};

struct test_collector_answer {
	unsigned status;
	const char *retry_after; /* NULL: none */
	const void *body;
	size_t length;
};

/* Listens on a free port of 127.0.0.1. */
struct test_collector *test_collector_start(void);
void test_collector_stop(struct test_collector *collector);
/* "http://127.0.0.1:port" */
const char *test_collector_url(const struct test_collector *collector);

/* Answers for the next requests in turn; the last one stays. Without any: 200 and an empty body. The
 * array must outlive the collector. */
void test_collector_script(struct test_collector *collector, const struct test_collector_answer *answers,
                           size_t count);
/* From now on requests are received and get no answer until this is called again with false. */
void test_collector_hang(struct test_collector *collector, int is_hanging);
/* Waits at most 10 s until at least `count` requests came, fails the test otherwise. */
void test_collector_wait(struct test_collector *collector, size_t count);
size_t test_collector_count(struct test_collector *collector);
/* The i-th request; it must have come. */
const struct test_collector_request *test_collector_request(struct test_collector *collector, size_t i);

#endif
