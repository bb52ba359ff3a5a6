/*
 * finish: a call's two ends: request bytes to a checked message, outcome to a reply.
 */
#include <stddef.h>

#include "daemon/call_internal.h"
#include "daemon/idempotency.h"

static void
copy_violations(struct call *call, const struct violations *found)
{
	for (size_t i = 0; i < found->count; i++)
		call_violation(call, found->items[i].pointer, "%s", found->items[i].detail);
}

static struct status
check_request(struct call *call)
{
	struct violations found;

	found.count = 0;
	found.is_cut = false;
	api_validate(call->request, call->bound->method->request, call->arena, &found);
	if (found.count == 0)
		return status_ok_value();
	copy_violations(call, &found);
	return violations_status(&found);
}

struct status
call_decode(struct call *call)
{
	const ProtobufCMessageDescriptor *request = call->bound->method->request->descriptor;
	const ProtobufCMessageDescriptor *reply = call->bound->method->reply->descriptor;
	struct arena_allocator memory = arena_allocator(call->arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	const ProtobufCBinaryData *payload = &call->wire->call->payload;

	call->request = protobuf_c_message_unpack(request, &allocator, payload->len, payload->data);
	if (!call->request)
		return status_make(STATUS_INVALID_ARGUMENT, "the payload is no %s, or too large", request->name);
	call->reply = arena_alloc_raw(call->arena, reply->sizeof_message);
	protobuf_c_message_init(reply, call->reply);
	return check_request(call);
}

void
call_pack_reply(struct call *call)
{
	Corbel__Bus__Reply *reply = &call->wire->reply;
	size_t size = protobuf_c_message_get_packed_size(call->reply);

	reply->payload.data = arena_alloc_raw(call->arena, size ? size : 1);
	reply->payload.len = protobuf_c_message_pack(call->reply, reply->payload.data);
	reply->has_payload = true;
}

/* The series of one outcome of one method. Two threads that meet here get the same one. */
struct metric_counter *
bound_outcome(struct dispatcher *self, struct bound_method *bound, enum status_code code)
{
	static const char *const labels[] = {"service", "method", "code", NULL};
	static const struct metric_spec spec = {.name = "corbel_rpc_server_requests",
	                                        .help = "Calls served, by method and outcome.",
	                                        .labels = labels,
	                                        .max_series = 4000};
	/* acquire: the counter behind the pointer is complete */
	struct metric_counter *counter = atomic_load_explicit(&bound->outcomes[code], memory_order_acquire);

	if (!counter && self->options.metrics) {
		const char *values[] = {self->options.service->name, bound->method->name, status_code_name(code)};
		counter = metrics_counter(self->options.metrics, &spec, values);
		atomic_store_explicit(&bound->outcomes[code], counter, memory_order_release);
	}
	return counter;
}

static void
count(struct call *call, enum status_code code)
{
	uint64_t spent_ns = clock_mono_ns(call->dispatcher->options.clock) - call->start_ns;

	counter_add(bound_outcome(call->dispatcher, call->bound, code), 1);
	histogram_observe(call->bound->duration, (double)spent_ns / 1e9);
	gauge_add(call->bound->in_flight, -1);
	if (call->span)
		span_end(call->dispatcher->options.tracer, call->span, code);
}

/* A handler's surprise belongs in our log, with its ids; the caller learns that it was our fault. */
static void
log_surprise(struct call *call, const struct status *st)
{
	if (st->code == STATUS_INTERNAL || st->code == STATUS_UNKNOWN || st->code == STATUS_DATA_LOSS)
		log_error(call->dispatcher->options.log, "call failed", LOG_TEXT("method", call->bound->method->name),
		          LOG_TEXT("request_id", call_request_id(call)), LOG_STATUS(st));
}

void
call_finish(struct call *call, struct status st)
{
	struct batch *batch = call->batch;
	struct server_call *wire = call->wire;

	if (!status_ok(&st)) {
		log_surprise(call, &st);
		/* Not server_call_fail(), which allocates in the bus message's arena: that is another thread's. */
		wire->reply.has_code = true;
		wire->reply.code = (uint32_t)st.code;
		wire->reply.message = arena_strdup(call->arena, st.message);
	} else if (!call->is_replayed) {
		call_pack_reply(call);
	}
	count(call, st.code);
	server_call_end(wire);
	if (batch)
		batch_leave(batch);
}

/* The second half of a claimed batch call: its reply is complete, the claim is settled on a worker,
 * which has a connection. */
static void
settle_later(struct work *work, struct store_conn *conn, const struct status *store)
{
	struct call *call = (struct call *)((char *)work - offsetof(struct call, work));
	struct status st = *call->outcome;

	if (conn)
		st = idempotency_settle(call, conn, st);
	else
		log_warn(call->dispatcher->options.log, "idempotency record lost",
		         LOG_TEXT("method", call->bound->method->name), LOG_STATUS(store));
	call_finish(call, st);
}

void
call_end(struct call *call, struct status st)
{
	if (!call->claim || call->bound->handler) {
		call_finish(call, st);
		return;
	}
	call->outcome = ARENA_NEW(call->arena, struct status);
	*call->outcome = st;
	call->work = (struct work){.run = settle_later};
	workers_resubmit(call->dispatcher->options.workers, &call->work);
}
