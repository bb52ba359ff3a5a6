/*
 * sink: a way to take events to where an endpoint wants them.
 *
 * The courier knows when to send what; a sink knows how. There is one of each kind in a process, shared by
 * all endpoints of that kind. A queue has none: its messages are fetched (queue.h).
 */
#ifndef CORBEL_WEBHOOKD_SINK_H
#define CORBEL_WEBHOOKD_SINK_H

#include "outbound/outbound.h"
#include "parcel.h"

struct signer;

struct sink {
	/* Begins a try. The parcel is the sink's until parcel_ended(), which may come before this returns. False:
	 * no room at present; nothing happened. `endpoint` and `signer` are valid during the call. One thread at
	 * a time for a parcel, any thread. */
	bool (*send)(struct sink *sink, struct parcel *parcel, const Endpoint *endpoint,
	             const struct signer *signer);
	/* Ends what is under way, PARCEL_CUT_OFF, and frees. */
	void (*free)(struct sink *sink);
};

/* One of each kind. */
struct sinks;
struct status sinks_new(struct webhookd *self, const struct outbound_options *http, struct sinks **out);
void sinks_free(struct sinks *sinks);
/* As struct sink's `send`, by the endpoint's kind. */
bool sinks_send(struct sinks *sinks, struct parcel *parcel, const Endpoint *endpoint,
                const struct signer *signer);

/* A request of another kind than a delivery, to an endpoint of the sink HTTP. As outbound_send(). */
bool sinks_request(struct sinks *sinks, struct outbound_request *request);

/* ---- the kinds ---- */
struct status sink_http_new(const struct outbound_options *options, struct sink **out);
bool sink_http_request(struct sink *sink, struct outbound_request *request);
struct status sink_redis_new(const struct service_env *env, const char *url, struct sink **out);
struct status sink_callback_new(const struct service_env *env, struct sink **out);
struct status sink_plugin_new(const struct service_env *env, struct sink **out);

/* For endpoints with `transform`: a plugin makes the payload, then `next` sends it. As struct sink's `send`.
 */
bool sink_plugin_transform(struct sink *sink, struct sink *next, struct parcel *parcel,
                           const Endpoint *endpoint, const struct signer *signer);
/* How a try ends that a daemon on the bus answered so, and what to call its failure. */
enum parcel_end sink_end_of_call(const struct status *st);
/* Where Redis Streams are; NULL or "": nowhere. */
const char *sinks_redis_url(const struct config *config);

#endif
