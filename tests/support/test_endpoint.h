/*
 * test_endpoint: a server on a free port of 127.0.0.1 that treats each connection as the test says, badly if
 * need be. It speaks as much HTTP as the test writes.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_ENDPOINT_H
#define CORBEL_TESTS_SUPPORT_TEST_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

#define TEST_ENDPOINT_REQUEST_MAX 65536

struct test_endpoint;

/* One connection, on a thread of its own; it is closed when this returns. */
typedef void (*test_endpoint_serve)(struct test_endpoint *endpoint, int fd);

/* `arg` is for the serve function, see test_endpoint_arg(). */
struct test_endpoint *test_endpoint_start(test_endpoint_serve serve, const void *arg);
/* Ends all connections, waits for their threads. */
void test_endpoint_stop(struct test_endpoint *endpoint);

/* Closes the connections that are open. */
void test_endpoint_hang_up(struct test_endpoint *endpoint);

const void *test_endpoint_arg(const struct test_endpoint *endpoint);
/* "http://127.0.0.1:port" */
const char *test_endpoint_url(const struct test_endpoint *endpoint);
unsigned test_endpoint_port(const struct test_endpoint *endpoint);
/* Connections accepted until now. */
unsigned test_endpoint_connections(const struct test_endpoint *endpoint);

/* Reads one request with its body of Content-Length, NUL-terminated; false at the connection's end. */
bool test_endpoint_read(int fd, char request[TEST_ENDPOINT_REQUEST_MAX]);
/* Writes it all; false when the peer is gone. */
bool test_endpoint_write(int fd, const void *bytes, size_t length);
bool test_endpoint_puts(int fd, const char *text);
/* Waits until the peer closes, throwing away what it says. */
void test_endpoint_drain(int fd);

#endif
