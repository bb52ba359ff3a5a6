/*
 * dispatch: one pass over a bus batch decides where each call goes; those for batch handlers are
 * gathered by method and handed over after it. Inline calls allocate in the message's arena, nothing
 * else; a call that leaves the thread gets a batch of its own.
 */
#include "daemon/dispatch.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "daemon/authorize.h"
#include "daemon/call_internal.h"
#include "daemon/idempotency.h"

#define RETRY_MS 1000 /* what a caller is told while workers or the store are wanting */

/* What all calls of one bus batch share. */
struct turn {
	struct dispatcher *dispatcher;
	int64_t wall_ms;
	uint64_t start_ns;
};

static struct bound_method *
find_method(const struct dispatcher *self, uint32_t id)
{
	for (uint32_t i = id & self->table_mask; self->table[i]; i = (i + 1) & self->table_mask) {
		if (self->table[i]->method->id == id)
			return self->table[i];
	}
	return NULL;
}

static void
refuse(struct dispatcher *self, struct bound_method *bound, struct server_call *wire, const struct status *st)
{
	counter_add(bound ? bound_outcome(self, bound, st->code) : self->unknown, 1);
	server_call_fail(wire, st);
	server_call_end(wire);
}

/* Whether the call is kept from running twice: reading needs no such care. */
static bool
is_keyed(const struct dispatcher *self, const struct bound_method *bound, const struct server_call *wire)
{
	const char *key = wire->call->idempotency_key;
	return key && *key && self->options.is_idempotency_kept && bound->method->verb != API_GET;
}

/* Reads the caller's trace; begins a span if it is sampled. The last hexadecimal digit of a
 * traceparent tells that, so the others cost one comparison. */
static void
begin_trace(struct call *call)
{
	const char *text = call->wire->call->traceparent;
	struct tracer *tracer = call->dispatcher->options.tracer;
	size_t length = text ? strlen(text) : 0;

	if (length < TRACEPARENT_LENGTH || !tracer)
		return;
	if (!trace_context_parse(text, length, &call->trace) || !call->trace.is_sampled)
		return;
	call->span = ARENA_NEW(call->arena, struct span);
	span_begin(tracer, call->span, call->bound->method->full_name, SPAN_SERVER, &call->trace);
	call->trace = call->span->context;
}

static void
call_init(struct call *call, const struct turn *turn, struct bound_method *bound, struct server_call *wire,
          struct batch *batch)
{
	call->dispatcher = turn->dispatcher;
	call->wire = wire;
	call->bound = bound;
	call->batch = batch;
	call->arena = batch ? &batch->arena : wire->arena;
	call->wall_ms = turn->wall_ms;
	call->start_ns = turn->start_ns;
	gauge_add(bound->in_flight, 1);
	begin_trace(call);
}

/* ---------------------------------------------------------------- workers */

static struct status
run_handler(struct call *call)
{
	return call->bound->handler(call, call->request, call->reply);
}

/* Runs the call under its idempotency key. False: a batch handler has it now and will end it. */
static bool
run_claimed(struct call *call, struct status *st)
{
	*st = idempotency_claim(call, call->conn);
	if (!status_ok(st) || call->is_replayed)
		return true;
	if (call->bound->batch) {
		struct call *calls[] = {call};
		call->conn = NULL;
		call->bound->batch(call->dispatcher->options.self, calls, 1);
		return false;
	}
	idempotency_watch(call, call->conn);
	*st = run_handler(call);
	*st = idempotency_settle(call, call->conn, *st);
	return true;
}

static bool
run_on_worker(struct call *call, const struct status *store, struct status *st)
{
	if (call_has_expired(call)) {
		*st = status_make(STATUS_DEADLINE_EXCEEDED, "waited for a worker until the deadline");
		return true;
	}
	*st = *store;
	if (status_ok(st))
		*st = call_decode(call);
	else
		call_retry_after_ms(call, RETRY_MS);
	if (!status_ok(st))
		return true;
	if (is_keyed(call->dispatcher, call->bound, call->wire))
		return run_claimed(call, st);
	*st = run_handler(call);
	return true;
}

static void
run_work(struct work *work, struct store_conn *conn, const struct status *store)
{
	struct call *call = (struct call *)((char *)work - offsetof(struct call, work));
	struct status st;

	call->conn = conn;
	trace_set_current(&call->trace, call->wire->call->request_id);
	if (run_on_worker(call, store, &st))
		call_finish(call, st);
	trace_set_current(NULL, NULL);
}

static void
to_worker(const struct turn *turn, struct bound_method *bound, struct server_call *wire)
{
	struct batch *batch = batch_new(turn->dispatcher, BATCH_LONE);
	struct call *call = ARENA_NEW(&batch->arena, struct call);

	call_init(call, turn, bound, wire, batch);
	call->work.run = run_work;
	if (workers_submit(turn->dispatcher->options.workers, &call->work))
		return;
	call_retry_after_ms(call, RETRY_MS);
	call_problem(call, "overloaded");
	call_finish(call, status_make(STATUS_RESOURCE_EXHAUSTED, "%s has too much work waiting; try again later",
	                              turn->dispatcher->options.service->name));
}

/* ---------------------------------------------------------------- the bus's thread */

static void
run_inline(const struct turn *turn, struct bound_method *bound, struct server_call *wire)
{
	struct call *call = ARENA_NEW(wire->arena, struct call);

	call_init(call, turn, bound, wire, NULL);
	struct status st = call_decode(call);
	if (status_ok(&st))
		st = run_handler(call);
	call_finish(call, st);
}

/* Makes calls of all gathered wires of `bound`, taking them out of the list, and hands over those that
 * decode. The batch counts one more than its calls, for us, who read `calls` to the end. */
static void
run_batch(const struct turn *turn, struct bound_method *bound, struct bound_method **bounds,
          struct server_call **wires, size_t count)
{
	struct batch *batch = batch_new(turn->dispatcher, count > 1 ? BATCH_GATHERED : BATCH_LONE);
	struct call **calls = ARENA_ARRAY(&batch->arena, struct call *, count);
	size_t ready = 0;

	for (size_t i = 0; i < count; i++) {
		if (bounds[i] != bound)
			continue;
		bounds[i] = NULL;
		struct call *call = ARENA_NEW(&batch->arena, struct call);
		atomic_fetch_add_explicit(&batch->open, 1, memory_order_relaxed);
		call_init(call, turn, bound, wires[i], batch);
		struct status st = call_decode(call);
		if (status_ok(&st))
			calls[ready++] = call;
		else
			call_finish(call, st);
	}
	if (ready > 0)
		bound->batch(turn->dispatcher->options.self, calls, ready);
	batch_leave(batch);
}

/* Decides one call. Returns its method when it waits for a batch handler, else NULL: it is gone. */
static struct bound_method *
route(const struct turn *turn, struct server_call *wire)
{
	struct dispatcher *self = turn->dispatcher;
	struct bound_method *bound = find_method(self, wire->call->method);

	if (!bound) {
		struct status st = status_make(
		    STATUS_UNIMPLEMENTED, "this %s has no such method: its version is another one than its caller's",
		    self->options.service->name);
		refuse(self, NULL, wire, &st);
		return NULL;
	}
	struct status st = authorize(bound->method, wire->call->principal);
	if (!status_ok(&st)) {
		refuse(self, bound, wire, &st);
		return NULL;
	}
	bool is_inline = bound->method->is_fast || bound->method->is_waiting;
	if (!is_inline || is_keyed(self, bound, wire)) {
		to_worker(turn, bound, wire);
		return NULL;
	}
	if (bound->batch)
		return bound;
	run_inline(turn, bound, wire);
	return NULL;
}

void
dispatcher_handle(void *arg, struct server_call *wires[], size_t count)
{
	struct dispatcher *self = arg;
	struct turn turn = {.dispatcher = self,
	                    .wall_ms = clock_wall_ms(self->options.clock),
	                    .start_ns = clock_mono_ns(self->options.clock)};
	/* The message's arena stays until we return, even when all of its calls have ended before. */
	struct bound_method **bounds = ARENA_ARRAY(wires[0]->arena, struct bound_method *, count);
	struct server_call **waiting = ARENA_ARRAY(wires[0]->arena, struct server_call *, count);
	size_t gathered = 0;

	for (size_t i = 0; i < count; i++) {
		bounds[gathered] = route(&turn, wires[i]);
		if (bounds[gathered])
			waiting[gathered++] = wires[i];
	}
	for (size_t i = 0; i < gathered; i++) {
		if (bounds[i])
			run_batch(&turn, bounds[i], bounds + i, waiting + i, gathered - i);
	}
}

/* ---------------------------------------------------------------- the table of methods */

static size_t
count_methods(const struct service *service)
{
	size_t count = 0;
	for (const struct service_handlers *h = service->handlers; h && h->api; h++)
		count += h->api->method_count;
	return count;
}

static void
make_series(const struct dispatcher *self, struct bound_method *bound)
{
	static const char *const labels[] = {"service", "method", NULL};
	static const double buckets[] = {0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01,
	                                 0.05,    0.1,     0.5,    1,      5,     10};
	static const struct metric_spec duration = {.name = "corbel_rpc_server_duration_seconds",
	                                            .help = "Time from a call's arrival to its reply.",
	                                            .unit = "seconds",
	                                            .labels = labels,
	                                            .max_series = 1000,
	                                            .buckets = buckets,
	                                            .bucket_count = sizeof(buckets) / sizeof(buckets[0])};
	static const struct metric_spec in_flight = {.name = "corbel_rpc_server_in_flight",
	                                             .help = "Calls being served or waiting for a worker.",
	                                             .labels = labels,
	                                             .max_series = 1000};
	const char *const values[] = {self->options.service->name, bound->method->name};

	bound->duration = metrics_histogram(self->options.metrics, &duration, values);
	bound->in_flight = metrics_gauge(self->options.metrics, &in_flight, values);
}

static struct status
bind_method(struct dispatcher *self, struct bound_method *bound, const struct api_method *method,
            api_handler handler)
{
	const struct service *service = self->options.service;
	bool may_batch = (method->is_fast || method->is_waiting) && service->batch;
	service_batch batch = may_batch ? service->batch(self->options.self, method) : NULL;

	if (!batch && !handler)
		return status_make(STATUS_FAILED_PRECONDITION, "%s has no handler for %s", service->name,
		                   method->name);
	bound->method = method;
	bound->handler = batch ? NULL : handler;
	bound->batch = batch;
	make_series(self, bound);
	uint32_t i = method->id & self->table_mask;
	while (self->table[i])
		i = (i + 1) & self->table_mask;
	self->table[i] = bound;
	return status_ok_value();
}

static struct status
bind_methods(struct dispatcher *self)
{
	struct bound_method *bound = self->methods;

	for (const struct service_handlers *h = self->options.service->handlers; h && h->api; h++) {
		for (size_t i = 0; i < h->api->method_count; i++) {
			struct status st = bind_method(self, bound++, &h->api->methods[i], h->handlers[i]);
			if (!status_ok(&st))
				return st;
		}
	}
	return status_ok_value();
}

struct status
dispatcher_new(const struct dispatcher_options *options, struct dispatcher **out)
{
	static const char *const labels[] = {"service", NULL};
	static const struct metric_spec unknown = {
	    .name = "corbel_rpc_server_unknown", .help = "Calls of methods that do not exist.", .labels = labels};
	struct dispatcher *self = mem_alloc(sizeof(*self));
	uint32_t size = 16;

	self->options = *options;
	self->method_count = count_methods(options->service);
	while (size < 4 * self->method_count)
		size *= 2;
	self->table_mask = size - 1;
	self->table = mem_array(size, sizeof(struct bound_method *));
	self->methods = mem_array(self->method_count, sizeof(struct bound_method));
	pthread_mutex_init(&self->lock, NULL);
	if (options->metrics)
		self->unknown = metrics_counter(options->metrics, &unknown, &options->service->name);
	struct status st = bind_methods(self);
	if (!status_ok(&st)) {
		dispatcher_free(self);
		self = NULL;
	}
	*out = self;
	return st;
}

void
dispatcher_free(struct dispatcher *self)
{
	if (!self)
		return;
	batch_free_all(self);
	pthread_mutex_destroy(&self->lock);
	mem_free(self->methods);
	mem_free(self->table);
	mem_free(self);
}
