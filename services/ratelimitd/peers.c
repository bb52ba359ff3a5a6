/*
 * peers: see peers.h.
 */
#include "peers.h"

#include <string.h>

#include "base/hash.h"
#include "ratelimitd.h"

bool
peers_share(struct ratelimitd *self)
{
	struct pool *pool = self->engine ? NULL : host_pool(self->env.host, "ratelimitd");
	return pool && pool_replicas(pool) > 1;
}

bool
peers_owner(struct ratelimitd *self, const char *key, char node[64])
{
	const struct pool *pool = host_pool(self->env.host, "ratelimitd");
	uint64_t epoch;
	return pool && pool_owner(pool, hash_stable64(key, strlen(key), 0), node, &epoch);
}

struct status
peers_call(struct ratelimitd *self, struct call *call, const char *node, const struct api_method *method,
           const ProtobufCMessage *request, ProtobufCMessage **reply)
{
	struct arena *arena = call_arena(call);
	struct arena_allocator memory = arena_allocator(arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	Corbel__Bus__Principal principal = *call_principal(call);
	size_t size = protobuf_c_message_get_packed_size(request);
	uint8_t *bytes = arena_alloc_raw(arena, size + 1);

	principal.has_internal = principal.internal = true;
	struct pool_call asked = {.method = method->id,
	                          .is_fast = method->is_fast,
	                          .node = node,
	                          .deadline_mono_ms = call_deadline_mono_ms(call),
	                          .request_id = call_request_id(call),
	                          .principal = &principal,
	                          .payload = bytes,
	                          .payload_size = protobuf_c_message_pack(request, bytes)};
	struct status st = pool_call_wait(host_pool(self->env.host, "ratelimitd"), &asked, arena);
	if (!status_ok(&st))
		return st;
	*reply = protobuf_c_message_unpack(method->reply->descriptor, &allocator, asked.reply->payload.len,
	                                   asked.reply->payload.data);
	return *reply ? st : status_make(STATUS_INTERNAL, "replica %s gave an answer that is not one", node);
}

struct work {
	struct ratelimitd *self;
	void (*run)(struct ratelimitd *self, struct call *call);
	size_t count;
	struct call *calls[];
};

static void
run_work(void *arg, struct store_conn *conn)
{
	struct work *work = arg;

	(void)conn;
	for (size_t i = 0; i < work->count; i++)
		work->run(work->self, work->calls[i]);
	mem_free(work);
}

void
peers_later(struct ratelimitd *self, struct call *calls[], size_t count,
            void (*run)(struct ratelimitd *self, struct call *call))
{
	struct work *work = mem_alloc(sizeof(*work) + count * sizeof(void *));

	work->self = self;
	work->run = run;
	work->count = count;
	for (size_t i = 0; i < count; i++)
		work->calls[i] = calls[i];
	if (host_work(self->env.host, &ratelimitd_service, run_work, work))
		return;
	mem_free(work);
	for (size_t i = 0; i < count; i++)
		call_end(calls[i], status_make(STATUS_RESOURCE_EXHAUSTED, "too many calls are waiting"));
}
