/*
 * cancel: runs that are to end before they have.
 *
 * A queued run has a row, which says so to whichever replica has it. A run that somebody waits for is known
 * to the replica that runs it alone, so that one is looked for by asking them all. Who hangs up is known by
 * the traceparent of the call.
 */
#include <string.h>

#include "corbel/sandboxd.methods.gen.h"
#include "sandboxd_internal.h"

#define REPLICAS_MAX 64u
#define ANSWER_MS    500u

static const struct store_sql RUN_DROP = {
    "run_drop",
    "UPDATE runs SET state = 3, outcome = 10, ended_at = $2, work = NULL WHERE id = $1 AND state = 1"};
static const struct store_sql RUN_MARK = {"run_mark",
                                          "UPDATE runs SET cancelled = 1 WHERE id = $1 AND state = 2"};

typedef Corbel__V1__CancelHereRequest CancelHereRequest;

/* ---- queued ---- */

/* What waits ends at once; what is under way is marked, in case that the replica that has it hears nothing.
 * `had_ended`: long before. */
static struct status
cancel_row(struct call *call, struct store_tx *tx, const char *id, bool *had_ended, PluginRun *reply)
{
	struct arena *arena = call_arena(call);
	int64_t changed = 0, waiting;
	struct status st = history_read(call, tx, id, reply);

	*had_ended = status_ok(&st) && reply->state == CORBEL__V1__RUN_STATE__RUN_ENDED;
	if (!status_ok(&st) || *had_ended)
		return st;
	st = queue_lock(tx, arena, reply->tenant_id, 0, &waiting);
	if (status_ok(&st))
		st = store_exec(tx, &RUN_DROP, STORE_PARAMS(store_text(id), store_i64(call_now_ms(call))), &changed);
	if (status_ok(&st) && changed > 0)
		st = queue_lock(tx, arena, reply->tenant_id, -1, &waiting);
	else if (status_ok(&st))
		st = store_exec(tx, &RUN_MARK, STORE_PARAMS(store_text(id)), NULL);
	return status_ok(&st) ? history_read(call, tx, id, reply) : st;
}

/* ---- waited for ---- */

struct status
plugin_runs_cancel_here(struct call *call, const CancelHereRequest *request, PluginRun *reply)
{
	struct sandboxd *self = call_service(call);
	PluginRun *was;

	if (!request->id ||
	    !scheduler_cancel(self->scheduler, request->id, request->tenant_id, call_arena(call), &was))
		return scope_not_found("run");
	*reply = *was;
	return status_ok_value();
}

static struct status
ask(struct sandboxd *self, struct pool *pool, const char *node, const CancelHereRequest *request,
    struct arena *arena, PluginRun *reply)
{
	struct arena_allocator memory = arena_allocator(arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	Corbel__Bus__Principal principal = CORBEL__BUS__PRINCIPAL__INIT;
	size_t size = corbel__v1__cancel_here_request__get_packed_size(request);
	uint8_t *bytes = arena_alloc_raw(arena, size + 1);

	principal.has_internal = principal.internal = true;
	struct pool_call call = {.method = PLUGIN_RUNS_CANCEL_HERE->id,
	                         .is_fast = PLUGIN_RUNS_CANCEL_HERE->is_fast,
	                         .node = node,
	                         .deadline_mono_ms = clock_mono_ms(self->env.clock) + ANSWER_MS,
	                         .principal = &principal,
	                         .payload = bytes,
	                         .payload_size = corbel__v1__cancel_here_request__pack(request, bytes)};
	struct status st = pool_call_wait(pool, &call, arena);
	if (!status_ok(&st))
		return st;
	const PluginRun *run =
	    corbel__v1__plugin_run__unpack(&allocator, call.reply->payload.len, call.reply->payload.data);
	if (!run)
		return status_make(STATUS_DATA_LOSS, "a replica's answer cannot be read");
	*reply = *run;
	return st;
}

/* By the first replica that has it. One that does not answer may have it. */
static struct status
ask_others(struct call *call, const CancelHereRequest *request, PluginRun *reply)
{
	struct sandboxd *self = call_service(call);
	struct arena *arena = call_arena(call);
	struct pool *pool = host_pool(self->env.host, sandboxd_service.name);
	struct pool_replica *replicas = ARENA_ARRAY(arena, struct pool_replica, REPLICAS_MAX);
	size_t count = pool ? pool_list(pool, replicas, REPLICAS_MAX) : 0;
	struct status out = scope_not_found("run");

	for (size_t i = 0; i < count && i < REPLICAS_MAX; i++) {
		if (!replicas[i].node[0] || strcmp(replicas[i].node, bus_node(self->env.bus)) == 0)
			continue;
		struct status st = ask(self, pool, replicas[i].node, request, arena, reply);
		if (status_ok(&st))
			return st;
		if (st.code != STATUS_NOT_FOUND)
			out = status_make(STATUS_UNAVAILABLE, "a replica that may have the run does not answer");
	}
	return out;
}

static struct status
cancel_waited(struct call *call, const char *id, PluginRun *reply)
{
	CancelHereRequest request = CORBEL__V1__CANCEL_HERE_REQUEST__INIT;

	request.id = (char *)(uintptr_t)id;
	if (!call_is_operator(call))
		request.tenant_id = (char *)(uintptr_t)call_tenant(call);
	struct status st = plugin_runs_cancel_here(call, &request, reply);
	return st.code == STATUS_NOT_FOUND ? ask_others(call, &request, reply) : st;
}

/* ---- either ---- */

/* Callers may choose an id again: it may be that of a run that is waited for now. */
static void
cancel_namesake(struct call *call, const char *id, PluginRun *reply)
{
	const PluginRun kept = *reply;
	struct status st = cancel_waited(call, id, reply);

	if (!status_ok(&st))
		*reply = kept;
}

struct status
plugin_runs_cancel(struct call *call, const Corbel__V1__GetRunRequest *request, PluginRun *reply)
{
	struct sandboxd *self = call_service(call);
	struct store_tx tx;
	bool had_ended = false;
	struct status st = store_begin(call_store(call), &tx);

	if (!status_ok(&st))
		return st;
	st = store_end(&tx, cancel_row(call, &tx, request->id, &had_ended, reply));
	if (st.code == STATUS_NOT_FOUND)
		return cancel_waited(call, request->id, reply);
	if (had_ended)
		cancel_namesake(call, request->id, reply);
	if (!status_ok(&st) || had_ended || reply->state != CORBEL__V1__RUN_STATE__RUN_UNDER_WAY)
		return st;
	if (!scheduler_cancel(self->scheduler, request->id, NULL, NULL, NULL))
		publisher_send(self->env.publisher, "cancel", request->id, strlen(request->id));
	return st;
}

/* The ingress does not know which replica has the call. */
struct status
plugin_runs_hung_up(struct call *call, const Corbel__V1__HungUpRequest *request,
                    Corbel__V1__HungUpReply *reply)
{
	struct sandboxd *self = call_service(call);
	const char *traceparent = request->traceparent ? request->traceparent : "";

	(void)reply;
	if (!scheduler_abandon(self->scheduler, traceparent))
		publisher_send(self->env.publisher, "hungup", traceparent, strlen(traceparent));
	return status_ok_value();
}
