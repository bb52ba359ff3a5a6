/*
 * everyone: see everyone.h.
 */
#include "everyone.h"

#include <poll.h>
#include <string.h>

#include "cached.h"

#define MARGIN_MS 200u /* of the caller's time, to send the answer */

/* Questions that are out, and what it takes to read their answers. */
struct asking {
	const struct everyone *everyone;
	struct arena *arena;
	size_t open;
};

/* To one replica. */
struct question {
	struct pool_call call;
	struct asking *asking;
	const ProtobufCMessage *answer; /* NULL: none, or not yet */
};

/* The reply's memory ends with this call. */
static void
take_answer(struct pool_call *call)
{
	struct question *question = call->user;
	struct asking *asking = question->asking;
	struct arena_allocator memory = arena_allocator(asking->arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	struct status st = pool_call_status(call);

	asking->open--;
	if (status_ok(&st) && call->reply)
		question->answer = protobuf_c_message_unpack(asking->everyone->method->reply->descriptor, &allocator,
		                                             call->reply->payload.len, call->reply->payload.data);
}

static struct pool_call
call_for(const struct asking *asking, const struct call *call, const ProtobufCMessage *request,
         uint64_t deadline_ms)
{
	const struct api_method *method = asking->everyone->method;
	Corbel__Bus__Principal *principal = ARENA_NEW(asking->arena, Corbel__Bus__Principal);
	uint8_t *bytes = arena_alloc_raw(asking->arena, protobuf_c_message_get_packed_size(request) + 1);

	corbel__bus__principal__init(principal);
	principal->has_internal = principal->internal = true;
	return (struct pool_call){.method = method->id,
	                          .is_waiting = method->is_waiting,
	                          .deadline_mono_ms = deadline_ms,
	                          .request_id = call_request_id(call),
	                          .principal = principal,
	                          .payload = bytes,
	                          .payload_size = protobuf_c_message_pack(request, bytes),
	                          .done = take_answer};
}

static bool
is_asked(const struct pool_replica *replica)
{
	return replica->is_healthy && replica->node[0];
}

/* All at once, so that those who do not answer cost their time together; all have ended when it returns. */
static void
exchange(struct asking *asking, struct port *port, struct pool *pool, const struct pool_replica *replicas,
         size_t count, struct question *questions)
{
	for (size_t i = 0; i < count; i++) {
		if (!is_asked(&replicas[i]))
			continue;
		questions[i].call.node = replicas[i].node;
		questions[i].call.user = &questions[i];
		asking->open++;
		port_call(port, pool, &questions[i].call);
	}
	port_flush(port);
	while (asking->open > 0) {
		struct pollfd fd = {.fd = port_fd(port), .events = POLLIN};
		(void)poll(&fd, 1, port_timeout_ms(port));
		port_poll(port);
	}
}

static void
ask(struct cached *self, struct asking *asking, const struct question *question,
    const struct pool_replica *replicas, size_t count, struct question *questions)
{
	struct port *port;
	struct status st = port_new(self->env.bus, &port);

	if (!status_ok(&st)) {
		log_warn(self->env.log, "replicas not asked", LOG_TEXT("method", asking->everyone->method->name),
		         LOG_STATUS(&st));
		return;
	}
	for (size_t i = 0; i < count; i++)
		questions[i] = *question;
	exchange(asking, port, host_pool(self->env.host, "cached"), replicas, count, questions);
	port_free(port);
}

/* All replicas but this one. */
static size_t
list_others(const struct cached *self, struct pool_replica *out)
{
	struct pool *pool = host_pool(self->env.host, "cached");
	size_t count = pool ? pool_list(pool, out, EVERYONE_MAX) : 0, others = 0;

	for (size_t i = 0; i < count && i < EVERYONE_MAX; i++)
		if (strcmp(out[i].node, bus_node(self->env.bus)) != 0)
			out[others++] = out[i];
	return others;
}

void
everyone_ask(struct cached *self, const struct call *call, const struct everyone *everyone,
             const ProtobufCMessage *request, struct arena *arena)
{
	struct asking asking = {.everyone = everyone, .arena = arena};
	struct pool_replica *replicas = ARENA_ARRAY(arena, struct pool_replica, EVERYONE_MAX);
	size_t count = list_others(self, replicas);
	struct question *questions = ARENA_ARRAY(arena, struct question, count + 1);
	uint64_t now_ms = clock_mono_ms(self->env.clock), end_ms = call_deadline_mono_ms(call);
	uint64_t until_ms = now_ms + everyone->answer_ms;

	if (until_ms + MARGIN_MS > end_ms)
		until_ms = end_ms - MARGIN_MS;
	if (count > 0 && until_ms > now_ms) {
		struct question question = {.call = call_for(&asking, call, request, until_ms), .asking = &asking};
		ask(self, &asking, &question, replicas, count, questions);
	}
	for (size_t i = 0; i < count; i++)
		everyone->take(everyone->arg,
		               arena_strdup(arena, replicas[i].node[0] ? replicas[i].node : replicas[i].url),
		               questions[i].answer);
}

void
everyone_name(char ***names, size_t *count, char *name, struct arena *arena)
{
	if (!*names)
		*names = ARENA_ARRAY(arena, char *, EVERYONE_MAX + 1);
	(*names)[(*count)++] = name;
}
