/*
 * resolver: all addresses of every name, every few seconds whatever their TTL.
 *
 * Container DNS answers with long TTLs and getaddrinfo() sorts a caller's own address first, so answers
 * are shuffled and asked for again. An answer that fails leaves the URLs as they were: a DNS server that
 * is away must not take the replicas with it.
 */
#include "resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/random.h"

struct urls {
	char (*list)[BUS_URL_MAX];
	size_t count;
	bool has_failed; /* a name could not be resolved */
	bool names_too;  /* false: literals and local URLs only */
};

static void
add_url(struct urls *urls, const char *url)
{
	for (size_t i = 0; i < urls->count; i++)
		if (strcmp(urls->list[i], url) == 0)
			return;
	if (urls->count < BUS_ADDRESSES_MAX)
		snprintf(urls->list[urls->count++], BUS_URL_MAX, "%s", url);
}

static bool
is_literal(const char *host)
{
	struct in6_addr ignored;
	return host[0] == '[' || inet_pton(AF_INET, host, &ignored) == 1;
}

static void
add_resolved(struct urls *urls, const char *scheme, const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC}, *found;
	char address[INET6_ADDRSTRLEN], url[BUS_URL_MAX];
	bool is_tls = strncmp(scheme, "tls+", 4) == 0;

	if (getaddrinfo(host, NULL, &hints, &found) != 0) {
		urls->has_failed = true;
		return;
	}
	for (const struct addrinfo *at = found; at; at = at->ai_next) {
		if (getnameinfo(at->ai_addr, at->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) != 0)
			continue;
		int size =
		    snprintf(url, sizeof(url), at->ai_family == AF_INET6 ? "%s[%s]:%s%s%s" : "%s%s:%s%s%s", scheme,
		             address, port, is_tls ? "#" : "", is_tls ? host : ""); /* see dialer_start() */
		if (size < 0 || (size_t)size >= sizeof(url))
			continue;
		add_url(urls, url);
	}
	freeaddrinfo(found);
}

static void
expand(void *arg, const char *text, size_t length)
{
	struct urls *urls = arg;
	char url[BUS_URL_MAX], scheme[16], host[BUS_URL_MAX];

	if (length >= sizeof(url))
		return;
	snprintf(url, sizeof(url), "%.*s", (int)length, text);
	const char *rest = strstr(url, "://");
	const char *colon = strrchr(url, ':');
	bool is_network = strncmp(url, "tcp://", 6) == 0 || strncmp(url, "tls+tcp://", 10) == 0;
	if (!is_network || !rest || colon <= rest) {
		add_url(urls, url);
		return;
	}
	snprintf(scheme, sizeof(scheme), "%.*s://", (int)(rest - url), url);
	snprintf(host, sizeof(host), "%.*s", (int)(colon - rest - 3), rest + 3);
	if (is_literal(host))
		add_url(urls, url);
	else if (urls->names_too)
		add_resolved(urls, scheme, host, colon + 1);
	else
		urls->has_failed = true;
}

static void
shuffle(struct urls *urls)
{
	char swap[BUS_URL_MAX];
	for (size_t i = urls->count; i > 1; i--) {
		size_t j = (size_t)(random_fast_u64() % i);
		memcpy(swap, urls->list[i - 1], BUS_URL_MAX);
		memcpy(urls->list[i - 1], urls->list[j], BUS_URL_MAX);
		memcpy(urls->list[j], swap, BUS_URL_MAX);
	}
}

/* Reports what a watch's address stands for now; nothing when a name failed. */
static void
resolve(struct watch *watch, bool names_too)
{
	struct urls urls = {.list = mem_array(BUS_ADDRESSES_MAX, BUS_URL_MAX), .names_too = names_too};
	address_each(watch->address, expand, &urls);
	if (!urls.has_failed) {
		shuffle(&urls);
		watch->changed(watch->arg, urls.list, urls.count);
	}
	mem_free(urls.list);
}

void
bus_add_watch(struct bus *bus, struct watch *watch)
{
	resolve(watch, false);
	pthread_mutex_lock(&bus->lock);
	watch->next = bus->watches;
	bus->watches = watch;
	bus->resolve_round++;
	pthread_cond_broadcast(&bus->wake);
	pthread_mutex_unlock(&bus->lock);
}

void
bus_remove_watch(struct bus *bus, struct watch *watch)
{
	pthread_mutex_lock(&bus->lock);
	while (bus->is_resolving)
		pthread_cond_wait(&bus->wake, &bus->lock);
	for (struct watch **slot = &bus->watches; *slot; slot = &(*slot)->next) {
		if (*slot == watch) {
			*slot = watch->next;
			break;
		}
	}
	pthread_mutex_unlock(&bus->lock);
}

/* Waits for the next round: `resolve_ms` ± 25 %, or a new watch. */
static void
wait_for_round(struct bus *bus, uint64_t *round)
{
	struct timespec until;
	uint64_t wait_ms = bus->resolve_ms * 3u / 4 + random_fast_u64() % (bus->resolve_ms / 2 + 1);

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(wait_ms / 1000);
	until.tv_nsec += (long)(wait_ms % 1000) * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	while (!bus->is_stopping && bus->resolve_round == *round)
		if (pthread_cond_timedwait(&bus->wake, &bus->lock, &until) != 0)
			break;
	*round = bus->resolve_round;
}

void *
resolver_main(void *arg)
{
	struct bus *bus = arg;
	uint64_t round = 0;

	pthread_mutex_lock(&bus->lock);
	while (!bus->is_stopping) {
		wait_for_round(bus, &round);
		bus->is_resolving = true;
		for (struct watch *watch = bus->watches; watch && !bus->is_stopping; watch = watch->next) {
			pthread_mutex_unlock(&bus->lock);
			resolve(watch, true);
			pthread_mutex_lock(&bus->lock);
		}
		bus->is_resolving = false;
		pthread_cond_broadcast(&bus->wake);
	}
	pthread_mutex_unlock(&bus->lock);
	return NULL;
}
