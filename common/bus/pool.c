/*
 * pool: choosing a replica for each call, and sending what waits.
 */
#include "bus/pool.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "pool_internal.h"
#include "series.h"

/* ---- choosing; under the lock ---- */

static uint64_t
weight(const struct replica *replica, uint64_t route)
{
	return hash_mix64(replica->identity, route);
}

/* Rendezvous hashing (Thaler and Ravishankar, 1998): the highest weight wins, so that a replica that
 * goes moves only its own keys. */
static struct replica *
choose_by_route(const struct pool *pool, uint64_t route)
{
	struct replica *best = NULL;
	for (struct replica *replica = pool->replicas; replica; replica = replica->next)
		if (replica_is_usable(replica) && (!best || weight(replica, route) > weight(best, route)))
			best = replica;
	return best;
}

static struct replica *
usable_at(const struct pool *pool, size_t index)
{
	for (struct replica *replica = pool->replicas; replica; replica = replica->next)
		if (replica_is_usable(replica) && index-- == 0)
			return replica;
	return NULL;
}

/* The power of two choices (Mitzenmacher, 2001). */
static struct replica *
choose_by_load(const struct pool *pool)
{
	size_t usable = 0;
	for (const struct replica *replica = pool->replicas; replica; replica = replica->next)
		usable += replica_is_usable(replica);
	if (usable <= 1)
		return usable_at(pool, 0);
	size_t first = (size_t)(random_fast_u64() % usable);
	size_t second = (first + 1 + (size_t)(random_fast_u64() % (usable - 1))) % usable;
	struct replica *a = usable_at(pool, first), *b = usable_at(pool, second);
	return !b || (a && a->in_flight <= b->in_flight) ? a : b;
}

static struct replica *
usable_named(const struct pool *pool, uint64_t identity)
{
	for (struct replica *replica = pool->replicas; replica; replica = replica->next)
		if (replica_is_usable(replica) && replica->identity == identity)
			return replica;
	return NULL;
}

static struct replica *
choose(const struct pool *pool, const struct flight *flight)
{
	if (flight->only)
		return usable_named(pool, flight->only);
	return flight->has_route ? choose_by_route(pool, flight->route) : choose_by_load(pool);
}

static bool
enqueue(struct pool *pool, struct flight *flight)
{
	struct replica *replica = choose(pool, flight);
	if (!replica)
		return false;
	if (flight->replica)
		replica_release(flight->replica);
	flight->replica = replica;
	atomic_fetch_add(&replica->holders, 1);
	replica->in_flight++;
	queue_add(&replica->queues[flight->kind], flight);
	return true;
}

bool
pool_admit(struct pool *pool)
{
	if (atomic_fetch_add(&pool->queued, 1) < pool->max_queued)
		return true;
	atomic_fetch_sub(&pool->queued, 1);
	return false;
}

struct call_series *
pool_series(const struct pool *pool)
{
	return pool->series;
}

void
pool_submit(struct pool *pool, struct flight *flight)
{
	pthread_mutex_lock(&pool->lock);
	bool is_taken = !pool->is_closing && enqueue(pool, flight);
	pthread_mutex_unlock(&pool->lock);
	if (!is_taken)
		pool_fail(pool, flight, STATUS_UNAVAILABLE, "no replica of the service can be reached", false);
}

void
pool_settle(struct pool *pool, struct flight *flight, enum status_code code, const char *message,
            bool was_sent)
{
	if (flight->replica)
		flight->replica->in_flight--;
	flight->code = code;
	flight->message = message;
	flight->was_sent = was_sent;
	atomic_fetch_sub(&pool->queued, 1);
}

void
pool_fail(struct pool *pool, struct flight *flight, enum status_code code, const char *message, bool was_sent)
{
	pool_settle(pool, flight, code, message, was_sent);
	port_complete(&flight, 1);
}

void
pool_evacuate(struct pool *pool, struct replica *replica)
{
	struct queue moved;
	struct flight *flight;

	queue_init(&moved);
	for (size_t i = 0; i < LANE_KINDS; i++)
		while ((flight = queue_take(&replica->queues[i])) != NULL)
			queue_add(&moved, flight);
	while ((flight = queue_take(&moved)) != NULL) {
		replica->in_flight--;
		if (!pool->is_closing && enqueue(pool, flight))
			continue;
		replica->in_flight++; /* pool_fail() takes it off */
		pool_fail(pool, flight, pool->is_closing ? STATUS_CANCELLED : STATUS_UNAVAILABLE,
		          pool->is_closing ? "the caller is closing" : "no replica of the service can be reached",
		          false);
	}
}

/* ---- sending ---- */

/* Fills an idle lane with what waits; NULL when nothing can be sent now. Under the lock. */
static struct lane *
load_lane(struct replica *replica, enum lane_kind kind)
{
	struct queue *queue = &replica->queues[kind];
	struct lane *lane = queue->first ? replica_idle_lane(replica, kind) : NULL;
	size_t bytes = 0, most = replica->pool->bus->message_max / 2;
	struct flight **last;

	if (!lane)
		return NULL;
	if (most > BATCH_BYTES)
		most = BATCH_BYTES;
	lane->state = LANE_SENDING;
	last = &lane->first;
	for (size_t count = 0; count < (kind == LANE_FAST ? BATCH_CALLS : 1) && queue->first; count++) {
		if (count > 0 && bytes + queue->first->size > most)
			break;
		struct flight *flight = queue_take(queue);
		bytes += flight->size;
		*last = flight;
		last = &flight->next;
	}
	*last = NULL;
	return lane;
}

static struct lane *
next_lane(struct pool *pool)
{
	for (struct replica *replica = pool->replicas; replica; replica = replica->next) {
		if (replica->pipes == 0)
			continue;
		struct lane *lane = NULL;
		for (int kind = 0; kind < LANE_KINDS && !lane; kind++)
			lane = load_lane(replica, (enum lane_kind)kind);
		if (lane)
			return lane;
	}
	return NULL;
}

void
pool_pump(struct pool *pool)
{
	for (;;) {
		pthread_mutex_lock(&pool->lock);
		struct lane *lane = pool->is_closing ? NULL : next_lane(pool);
		pthread_mutex_unlock(&pool->lock);
		if (!lane)
			return;
		lane_send(lane);
	}
}

bool
pool_note_timeout(struct flight *flight)
{
	struct pool *pool = flight->pool;
	bool was_sent;

	atomic_store(&flight->has_ended, true); /* before the look at was_sent: see compose() */
	pthread_mutex_lock(&pool->lock);
	was_sent = flight->was_sent;
	struct replica *replica = flight->replica;
	if (was_sent && replica && ++replica->failures >= pool->breaker_failures)
		replica_set_aside(replica, "calls time out");
	pthread_mutex_unlock(&pool->lock);
	pool_pump(pool);
	return was_sent;
}

/* ---- replicas that come and go ---- */

static struct replica *
replica_at(const struct pool *pool, const char *url)
{
	for (struct replica *replica = pool->replicas; replica; replica = replica->next)
		if (!replica->is_removed && strcmp(replica->url, url) == 0)
			return replica;
	return NULL;
}

static bool
is_listed(char urls[][BUS_URL_MAX], size_t count, const char *url)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(urls[i], url) == 0)
			return true;
	return false;
}

static void
add_replica(struct pool *pool, const char *url)
{
	struct replica *replica = replica_new(pool, url);
	struct status st = replica_open(replica);
	if (!status_ok(&st)) {
		log_error(pool->bus->log, "cannot dial a replica", LOG_TEXT("url", url), LOG_STATUS(&st));
		replica_close(replica);
		replica_release(replica);
		return;
	}
	pthread_mutex_lock(&pool->lock);
	replica->next = pool->replicas;
	pool->replicas = replica;
	pthread_mutex_unlock(&pool->lock);
}

static void
addresses_changed(void *arg, char urls[][BUS_URL_MAX], size_t count)
{
	struct pool *pool = arg;

	pthread_mutex_lock(&pool->lock);
	for (struct replica *replica = pool->replicas; replica; replica = replica->next) {
		if (replica->is_removed || is_listed(urls, count, replica->url))
			continue;
		replica->is_removed = true;
		replica->removed_ms = bus_now_ms(pool->bus);
		pool_evacuate(pool, replica);
	}
	pthread_mutex_unlock(&pool->lock);
	for (size_t i = 0; i < count; i++) {
		pthread_mutex_lock(&pool->lock);
		bool is_known = replica_at(pool, urls[i]) != NULL;
		pthread_mutex_unlock(&pool->lock);
		if (!is_known)
			add_replica(pool, urls[i]);
	}
}

static void
register_metrics(struct pool *pool)
{
	static const char *const LABELS[] = {"service", NULL};
	static const double SIZES[] = {1, 2, 4, 8, 16, 32, 64, 128};
	static const struct metric_spec SET_ASIDE = {
	    .name = "corbel_bus_client_set_aside", .help = "Times a replica was set aside.", .labels = LABELS};
	static const struct metric_spec HEALTHY = {
	    .name = "corbel_bus_client_healthy_replicas", .help = "Replicas that get calls.", .labels = LABELS};
	static const struct metric_spec IN_FLIGHT = {.name = "corbel_bus_client_in_flight",
	                                             .help = "Calls waiting to be sent or answered.",
	                                             .labels = LABELS};
	static const struct metric_spec BATCH = {.name = "corbel_bus_client_batch_calls",
	                                         .help = "Calls in a message.",
	                                         .labels = LABELS,
	                                         .buckets = SIZES,
	                                         .bucket_count = sizeof(SIZES) / sizeof(SIZES[0])};
	const char *const values[] = {pool->service};
	struct metrics *m = pool->bus->metrics;

	pool->set_aside = metrics_counter(m, &SET_ASIDE, values);
	pool->healthy = metrics_gauge(m, &HEALTHY, values);
	pool->in_flight = metrics_gauge(m, &IN_FLIGHT, values);
	pool->sizes = metrics_histogram(m, &BATCH, values);
	pool->series = series_for(pool->bus, pool->service);
}

struct status
pool_new(struct bus *bus, const struct pool_options *options, struct pool **out)
{
	struct status st = bus_address_check(options->address);
	if (!status_ok(&st))
		return status_wrap(st, "address of %s", options->service);

	struct pool *pool = mem_alloc(sizeof(*pool));
	pool->bus = bus;
	pool->service = mem_strdup(options->service);
	pool->max_queued = options->max_queued ? options->max_queued : 16384;
	pool->breaker_failures = options->breaker_failures ? options->breaker_failures : 3;
	pool->ping_ms = options->ping_ms ? options->ping_ms : 1000;
	pthread_mutex_init(&pool->lock, NULL);
	register_metrics(pool);
	pool->watch =
	    (struct watch){.address = mem_strdup(options->address), .changed = addresses_changed, .arg = pool};
	bus_add_watch(bus, &pool->watch);
	pool->ticker = (struct ticker){.tick = pool_tick, .arg = pool};
	bus_add_ticker(bus, &pool->ticker);
	*out = pool;
	return st;
}

void
pool_free(struct pool *pool)
{
	if (!pool)
		return;
	bus_remove_watch(&pool->watch);
	bus_remove_ticker(pool->bus, &pool->ticker);
	pthread_mutex_lock(&pool->lock);
	pool->is_closing = true;
	for (struct replica *replica = pool->replicas; replica; replica = replica->next)
		pool_evacuate(pool, replica);
	pthread_mutex_unlock(&pool->lock);
	while (pool->replicas) {
		struct replica *replica = pool->replicas;
		replica_close(replica);
		pool->replicas = replica->next;
		replica_release(replica);
	}
	pthread_mutex_destroy(&pool->lock);
	mem_free(pool->watch.address);
	mem_free(pool->service);
	mem_free(pool);
}

/* ---- for diagnostics ---- */

size_t
pool_list(const struct pool *pool, struct pool_replica *out, size_t max)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&pool->lock;
	size_t count = 0;

	pthread_mutex_lock(lock);
	for (const struct replica *replica = pool->replicas; replica; replica = replica->next) {
		if (replica->is_removed)
			continue;
		if (count < max) {
			struct pool_replica *entry = &out[count];
			snprintf(entry->node, sizeof(entry->node), "%s", replica->node);
			snprintf(entry->url, sizeof(entry->url), "%s", replica->url);
			entry->epoch = replica->epoch;
			entry->in_flight = replica->in_flight;
			entry->is_healthy = replica_is_usable(replica);
			entry->is_draining = replica->is_draining;
		}
		count++;
	}
	pthread_mutex_unlock(lock);
	return count;
}

size_t
pool_replicas(const struct pool *pool)
{
	return pool_list(pool, NULL, 0);
}

size_t
pool_healthy(const struct pool *pool)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&pool->lock;
	size_t count = 0;
	pthread_mutex_lock(lock);
	for (const struct replica *replica = pool->replicas; replica; replica = replica->next)
		count += replica_is_usable(replica);
	pthread_mutex_unlock(lock);
	return count;
}

bool
pool_owner(const struct pool *pool, uint64_t route, char node[64], uint64_t *epoch)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&pool->lock;
	pthread_mutex_lock(lock);
	const struct replica *replica = choose_by_route(pool, route);
	if (replica) {
		snprintf(node, 64, "%s", replica->node);
		*epoch = replica->epoch;
	}
	pthread_mutex_unlock(lock);
	return replica && node[0];
}
