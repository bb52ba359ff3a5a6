/*
 * gather: statistics of all replicas, summed by the one that is asked.
 *
 * Each replica counts its own calls, in memory. Whoever is asked asks all others at once, on a worker, and
 * names those who did not answer.
 */
#include <stdlib.h>
#include <string.h>

#include "cached.h"
#include "cached_internal.h"
#include "corbel/cached.methods.gen.h"
#include "daemon/scope.h"
#include "everyone.h"

#define ANSWER_MS 500u

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
};

static void
add_answer(void *arg, char *name, const ProtobufCMessage *message)
{
	struct gathering *gathering = arg;
	StatisticsReply *sum = (StatisticsReply *)call_reply(gathering->call);
	const StatisticsReply *answer = (const StatisticsReply *)message;

	if (!answer) {
		everyone_name(&sum->missing, &sum->n_missing, name, &gathering->arena);
		return;
	}
	everyone_name(&sum->answered, &sum->n_answered, name, &gathering->arena);
	sum->bytes += answer->bytes;
	sum->entries += answer->entries;
	add_namespaces(sum, answer, &gathering->arena);
}

static void
gather(void *arg, struct store_conn *conn)
{
	struct gathering *gathering = arg;
	const struct everyone others = {
	    .method = CACHE_REPLICA_STATISTICS, .answer_ms = ANSWER_MS, .take = add_answer, .arg = gathering};
	StatisticsRequest request = *(const StatisticsRequest *)call_request(gathering->call);

	(void)conn;
	arena_init(&gathering->arena, 64 << 10, SIZE_MAX);
	request.tenant_id = (char *)(uintptr_t)gathering->tenant;
	cache_statistics_read(gathering->self, gathering->tenant, request.namespace_, &gathering->arena,
	                      (StatisticsReply *)call_reply(gathering->call));
	everyone_ask(gathering->self, gathering->call, &others, &request.base, &gathering->arena);
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
