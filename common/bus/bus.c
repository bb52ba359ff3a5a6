/*
 * bus: one process's end of the bus: identity, the timer thread, and sockets made alike.
 */
#include "bus/bus.h"

#include <nng/nng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/monotonic.h"
#include "base/random.h"
#include "base/text.h"
#include "bus_internal.h"
#include "bus/threads.h"
#include "series.h"
#include "standby.h"

static void *
timer_main(void *arg)
{
	struct bus *bus = arg;

	pthread_mutex_lock(&bus->lock);
	while (!bus->is_stopping) {
		struct timespec until = monotonic_in_ms(TICK_MS);
		pthread_cond_timedwait(&bus->wake, &bus->lock, &until);
		bus->is_ticking = true;
		for (struct ticker *ticker = bus->tickers; ticker && !bus->is_stopping;) {
			struct ticker *next;
			pthread_mutex_unlock(&bus->lock);
			ticker->tick(ticker->arg, bus_now_ms(bus));
			pthread_mutex_lock(&bus->lock);
			next = ticker->next;
			ticker = next;
		}
		bus->is_ticking = false;
		pthread_cond_broadcast(&bus->wake);
	}
	pthread_mutex_unlock(&bus->lock);
	return NULL;
}

void
bus_add_ticker(struct bus *bus, struct ticker *ticker)
{
	pthread_mutex_lock(&bus->lock);
	ticker->next = bus->tickers;
	bus->tickers = ticker;
	pthread_mutex_unlock(&bus->lock);
}

void
bus_remove_ticker(struct bus *bus, struct ticker *ticker)
{
	pthread_mutex_lock(&bus->lock);
	while (bus->is_ticking)
		pthread_cond_wait(&bus->wake, &bus->lock);
	for (struct ticker **slot = &bus->tickers; *slot; slot = &(*slot)->next) {
		if (*slot == ticker) {
			*slot = ticker->next;
			break;
		}
	}
	pthread_mutex_unlock(&bus->lock);
}

static char *
copy_or_null(const char *text)
{
	return text ? mem_strdup(text) : NULL;
}

static char *
default_node(void)
{
	char host[64] = "node";
	(void)gethostname(host, sizeof(host) - 1);
	return mem_printf("%s-%ld-%06llx", host, (long)getpid(),
	                  (unsigned long long)(random_fast_u64() & 0xFFFFFFu));
}

struct status
bus_new(const struct bus_options *options, struct bus **out)
{
	struct bus *bus = mem_alloc(sizeof(*bus));

	threads_start();
	bus->node = options->node ? mem_strdup(options->node) : default_node();
	bus->epoch = random_u64(random_system()) | 1;
	bus->log = options->log;
	bus->metrics = options->metrics;
	bus->clock = options->clock ? options->clock : clock_system();
	bus->message_max = options->message_max_bytes ? options->message_max_bytes : 16u << 20;
	bus->resolve_ms = options->resolve_ms ? options->resolve_ms : 3000;
	bus->tls_ca = copy_or_null(options->tls_ca);
	bus->tls_cert = copy_or_null(options->tls_cert);
	bus->tls_key = copy_or_null(options->tls_key);
	pthread_mutex_init(&bus->lock, NULL);
	pthread_mutex_init(&bus->replies_lock, NULL);
	monotonic_cond_init(&bus->wake);
	if (pthread_create(&bus->timer, NULL, timer_main, bus) != 0)
		return status_make(STATUS_RESOURCE_EXHAUSTED, "cannot start the bus's timer thread");
	bus->standby = options->is_only_one ? standby_new(bus) : NULL;
	*out = bus;
	return status_ok_value();
}

void
bus_free(struct bus *bus)
{
	if (!bus)
		return;
	standby_free(bus->standby);
	pthread_mutex_lock(&bus->lock);
	bus->is_stopping = true;
	pthread_cond_broadcast(&bus->wake);
	pthread_mutex_unlock(&bus->lock);
	pthread_join(bus->timer, NULL);
	ports_free_idle(bus);
	replies_free_spare(bus);
	series_free_all(bus);
	pthread_mutex_destroy(&bus->replies_lock);
	pthread_cond_destroy(&bus->wake);
	pthread_mutex_destroy(&bus->lock);
	mem_free(bus->node);
	mem_free(bus->tls_ca);
	mem_free(bus->tls_cert);
	mem_free(bus->tls_key);
	mem_free(bus);
}

const char *
bus_node(const struct bus *bus)
{
	return bus->node;
}

uint64_t
bus_epoch(const struct bus *bus)
{
	return bus->epoch;
}

void
address_each(const char *address, void (*each)(void *arg, const char *url, size_t length), void *arg)
{
	while (*address) {
		address += strspn(address, ", ");
		size_t length = strcspn(address, ", ");
		if (length > 0)
			each(arg, address, length);
		address += length;
	}
}

struct address_check {
	size_t count;
	struct status st;
};

static bool
has_port(const char *url, size_t length)
{
	uint64_t port;
	const char *colon = memrchr(url, ':', length);
	return colon && text_to_u64(colon + 1, length - (size_t)(colon + 1 - url), &port) && port <= 65535;
}

static void
check_url(void *arg, const char *url, size_t length)
{
	static const char *const SCHEMES[] = {"inproc://", "ipc://", "tcp://", "tls+tcp://"};
	struct address_check *check = arg;
	bool is_known = false, is_network = false;

	check->count++;
	for (size_t i = 0; i < 4; i++) {
		size_t scheme = strlen(SCHEMES[i]);
		if (length > scheme && memcmp(url, SCHEMES[i], scheme) == 0) {
			is_known = true;
			is_network = i >= 2;
		}
	}
	if (!is_known || length >= BUS_URL_MAX || (is_network && !has_port(url, length)))
		check->st =
		    status_make(STATUS_INVALID_ARGUMENT,
		                "'%.*s' must be inproc://name, ipc:///path, tcp://host:port or tls+tcp://host:port",
		                (int)(length < 100 ? length : 100), url);
}

struct status
bus_address_check(const char *address)
{
	struct address_check check = {.st = status_ok_value()};
	address_each(address, check_url, &check);
	if (check.count == 0 || check.count > BUS_ADDRESSES_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "an address needs 1 to %d URLs", BUS_ADDRESSES_MAX);
	return check.st;
}

struct status
status_from_nng(int rv, const char *what)
{
	if (rv == 0)
		return status_ok_value();
	enum status_code code = rv == NNG_ENOMEM       ? STATUS_RESOURCE_EXHAUSTED
	                        : rv == NNG_EADDRINUSE ? STATUS_ALREADY_EXISTS
	                                               : STATUS_UNAVAILABLE;
	return status_make(code, "%s: %s", what, nng_strerror(rv));
}

struct status
socket_configure(const struct bus *bus, nng_socket socket)
{
	int rv = nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, bus->message_max);
	if (rv == 0)
		rv = nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, 10);
	if (rv == 0)
		rv = nng_socket_set_ms(socket, NNG_OPT_RECONNMAXT, 500);
	return status_from_nng(rv, "cannot set up a bus socket");
}

/* The URL with the port that the system chose, for port 0. */
static void
bound_url(nng_listener listener, const char *url, char bound[BUS_URL_MAX])
{
	nng_sockaddr address;
	const char *colon = strrchr(url, ':');
	snprintf(bound, BUS_URL_MAX, "%s", url);
	if (!colon || strcmp(colon, ":0") != 0 || nng_listener_get_addr(listener, NNG_OPT_LOCADDR, &address) != 0)
		return;
	uint16_t port = address.s_family == NNG_AF_INET6 ? address.s_in6.sa_port : address.s_in.sa_port;
	const uint8_t *bytes = (const uint8_t *)&port; /* network order */
	snprintf(bound, BUS_URL_MAX, "%.*s:%u", (int)(colon - url), url, (unsigned)bytes[0] << 8 | bytes[1]);
}

struct listening {
	const struct bus *bus;
	nng_socket socket;
	char *bound;
	struct status st;
};

static void
listen_one(void *arg, const char *text, size_t length)
{
	struct listening *listening = arg;
	char url[BUS_URL_MAX], bound[BUS_URL_MAX];
	nng_listener listener;

	if (!status_ok(&listening->st) || length >= sizeof(url))
		return;
	snprintf(url, sizeof(url), "%.*s", (int)length, text);
	int rv = nng_listener_create(&listener, listening->socket, url);
	if (rv == 0 && bus_is_tls(url)) {
		listening->st = listener_tls(listening->bus, listener);
		if (!status_ok(&listening->st))
			return;
	}
	/* A socket file left by a process that was killed is in the way, and nobody listens on it. */
	if (rv == 0)
		rv = nng_listener_start(listener, 0);
	if (rv != 0) {
		listening->st = status_wrap(status_from_nng(rv, "cannot listen"), "%s", url);
		return;
	}
	bound_url(listener, url, bound);
	if (!listening->bound[0])
		snprintf(listening->bound, BUS_URL_MAX, "%s", bound);
}

struct status
listener_start(const struct bus *bus, nng_socket socket, const char *address, char bound[BUS_URL_MAX])
{
	struct listening listening = {
	    .bus = bus, .socket = socket, .bound = bound, .st = bus_address_check(address)};
	bound[0] = '\0';
	if (status_ok(&listening.st))
		address_each(address, listen_one, &listening);
	return listening.st;
}
