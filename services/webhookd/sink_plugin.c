/*
 * sink_plugin: plugins of the tenant that run for events, or make the payloads that others get. They are run
 * by another daemon, which judges whose they are.
 *
 *   sink PLUGIN   event ──► Receive ──► OK is delivered
 *   transform     event ──► Transform ──► the result, signed ──► the sink that the endpoint has
 */
#include <string.h>

#include "corbel/contract.gen.h"
#include "daemon/remote.h"
#include "events/signature.h"
#include "sink.h"

#define RUN_TIMEOUT_MS 60000u /* of an endpoint that names none: a plugin may wait for its turn, too */

typedef Corbel__V1__PluginHookReply HookReply;

struct sink_plugin {
	struct sink base;
	struct remote *remote;
};

/* A payload on its way to a plugin and on; in the parcel's arena. */
struct transformation {
	struct remote_call call;
	struct parcel *parcel;
	struct sink *next;
	Endpoint *endpoint; /* copies: the endpoint may be changed meanwhile */
	struct signer *signer;
};

static const char *
error_of(const struct remote_call *call)
{
	if (status_ok(&call->outcome))
		return NULL;
	if (call->outcome.code == STATUS_DEADLINE_EXCEEDED)
		return "timeout";
	return call->wire.reply ? "plugin" : "connect";
}

/* What the plugin came to; `note` is kept with the attempt. */
static void
end_parcel(struct parcel *parcel, const struct remote_call *call, const char *note)
{
	parcel_ended(parcel, &(struct parcel_outcome){.end = sink_end_of_call(&call->outcome),
	                                              .retry_after_ms = call->retry_after_ms,
	                                              .latency_ms = call->latency_ms,
	                                              .error = error_of(call),
	                                              .detail = call->outcome.message,
	                                              .answer = note,
	                                              .answer_size = strlen(note)});
}

/* ---- events for plugins ---- */

static void
on_received(struct remote_call *call)
{
	const HookReply *reply = (const HookReply *)(const void *)call->reply;
	end_parcel(call->user, call, reply && reply->run_id ? reply->run_id : "");
}

static bool
plugin_send(struct sink *sink, struct parcel *parcel, const Endpoint *endpoint, const struct signer *signer)
{
	struct sink_plugin *self = (struct sink_plugin *)sink;
	struct remote_call *call = ARENA_NEW(&parcel->arena, struct remote_call);
	Corbel__V1__RunForEventRequest request = CORBEL__V1__RUN_FOR_EVENT_REQUEST__INIT;

	(void)signer;
	request.event = (Event *)(uintptr_t)parcel->event;
	request.plugin_id = endpoint->plugin;
	*call =
	    (struct remote_call){.method = PLUGIN_HOOKS_RECEIVE,
	                         .request = &request.base,
	                         .timeout_ms = endpoint->has_timeout_ms ? endpoint->timeout_ms : RUN_TIMEOUT_MS,
	                         .traceparent = parcel->event->traceparent,
	                         .arena = &parcel->arena,
	                         .ended = on_received,
	                         .user = parcel};
	remote_call(self->remote, call);
	return true;
}

/* ---- payloads ---- */

static Endpoint *
copy_endpoint(struct arena *arena, const Endpoint *endpoint)
{
	struct arena_allocator memory = arena_allocator(arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	size_t size = corbel__v1__endpoint__get_packed_size(endpoint);
	uint8_t *bytes = arena_alloc_raw(arena, size + 1);

	corbel__v1__endpoint__pack(endpoint, bytes);
	return corbel__v1__endpoint__unpack(&allocator, size, bytes);
}

/* No room to send what was made: the try counts for nothing, and is made again. */
static void
send_on(struct transformation *made)
{
	if (!made->next->send(made->next, made->parcel, made->endpoint, made->signer))
		parcel_ended(made->parcel, &(struct parcel_outcome){.end = PARCEL_CUT_OFF});
}

static void
on_transformed(struct remote_call *call)
{
	struct transformation *made = call->user;
	const HookReply *reply = (const HookReply *)(const void *)call->reply;
	struct signer *signer = made->signer;

	if (status_ok(&call->outcome) && reply->has_result) {
		made->parcel->payload = (const char *)reply->result.data;
		made->parcel->payload_size = reply->result.len;
		send_on(made);
	} else {
		end_parcel(made->parcel, call, "");
	}
	signer_free(signer);
}

bool
sink_plugin_transform(struct sink *sink, struct sink *next, struct parcel *parcel, const Endpoint *endpoint,
                      const struct signer *signer)
{
	struct sink_plugin *self = (struct sink_plugin *)sink;
	struct transformation *made = ARENA_NEW(&parcel->arena, struct transformation);
	Corbel__V1__TransformPayloadRequest request = CORBEL__V1__TRANSFORM_PAYLOAD_REQUEST__INIT;

	request.event = (Event *)(uintptr_t)parcel->event;
	request.plugin_id = endpoint->transform;
	made->parcel = parcel;
	made->next = next;
	made->endpoint = copy_endpoint(&parcel->arena, endpoint);
	made->signer = signer_copy(signer);
	made->call = (struct remote_call){.method = PLUGIN_HOOKS_TRANSFORM,
	                                  .request = &request.base,
	                                  .timeout_ms =
	                                      endpoint->has_timeout_ms ? endpoint->timeout_ms : PARCEL_TIMEOUT_MS,
	                                  .traceparent = parcel->event->traceparent,
	                                  .arena = &parcel->arena,
	                                  .ended = on_transformed,
	                                  .user = made};
	remote_call(self->remote, &made->call);
	return true;
}

/* ---- life ---- */

static void
plugin_free(struct sink *sink)
{
	struct sink_plugin *self = (struct sink_plugin *)sink;

	remote_free(self->remote);
	mem_free(self);
}

struct status
sink_plugin_new(const struct service_env *env, struct sink **out)
{
	struct sink_plugin *self = mem_alloc(sizeof(*self));
	struct status st = remote_to_service(env, PLUGIN_HOOKS_RECEIVE->daemon, &self->remote);

	self->base = (struct sink){.send = plugin_send, .free = plugin_free};
	if (status_ok(&st))
		*out = &self->base;
	else
		plugin_free(&self->base);
	return st;
}
