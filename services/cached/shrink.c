/*
 * shrink: memory that is given back when an operator asks for it.
 */
#include "cached.h"
#include "cached_internal.h"
#include "corbel/cached.methods.gen.h"
#include "everyone.h"

#define ANSWER_MS 25000u

typedef Corbel__V1__CacheShrinkRequest ShrinkRequest;
typedef Corbel__V1__CacheShrinkReply ShrinkReply;

static struct status
shrink(struct call *call, const ShrinkRequest *request, ShrinkReply *reply)
{
	const struct cached *self = call_service(call);
	struct arena *arena = call_arena(call);

	reply->has_bytes_before = reply->has_bytes = true;
	reply->bytes_before = engine_bytes(self->engine);
	engine_shrink(self->engine, request->bytes);
	reply->bytes = engine_bytes(self->engine);
	everyone_name(&reply->answered, &reply->n_answered, arena_strdup(arena, bus_node(self->env.bus)), arena);
	return status_ok_value();
}

static void
add_answer(void *arg, char *name, const ProtobufCMessage *message)
{
	struct call *call = arg;
	ShrinkReply *sum = (ShrinkReply *)call_reply(call);
	const ShrinkReply *answer = (const ShrinkReply *)message;

	if (!answer) {
		everyone_name(&sum->missing, &sum->n_missing, name, call_arena(call));
		return;
	}
	everyone_name(&sum->answered, &sum->n_answered, name, call_arena(call));
	sum->bytes_before += answer->bytes_before;
	sum->bytes += answer->bytes;
}

/* This replica first, then all others at once. */
struct status
cache_shrink(struct call *call, const ShrinkRequest *request, ShrinkReply *reply)
{
	struct cached *self = call_service(call);
	const struct everyone others = {
	    .method = CACHE_REPLICA_SHRINK, .answer_ms = ANSWER_MS, .take = add_answer, .arg = call};
	struct status st = shrink(call, request, reply);

	if (self->fleet && !request->own)
		everyone_ask(self, call, &others, &request->base, call_arena(call));
	return st;
}

struct status
cache_replica_shrink(struct call *call, const ShrinkRequest *request, ShrinkReply *reply)
{
	return shrink(call, request, reply);
}
