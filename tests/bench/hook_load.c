/*
 * hook_load: a receiver of webhooks and a paced publisher, for events_bench.sh.
 *
 *   hook_load sink PORT
 *   hook_load publish PORT KEY COUNT GAP_US TYPES
 *
 * The sink answers 204 at once, but never what comes to /hang. GET /stats tells "count rate p50_us p99_us" of
 * what came to /fast since the last time it was asked: the rate from the first to the last, the times since
 * "at" in the event's data, where the publisher puts its monotonic clock.
 *
 * The publisher sends COUNT events of the types load.t0 ... one after the other, each GAP_US after the one
 * before.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define PEERS_MAX   4096
#define SAMPLES_MAX (1u << 20)

static void
must(bool is_so, const char *what)
{
	if (is_so)
		return;
	perror(what);
	exit(1);
}

static uint64_t
now_ns(void)
{
	return clock_mono_ns(clock_system());
}

/* ---- the sink ---- */

struct peer {
	char text[32768];
	size_t length;
};

struct sink {
	struct peer *peers[PEERS_MAX]; /* by descriptor */
	uint32_t *samples_us;
	size_t sample_count, count;
	uint64_t first_ns, last_ns;
};

static int
by_value(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
	return (left > right) - (left < right);
}

static uint32_t
percentile(const struct sink *sink, size_t percent)
{
	return sink->sample_count ? sink->samples_us[sink->sample_count * percent / 100] : 0;
}

static void
tell_stats(struct sink *sink, int fd)
{
	char text[256], head[512];
	double seconds = (double)(sink->last_ns - sink->first_ns) / 1e9;

	qsort(sink->samples_us, sink->sample_count, sizeof(uint32_t), by_value);
	int size =
	    snprintf(text, sizeof(text), "%zu %.0f %u %u\n", sink->count,
	             seconds > 0 ? (double)sink->count / seconds : 0, percentile(sink, 50), percentile(sink, 99));
	int length = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, text);
	(void)send(fd, head, (size_t)length, MSG_NOSIGNAL);
	sink->count = sink->sample_count = 0;
	sink->first_ns = sink->last_ns = 0;
}

static void
note(struct sink *sink, const char *body, size_t size)
{
	const char *at = memmem(body, size, "\"at\":", 5);

	sink->last_ns = now_ns();
	if (sink->count++ == 0)
		sink->first_ns = sink->last_ns;
	if (at && sink->sample_count < SAMPLES_MAX)
		sink->samples_us[sink->sample_count++] =
		    (uint32_t)((sink->last_ns - strtoull(at + 5, NULL, 10)) / 1000);
}

/* Takes one whole request off the front; 0 when there is none. */
static size_t
serve_one(struct sink *sink, const struct peer *peer, int fd)
{
	static const char ANSWER[] = "HTTP/1.1 204 No Content\r\n\r\n";
	const char *end = memmem(peer->text, peer->length, "\r\n\r\n", 4);
	const char *size = end ? strcasestr(peer->text, "\r\nContent-Length:") : NULL;
	size_t head = end ? (size_t)(end + 4 - peer->text) : 0;
	size_t body = size && size < end ? strtoull(size + 17, NULL, 10) : 0;

	if (!end || peer->length < head + body)
		return 0;
	if (strncmp(peer->text, "GET /stats", 10) == 0) {
		tell_stats(sink, fd);
	} else if (strncmp(peer->text, "POST /hang", 10) != 0) {
		if (strncmp(peer->text, "POST /fast", 10) == 0)
			note(sink, peer->text + head, body);
		(void)send(fd, ANSWER, sizeof(ANSWER) - 1, MSG_NOSIGNAL);
	}
	return head + body;
}

static void
serve_peer(struct sink *sink, int fd)
{
	struct peer *peer = sink->peers[fd];
	ssize_t got = recv(fd, peer->text + peer->length, sizeof(peer->text) - 1 - peer->length, 0);

	if (got <= 0) {
		close(fd);
		return;
	}
	peer->length += (size_t)got;
	peer->text[peer->length] = '\0';
	for (size_t used; (used = serve_one(sink, peer, fd)) > 0;) {
		peer->length -= used;
		memmove(peer->text, peer->text + used, peer->length + 1);
	}
}

static void
take_peer(struct sink *sink, int poll, int listener)
{
	int fd = accept(listener, NULL, NULL), one = 1;
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	must(fd >= 0 && fd < PEERS_MAX, "accept");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!sink->peers[fd])
		sink->peers[fd] = malloc(sizeof(struct peer));
	sink->peers[fd]->length = 0;
	epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
}

static int
listen_on(uint16_t port)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	must(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "bind");
	must(listen(fd, 1024) == 0, "listen");
	return fd;
}

static void
serve_forever(uint16_t port)
{
	static struct sink sink;
	struct epoll_event events[256];
	int listener = listen_on(port), poll = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};

	sink.samples_us = malloc(SAMPLES_MAX * sizeof(uint32_t));
	epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int count = epoll_wait(poll, events, 256, -1);
		for (int i = 0; i < count; i++) {
			if (events[i].data.fd == listener)
				take_peer(&sink, poll, listener);
			else
				serve_peer(&sink, events[i].data.fd);
		}
	}
}

/* ---- the publisher ---- */

static int
connect_to(uint16_t port)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	must(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void
publish_one(int fd, const char *key, unsigned type)
{
	char body[512], request[1024];
	int size = snprintf(body, sizeof(body), "{\"events\":[{\"type\":\"load.t%u\",\"data\":{\"at\":%llu}}]}",
	                    type, (unsigned long long)now_ns());
	int length = snprintf(request, sizeof(request),
	                      "POST /v1/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n"
	                      "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
	                      key, size, body);

	must(send(fd, request, (size_t)length, MSG_NOSIGNAL) == length, "send");
	ssize_t got = recv(fd, request, sizeof(request) - 1, 0);
	must(got > 12, "recv");
	request[got] = '\0';
	if (strncmp(request + 9, "20", 2) == 0)
		return;
	fprintf(stderr, "hook_load: %s\n", request);
	exit(1);
}

static void
publish(uint16_t port, const char *key, unsigned count, uint64_t gap_us, unsigned types)
{
	int fd = connect_to(port);
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	for (unsigned i = 0; i < count; i++) {
		publish_one(fd, key, i % types);
		uint64_t next_ns = (uint64_t)at.tv_nsec + gap_us * 1000;
		at.tv_sec += (time_t)(next_ns / 1000000000u);
		at.tv_nsec = (long)(next_ns % 1000000000u);
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	}
	close(fd);
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "sink") == 0) {
		serve_forever((uint16_t)atoi(argv[2]));
	} else if (argc == 7 && strcmp(argv[1], "publish") == 0) {
		publish((uint16_t)atoi(argv[2]), argv[3], (unsigned)atoi(argv[4]), strtoull(argv[5], NULL, 10),
		        (unsigned)atoi(argv[6]));
	} else {
		fprintf(stderr, "usage: hook_load sink PORT | publish PORT KEY COUNT GAP_US TYPES\n");
		return 2;
	}
	return 0;
}
