/*
 * endpoint_sink: see endpoint_sink.h.
 */
#include "endpoint_sink.h"

#include "callbacks.h"
#include "sink.h"

#define HTTP     (1u << CORBEL__V1__SINK__HTTP)
#define QUEUE    (1u << CORBEL__V1__SINK__QUEUE)
#define STREAM   (1u << CORBEL__V1__SINK__REDIS_STREAM)
#define CALLBACK (1u << CORBEL__V1__SINK__CALLBACK)
#define PLUGIN   (1u << CORBEL__V1__SINK__PLUGIN)
#define PUSHED   (HTTP | STREAM | CALLBACK | PLUGIN)

#define HTTP_CONCURRENCY_MAX 256u

/* Fields that are not for every sink, and for which they are. */
static const struct sink_field {
	const char *name;
	unsigned sinks, needed_by;
} FIELDS[] = {{"url", HTTP, HTTP},
              {"format", HTTP, 0},
              {"headers", HTTP, 0},
              {"handshake", HTTP, 0},
              {"signing", HTTP, 0},
              {"hub_signature", HTTP, 0},
              {"timeout_ms", HTTP | CALLBACK | PLUGIN, 0},
              {"rate_per_second", PUSHED, 0},
              {"disable_after_ms", PUSHED, 0},
              {"stream", STREAM, STREAM},
              {"stream_max_len", STREAM, 0},
              {"callback", CALLBACK, CALLBACK},
              {"plugin", PLUGIN, PLUGIN},
              {"transform", HTTP, 0}};

Corbel__V1__Sink
endpoint_sink(const Endpoint *endpoint)
{
	return endpoint->sink ? endpoint->sink : CORBEL__V1__SINK__HTTP;
}

const char *
endpoint_sink_name(const Endpoint *endpoint)
{
	const ProtobufCEnumValue *value =
	    protobuf_c_enum_descriptor_get_value(&corbel__v1__sink__descriptor, (int)endpoint_sink(endpoint));
	return value ? value->name : "";
}

bool
endpoint_is_signed(const Endpoint *endpoint)
{
	return endpoint_sink(endpoint) == CORBEL__V1__SINK__HTTP;
}

bool
endpoint_is_pulled(const Endpoint *endpoint)
{
	return endpoint_sink(endpoint) == CORBEL__V1__SINK__QUEUE;
}

static bool
has_field(const Endpoint *endpoint, const char *name)
{
	const ProtobufCFieldDescriptor *field =
	    protobuf_c_message_descriptor_get_field_by_name(&corbel__v1__endpoint__descriptor, name);
	const char *base = (const char *)endpoint;

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)(const void *)(base + field->quantifier_offset) > 0;
	if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(void *const *)(const void *)(base + field->offset) != NULL;
	return *(const protobuf_c_boolean *)(base + field->quantifier_offset);
}

static struct status
refuse(struct call *call, const char *name, const char *why)
{
	const char *pointer = arena_printf(call_arena(call), "/%s", name);
	call_violation(call, pointer, "%s", why);
	return status_make(STATUS_INVALID_ARGUMENT, "%s: %s", pointer, why);
}

/* What the operator has not set up is refused when it is asked for, not when it fails. */
static struct status
check_configured(struct call *call, const Endpoint *endpoint, unsigned sink)
{
	const struct webhookd *self = call_service(call);
	const char *redis = sinks_redis_url(self->env.config);

	if (sink == STREAM && (!redis || !*redis))
		return refuse(call, "sink", "REDIS_STREAM needs the option webhookd.redis_url or redis.url");
	if (sink == CALLBACK && !callbacks_have(self->env.config, endpoint->callback))
		return refuse(call, "callback", "must be a name of the option webhookd.callbacks");
	return status_ok_value();
}

struct status
endpoint_check_sink(struct call *call, const Endpoint *endpoint)
{
	unsigned sink = 1u << endpoint_sink(endpoint);
	const char *name = endpoint_sink_name(endpoint);

	for (size_t i = 0; i < sizeof(FIELDS) / sizeof(FIELDS[0]); i++) {
		bool is_there = has_field(endpoint, FIELDS[i].name);
		if (is_there && !(FIELDS[i].sinks & sink))
			return refuse(call, FIELDS[i].name,
			              arena_printf(call_arena(call), "has no meaning for the sink %s", name));
		if (!is_there && (FIELDS[i].needed_by & sink))
			return refuse(call, FIELDS[i].name,
			              arena_printf(call_arena(call), "is required by the sink %s", name));
	}
	if (sink != QUEUE && endpoint->has_concurrency && endpoint->concurrency > HTTP_CONCURRENCY_MAX)
		return refuse(call, "concurrency",
		              arena_printf(call_arena(call), "must be at most %u", HTTP_CONCURRENCY_MAX));
	if (endpoint->transform && endpoint->format > CORBEL__V1__DELIVERY_FORMAT__PLAIN)
		return refuse(call, "transform", "needs the format PLAIN: the plugin makes the whole body");
	return check_configured(call, endpoint, sink);
}
