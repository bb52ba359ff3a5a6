/*
 * resolver: all addresses of every name, every few seconds whatever their TTL.
 *
 * Container DNS answers with long TTLs and getaddrinfo() sorts a caller's own address first, so answers
 * are shuffled and asked for again. An answer that fails leaves the URLs as they were: a DNS server that
 * is away must not take the replicas with it.
 *
 * A name that nobody knows may take a resolver ten seconds, so each watch asks in a thread of its own, and
 * none waits for another's names. getaddrinfo() cannot be called off: a watch that is removed leaves its
 * thread behind, which then ends by itself.
 */
#include "bus_internal.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/monotonic.h"
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
		int size = snprintf(url, sizeof(url), at->ai_family == AF_INET6 ? "%s[%s]:%s%s%s" : "%s%s:%s%s%s",
		                    scheme, address, port, is_tls ? "#" : "", is_tls ? host : ""); /* see dial.c */
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

static void
report(const struct watch *watch, struct urls *urls)
{
	shuffle(urls);
	watch->changed(watch->arg, urls->list, urls->count);
}

static struct urls
urls_of(const char *address, bool names_too)
{
	struct urls urls = {.list = mem_array(BUS_ADDRESSES_MAX, BUS_URL_MAX), .names_too = names_too};
	address_each(address, expand, &urls);
	return urls;
}

/* ---- the thread of a watch ---- */

/* Made with its watch, given back by its thread. */
struct lookup {
	char *address;
	uint32_t period_ms;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	const struct watch *watch; /* NULL once it was removed; guarded by the lock, also while it is told */
};

static struct lookup *
lookup_new(const struct bus *bus, const struct watch *watch)
{
	struct lookup *self = mem_alloc(sizeof(*self));

	self->address = mem_strdup(watch->address);
	self->period_ms = bus->resolve_ms;
	self->watch = watch;
	pthread_mutex_init(&self->lock, NULL);
	monotonic_cond_init(&self->wake);
	return self;
}

static void
lookup_free(struct lookup *self)
{
	pthread_cond_destroy(&self->wake);
	pthread_mutex_destroy(&self->lock);
	mem_free(self->address);
	mem_free(self);
}

/* Until the next round, `period_ms` ± 25 %, or the removal. Under the lock. */
static void
wait_for_round(struct lookup *self)
{
	uint64_t wait_ms = self->period_ms * 3u / 4 + random_fast_u64() % (self->period_ms / 2 + 1);
	struct timespec until = monotonic_in_ms(wait_ms);

	while (self->watch && pthread_cond_timedwait(&self->wake, &self->lock, &until) == 0)
		continue;
}

static void *
lookup_main(void *arg)
{
	struct lookup *self = arg;
	bool is_watched = true;

	while (is_watched) {
		struct urls urls = urls_of(self->address, true);
		pthread_mutex_lock(&self->lock);
		if (self->watch && !urls.has_failed)
			report(self->watch, &urls);
		wait_for_round(self);
		is_watched = self->watch != NULL;
		pthread_mutex_unlock(&self->lock);
		mem_free(urls.list);
	}
	lookup_free(self);
	return NULL;
}

/* ---- watches ---- */

static void
start_lookup(struct bus *bus, struct watch *watch)
{
	struct lookup *lookup = lookup_new(bus, watch);
	pthread_attr_t detached;
	pthread_t thread;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &detached, lookup_main, lookup) == 0) {
		watch->lookup = lookup;
	} else {
		log_error(bus->log, "no thread to resolve names", LOG_TEXT("address", watch->address));
		lookup_free(lookup);
	}
	pthread_attr_destroy(&detached);
}

void
bus_add_watch(struct bus *bus, struct watch *watch)
{
	struct urls urls = urls_of(watch->address, false);

	if (urls.has_failed)
		start_lookup(bus, watch);
	else
		report(watch, &urls);
	mem_free(urls.list);
}

void
bus_remove_watch(struct watch *watch)
{
	struct lookup *lookup = watch->lookup;

	if (!lookup)
		return;
	pthread_mutex_lock(&lookup->lock);
	lookup->watch = NULL;
	pthread_cond_signal(&lookup->wake);
	pthread_mutex_unlock(&lookup->lock);
}
