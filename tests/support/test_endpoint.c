/*
 * test_endpoint: blocking sockets, a thread a connection. Stopping shuts the sockets down, which ends every
 * read and write; a serve function that waits for something else must watch its socket.
 */
#include "support/test_endpoint.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"

#define CONNECTIONS_MAX 256

struct connection {
	struct test_endpoint *endpoint;
	int fd; /* -1 once closed; under the lock, but for its own thread's reading */
	pthread_t thread;
};

struct test_endpoint {
	test_endpoint_serve serve;
	const void *arg;
	int listener;
	unsigned port;
	char url[40];
	pthread_t thread;
	pthread_mutex_t lock;
	atomic_uint accepted;
	struct connection connections[CONNECTIONS_MAX]; /* the accepting thread's until it has ended */
};

/* ---------------------------------------------------------------- serving */

static void *
serve_connection(void *arg)
{
	struct connection *connection = arg;

	connection->endpoint->serve(connection->endpoint, connection->fd);
	pthread_mutex_lock(&connection->endpoint->lock);
	close(connection->fd);
	connection->fd = -1;
	pthread_mutex_unlock(&connection->endpoint->lock);
	return NULL;
}

static void *
accept_all(void *arg)
{
	struct test_endpoint *self = arg;
	int fd;

	while ((fd = accept4(self->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		unsigned i = atomic_load(&self->accepted);
		struct connection *connection = &self->connections[i];
		ck_assert_uint_lt(i, CONNECTIONS_MAX);
		connection->endpoint = self;
		connection->fd = fd;
		/* Counted before it is served: who got an answer finds its connection counted. */
		atomic_fetch_add(&self->accepted, 1);
		ck_assert_int_eq(pthread_create(&connection->thread, NULL, serve_connection, connection), 0);
	}
	return NULL;
}

struct test_endpoint *
test_endpoint_start(test_endpoint_serve serve, const void *arg)
{
	struct test_endpoint *self = mem_alloc(sizeof(*self));
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);

	self->serve = serve;
	self->arg = arg;
	pthread_mutex_init(&self->lock, NULL);
	self->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(self->listener, 0);
	ck_assert_int_eq(bind(self->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(self->listener, SOMAXCONN), 0);
	ck_assert_int_eq(getsockname(self->listener, (struct sockaddr *)&address, &length), 0);
	self->port = ntohs(address.sin_port);
	snprintf(self->url, sizeof(self->url), "http://127.0.0.1:%u", self->port);
	ck_assert_int_eq(pthread_create(&self->thread, NULL, accept_all, self), 0);
	return self;
}

void
test_endpoint_hang_up(struct test_endpoint *self)
{
	pthread_mutex_lock(&self->lock);
	for (unsigned i = 0; i < atomic_load(&self->accepted); i++) {
		if (self->connections[i].fd >= 0)
			shutdown(self->connections[i].fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&self->lock);
}

void
test_endpoint_stop(struct test_endpoint *self)
{
	shutdown(self->listener, SHUT_RDWR);
	pthread_join(self->thread, NULL);
	close(self->listener);
	test_endpoint_hang_up(self);
	for (unsigned i = 0; i < atomic_load(&self->accepted); i++)
		pthread_join(self->connections[i].thread, NULL);
	pthread_mutex_destroy(&self->lock);
	mem_free(self);
}

const void *
test_endpoint_arg(const struct test_endpoint *self)
{
	return self->arg;
}

const char *
test_endpoint_url(const struct test_endpoint *self)
{
	return self->url;
}

unsigned
test_endpoint_port(const struct test_endpoint *self)
{
	return self->port;
}

unsigned
test_endpoint_connections(const struct test_endpoint *self)
{
	return atomic_load(&self->accepted);
}

/* ---------------------------------------------------------------- a little HTTP */

static size_t
body_length(const char *request)
{
	const char *field = strcasestr(request, "\r\ncontent-length:");
	return field ? strtoul(field + 17, NULL, 10) : 0;
}

bool
test_endpoint_read(int fd, char request[TEST_ENDPOINT_REQUEST_MAX])
{
	size_t length = 0;
	ssize_t got;

	request[0] = '\0';
	for (;;) {
		const char *end = strstr(request, "\r\n\r\n");
		if (end && length >= (size_t)(end + 4 - request) + body_length(request))
			return true;
		got = recv(fd, request + length, TEST_ENDPOINT_REQUEST_MAX - 1 - length, 0);
		if (got <= 0)
			return false;
		length += (size_t)got;
		request[length] = '\0';
	}
}

bool
test_endpoint_write(int fd, const void *bytes, size_t length)
{
	const char *at = bytes;
	ssize_t put;

	for (; length > 0; at += put, length -= (size_t)put) {
		put = send(fd, at, length, MSG_NOSIGNAL);
		if (put <= 0)
			return false;
	}
	return true;
}

bool
test_endpoint_puts(int fd, const char *text)
{
	return test_endpoint_write(fd, text, strlen(text));
}

void
test_endpoint_drain(int fd)
{
	char ignored[4096];

	while (recv(fd, ignored, sizeof(ignored), 0) > 0)
		;
}
