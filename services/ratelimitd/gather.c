/*
 * gather: statistics of all replicas, summed by the one that is asked.
 *
 * Each replica counts its own decisions, in memory. Whoever is asked asks the others, one after the other,
 * and says how many did not answer.
 */
#include <stdlib.h>
#include <string.h>

#include "corbel/ratelimitd.methods.gen.h"
#include "daemon/scope.h"
#include "ratelimitd_internal.h"

#define REPLICAS_MAX 64u
#define ANSWER_MS    500u
#define LIMITS_MAX   200u /* of a reply */
#define TOP_MAX      32u  /* keys of a limit */

typedef Corbel__V1__StatisticsRequest StatisticsRequest;
typedef Corbel__V1__StatisticsReply StatisticsReply;
typedef Corbel__V1__LimitStatistics LimitStatistics;
typedef Corbel__V1__TopKey TopKey;

/* ---- sums ---- */

static LimitStatistics *
limit_of(const StatisticsReply *reply, const char *name)
{
	for (size_t i = 0; i < reply->n_limits; i++)
		if (strcmp(reply->limits[i]->limit, name) == 0)
			return reply->limits[i];
	return NULL;
}

static TopKey *
key_of(const LimitStatistics *limit, const char *key)
{
	for (size_t i = 0; i < limit->n_top_keys; i++)
		if (strcmp(limit->top_keys[i]->key, key) == 0)
			return limit->top_keys[i];
	return NULL;
}

static int
by_total(const void *a, const void *b)
{
	const TopKey *left = *(TopKey *const *)a, *right = *(TopKey *const *)b;
	return left->total < right->total ? 1 : left->total > right->total ? -1 : 0;
}

static void
add_keys(LimitStatistics *sum, const LimitStatistics *more, struct arena *arena)
{
	TopKey **keys = ARENA_ARRAY(arena, TopKey *, sum->n_top_keys + more->n_top_keys + 1);
	size_t count = sum->n_top_keys;

	for (size_t i = 0; i < count; i++)
		keys[i] = sum->top_keys[i];
	for (size_t i = 0; i < more->n_top_keys; i++) {
		TopKey *known = key_of(sum, more->top_keys[i]->key);
		if (!known) {
			keys[count++] = more->top_keys[i];
			continue;
		}
		known->total += more->top_keys[i]->total;
		known->throttled += more->top_keys[i]->throttled;
	}
	qsort(keys, count, sizeof(void *), by_total);
	sum->top_keys = keys;
	sum->n_top_keys = count < TOP_MAX ? count : TOP_MAX;
}

static void
add_reply(StatisticsReply *sum, const StatisticsReply *more, struct arena *arena)
{
	for (size_t i = 0; i < more->n_limits; i++) {
		LimitStatistics *limit = more->limits[i], *known = limit_of(sum, limit->limit);
		if (!known && sum->n_limits < LIMITS_MAX)
			sum->limits[sum->n_limits++] = limit;
		if (!known)
			continue;
		known->total += limit->total;
		known->throttled += limit->throttled;
		known->shadow_throttled += limit->shadow_throttled;
		known->degraded += limit->degraded;
		known->waited_ms += limit->waited_ms;
		add_keys(known, limit, arena);
	}
}

/* ---- asking ---- */

/* NULL when the replica does not answer. */
static const StatisticsReply *
ask(struct ratelimitd *self, struct pool *pool, const char *node, const StatisticsRequest *request,
    struct arena *arena)
{
	struct arena_allocator memory = arena_allocator(arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	Corbel__Bus__Principal principal = CORBEL__BUS__PRINCIPAL__INIT;
	size_t size = corbel__v1__statistics_request__get_packed_size(request);
	uint8_t *bytes = arena_alloc_raw(arena, size + 1);

	principal.has_internal = principal.internal = true;
	struct pool_call call = {.method = RATELIMITS_REPLICA_STATISTICS->id,
	                         .is_fast = RATELIMITS_REPLICA_STATISTICS->is_fast,
	                         .node = node,
	                         .deadline_mono_ms = clock_mono_ms(self->env.clock) + ANSWER_MS,
	                         .principal = &principal,
	                         .payload = bytes,
	                         .payload_size = corbel__v1__statistics_request__pack(request, bytes)};
	struct status st = pool_call_wait(pool, &call, arena);
	return status_ok(&st) ? corbel__v1__statistics_reply__unpack(&allocator, call.reply->payload.len,
	                                                             call.reply->payload.data)
	                      : NULL;
}

static void
add_others(struct ratelimitd *self, struct call *call, const StatisticsRequest *request, StatisticsReply *sum)
{
	struct arena *arena = call_arena(call);
	struct pool *pool = host_pool(self->env.host, "ratelimitd");
	struct pool_replica *replicas = ARENA_ARRAY(arena, struct pool_replica, REPLICAS_MAX);
	size_t count = pool ? pool_list(pool, replicas, REPLICAS_MAX) : 0;

	for (size_t i = 0; i < count && i < REPLICAS_MAX; i++) {
		if (strcmp(replicas[i].node, bus_node(self->env.bus)) == 0)
			continue;
		bool is_there = replicas[i].is_healthy && replicas[i].node[0] && !call_has_expired(call);
		const StatisticsReply *more = is_there ? ask(self, pool, replicas[i].node, request, arena) : NULL;
		if (more)
			add_reply(sum, more, arena);
		sum->replicas += more != NULL;
		sum->missing += more == NULL;
	}
}

static struct status
own_statistics(struct call *call, const StatisticsRequest *request, StatisticsReply *reply)
{
	struct ratelimitd *self = call_service(call);
	const char *tenant;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (!status_ok(&st))
		return st;
	statistics_read(self->statistics, tenant, request->limit, call_arena(call), reply);
	reply->has_replicas = true;
	reply->replicas = 1;
	return status_ok_value();
}

struct status
ratelimits_replica_statistics(struct call *call, const StatisticsRequest *request, StatisticsReply *reply)
{
	return own_statistics(call, request, reply);
}

struct status
ratelimits_statistics(struct call *call, const StatisticsRequest *request, StatisticsReply *reply)
{
	StatisticsRequest question = *request;
	struct status st = own_statistics(call, request, reply);

	if (!status_ok(&st))
		return st;
	question.tenant_id = (char *)(uintptr_t)(request->tenant_id ? request->tenant_id : call_tenant(call));
	reply->has_missing = true;
	add_others(call_service(call), call, &question, reply);
	return st;
}
