/*
 * server: REP contexts, each carrying one batch from its arrival to its reply.
 *
 *   RECEIVING --message--> WORKING --last call ends--> SENDING --sent--> RECEIVING
 *
 * A batch counts the calls that are still out, plus one while the handler is being entered, so that a
 * batch whose calls end inside the handler is not sent twice. A call that ends packs its reply into the
 * batch's output at once: what the reply points at may then go.
 *
 * A call that a worker still holds when the server is freed stays valid: the server's memory goes with
 * the last of them, and its answer goes nowhere.
 */
#include "bus/server.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "bus_internal.h"

#define CALLS_MAX     1024u /* of one batch */
#define CONTEXTS      320u
#define GROWTH        64u
#define ARENA_BLOCK   (64u << 10)
#define GROWN_BLOCK   (4u << 10) /* most of these carry a call that waits */
#define BUSY_RETRY_MS 1000u
#define REPLY_SPARE   (96u << 10) /* for the head, and a refusal for every other call of a batch */

struct batch {
	struct server *server;
	nng_ctx ctx;
	nng_aio *aio;
	enum { RECEIVING, WORKING, SENDING } state; /* by the thread that owns the batch at that time */
	struct arena arena;
	Corbel__Bus__Request *request;
	struct server_call **calls;
	struct strbuf out; /* packed replies; guarded by `lock` */
	pthread_mutex_t lock;
	bool is_closed; /* guarded by `lock`: nothing may be sent any more */
	_Atomic size_t open;
};

struct ended_call {
	struct server_call call; /* first */
	struct batch *batch;
};

struct server {
	struct bus *bus;
	void (*handle)(void *arg, struct server_call *calls[], size_t count);
	void *arg;
	nng_socket socket;
	pthread_mutex_t growing;
	struct batch **batches; /* places for `batch_max`; guarded by `growing`, as their number */
	_Atomic size_t batch_count;
	size_t batch_max;
	uint32_t max_in_flight;
	size_t message_max;
	_Atomic size_t in_flight; /* calls */
	_Atomic size_t busy;      /* batches working or sending */
	_Atomic uint64_t taken;   /* batches in all */
	_Atomic size_t holders;   /* the owner, and each busy batch */
	_Atomic bool is_draining, is_closed;
	char url[BUS_URL_MAX];
	struct metric_counter *received, *refused, *expired, *garbage;
	struct metric_histogram *sizes;
};

static void
register_metrics(struct server *server, const char *service)
{
	static const char *const LABELS[] = {"service", NULL};
	static const double SIZES[] = {1, 2, 4, 8, 16, 32, 64, 128};
	static const struct metric_spec RECEIVED = {
	    .name = "corbel_bus_server_calls", .help = "Calls received.", .labels = LABELS};
	static const struct metric_spec REFUSED = {.name = "corbel_bus_server_refused",
	                                           .help = "Calls refused because too many were in flight.",
	                                           .labels = LABELS};
	static const struct metric_spec EXPIRED = {.name = "corbel_bus_server_expired",
	                                           .help = "Calls whose time was over when they arrived.",
	                                           .labels = LABELS};
	static const struct metric_spec GARBAGE = {
	    .name = "corbel_bus_server_garbage", .help = "Messages that could not be read.", .labels = LABELS};
	static const struct metric_spec BATCH = {.name = "corbel_bus_server_batch_calls",
	                                         .help = "Calls in a message.",
	                                         .labels = LABELS,
	                                         .buckets = SIZES,
	                                         .bucket_count = sizeof(SIZES) / sizeof(SIZES[0])};
	const char *const values[] = {service ? service : ""};
	struct metrics *m = server->bus->metrics;

	server->received = metrics_counter(m, &RECEIVED, values);
	server->refused = metrics_counter(m, &REFUSED, values);
	server->expired = metrics_counter(m, &EXPIRED, values);
	server->garbage = metrics_counter(m, &GARBAGE, values);
	server->sizes = metrics_histogram(m, &BATCH, values);
}

/* One length-delimited field of a protobuf message, appended. */
static void
put_reply(struct strbuf *out, const Corbel__Bus__Reply *reply, size_t most)
{
	Corbel__Bus__Reply too_large = CORBEL__BUS__REPLY__INIT;
	size_t size = corbel__bus__reply__get_packed_size(reply);
	uint8_t head[12];
	size_t n = 0, spare = most / 8 < REPLY_SPARE ? most / 8 : REPLY_SPARE;

	/* A larger message would cost the caller its connection, and the batch all of its answers. */
	if (size + out->length + spare > most) {
		too_large.has_index = too_large.has_code = true;
		too_large.index = reply->index;
		too_large.code = STATUS_RESOURCE_EXHAUSTED;
		too_large.message = (char *)(uintptr_t) "the reply is larger than a message may be";
		reply = &too_large;
		size = corbel__bus__reply__get_packed_size(reply);
	}

	head[n++] = 2 << 3 | 2; /* Response.replies */
	for (size_t rest = size;; rest >>= 7) {
		head[n++] = (uint8_t)(rest < 0x80 ? rest : (rest & 0x7F) | 0x80);
		if (rest < 0x80)
			break;
	}
	strbuf_add(out, (const char *)head, n);
	uint8_t *room = (uint8_t *)strbuf_grow(out, size);
	if (room)
		corbel__bus__reply__pack(reply, room);
}

static void grow(struct server *server);

static void
receive(struct batch *batch)
{
	batch->state = RECEIVING;
	nng_ctx_recv(batch->ctx, batch->aio);
}

static void
batch_free(struct batch *batch)
{
	if (batch->aio)
		nng_aio_free(batch->aio);
	arena_fini(&batch->arena);
	strbuf_fini(&batch->out);
	pthread_mutex_destroy(&batch->lock);
	mem_free(batch);
}

static void
server_release(struct server *server)
{
	if (atomic_fetch_sub(&server->holders, 1) != 1)
		return;
	for (size_t i = 0; i < server->batch_count; i++)
		batch_free(server->batches[i]);
	pthread_mutex_destroy(&server->growing);
	mem_free(server->batches);
	mem_free(server);
}

/* The batch is over, answered or not. */
static void
batch_done(struct batch *batch)
{
	atomic_fetch_sub(&batch->server->busy, 1);
	server_release(batch->server);
}

/* NULL when there is no memory for it: then the caller's deadline ends the call. */
static nng_msg *
make_response(struct batch *batch)
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
	head.draining = atomic_load(&server->is_draining);
	size_t size = corbel__bus__response__get_packed_size(&head);
	if (nng_msg_alloc(&message, size + batch->out.length) != 0)
		return NULL;
	corbel__bus__response__pack(&head, nng_msg_body(message));
	if (batch->out.length)
		memcpy((char *)nng_msg_body(message) + size, batch->out.data, batch->out.length);
	return message;
}

static void
send_response(struct batch *batch)
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
		receive(batch);
	}
	pthread_mutex_unlock(&batch->lock);
	if (!message)
		batch_done(batch);
}

/* One less is out; the last one sends. */
static void
batch_release(struct batch *batch, size_t count)
{
	if (atomic_fetch_sub(&batch->open, count) == count)
		send_response(batch);
}

void
server_call_end(struct server_call *call)
{
	struct batch *batch = ((struct ended_call *)(void *)call)->batch;

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
make_call(struct batch *batch, const Corbel__Bus__Call *wire, uint64_t now_ms)
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
serve(struct batch *batch)
{
	struct server *server = batch->server;
	size_t count = batch->request->n_calls, accepted = 0;
	uint64_t now_ms = bus_now_ms(server->bus);

	batch->calls = ARENA_ARRAY(&batch->arena, struct server_call *, count + 1);
	atomic_store(&batch->open, count + 1);
	counter_add(server->received, count);
	if (count > 0)
		histogram_observe(server->sizes, (double)count); /* without calls it is a ping */
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
take_message(struct batch *batch)
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
		grow(server);
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
on_event(void *arg)
{
	struct batch *batch = arg;
	int rv = nng_aio_result(batch->aio);

	if (batch->state == SENDING) {
		if (rv != 0) {
			nng_msg *message = nng_aio_get_msg(batch->aio);
			if (message)
				nng_msg_free(message);
			nng_aio_set_msg(batch->aio, NULL);
		}
		if (rv != NNG_ECLOSED && !atomic_load(&batch->server->is_closed))
			receive(batch);
		batch_done(batch);
		return;
	}
	if (rv == 0)
		take_message(batch);
	else if (rv != NNG_ECLOSED && rv != NNG_ECANCELED && !atomic_load(&batch->server->is_closed))
		receive(batch);
}

static struct status
batch_new(struct server *server, size_t arena_block, struct batch **out)
{
	struct batch *batch = mem_alloc(sizeof(*batch));

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
		batch_free(batch);
	return status_from_nng(rv, "cannot open a REP context");
}

/* What calls wait for comes by a message of its own, so those that wait may never hold every context. */
static void
grow(struct server *server)
{
	pthread_mutex_lock(&server->growing);
	bool is_due = !atomic_load(&server->is_closed) && server->batch_count <= atomic_load(&server->busy);
	for (unsigned i = 0; i < GROWTH && is_due && server->batch_count < server->batch_max; i++) {
		struct batch *batch;
		struct status st = batch_new(server, GROWN_BLOCK, &batch);
		if (!status_ok(&st))
			break;
		server->batches[server->batch_count++] = batch;
		receive(batch);
	}
	pthread_mutex_unlock(&server->growing);
}

static size_t
options_contexts(const struct server_options *options)
{
	return options->contexts ? options->contexts : CONTEXTS;
}

static struct status
server_start(struct server *server, const struct server_options *options)
{
	int rv = nng_rep0_open(&server->socket);
	struct status st = status_from_nng(rv, "cannot open a REP socket");

	if (status_ok(&st))
		st = socket_configure(server->bus, server->socket);
	for (size_t i = 0; i < options_contexts(options) && status_ok(&st); i++) {
		st = batch_new(server, ARENA_BLOCK, &server->batches[i]);
		server->batch_count += status_ok(&st);
	}
	if (status_ok(&st))
		st = listener_start(server->bus, server->socket, options->address, server->url);
	for (size_t i = 0; i < server->batch_count && status_ok(&st); i++)
		receive(server->batches[i]);
	return st;
}

struct status
server_new(struct bus *bus, const struct server_options *options, struct server **out)
{
	struct server *server = mem_alloc(sizeof(*server));

	server->bus = bus;
	server->holders = 1;
	server->message_max = bus->message_max;
	server->handle = options->handle;
	server->arg = options->arg;
	server->max_in_flight = options->max_calls_in_flight ? options->max_calls_in_flight : 4096;
	server->batch_max =
	    options_contexts(options) > server->max_in_flight ? options_contexts(options) : server->max_in_flight;
	server->batches = mem_array(server->batch_max, sizeof(server->batches[0]));
	pthread_mutex_init(&server->growing, NULL);
	register_metrics(server, options->service);
	struct status st = server_start(server, options);
	if (!status_ok(&st)) {
		server_free(server, 0);
		return st;
	}
	*out = server;
	return st;
}

void
server_drain(struct server *server)
{
	atomic_store(&server->is_draining, true);
}

size_t
server_in_flight(const struct server *server)
{
	return atomic_load(&server->in_flight);
}

const char *
server_url(const struct server *server)
{
	return server->url;
}

#define FLUSH_MS 20u

/* Until nobody has called for a moment: replies that nng has accepted still have to reach the wire, which
 * nng_close() would not let them, and a caller learns only from a reply that there will be no more. */
static void
wait_until_idle(struct server *server, uint32_t grace_ms)
{
	uint64_t now = clock_mono_ms(clock_system()), end = now + grace_ms, quiet_from = now;
	uint64_t taken = atomic_load(&server->taken);
	const struct timespec pause = {.tv_nsec = 2000000};

	while (now < end && now < quiet_from + FLUSH_MS) {
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
		now = clock_mono_ms(clock_system());
		uint64_t taken_now = atomic_load(&server->taken);
		if (taken_now != taken || atomic_load(&server->busy) > 0)
			quiet_from = now;
		taken = taken_now;
	}
}

void
server_free(struct server *server, uint32_t grace_ms)
{
	if (!server)
		return;
	server_drain(server);
	wait_until_idle(server, grace_ms);
	pthread_mutex_lock(&server->growing); /* from here on there are as many as there are */
	atomic_store(&server->is_closed, true);
	pthread_mutex_unlock(&server->growing);
	for (size_t i = 0; i < server->batch_count; i++) {
		pthread_mutex_lock(&server->batches[i]->lock);
		server->batches[i]->is_closed = true;
		pthread_mutex_unlock(&server->batches[i]->lock);
	}
	socket_close(server->bus, server->socket);
	for (size_t i = 0; i < server->batch_count; i++)
		nng_aio_stop(server->batches[i]->aio);
	server_release(server);
}
