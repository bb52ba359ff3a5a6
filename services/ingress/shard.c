/*
 * shard: one thread, one event loop.
 *
 *   wait for {HTTP, replies, inbox}  ->  take replies (requests resume)  ->  run HTTP  ->  send the calls
 *
 * Calls leave when there is nothing else to read, after a few turns at the latest: a client that was just
 * answered often asks again at once, and then they travel together.
 *
 * libmicrohttpd runs in an external epoll loop: its own epoll thread stalls when exactly 128 connections
 * are active at once (version 0.9.75). It knows nothing of suspended connections' time: calls have
 * deadlines in the port.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/text.h"
#include "connection.h"
#include "crowd.h"
#include "hot_checks.h"
#include "linger.h"
#include "tls.h"
#include "tls_keeper.h"

#define INSPECT_MS 1000u
/* For how many turns calls wait for others to travel with, as long as there is something to read. */
#define GATHER_TURNS 4u
#define TURN_MAX_MS  500
#define TURN_EVENTS  16
/* Of a connection's memory, beside the largest head: for libmicrohttpd's lists, and so that a head that is
 * somewhat too large can still be read and refused in words. */
#define RESPONSE_HEAD_BYTES 4096u

uint64_t
shard_now_ms(const struct shard *shard)
{
	return clock_mono_ms(shard->ingress->env.clock);
}

/* ---- the inbox ---- */

void
shard_tell(struct shard *shard, const struct notice *notice)
{
	struct notice *copy = mem_alloc(sizeof(*copy));
	uint64_t one = 1;

	*copy = *notice;
	pthread_mutex_lock(&shard->inbox_lock);
	copy->next = shard->inbox;
	shard->inbox = copy;
	pthread_mutex_unlock(&shard->inbox_lock);
	(void)!write(shard->wake_fd, &one, sizeof(one));
}

static void
read_inbox(struct shard *shard)
{
	uint64_t ignored;
	(void)!read(shard->wake_fd, &ignored, sizeof(ignored));
	pthread_mutex_lock(&shard->inbox_lock);
	struct notice *notice = shard->inbox;
	shard->inbox = NULL;
	pthread_mutex_unlock(&shard->inbox_lock);
	while (notice) {
		struct notice *next = notice->next;
		if (notice->has_new_tls_pair)
			tls_keeper_renew(shard->tls);
		else if (notice->has_changed_limits)
			hot_checks_end(shard->hot, notice->tenant_id);
		else if (notice->ended)
			request_end_stream(notice->ended);
		else
			key_cache_notice(shard->keys, notice);
		mem_free(notice);
		notice = next;
	}
}

/* ---- the loop ---- */

static int
turn_timeout(struct shard *shard)
{
	MHD_UNSIGNED_LONG_LONG http_ms;
	int timeout = TURN_MAX_MS, port_ms = port_timeout_ms(shard->port);

	if (shard->has_unsent)
		return 0;
	/* Held requests count as ready there, so it would say "at once" until they are answered. What else is
	 * ready, a long body say, gets its turn in a millisecond then. */
	if (shard->held > 0)
		timeout = atomic_load_explicit(&shard->active, memory_order_relaxed) > shard->held ? 1 : timeout;
	else if (MHD_get_timeout(shard->http, &http_ms) == MHD_YES && http_ms < (unsigned)timeout)
		timeout = (int)http_ms;
	return port_ms >= 0 && port_ms < timeout ? port_ms : timeout;
}

static void
inspect(struct shard *shard)
{
	uint64_t now = shard->inspected_ms = shard_now_ms(shard);

	connections_inspect(shard, now);
	hot_checks_tidy(shard->hot, now);
	lingering_tidy(shard->lingering, now);
	tls_keeper_tidy(shard->tls, connections_oldest_tls(shard));
}

static void *
shard_main(void *arg)
{
	struct shard *shard = arg;
	struct epoll_event events[TURN_EVENTS];
	bool is_quiet = false;
	unsigned gathering = 0;

	tls_keeper_begin(shard->tls);
	while (!atomic_load(&shard->is_stopping)) {
		size_t queued = port_queued(shard->port);
		int count = epoll_wait(shard->epoll_fd, events, TURN_EVENTS, queued > 0 ? 0 : turn_timeout(shard));
		shard->turn_ms = shard_now_ms(shard);
		gathering = queued > 0 ? gathering + 1 : 0;
		if (count <= 0 || gathering > GATHER_TURNS || queued >= PORT_GATHER_CALLS)
			port_flush(shard->port);
		for (int i = 0; i < count; i++) {
			if (events[i].data.fd == shard->wake_fd)
				read_inbox(shard);
			else
				lingering_read(shard->lingering, events[i].data.fd);
		}
		port_poll(shard->port);
		shard->has_unsent = false;
		MHD_run(shard->http);
		if (!is_quiet && atomic_load(&shard->is_quiet)) {
			(void)MHD_quiesce_daemon(shard->http);
			is_quiet = true;
		}
		if (shard->turn_ms - shard->inspected_ms >= INSPECT_MS)
			inspect(shard);
	}
	return NULL;
}

/* ---- sockets ---- */

static struct status
no_socket(const char *address, const char *what)
{
	return status_make(STATUS_UNAVAILABLE, "ingress.listen %s: %s: %s", address, what, strerror(errno));
}

static struct status
split_address(const char *address, char host[128], char port[16])
{
	const char *colon = strrchr(address, ':');
	uint64_t number;
	size_t length = colon ? (size_t)(colon - address) : 0;

	if (!colon || length >= 128 || !text_to_u64(colon + 1, strlen(colon + 1), &number) || number > 65535)
		return status_make(STATUS_INVALID_ARGUMENT, "ingress.listen must be host:port, is '%s'", address);
	if (length >= 2 && address[0] == '[' && address[length - 1] == ']')
		snprintf(host, 128, "%.*s", (int)length - 2, address + 1);
	else
		snprintf(host, 128, "%.*s", (int)length, address);
	snprintf(port, 16, "%s", colon + 1);
	return status_ok_value();
}

static struct status
listen_on(const char *address, int *out)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found;
	char host[128] = "", port[16] = "";
	int one = 1;
	struct status st = split_address(address, host, port);

	if (!status_ok(&st))
		return st;
	int rv = getaddrinfo(host[0] ? host : NULL, port, &hints, &found);
	if (rv != 0)
		return status_make(STATUS_INVALID_ARGUMENT, "ingress.listen %s: %s", address, gai_strerror(rv));
	int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		st = no_socket(address, "cannot make a socket");
	if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	                setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0 ||
	                bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0)) {
		st = no_socket(address, "cannot listen");
		close(fd);
	}
	freeaddrinfo(found);
	*out = fd;
	return st;
}

/* The address with the port in use, so that port 0 can be asked for. */
static void
note_address(struct shard *shard, const char *address)
{
	struct sockaddr_storage bound;
	socklen_t size = sizeof(bound);
	char port[16];

	if (getsockname(shard->listen_fd, (struct sockaddr *)&bound, &size) != 0 ||
	    getnameinfo((struct sockaddr *)&bound, size, NULL, 0, port, sizeof(port), NI_NUMERICSERV) != 0)
		return;
	snprintf(shard->ingress->address, sizeof(shard->ingress->address), "%.*s:%s",
	         (int)(strrchr(address, ':') - address), address, port);
}

static void
ignore_log(void *arg, const char *format, va_list args)
{
	/* What clients do wrong is counted by its answers; it does not fill the log. */
	(void)arg;
	(void)format;
	(void)args;
}

static struct status
http_start(struct shard *shard)
{
	static const struct MHD_OptionItem NONE[] = {{MHD_OPTION_END, 0, NULL}};
	const struct settings *settings = &shard->ingress->settings;
	unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO | MHD_USE_ERROR_LOG;

	shard->http = MHD_start_daemon(
	    shard->tls ? flags | MHD_USE_TLS : flags, 0, connection_admit, shard, request_handle, shard,
	    MHD_OPTION_EXTERNAL_LOGGER, ignore_log, NULL, MHD_OPTION_LISTEN_SOCKET, shard->listen_fd,
	    MHD_OPTION_CONNECTION_LIMIT, settings->connections, MHD_OPTION_CONNECTION_TIMEOUT, settings->idle_s,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, settings->header_max + RESPONSE_HEAD_BYTES,
	    MHD_OPTION_NOTIFY_COMPLETED, request_ended, shard, MHD_OPTION_NOTIFY_CONNECTION, connection_event,
	    shard, MHD_OPTION_URI_LOG_CALLBACK, request_url, shard, MHD_OPTION_ARRAY,
	    shard->tls ? tls_http_options() : NONE, MHD_OPTION_END);
	return shard->http ? status_ok_value() : status_make(STATUS_UNAVAILABLE, "cannot start the HTTP server");
}

static struct status
loop_start(struct shard *shard)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(shard->http, MHD_DAEMON_INFO_EPOLL_FD);
	const int fds[] = {info ? info->listen_fd : -1, port_fd(shard->port), shard->wake_fd};

	shard->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};
		if (shard->epoll_fd < 0 || epoll_ctl(shard->epoll_fd, EPOLL_CTL_ADD, fds[i], &event) != 0)
			return status_make(STATUS_UNAVAILABLE, "cannot watch the HTTP server: %s", strerror(errno));
	}
	shard->lingering = lingering_new(shard->epoll_fd);
	shard->has_thread = pthread_create(&shard->thread, NULL, shard_main, shard) == 0;
	return shard->has_thread ? status_ok_value()
	                         : status_make(STATUS_RESOURCE_EXHAUSTED, "cannot start a thread");
}

struct status
shard_start(struct shard *shard, struct ingress *ingress, const char *address, bool is_first)
{
	shard->ingress = ingress;
	shard->listen_fd = shard->epoll_fd = -1;
	shard->turn_ms = shard_now_ms(shard);
	shard->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	pthread_mutex_init(&shard->inbox_lock, NULL);
	shard->keys = key_cache_new(shard);
	shard->leases = lease_cache_new(shard);
	shard->hot = ingress->settings.holds_checks ? hot_checks_new(shard) : NULL;
	shard->crowd = crowd_new();
	shard->addresses = address_table_new(ingress->settings.anonymous_per_minute);
	shard->tls = ingress->tls ? tls_keeper_new(ingress->tls) : NULL;
	struct status st = port_new(ingress->env.bus, &shard->port);
	if (status_ok(&st))
		st = listen_on(is_first ? address : ingress->address, &shard->listen_fd);
	if (status_ok(&st) && is_first)
		note_address(shard, address);
	if (status_ok(&st))
		st = http_start(shard);
	if (status_ok(&st))
		st = loop_start(shard);
	return st;
}

void
shard_quiet(struct shard *shard)
{
	uint64_t one = 1;
	atomic_store(&shard->is_quiet, true);
	(void)!write(shard->wake_fd, &one, sizeof(one));
}

void
shard_halt(struct shard *shard)
{
	uint64_t one = 1;

	if (!shard->ingress || !shard->has_thread)
		return;
	atomic_store(&shard->is_stopping, true);
	(void)!write(shard->wake_fd, &one, sizeof(one));
	pthread_join(shard->thread, NULL);
	shard->has_thread = false;
}

void
shard_stop(struct shard *shard)
{
	if (!shard->ingress)
		return;
	shard_halt(shard);
	/* Streams are over, and calls under way end CANCELLED, which answers their requests: none is suspended
	 * when HTTP stops. */
	read_inbox(shard);
	port_free(shard->port);
	if (shard->http) {
		MHD_run(shard->http);
		MHD_stop_daemon(shard->http);
	}
	lingering_free(shard->lingering);
	if (shard->listen_fd >= 0 && atomic_load(&shard->is_quiet))
		close(shard->listen_fd);
	if (shard->epoll_fd >= 0)
		close(shard->epoll_fd);
	close(shard->wake_fd);
	lease_cache_free(shard->leases);
	hot_checks_free(shard->hot);
	key_cache_free(shard->keys);
	address_table_free(shard->addresses);
	crowd_free(shard->crowd);
	tls_keeper_free(shard->tls);
	request_free_spare(shard);
	pthread_mutex_destroy(&shard->inbox_lock);
}
