/*
 * together: see together.h.
 *
 * The owners are asked one after the other, each for its part as a whole. When one refuses, what the ones
 * before it took is given back, and the ones behind it are only looked at. So nothing is taken in part when
 * the call ends, and never more is admitted than the limits allow; for the time between, others may be
 * refused what is about to be given back.
 */
#include "together.h"

#include <string.h>

#include "daemon/scope.h"
#include "peers.h"

#define PARTS_MAX TABLE_ITEMS_MAX

typedef Corbel__V1__LimitCheck LimitCheck;
typedef Corbel__V1__CheckRequest CheckRequest;
typedef Corbel__V1__CheckReply CheckReply;

/* The checks of one owner, and where they stand in the call. */
struct part {
	char node[64];
	size_t count;
	size_t index[TABLE_ITEMS_MAX];
	bool is_taken;
};

struct whole {
	struct ratelimitd *self;
	struct call *call;
	const char *tenant;
	size_t count;
	struct part parts[PARTS_MAX];
};

static const CheckRequest *
request_of(const struct whole *whole)
{
	return (const CheckRequest *)call_request(whole->call);
}

static const char *
key_of(const struct call *call, const LimitCheck *check)
{
	return check->key ? check->key : call_key_id(call);
}

bool
together_is_needed(struct ratelimitd *self, const struct job *job)
{
	char first[64], node[64];

	if (job->inquiry.count < 2 || !peers_share(self) || !peers_owner(self, job->inquiry.keys[0], first))
		return false;
	for (size_t i = 1; i < job->inquiry.count; i++)
		if (strcmp(job->inquiry.keys[i], job->inquiry.keys[0]) != 0 &&
		    peers_owner(self, job->inquiry.keys[i], node) && strcmp(node, first) != 0)
			return true;
	return false;
}

static struct part *
part_of(struct whole *whole, const char *node)
{
	for (size_t i = 0; i < whole->count; i++)
		if (strcmp(whole->parts[i].node, node) == 0)
			return &whole->parts[i];
	struct part *part = &whole->parts[whole->count++];
	*part = (struct part){.count = 0};
	memcpy(part->node, node, sizeof(part->node));
	return part;
}

static struct status
divide(struct ratelimitd *self, struct call *call, struct whole *whole)
{
	const CheckRequest *request = (const CheckRequest *)call_request(call);
	struct status st = scope_tenant(call, request->tenant_id, &whole->tenant);
	char node[64];

	whole->self = self;
	whole->call = call;
	whole->count = 0;
	for (size_t i = 0; i < request->n_checks && status_ok(&st); i++) {
		if (!peers_owner(self, key_of(call, request->checks[i]), node))
			st = status_make(STATUS_UNAVAILABLE, "the replica that owns a key is not known");
		else {
			struct part *part = part_of(whole, node);
			part->index[part->count++] = i;
		}
	}
	return st;
}

/* The part's checks as a request of their own; `is_look`: at no cost. */
static CheckRequest *
question_of(const struct whole *whole, const struct part *part, bool is_look)
{
	struct arena *arena = call_arena(whole->call);
	CheckRequest *out = ARENA_NEW(arena, CheckRequest);

	corbel__v1__check_request__init(out);
	out->tenant_id = (char *)(uintptr_t)whole->tenant;
	out->n_checks = part->count;
	out->checks = ARENA_ARRAY(arena, LimitCheck *, part->count);
	for (size_t i = 0; i < part->count; i++) {
		LimitCheck *check = out->checks[i] = ARENA_NEW(arena, LimitCheck);
		*check = *request_of(whole)->checks[part->index[i]];
		if (!call_is_operator(whole->call))
			check->plan = NULL; /* the owner trusts what we say */
		if (is_look) {
			check->has_cost = true;
			check->cost = 0;
		}
	}
	return out;
}

/* The owner's states, in their places of the call's reply. */
static struct status
place(const struct whole *whole, const struct part *part, const CheckReply *from)
{
	CheckReply *reply = (CheckReply *)call_reply(whole->call);

	if (!from || from->n_limits != part->count)
		return status_make(STATUS_INTERNAL, "replica %s gave an answer that is not one", part->node);
	for (size_t i = 0; i < part->count; i++)
		reply->limits[part->index[i]] = from->limits[i];
	return status_ok_value();
}

static struct status
ask(const struct whole *whole, const struct part *part, bool is_look, bool *is_allowed)
{
	Corbel__V1__BatchCheckRequest question = CORBEL__V1__BATCH_CHECK_REQUEST__INIT;
	CheckRequest *requests[] = {question_of(whole, part, is_look)};
	ProtobufCMessage *message;

	question.n_requests = 1;
	question.requests = requests;
	struct status st =
	    peers_call(whole->self, whole->call, part->node, RATELIMITS_REPLICA_CHECK, &question.base, &message);
	if (!status_ok(&st))
		return st;
	const Corbel__V1__BatchCheckReply *answer = (const Corbel__V1__BatchCheckReply *)message;
	if (answer->n_items != 1)
		return place(whole, part, NULL);
	if (answer->items[0]->error)
		return status_make(STATUS_NOT_FOUND, "%.200s", answer->items[0]->error);
	st = place(whole, part, answer->items[0]->reply);
	*is_allowed = status_ok(&st) && answer->items[0]->reply->allowed;
	return st;
}

static struct status
give_back(const struct whole *whole, const struct part *part)
{
	/* CheckRequest and GiveBackRequest have the same fields. */
	CheckRequest *question = question_of(whole, part, false);
	ProtobufCMessage *message;

	question->base.descriptor = &corbel__v1__give_back_request__descriptor;
	struct status st =
	    peers_call(whole->self, whole->call, part->node, RATELIMITS_GIVE_BACK, &question->base, &message);
	return status_ok(&st) ? place(whole, part, (const CheckReply *)message) : st;
}

/* Each part as long as all before it admitted; afterwards all are taken, or none. */
static struct status
take_parts(struct whole *whole, bool is_look, bool *is_allowed)
{
	struct status st = status_ok_value();

	*is_allowed = true;
	for (size_t i = 0; i < whole->count && status_ok(&st); i++) {
		struct part *part = &whole->parts[i];
		bool is_only_seen = is_look || !*is_allowed, admits = true;
		st = ask(whole, part, is_only_seen, &admits);
		part->is_taken = status_ok(&st) && admits && !is_only_seen;
		*is_allowed = *is_allowed && admits;
	}
	for (size_t i = 0; i < whole->count && !(status_ok(&st) && *is_allowed); i++) {
		if (!whole->parts[i].is_taken)
			continue;
		struct status given = give_back(whole, &whole->parts[i]);
		if (!status_ok(&given))
			log_warn(whole->self->env.log, "units not given back", LOG_TEXT("replica", whole->parts[i].node),
			         LOG_STATUS(&given));
	}
	return st;
}

static void
begin_reply(const struct whole *whole)
{
	CheckReply *reply = (CheckReply *)call_reply(whole->call);

	reply->n_limits = request_of(whole)->n_checks;
	reply->limits = ARENA_ARRAY(call_arena(whole->call), Corbel__V1__LimitState *, reply->n_limits);
	reply->has_allowed = true;
}

static void
decide(struct ratelimitd *self, struct call *call, bool is_look)
{
	CheckReply *reply = (CheckReply *)call_reply(call);
	struct whole *whole = ARENA_NEW(call_arena(call), struct whole);
	bool is_allowed = false;
	struct status st = divide(self, call, whole);

	if (status_ok(&st)) {
		begin_reply(whole);
		st = take_parts(whole, is_look, &is_allowed);
	}
	reply->allowed = is_allowed;
	if (status_ok(&st))
		job_headers(call, reply);
	call_end(call, st);
}

void
together_take(struct ratelimitd *self, struct call *call)
{
	decide(self, call, false);
}

void
together_look(struct ratelimitd *self, struct call *call)
{
	decide(self, call, true);
}

void
together_give_back(struct ratelimitd *self, struct call *call)
{
	struct whole *whole = ARENA_NEW(call_arena(call), struct whole);
	struct status st = divide(self, call, whole);

	if (status_ok(&st))
		begin_reply(whole);
	for (size_t i = 0; i < whole->count && status_ok(&st); i++)
		st = give_back(whole, &whole->parts[i]);
	((CheckReply *)call_reply(call))->allowed = status_ok(&st);
	if (status_ok(&st))
		job_headers(call, (CheckReply *)call_reply(call));
	call_end(call, st);
}
