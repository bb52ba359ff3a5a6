/*
 * sinks: see sink.h.
 */
#include "sink.h"

struct sinks {
	struct webhookd *self;
	struct sink *http;
};

struct status
sinks_new(struct webhookd *self, const struct outbound_options *http, struct sinks **out)
{
	struct sinks *sinks = mem_alloc(sizeof(*sinks));

	sinks->self = self;
	*out = sinks;
	return sink_http_new(http, &sinks->http);
}

void
sinks_free(struct sinks *sinks)
{
	if (!sinks)
		return;
	if (sinks->http)
		sinks->http->free(sinks->http);
	mem_free(sinks);
}

bool
sinks_send(struct sinks *sinks, struct parcel *parcel, const Endpoint *endpoint, const struct signer *signer)
{
	parcel->started_ms = clock_wall_ms(sinks->self->env.clock);
	return sinks->http->send(sinks->http, parcel, endpoint, signer);
}
