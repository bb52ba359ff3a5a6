/*
 * sinks: see sink.h.
 */
#include "sink.h"

#include "endpoint_sink.h"

#define KINDS 8

struct sinks {
	struct webhookd *self;
	struct sink *of_kind[KINDS]; /* NULL: not configured */
};

const char *
sinks_redis_url(const struct config *config)
{
	const char *own = config_text(config, "webhookd.redis_url");
	return own && *own ? own : config_text(config, "redis.url");
}

struct status
sinks_new(struct webhookd *self, const struct outbound_options *http, struct sinks **out)
{
	struct sinks *sinks = mem_alloc(sizeof(*sinks));
	const char *redis = sinks_redis_url(self->env.config);

	sinks->self = self;
	*out = sinks;
	struct status st = sink_http_new(http, &sinks->of_kind[CORBEL__V1__SINK__HTTP]);
	if (status_ok(&st) && redis && *redis)
		st = status_wrap(sink_redis_new(&self->env, redis, &sinks->of_kind[CORBEL__V1__SINK__REDIS_STREAM]),
		                 "webhookd.redis_url");
	if (status_ok(&st))
		st = status_wrap(sink_callback_new(&self->env, &sinks->of_kind[CORBEL__V1__SINK__CALLBACK]),
		                 "webhookd.callbacks");
	if (status_ok(&st))
		st = sink_plugin_new(&self->env, &sinks->of_kind[CORBEL__V1__SINK__PLUGIN]);
	return st;
}

void
sinks_free(struct sinks *sinks)
{
	if (!sinks)
		return;
	/* From the last: a plugin may still hand a payload to the first. */
	for (size_t i = KINDS; i-- > 0;)
		if (sinks->of_kind[i])
			sinks->of_kind[i]->free(sinks->of_kind[i]);
	mem_free(sinks);
}

/* An endpoint outlives the option that its sink needs. */
static bool
refuse(struct parcel *parcel)
{
	parcel_ended(parcel, &(struct parcel_outcome){.end = PARCEL_UNWELL,
	                                              .error = "unconfigured",
	                                              .detail = "the sink is no longer configured"});
	return true;
}

bool
sinks_send(struct sinks *sinks, struct parcel *parcel, const Endpoint *endpoint, const struct signer *signer)
{
	unsigned kind = (unsigned)endpoint_sink(endpoint);
	struct sink *sink = kind < KINDS ? sinks->of_kind[kind] : NULL;

	parcel->started_ms = clock_wall_ms(sinks->self->env.clock);
	if (!sink)
		return refuse(parcel);
	if (endpoint->transform && kind == CORBEL__V1__SINK__HTTP)
		return sink_plugin_transform(sinks->of_kind[CORBEL__V1__SINK__PLUGIN], sink, parcel, endpoint,
		                             signer);
	return sink->send(sink, parcel, endpoint, signer);
}

bool
sinks_request(struct sinks *sinks, struct outbound_request *request)
{
	return sink_http_request(sinks->of_kind[CORBEL__V1__SINK__HTTP], request);
}
