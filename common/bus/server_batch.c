/*
 * server_batch: REP contexts, each carrying one batch from its arrival to its reply.
 *
 *   RECEIVING --message--> WORKING --last call ends--> SENDING --sent--> RECEIVING
 *
 * A batch counts the calls that are still out, plus one while the handler is being entered, so that a
 * batch whose calls end inside the handler is not sent twice. A call that ends packs its reply into the
 * batch's output at once: what the reply points at may then go.
 */
#include <nng/nng.h>
#include <string.h>

#include "server_internal.h"
#include "standby.h"
#include "wire.h"

#define CALLS_MAX     1024u /* of one batch */
#define BUSY_RETRY_MS 1000u
#define REPLY_SPARE   (96u << 10) /* for the head, and a refusal for every other call of a batch */

/* One length-delimited field of a protobuf message, appended. */
static void
put_reply(struct strbuf *out, const Corbel__Bus__Reply *reply, size_t most)
{
	Corbel__Bus__Reply too_large = CORBEL__BUS__REPLY__INIT;
	size_t size = corbel__bus__reply__get_packed_size(reply);
	uint8_t head[12], *end = head;
	size_t spare = most / 8 < REPLY_SPARE ? most / 8 : REPLY_SPARE;

	/* A larger message would cost the caller its connection, and the batch all of its answers. */
	if (size + out->length + spare > most) {
		too_large.has_index = too_large.has_code = true;
		too_large.index = reply->index;
		too_large.code = STATUS_RESOURCE_EXHAUSTED;
		too_large.message = (char *)(uintptr_t) "the reply is larger than a message may be";
		reply = &too_large;
		size = corbel__bus__reply__get_packed_size(reply);
	}

	*end++ = 2 << 3 | 2; /* Response.replies */
	end = put_varint(end, size);
	strbuf_add(out, (const char *)head, (size_t)(end - head));
	uint8_t *room = (uint8_t *)strbuf_grow(out, size);
	if (room)
		corbel__bus__reply__pack(reply, room);
}

void
server_batch_receive(struct server_batch *batch)
{
	batch->state = RECEIVING;
	nng_ctx_recv(batch->ctx, batch->aio);
}

void
server_batch_free(struct server_batch *batch)
{
	if (batch->aio)
		nng_aio_free(batch->aio);
	arena_fini(&batch->arena);
	strbuf_fini(&batch->out);
	pthread_mutex_destroy(&batch->lock);
	mem_free(batch);
}

/* The batch is over, answered or not. */
static void
batch_done(struct server_batch *batch)
{
	atomic_fetch_sub(&batch->server->busy, 1);
	server_release(batch->server);
}

/* NULL when there is no memory for it: then the caller's deadline ends the call. */
static nng_msg *
make_response(struct server_batch *batch)
{
	struct server *server = batch->server;
	Corbel__Bus__Response head = CORBEL__BUS__RESPONSE__INIT;
	nng_msg *message;

	if (batch->request) {
		head.has_batch = batch->request->has_batch;
		head.batch = batch->request->batch;
	}
	head.node = server->bus->node;
	head.has_epoch = true;
	head.epoch = server->bus->epoch;
	head.has_draining = true;
	head.draining = batch->is_farewell = atomic_load(&server->is_draining);
	size_t size = corbel__bus__response__get_packed_size(&head);
	if (nng_msg_alloc(&message, size + batch->out.length) != 0)
		return NULL;
	corbel__bus__response__pack(&head, nng_msg_body(message));
	if (batch->out.length)
		memcpy((char *)nng_msg_body(message) + size, batch->out.data, batch->out.length);
	return message;
}

static void
send_response(struct server_batch *batch)
{
	/* The lock keeps server_free() from closing between the look and the send. */
	pthread_mutex_lock(&batch->lock);
	bool is_closed = batch->is_closed;
	nng_msg *message = is_closed ? NULL : make_response(batch);
	if (message) {
		batch->state = SENDING;
		nng_aio_set_msg(batch->aio, message);
		nng_ctx_send(batch->ctx, batch->aio);
	} else if (!is_closed) {
		server_batch_receive(batch);
	}
	pthread_mutex_unlock(&batch->lock);
	if (!message)
		batch_done(batch);
}

/* One less is out; the last one sends. */
static void
batch_release(struct server_batch *batch, size_t count)
{
	if (atomic_fetch_sub(&batch->open, count) == count)
		send_response(batch);
}

void
server_call_end(struct server_call *call)
{
	struct server_batch *batch = ((struct ended_call *)(void *)call)->batch;

	call->reply.has_index = true;
	call->reply.index = call->call->index;
	pthread_mutex_lock(&batch->lock);
	put_reply(&batch->out, &call->reply, batch->server->message_max);
	pthread_mutex_unlock(&batch->lock);
	atomic_fetch_sub(&batch->server->in_flight, 1);
	batch_release(batch, 1);
}

void
server_call_fail(struct server_call *call, const struct status *st)
{
	call->reply.has_code = true;
	call->reply.code = (uint32_t)st->code;
	call->reply.message = arena_strdup(call->arena, st->message);
}

static void
refuse(struct server_call *call, enum status_code code, const char *message)
{
	struct status st = status_make(code, "%s", message);
	server_call_fail(call, &st);
	if (code == STATUS_RESOURCE_EXHAUSTED) {
		call->reply.has_retry_after_ms = true;
		call->reply.retry_after_ms = BUSY_RETRY_MS;
	}
	server_call_end(call);
}

static struct server_call *
make_call(struct server_batch *batch, const Corbel__Bus__Call *wire, uint64_t now_ms)
{
	static const Corbel__Bus__Reply EMPTY = CORBEL__BUS__REPLY__INIT;
	struct ended_call *ended = arena_alloc_raw(&batch->arena, sizeof(*ended));

	ended->batch = batch;
	ended->call = (struct server_call){
	    .call = wire,
	    .reply = EMPTY,
	    .arena = &batch->arena,
	    .deadline_mono_ms = now_ms + wire->budget_ms,
	    .origin = batch->request->origin ? batch->request->origin : "",
	    .origin_epoch = batch->request->epoch,
	};
	return &ended->call;
}

/* Splits a batch into what can be served and what is refused here, and hands the former over. */
static void
serve(struct server_batch *batch)
{
	struct server *server = batch->server;
	size_t count = batch->request->n_calls, accepted = 0;
	uint64_t now_ms = bus_now_ms(server->bus);

	batch->calls = ARENA_ARRAY(&batch->arena, struct server_call *, count + 1);
	atomic_store(&batch->open, count + 1);
	counter_add(server->received, count);
	if (count > 0) { /* without calls it is a ping */
		histogram_observe(server->sizes, (double)count);
		atomic_store_explicit(&batch->peer->called_ms, now_ms, memory_order_relaxed);
	}
	for (size_t i = 0; i < count; i++) {
		struct server_call *call = make_call(batch, batch->request->calls[i], now_ms);
		bool is_full = atomic_fetch_add(&server->in_flight, 1) >= server->max_in_flight;
		if (is_full) {
			counter_add(server->refused, 1);
			refuse(call, STATUS_RESOURCE_EXHAUSTED, "too many calls in flight");
		} else if (batch->request->calls[i]->budget_ms == 0) {
			counter_add(server->expired, 1);
			refuse(call, STATUS_DEADLINE_EXCEEDED, "the call's time was over when it arrived");
		} else {
			batch->calls[accepted++] = call;
		}
	}
	if (accepted > 0)
		server->handle(server->arg, batch->calls, accepted);
	batch_release(batch, 1);
}

static void
take_message(struct server_batch *batch)
{
	struct server *server = batch->server;
	nng_msg *message = nng_aio_get_msg(batch->aio);
	struct arena_allocator allocator = arena_allocator(&batch->arena);
	ProtobufCAllocator protobuf = {
	    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};

	arena_reset(&batch->arena);
	strbuf_clear(&batch->out);
	batch->state = WORKING;
	size_t busy = atomic_fetch_add(&server->busy, 1) + 1;
	atomic_fetch_add(&server->taken, 1);
	atomic_fetch_add(&server->holders, 1);
	if (busy >= atomic_load(&server->batch_count))
		server_grow(server);
	batch->peer = server_peer(server, nng_msg_get_pipe(message));
	batch->request = corbel__bus__request__unpack(&protobuf, nng_msg_len(message), nng_msg_body(message));
	nng_msg_free(message);
	if (!batch->request || batch->request->n_calls > CALLS_MAX || batch->request->version != 1) {
		/* An empty answer: whoever speaks this badly learns nothing, and holds no context. */
		counter_add(server->garbage, 1);
		batch->request = NULL;
		send_response(batch);
		return;
	}
	serve(batch);
}

static void
go_on(struct server_batch *batch)
{
	int rv = nng_aio_result(batch->aio);

	if (batch->state == SENDING) {
		if (rv != 0) {
			nng_msg *message = nng_aio_get_msg(batch->aio);
			if (message)
				nng_msg_free(message);
			nng_aio_set_msg(batch->aio, NULL);
		} else if (batch->is_farewell) {
			atomic_store(&batch->peer->is_told, true);
		}
		if (rv != NNG_ECLOSED && !atomic_load(&batch->server->is_closed))
			server_batch_receive(batch);
		batch_done(batch);
		return;
	}
	if (rv == 0)
		take_message(batch);
	else if (rv != NNG_ECLOSED && rv != NNG_ECANCELED && !atomic_load(&batch->server->is_closed))
		server_batch_receive(batch);
}

static void
on_event(void *arg)
{
	struct server_batch *batch = arg;
	struct standby *standby = batch->server->bus->standby; /* the server may be gone before the end */

	standby_enter(standby);
	go_on(batch);
	standby_leave(standby);
}

struct status
server_batch_new(struct server *server, size_t arena_block, struct server_batch **out)
{
	struct server_batch *batch = mem_alloc(sizeof(*batch));

	batch->server = server;
	arena_init(&batch->arena, arena_block, server->bus->message_max * 4 + (1u << 20));
	strbuf_init(&batch->out, NULL);
	pthread_mutex_init(&batch->lock, NULL);
	int rv = nng_ctx_open(&batch->ctx, server->socket);
	if (rv == 0)
		rv = nng_aio_alloc(&batch->aio, on_event, batch);
	if (rv == 0)
		nng_aio_set_timeout(batch->aio, NNG_DURATION_INFINITE);
	if (rv == 0)
		*out = batch;
	else
		server_batch_free(batch);
	return status_from_nng(rv, "cannot open a REP context");
}
