/*
 * many: independent checks in one call, each decided where its key's counters are.
 *
 * With Redis, or where there is one replica, that is here, on the bus's thread. In memory a key belongs to
 * the replica that its checks are routed to: then a worker thread decides the replica's own and asks the
 * others for theirs, one after the other, as the same caller.
 */
#include "many.h"

#include <string.h>

#include "daemon/scope.h"
#include "job.h"
#include "peers.h"

#define REPLICAS_MAX 64u

typedef Corbel__V1__CheckRequest CheckRequest;
typedef Corbel__V1__BatchCheckRequest BatchCheckRequest;
typedef Corbel__V1__BatchCheckReply BatchCheckReply;
typedef Corbel__V1__BatchCheckReply__Item Item;

/* Open until many_leave(), whatever jobs end meanwhile. */
static struct many *
many_begin(struct call *call)
{
	const BatchCheckRequest *request = (const BatchCheckRequest *)call_request(call);
	BatchCheckReply *reply = (BatchCheckReply *)call_reply(call);
	struct arena *arena = call_arena(call);
	struct many *many = ARENA_NEW(arena, struct many);

	many->call = call;
	many->open = request->n_requests + 1;
	reply->n_items = request->n_requests;
	reply->items = ARENA_ARRAY(arena, Item *, request->n_requests);
	for (size_t i = 0; i < request->n_requests; i++) {
		reply->items[i] = ARENA_NEW(arena, Item);
		corbel__v1__batch_check_reply__item__init(reply->items[i]);
	}
	return many;
}

static void
many_leave(struct many *many)
{
	if (--many->open == 0)
		call_end(many->call, status_ok_value());
}

static void
add(struct gathering *gathering, struct many *many, size_t i)
{
	const BatchCheckRequest *request = (const BatchCheckRequest *)call_request(many->call);
	const BatchCheckReply *reply = (const BatchCheckReply *)call_reply(many->call);
	gathering_check(gathering, many, request->requests[i], request->tenant_id, reply->items[i]);
}

void
many_decide_here(void *self, struct call *calls[], size_t count)
{
	struct gathering gathering;

	gathering_begin(&gathering, self);
	for (size_t c = 0; c < count; c++) {
		const BatchCheckRequest *request = (const BatchCheckRequest *)call_request(calls[c]);
		struct many *many = many_begin(calls[c]);
		for (size_t i = 0; i < request->n_requests; i++)
			add(&gathering, many, i);
		/* Before the jobs are handed over: who ends the last of them ends the call. */
		many_leave(many);
	}
	gathering_end(&gathering);
}

/* ---- among replicas ---- */

/* The requests of one call that one replica owns. */
struct portion {
	char node[64];
	size_t count;
	size_t index[128]; /* of the requests in the call */
};

/* The replica that checks like this one are routed to; "" when that is this one, or nobody knows. */
static void
find_owner(struct ratelimitd *self, const struct call *call, const CheckRequest *request, char node[64])
{
	const char *key = request->checks[0]->key ? request->checks[0]->key : call_key_id(call);

	if (!peers_owner(self, key, node) || strcmp(node, bus_node(self->env.bus)) == 0)
		node[0] = '\0';
}

static struct portion *
portion_of(struct portion *portions, size_t *count, const char *node)
{
	for (size_t i = 0; i < *count; i++)
		if (strcmp(portions[i].node, node) == 0)
			return &portions[i];
	if (*count == REPLICAS_MAX)
		return &portions[0];
	struct portion *portion = &portions[(*count)++];
	memcpy(portion->node, node, sizeof(portion->node));
	portion->count = 0;
	return portion;
}

/* What another replica is asked: it takes our word for the tenant, and for the plan the caller's own. */
static CheckRequest *
request_for(const struct call *call, const char *tenant, CheckRequest *request)
{
	request->tenant_id = (char *)(uintptr_t)tenant;
	for (size_t c = 0; c < request->n_checks && !call_is_operator(call); c++)
		request->checks[c]->plan = NULL;
	return request;
}

static struct status
ask(struct ratelimitd *self, struct call *call, const char *node, const BatchCheckRequest *question,
    const BatchCheckReply **out)
{
	ProtobufCMessage *message;
	struct status st = peers_call(self, call, node, RATELIMITS_REPLICA_CHECK, &question->base, &message);

	*out = status_ok(&st) ? (const BatchCheckReply *)message : NULL;
	if (*out && (*out)->n_items != question->n_requests)
		st = status_make(STATUS_INTERNAL, "replica %s gave an answer that is not one", node);
	return st;
}

static void
decide_there(struct ratelimitd *self, struct many *many, const struct portion *portion)
{
	struct call *call = many->call;
	const BatchCheckRequest *request = (const BatchCheckRequest *)call_request(call);
	const BatchCheckReply *reply = (const BatchCheckReply *)call_reply(call);
	BatchCheckRequest question = CORBEL__V1__BATCH_CHECK_REQUEST__INIT;
	const BatchCheckReply *answer;

	question.n_requests = portion->count;
	question.requests = ARENA_ARRAY(call_arena(call), CheckRequest *, portion->count);
	for (size_t i = 0; i < portion->count; i++)
		question.requests[i] = request->requests[portion->index[i]];
	struct status st = ask(self, call, portion->node, &question, &answer);
	for (size_t i = 0; i < portion->count; i++) {
		Item *item = reply->items[portion->index[i]];
		if (status_ok(&st))
			*item = *answer->items[i];
		else
			item->error = arena_strdup(call_arena(call), st.message);
		many->open--;
	}
}

/* Decides what is this replica's own, or cannot be decided at all, and sorts the rest by owner. */
static size_t
decide_own(struct ratelimitd *self, struct many *many, struct portion *portions)
{
	const BatchCheckRequest *request = (const BatchCheckRequest *)call_request(many->call);
	struct gathering gathering;
	size_t count = 0;
	char node[64];

	gathering_begin(&gathering, self);
	for (size_t i = 0; i < request->n_requests; i++) {
		CheckRequest *one = request->requests[i];
		const char *tenant, *named = one->tenant_id ? one->tenant_id : request->tenant_id;
		struct status st = scope_tenant(many->call, named, &tenant);
		find_owner(self, many->call, one, node);
		if (!status_ok(&st) || !node[0]) {
			add(&gathering, many, i);
			continue;
		}
		struct portion *portion = portion_of(portions, &count, node);
		request->requests[i] = request_for(many->call, tenant, one);
		portion->index[portion->count++] = i;
	}
	gathering_end(&gathering);
	return count;
}

static void
spread_one(struct ratelimitd *self, struct call *call)
{
	struct portion *portions = ARENA_ARRAY(call_arena(call), struct portion, REPLICAS_MAX);
	struct many *many = many_begin(call);
	size_t count = decide_own(self, many, portions);

	for (size_t i = 0; i < count; i++)
		decide_there(self, many, &portions[i]);
	many_leave(many);
}

void
many_decide(void *arg, struct call *calls[], size_t count)
{
	struct ratelimitd *self = arg;

	if (peers_share(self))
		peers_later(self, calls, count, spread_one);
	else
		many_decide_here(self, calls, count);
}
