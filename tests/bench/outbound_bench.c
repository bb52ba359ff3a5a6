/*
 * outbound: requests a second to a local endpoint through the outbound client, beside curl's multi interface
 * alone sending the same requests from the same kind of loop. Absolute rates vary from host to host: the
 * ratio counts. The endpoint is another process.
 *
 * As `outbound_bench URL FLIGHT BYTES` it only sends there with curl alone, and prints requests a second and
 * its own processor time for a request in microseconds.
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "outbound/outbound.h"

#define RUN_MS     400u
#define ROUNDS     5
#define FLIGHT_MAX 512
#define BODY_BYTES 1024
#define TIMEOUT_MS 10000

static char url[256];
static char body[BODY_BYTES];
static size_t body_size = BODY_BYTES;
static const char *const HEADERS[] = {
    "Content-Type: application/json", "webhook-id: msg_0192f0c1a2b37c4d8e9fa0b1c2d3e4f5",
    "webhook-timestamp: 1700000000", "webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="};

#define HEADER_COUNT (sizeof(HEADERS) / sizeof(HEADERS[0]))

static uint64_t
now_ms(void)
{
	return clock_mono_ms(clock_system());
}

static void
must(bool is_so, const char *what)
{
	if (is_so)
		return;
	perror(what);
	exit(1);
}

/* What one run came to. */
struct figures {
	double rate;   /* requests a second */
	double cpu_us; /* of this process, a request */
};

struct stopwatch {
	uint64_t wall_ns, cpu_us, done;
};

static uint64_t
cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static struct stopwatch
look(uint64_t done)
{
	return (struct stopwatch){clock_mono_ns(clock_system()), cpu_us(), done};
}

static struct figures
between(const struct stopwatch *a, const struct stopwatch *b)
{
	double done = (double)(b->done - a->done);

	return (struct figures){.rate = done * 1e9 / (double)(b->wall_ns - a->wall_ns),
	                        .cpu_us = (double)(b->cpu_us - a->cpu_us) / done};
}

/* ---------------------------------------------------------------- the endpoint */

/* What has come of a request, by descriptor: curl writes head and body in one piece or two. */
struct peer {
	char text[8192];
	size_t length;
};

static bool
is_whole(const struct peer *peer)
{
	const char *end = memmem(peer->text, peer->length, "\r\n\r\n", 4);
	return end && peer->length >= (size_t)(end + 4 - peer->text) + BODY_BYTES;
}

static void
serve_peer(struct peer *peer, int fd)
{
	static const char ANSWER[] = "HTTP/1.1 204 No Content\r\nServer: sink\r\n\r\n";
	ssize_t got = recv(fd, peer->text + peer->length, sizeof(peer->text) - peer->length, 0);

	if (got <= 0) {
		close(fd);
		return;
	}
	peer->length += (size_t)got;
	if (is_whole(peer)) {
		peer->length = 0;
		must(send(fd, ANSWER, sizeof(ANSWER) - 1, MSG_NOSIGNAL) > 0, "send");
	}
}

static void
serve_forever(int listener)
{
	static struct peer peers[4096];
	struct epoll_event events[256], event = {.events = EPOLLIN, .data.fd = listener};
	int poll = epoll_create1(0);

	epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int count = epoll_wait(poll, events, 256, -1);
		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;
			if (fd != listener) {
				serve_peer(&peers[fd], fd);
				continue;
			}
			event.data.fd = accept(listener, NULL, NULL);
			must(event.data.fd >= 0 && event.data.fd < 4096, "accept");
			peers[event.data.fd].length = 0;
			epoll_ctl(poll, EPOLL_CTL_ADD, event.data.fd, &event);
		}
	}
}

static pid_t
start_endpoint(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	must(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0, "bind");
	must(listen(listener, FLIGHT_MAX) == 0, "listen");
	must(getsockname(listener, (struct sockaddr *)&address, &length) == 0, "getsockname");
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/hook", (unsigned)ntohs(address.sin_port));
	pid_t pid = child_fork();
	must(pid >= 0, "fork");
	if (pid == 0) {
		serve_forever(listener);
	}
	close(listener);
	return pid;
}

/* ---------------------------------------------------------------- curl alone */

struct bare {
	CURLM *multi;
	int poll;
	uint64_t due_ms;
	struct curl_slist *headers[FLIGHT_MAX];
	CURL *easy[FLIGHT_MAX];
	uint64_t done;
};

static int
bare_watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *is_watched)
{
	struct bare *bare = arg;
	struct epoll_event event = {.data.fd = fd};

	(void)easy;
	event.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
	epoll_ctl(bare->poll,
	          what == CURL_POLL_REMOVE ? EPOLL_CTL_DEL
	          : is_watched             ? EPOLL_CTL_MOD
	                                   : EPOLL_CTL_ADD,
	          fd, &event);
	curl_multi_assign(bare->multi, fd, bare);
	return 0;
}

static int
bare_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct bare *bare = arg;

	(void)multi;
	bare->due_ms = timeout_ms < 0 ? UINT64_MAX : now_ms() + (uint64_t)timeout_ms;
	return 0;
}

static size_t
bare_ignore(char *bytes, size_t one, size_t length, void *arg)
{
	(void)bytes;
	(void)one;
	(void)arg;
	return length;
}

static void
bare_start(struct bare *bare, size_t i)
{
	CURL *easy = bare->easy[i];

	curl_slist_free_all(bare->headers[i]);
	bare->headers[i] = NULL;
	for (size_t k = 0; k < HEADER_COUNT; k++)
		bare->headers[i] = curl_slist_append(bare->headers[i], HEADERS[k]);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, bare->headers[i]);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body_size);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
	curl_multi_add_handle(bare->multi, easy);
}

static void
bare_open(struct bare *bare, size_t flight)
{
	bare->poll = epoll_create1(0);
	bare->multi = curl_multi_init();
	bare->due_ms = UINT64_MAX;
	curl_multi_setopt(bare->multi, CURLMOPT_SOCKETFUNCTION, bare_watch);
	curl_multi_setopt(bare->multi, CURLMOPT_SOCKETDATA, bare);
	curl_multi_setopt(bare->multi, CURLMOPT_TIMERFUNCTION, bare_timer);
	curl_multi_setopt(bare->multi, CURLMOPT_TIMERDATA, bare);
	for (size_t i = 0; i < flight; i++) {
		bare->easy[i] = curl_easy_init();
		curl_easy_setopt(bare->easy[i], CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(bare->easy[i], CURLOPT_WRITEFUNCTION, bare_ignore);
		curl_easy_setopt(bare->easy[i], CURLOPT_PRIVATE, (char *)(uintptr_t)i);
		bare_start(bare, i);
	}
}

static void
bare_take(struct bare *bare)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(bare->multi, &left)) != NULL) {
		CURL *easy = message->easy_handle;
		char *place = NULL;
		long status = 0;
		must(message->data.result == CURLE_OK, "bare request");
		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
		must(status == 204, "bare status");
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &place);
		curl_multi_remove_handle(bare->multi, easy);
		bare->done++;
		bare_start(bare, (size_t)(uintptr_t)place);
	}
}

static void
bare_step(struct bare *bare)
{
	struct epoll_event events[256];
	uint64_t now = now_ms();
	int running, count;

	if (bare->due_ms <= now) {
		bare->due_ms = UINT64_MAX;
		curl_multi_socket_action(bare->multi, CURL_SOCKET_TIMEOUT, 0, &running);
		bare_take(bare);
	}
	count = epoll_wait(bare->poll, events, 256,
	                   bare->due_ms == UINT64_MAX ? 100
	                   : bare->due_ms <= now      ? 0
	                                              : (int)(bare->due_ms - now));
	for (int i = 0; i < count; i++)
		curl_multi_socket_action(bare->multi, events[i].data.fd,
		                         (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
		                             (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0),
		                         &running);
	bare_take(bare);
}

static struct figures
bare_run(size_t flight)
{
	static struct bare bare;
	uint64_t end_ms;

	memset(&bare, 0, sizeof(bare));
	bare_open(&bare, flight);
	while (bare.done < flight) /* until all are connected */
		bare_step(&bare);
	struct stopwatch begin = look(bare.done);
	for (end_ms = now_ms() + RUN_MS; now_ms() < end_ms;)
		bare_step(&bare);
	struct stopwatch end = look(bare.done);
	for (size_t i = 0; i < flight; i++) {
		curl_multi_remove_handle(bare.multi, bare.easy[i]);
		curl_easy_cleanup(bare.easy[i]);
		curl_slist_free_all(bare.headers[i]);
	}
	curl_multi_cleanup(bare.multi);
	close(bare.poll);
	return between(&begin, &end);
}

/* ---------------------------------------------------------------- through the client */

struct flight {
	struct outbound *outbound;
	struct outbound_request requests[FLIGHT_MAX];
	_Atomic uint64_t done;
};

static void
count_and_send(struct outbound_request *request)
{
	struct flight *flight = request->user;

	if (request->response.result == OUTBOUND_CANCELLED)
		return;
	must(request->response.result == OUTBOUND_OK && request->response.status == 204, "request");
	flight->done++;
	outbound_send(flight->outbound, request);
}

static void
await_done(struct flight *flight, uint64_t count)
{
	while (flight->done < count)
		usleep(1000);
}

static struct figures
outbound_run(size_t flight_size)
{
	static struct flight flight;
	struct policy policy;

	policy_parse("127.0.0.1", &policy);
	flight.done = 0;
	struct status st = outbound_new(&(struct outbound_options){.policy = &policy}, &flight.outbound);
	must(status_ok(&st), st.message);
	for (size_t i = 0; i < flight_size; i++) {
		flight.requests[i] = (struct outbound_request){.url = url,
		                                               .method = "POST",
		                                               .headers = HEADERS,
		                                               .header_count = HEADER_COUNT,
		                                               .body = body,
		                                               .body_size = sizeof(body),
		                                               .timeout_ms = TIMEOUT_MS,
		                                               .keep_bytes = 1024,
		                                               .max_bytes = 65536,
		                                               .done = count_and_send,
		                                               .user = &flight};
		outbound_send(flight.outbound, &flight.requests[i]);
	}
	await_done(&flight, flight_size);
	struct stopwatch begin = look(flight.done);
	usleep(RUN_MS * 1000);
	struct stopwatch end = look(flight.done);
	outbound_free(flight.outbound, 0);
	return between(&begin, &end);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double
median(double *values)
{
	qsort(values, ROUNDS, sizeof(values[0]), compare);
	return values[ROUNDS / 2];
}

/* Runs both in turn, so that what else the machine does meets both alike. */
static void
compare_with(size_t flight)
{
	double rates[2][ROUNDS], cpus[2][ROUNDS], rate_ratios[ROUNDS], cpu_ratios[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		struct figures bare = bare_run(flight), ours = outbound_run(flight);
		rates[0][i] = ours.rate;
		rates[1][i] = bare.rate;
		cpus[0][i] = ours.cpu_us;
		cpus[1][i] = bare.cpu_us;
		rate_ratios[i] = ours.rate / bare.rate;
		cpu_ratios[i] = bare.cpu_us / ours.cpu_us;
	}
	printf("outbound, %3zu in flight: %5.1f us a request, curl alone %5.1f us (ratio %.2f); %5.1f k/s, curl "
	       "alone "
	       "%5.1f k/s (ratio %.2f)\n",
	       flight, median(cpus[0]), median(cpus[1]), median(cpu_ratios), median(rates[0]) / 1000,
	       median(rates[1]) / 1000, median(rate_ratios));
}

static void
send_alone(const char *to, size_t flight, size_t bytes)
{
	must(flight > 0 && flight <= FLIGHT_MAX && bytes <= BODY_BYTES, "FLIGHT or BYTES");
	snprintf(url, sizeof(url), "%s", to);
	body_size = bytes;
	struct figures bare = bare_run(flight);
	printf("%.0f %.1f\n", bare.rate, bare.cpu_us);
}

int
main(int argc, char **argv)
{
	memset(body, 'x', sizeof(body));
	curl_global_init(CURL_GLOBAL_DEFAULT);
	if (argc == 4) {
		send_alone(argv[1], strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
		return 0;
	}
	pid_t endpoint = start_endpoint();
	compare_with(1);
	compare_with(64);
	compare_with(FLIGHT_MAX);
	kill(endpoint, SIGKILL);
	waitpid(endpoint, NULL, 0);
	return 0;
}
