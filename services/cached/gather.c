/*
 * gather: statistics of all replicas, summed by the one that is asked.
 *
 * Each replica counts its own calls, in memory. Whoever is asked asks all others at once, on a worker, and
 * names those who did not answer.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "cached.h"
#include "cached_internal.h"
#include "corbel/cached.methods.gen.h"
#include "daemon/scope.h"

#define REPLICAS_MAX 64u
#define ANSWER_MS    500u
#define MARGIN_MS    200u /* of the caller's time, to send the answer */

typedef Corbel__V1__CacheStatisticsRequest StatisticsRequest;
typedef Corbel__V1__CacheStatisticsReply StatisticsReply;
typedef Corbel__V1__CacheNamespaceStatistics Figures;
typedef Corbel__V1__CacheTopKey TopKey;

/* ---- sums ---- */

static int
by_gets(const void *a, const void *b)
{
	const TopKey *left = *(TopKey *const *)a, *right = *(TopKey *const *)b;
	return left->gets < right->gets ? 1 : left->gets > right->gets ? -1 : 0;
}

static TopKey *
key_of(const Figures *figures, const char *key)
{
	for (size_t i = 0; i < figures->n_top_keys; i++)
		if (strcmp(figures->top_keys[i]->key, key) == 0)
			return figures->top_keys[i];
	return NULL;
}

static void
add_keys(Figures *sum, const Figures *more, struct arena *arena)
{
	TopKey **keys = ARENA_ARRAY(arena, TopKey *, sum->n_top_keys + more->n_top_keys + 1);
	size_t count = sum->n_top_keys;

	if (count > 0)
		memcpy(keys, sum->top_keys, count * sizeof(keys[0]));
	for (size_t i = 0; i < more->n_top_keys; i++) {
		TopKey *known = key_of(sum, more->top_keys[i]->key);
		if (known)
			known->gets += more->top_keys[i]->gets;
		else
			keys[count++] = more->top_keys[i];
	}
	qsort(keys, count, sizeof(keys[0]), by_gets);
	sum->top_keys = keys;
	sum->n_top_keys = count < CACHE_STATISTICS_TOP ? count : CACHE_STATISTICS_TOP;
}

/* Of two windows as of one: each ratio weighs as much as the gets that it is of. */
static void
add_window(uint32_t *permille, uint64_t *gets, uint32_t more_permille, uint64_t more_gets)
{
	double all = (double)*gets + (double)more_gets;

	if (all > 0)
		*permille =
		    (uint32_t)(((double)*permille * (double)*gets + (double)more_permille * (double)more_gets) / all +
		               0.5);
	*gets += more_gets;
}

static void
add_windows(Figures *sum, const Figures *more)
{
	add_window(&sum->hit_permille_1m, &sum->gets_1m, more->hit_permille_1m, more->gets_1m);
	add_window(&sum->hit_permille_10m, &sum->gets_10m, more->hit_permille_10m, more->gets_10m);
	add_window(&sum->hit_permille_1h, &sum->gets_1h, more->hit_permille_1h, more->gets_1h);
	sum->has_hit_permille_1m = sum->has_gets_1m = sum->gets_1m > 0;
	sum->has_hit_permille_10m = sum->has_gets_10m = sum->gets_10m > 0;
	sum->has_hit_permille_1h = sum->has_gets_1h = sum->gets_1h > 0;
}

static void
add_figures(Figures *sum, const Figures *more, struct arena *arena)
{
	sum->hits += more->hits;
	sum->shared_hits += more->shared_hits;
	sum->misses += more->misses;
	sum->stale += more->stale;
	sum->negative += more->negative;
	sum->sets += more->sets;
	sum->fills += more->fills;
	sum->refused += more->refused;
	sum->deletes += more->deletes;
	sum->invalidations += more->invalidations;
	sum->leases += more->leases;
	sum->leases_lost += more->leases_lost;
	sum->early += more->early;
	sum->evicted += more->evicted;
	sum->expired += more->expired;
	sum->invalidated += more->invalidated;
	sum->entries += more->entries;
	sum->bytes += more->bytes;
	uint64_t found = sum->hits + sum->stale, gets = found + sum->misses + sum->negative;
	sum->hit_permille = gets > 0 ? (uint32_t)((double)found * 1000 / (double)gets) : 0;
	add_windows(sum, more);
	add_keys(sum, more, arena);
}

/* Both are sorted by name, and so is what comes of it. */
static void
add_namespaces(StatisticsReply *sum, const StatisticsReply *more, struct arena *arena)
{
	size_t count = sum->n_namespaces + more->n_namespaces, left = 0, right = 0, at = 0;
	Figures **list = ARENA_ARRAY(arena, Figures *, count + 1);

	while (left < sum->n_namespaces || right < more->n_namespaces) {
		int order = left == sum->n_namespaces ? 1
		            : right == more->n_namespaces
		                ? -1
		                : strcmp(sum->namespaces[left]->namespace_, more->namespaces[right]->namespace_);
		list[at++] = order <= 0 ? sum->namespaces[left++] : more->namespaces[right++];
		if (order == 0)
			add_figures(list[at - 1], more->namespaces[right++], arena);
	}
	sum->namespaces = list;
	sum->n_namespaces = at < CACHE_STATISTICS_NAMESPACES ? at : CACHE_STATISTICS_NAMESPACES;
}

/* ---- asking ---- */

/* A call that waits on a worker for what the others say. */
struct gathering {
	struct cached *self;
	struct call *call;
	const char *tenant;
	struct arena arena; /* the worker's: those of the calls of a message are one */
	size_t open;        /* questions without an answer */
};

/* To one replica. */
struct question {
	struct pool_call call;
	struct gathering *gathering;
	const StatisticsReply *answer; /* NULL: none, or not yet */
};

/* The reply's memory ends with this call. */
static void
take_answer(struct pool_call *call)
{
	struct question *question = call->user;
	struct arena_allocator memory = arena_allocator(&question->gathering->arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	struct status st = pool_call_status(call);

	question->gathering->open--;
	if (status_ok(&st) && call->reply)
		question->answer = corbel__v1__cache_statistics_reply__unpack(&allocator, call->reply->payload.len,
		                                                              call->reply->payload.data);
}

/* What every replica is asked, for its own figures only. */
static struct pool_call
call_for(struct gathering *gathering, uint64_t deadline_ms)
{
	StatisticsRequest request = *(const StatisticsRequest *)call_request(gathering->call);
	Corbel__Bus__Principal *principal = ARENA_NEW(&gathering->arena, Corbel__Bus__Principal);

	request.tenant_id = (char *)(uintptr_t)gathering->tenant;
	corbel__bus__principal__init(principal);
	principal->has_internal = principal->internal = true;
	uint8_t *bytes = arena_alloc_raw(&gathering->arena,
	                                 corbel__v1__cache_statistics_request__get_packed_size(&request) + 1);
	return (struct pool_call){.method = CACHE_REPLICA_STATISTICS->id,
	                          .is_waiting = CACHE_REPLICA_STATISTICS->is_waiting,
	                          .deadline_mono_ms = deadline_ms,
	                          .request_id = call_request_id(gathering->call),
	                          .principal = principal,
	                          .payload = bytes,
	                          .payload_size = corbel__v1__cache_statistics_request__pack(&request, bytes),
	                          .done = take_answer};
}

static bool
is_asked(const struct pool_replica *replica)
{
	return replica->is_healthy && replica->node[0];
}

/* All at once, so that those who do not answer cost their time together; all have ended when it returns. */
static void
ask(struct gathering *gathering, struct pool *pool, const struct pool_replica *replicas, size_t count,
    struct question *questions)
{
	uint64_t now_ms = clock_mono_ms(gathering->self->env.clock);
	uint64_t end_ms = call_deadline_mono_ms(gathering->call);
	uint64_t until_ms = now_ms + ANSWER_MS + MARGIN_MS < end_ms ? now_ms + ANSWER_MS : end_ms - MARGIN_MS;
	struct port *port;

	if (now_ms + MARGIN_MS >= end_ms)
		return;
	struct status st = port_new(gathering->self->env.bus, &port);
	if (!status_ok(&st)) {
		log_warn(gathering->self->env.log, "replicas not asked for statistics", LOG_STATUS(&st));
		return;
	}
	const struct pool_call call = call_for(gathering, until_ms);
	for (size_t i = 0; i < count; i++) {
		if (!is_asked(&replicas[i]))
			continue;
		questions[i] = (struct question){.call = call, .gathering = gathering};
		questions[i].call.node = replicas[i].node;
		questions[i].call.user = &questions[i];
		gathering->open++;
		port_call(port, pool, &questions[i].call);
	}
	port_flush(port);
	while (gathering->open > 0) {
		struct pollfd fd = {.fd = port_fd(port), .events = POLLIN};
		(void)poll(&fd, 1, port_timeout_ms(port));
		port_poll(port);
	}
	port_free(port);
}

static void
add_answer(struct gathering *gathering, const struct pool_replica *replica, const StatisticsReply *answer,
           StatisticsReply *sum)
{
	char *name = arena_strdup(&gathering->arena, replica->node[0] ? replica->node : replica->url);

	if (!answer) {
		sum->missing[sum->n_missing++] = name;
		return;
	}
	sum->answered[sum->n_answered++] = name;
	sum->bytes += answer->bytes;
	sum->entries += answer->entries;
	add_namespaces(sum, answer, &gathering->arena);
}

/* All replicas but this one. */
static size_t
list_others(const struct cached *self, struct pool *pool, struct pool_replica *out)
{
	size_t count = pool ? pool_list(pool, out, REPLICAS_MAX) : 0, others = 0;

	for (size_t i = 0; i < count && i < REPLICAS_MAX; i++)
		if (strcmp(out[i].node, bus_node(self->env.bus)) != 0)
			out[others++] = out[i];
	return others;
}

static void
add_others(struct gathering *gathering, StatisticsReply *sum)
{
	struct arena *arena = &gathering->arena;
	struct pool *pool = host_pool(gathering->self->env.host, "cached");
	struct pool_replica *replicas = ARENA_ARRAY(arena, struct pool_replica, REPLICAS_MAX);
	size_t count = list_others(gathering->self, pool, replicas);
	struct question *questions = ARENA_ARRAY(arena, struct question, count + 1);
	char **answered = ARENA_ARRAY(arena, char *, REPLICAS_MAX + 1);

	answered[0] = sum->answered[0];
	sum->answered = answered;
	sum->missing = ARENA_ARRAY(arena, char *, REPLICAS_MAX);
	ask(gathering, pool, replicas, count, questions);
	for (size_t i = 0; i < count; i++)
		add_answer(gathering, &replicas[i], questions[i].answer, sum);
}

static void
gather(void *arg, struct store_conn *conn)
{
	struct gathering *gathering = arg;
	StatisticsReply *reply = (StatisticsReply *)call_reply(gathering->call);
	const StatisticsRequest *request = (const StatisticsRequest *)call_request(gathering->call);

	(void)conn;
	arena_init(&gathering->arena, 64 << 10, SIZE_MAX);
	cache_statistics_read(gathering->self, gathering->tenant, request->namespace_, &gathering->arena, reply);
	add_others(gathering, reply);
	call_end(gathering->call, status_ok_value());
	arena_fini(&gathering->arena);
	mem_free(gathering);
}

/* ---- handlers ---- */

static void
answer(struct cached *self, struct call *call, bool is_alone)
{
	const StatisticsRequest *request = (const StatisticsRequest *)call_request(call);
	const char *tenant;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (!status_ok(&st) || is_alone || request->own) {
		if (status_ok(&st))
			cache_statistics_read(self, tenant, request->namespace_, call_arena(call),
			                      (StatisticsReply *)call_reply(call));
		call_end(call, st);
		return;
	}
	struct gathering *gathering = mem_alloc(sizeof(*gathering));
	*gathering = (struct gathering){.self = self, .call = call, .tenant = tenant};
	if (host_work(self->env.host, &cached_service, gather, gathering))
		return;
	mem_free(gathering);
	call_end(call, status_make(STATUS_RESOURCE_EXHAUSTED, "too many calls are waiting"));
}

void
cache_statistics_batch(void *arg, struct call *calls[], size_t count)
{
	struct cached *self = arg;

	for (size_t i = 0; i < count; i++)
		answer(self, calls[i], !self->fleet);
}

void
cache_replica_statistics_batch(void *arg, struct call *calls[], size_t count)
{
	for (size_t i = 0; i < count; i++)
		answer(arg, calls[i], true);
}
