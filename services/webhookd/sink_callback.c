/*
 * sink_callback: a call of Callbacks/Receive on the bus, to the daemon that the endpoint names.
 */
#include <string.h>

#include "callbacks.h"
#include "corbel/contract.gen.h"
#include "daemon/remote.h"
#include "sink.h"

typedef Corbel__V1__ReceiveEventRequest ReceiveEventRequest;
typedef Corbel__V1__ReceiveEventReply ReceiveEventReply;

struct sink_callback {
	struct sink base;
	struct arena arena; /* of the names */
	struct callback callbacks[CALLBACKS_MAX];
	struct remote *remotes[CALLBACKS_MAX];
	size_t count;
};

static struct remote *
remote_of(const struct sink_callback *self, const char *name)
{
	for (size_t i = 0; i < self->count; i++)
		if (strcmp(self->callbacks[i].name, name) == 0)
			return self->remotes[i];
	return NULL;
}

/* ---- the answer ---- */

/* What a callee says of the request it will say again: it is there and well. */
enum parcel_end
sink_end_of_call(const struct status *st)
{
	switch (st->code) {
	case STATUS_OK:
		return PARCEL_DELIVERED;
	case STATUS_CANCELLED:
		return PARCEL_CUT_OFF;
	case STATUS_INVALID_ARGUMENT:
	case STATUS_FAILED_PRECONDITION:
	case STATUS_OUT_OF_RANGE:
	case STATUS_NOT_FOUND:
	case STATUS_ALREADY_EXISTS:
	case STATUS_PERMISSION_DENIED:
	case STATUS_UNIMPLEMENTED:
		return PARCEL_REFUSED;
	default:
		return PARCEL_UNWELL;
	}
}

static const char *
error_of(const struct remote_call *call)
{
	if (status_ok(&call->outcome))
		return NULL;
	if (call->outcome.code == STATUS_DEADLINE_EXCEEDED)
		return "timeout";
	return call->wire.reply ? "callback" : "connect";
}

static void
on_ended(struct remote_call *call)
{
	const ReceiveEventReply *reply = (const ReceiveEventReply *)(const void *)call->reply;
	const char *note = reply && reply->note ? reply->note : "";

	parcel_ended(call->user, &(struct parcel_outcome){.end = sink_end_of_call(&call->outcome),
	                                                  .retry_after_ms = call->retry_after_ms,
	                                                  .latency_ms = call->latency_ms,
	                                                  .error = error_of(call),
	                                                  .detail = call->outcome.message,
	                                                  .answer = note,
	                                                  .answer_size = strnlen(note, 1024)});
}

/* ---- the sink ---- */

static bool
callback_send(struct sink *sink, struct parcel *parcel, const Endpoint *endpoint, const struct signer *signer)
{
	struct sink_callback *self = (struct sink_callback *)sink;
	struct remote *remote = remote_of(self, endpoint->callback);
	struct remote_call *call = ARENA_NEW(&parcel->arena, struct remote_call);
	ReceiveEventRequest request = CORBEL__V1__RECEIVE_EVENT_REQUEST__INIT;

	(void)signer;
	if (!remote) {
		parcel_ended(parcel, &(struct parcel_outcome){.end = PARCEL_UNWELL,
		                                              .error = "unconfigured",
		                                              .detail = "the callback is no longer configured"});
		return true;
	}
	request.event = (Event *)(uintptr_t)parcel->event;
	request.endpoint_id = endpoint->id;
	request.delivery_id = parcel->delivery_id;
	request.has_attempt = true;
	request.attempt = parcel->attempts + 1;
	*call = (struct remote_call){
	    .method = CALLBACKS_RECEIVE,
	    .request = &request.base,
	    .timeout_ms = endpoint->has_timeout_ms ? endpoint->timeout_ms : PARCEL_TIMEOUT_MS,
	    .traceparent = parcel->event->traceparent,
	    .arena = &parcel->arena,
	    .ended = on_ended,
	    .user = parcel,
	};
	remote_call(remote, call);
	return true;
}

static void
callback_free(struct sink *sink)
{
	struct sink_callback *self = (struct sink_callback *)sink;

	for (size_t i = 0; i < self->count; i++)
		remote_free(self->remotes[i]);
	arena_fini(&self->arena);
	mem_free(self);
}

struct status
sink_callback_new(const struct service_env *env, struct sink **out)
{
	struct sink_callback *self = mem_alloc(sizeof(*self));

	self->base = (struct sink){.send = callback_send, .free = callback_free};
	arena_init(&self->arena, 1024, 64u << 10);
	struct status st = callbacks_read(env->config, &self->arena, self->callbacks, &self->count);
	for (size_t i = 0; i < self->count && status_ok(&st); i++)
		st = remote_new(env, self->callbacks[i].name, self->callbacks[i].address, &self->remotes[i]);
	if (status_ok(&st))
		*out = &self->base;
	else
		callback_free(&self->base);
	return st;
}
