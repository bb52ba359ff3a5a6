/*
 * hung_up: clients that do not wait any more for what a service does for them.
 *
 * libmicrohttpd does not look at the socket of a suspended connection, so the shard does, once a second, for
 * the methods whose contract names whom to tell. The call itself ends as ever, by its answer.
 */
#include <assert.h>
#include <poll.h>

#include "ingress_internal.h"

#define TELL_MS 1000u

/* Owned by itself until the call has ended. */
struct telling {
	struct pool_call call;
	Corbel__Bus__Principal internal;
	uint8_t bytes[TRACEPARENT_LENGTH + 16];
};

/* A client that has only said that it sends no more counts, too: so do proxies see it. */
static bool
is_gone(int fd)
{
	struct pollfd end = {.fd = fd, .events = POLLRDHUP};

	return fd >= 0 && poll(&end, 1, 0) > 0;
}

/* However it went: the next look comes in a second. */
static void
told(struct pool_call *call)
{
	mem_free(call->user);
}

static void
tell(struct request *request, const struct api_method *method)
{
	Corbel__V1__HungUpRequest message = CORBEL__V1__HUNG_UP_REQUEST__INIT;
	struct shard *shard = request->shard;
	struct telling *telling = mem_alloc(sizeof(*telling));

	message.traceparent = request->traceparent;
	assert(corbel__v1__hung_up_request__get_packed_size(&message) <= sizeof(telling->bytes));
	corbel__bus__principal__init(&telling->internal);
	telling->internal.has_internal = telling->internal.internal = true;
	telling->call =
	    (struct pool_call){.method = method->id,
	                       .is_fast = method->is_fast,
	                       .deadline_mono_ms = shard_now_ms(shard) + TELL_MS,
	                       .principal = &telling->internal,
	                       .payload = telling->bytes,
	                       .payload_size = corbel__v1__hung_up_request__pack(&message, telling->bytes),
	                       .done = told,
	                       .user = telling};
	port_call(shard->port, call_pool(shard->ingress, method->daemon), &telling->call);
}

void
hung_up_look(struct request *request, int fd)
{
	if (request->method && request->method->hung_up && is_gone(fd))
		tell(request, api_method_by_name(request->method->hung_up));
}
