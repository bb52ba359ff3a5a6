/*
 * sink_http: a signed POST to the endpoint's URL, as Standard Webhooks has it.
 */
#include <string.h>

#include "cloudevents/cloudevent.h"
#include "events/body.h"
#include "sink.h"

#define HEADERS_MAX 64
#define KEEP_BYTES  1024u
#define READ_BYTES  (64u << 10)

struct sink_http {
	struct sink base;
	struct outbound *outbound;
};

/* Of one parcel, in its arena. */
struct letter {
	const char *body;
	size_t body_size;
	const char *headers[HEADERS_MAX];
	size_t header_count;
	struct outbound_request request;
};

/* ---- what is sent ---- */

static void
add_header(struct letter *letter, struct arena *arena, const char *name, const char *value)
{
	if (letter->header_count < HEADERS_MAX)
		letter->headers[letter->header_count++] = arena_printf(arena, "%s: %s", name, value);
}

static void
put_plain(struct letter *letter, struct arena *arena, const Event *event)
{
	const struct event_body body = {.id = event->id,
	                                .type = event->type,
	                                .subject = event->subject,
	                                .timestamp_ms = event->timestamp,
	                                .sequence = event->sequence,
	                                .data = event->data.data,
	                                .data_size = event->data.len};
	struct strbuf out;

	strbuf_init(&out, arena);
	event_body_write(&body, &out);
	letter->body = out.data;
	letter->body_size = out.length;
	add_header(letter, arena, "Content-Type", "application/json");
}

static void
put_structured(struct letter *letter, struct arena *arena, const Event *event)
{
	struct strbuf out;

	strbuf_init(&out, arena);
	cloudevent_write(event, &out);
	letter->body = out.data;
	letter->body_size = out.length;
	add_header(letter, arena, "Content-Type", CLOUDEVENT_TYPE);
}

static void
put_binary(struct letter *letter, struct arena *arena, const Event *event)
{
	struct cloudevent_binary out;

	cloudevent_write_binary(event, arena, &out);
	letter->body = out.body;
	letter->body_size = out.size;
	if (out.type)
		add_header(letter, arena, "Content-Type", out.type);
	for (size_t i = 0; i < out.count; i++)
		add_header(letter, arena, out.headers[i].name, out.headers[i].value);
}

static void
put_event(struct letter *letter, struct arena *arena, const Event *event, Corbel__V1__DeliveryFormat format)
{
	switch (format) {
	case CORBEL__V1__DELIVERY_FORMAT__CLOUDEVENTS:
		put_structured(letter, arena, event);
		break;
	case CORBEL__V1__DELIVERY_FORMAT__CLOUDEVENTS_BINARY:
		put_binary(letter, arena, event);
		break;
	default:
		put_plain(letter, arena, event);
		break;
	}
}

static void
put_payload(struct letter *letter, struct arena *arena, const struct parcel *parcel)
{
	letter->body = parcel->payload;
	letter->body_size = parcel->payload_size;
	add_header(letter, arena, "Content-Type", "application/json");
}

static struct status
sign(struct letter *letter, struct parcel *parcel, const struct signer *signer)
{
	struct arena *arena = &parcel->arena;
	struct signed_message message = {.id = parcel->event->id,
	                                 .timestamp_s = parcel->started_ms / 1000,
	                                 .body = letter->body,
	                                 .body_length = letter->body_size};
	struct strbuf signature;
	char hub[SIGNATURE_HUB_MAX];

	strbuf_init(&signature, arena);
	struct status st = signer_sign(signer, &message, &signature);
	if (!status_ok(&st))
		return st;
	add_header(letter, arena, "webhook-id", parcel->event->id);
	add_header(letter, arena, "webhook-timestamp",
	           arena_printf(arena, "%lld", (long long)message.timestamp_s));
	add_header(letter, arena, "webhook-signature", signature.data);
	if (signer_hub(signer, letter->body, letter->body_size, hub))
		add_header(letter, arena, "X-Hub-Signature-256", hub);
	return st;
}

static struct status
address(struct letter *letter, struct parcel *parcel, const Endpoint *endpoint, const struct signer *signer)
{
	struct arena *arena = &parcel->arena;

	if (parcel->payload)
		put_payload(letter, arena, parcel);
	else
		put_event(letter, arena, parcel->event, endpoint->format);
	struct status st = sign(letter, parcel, signer);
	if (parcel->event->traceparent)
		add_header(letter, arena, "traceparent", parcel->event->traceparent);
	for (size_t i = 0; i < endpoint->n_headers; i++)
		add_header(letter, arena, endpoint->headers[i]->key, endpoint->headers[i]->value);
	letter->request = (struct outbound_request){
	    .url = arena_strdup(arena, endpoint->url),
	    .method = "POST",
	    .headers = letter->headers,
	    .header_count = letter->header_count,
	    .body = letter->body,
	    .body_size = letter->body_size,
	    .timeout_ms = endpoint->has_timeout_ms ? endpoint->timeout_ms : PARCEL_TIMEOUT_MS,
	    .keep_bytes = KEEP_BYTES,
	    .max_bytes = READ_BYTES,
	    .user = parcel,
	};
	return st;
}

/* ---- the answer ---- */

/* An answer of any kind but 429 and 5xx shows that somebody is there. */
static enum parcel_end
end_of(const struct outbound_response *response)
{
	if (response->result == OUTBOUND_CANCELLED)
		return PARCEL_CUT_OFF;
	if (response->result != OUTBOUND_OK || response->status == 429 || response->status >= 500)
		return PARCEL_UNWELL;
	return response->status >= 200 && response->status < 300 ? PARCEL_DELIVERED : PARCEL_REFUSED;
}

static const char *
error_of(const struct outbound_response *response)
{
	if (end_of(response) == PARCEL_DELIVERED)
		return NULL;
	return response->result == OUTBOUND_OK ? "status" : outbound_result_name(response->result);
}

/* On the HTTP client's thread. */
static void
on_done(struct outbound_request *request)
{
	const struct outbound_response *response = &request->response;

	parcel_ended(request->user, &(struct parcel_outcome){.end = end_of(response),
	                                                     .retry_after_ms = response->retry_after_ms,
	                                                     .latency_ms = response->latency_ms,
	                                                     .status = response->status,
	                                                     .error = error_of(response),
	                                                     .detail = response->detail,
	                                                     .answer = response->body,
	                                                     .answer_size = response->body_size,
	                                                     .address = response->address});
}

static bool
http_send(struct sink *sink, struct parcel *parcel, const Endpoint *endpoint, const struct signer *signer)
{
	struct sink_http *self = (struct sink_http *)sink;
	struct letter *letter = ARENA_NEW(&parcel->arena, struct letter);
	struct status st = address(letter, parcel, endpoint, signer);

	if (!status_ok(&st)) {
		parcel_ended(parcel, &(struct parcel_outcome){.end = PARCEL_UNWELL,
		                                              .error = outbound_result_name(OUTBOUND_PROTOCOL),
		                                              .detail = st.message});
		return true;
	}
	letter->request.done = on_done;
	return outbound_send(self->outbound, &letter->request);
}

bool
sink_http_request(struct sink *sink, struct outbound_request *request)
{
	return outbound_send(((struct sink_http *)sink)->outbound, request);
}

static void
http_free(struct sink *sink)
{
	struct sink_http *self = (struct sink_http *)sink;

	outbound_free(self->outbound, 0);
	mem_free(self);
}

struct status
sink_http_new(const struct outbound_options *options, struct sink **out)
{
	struct sink_http *self = mem_alloc(sizeof(*self));
	struct status st = outbound_new(options, &self->outbound);

	self->base = (struct sink){.send = http_send, .free = http_free};
	if (status_ok(&st))
		*out = &self->base;
	else
		mem_free(self);
	return st;
}
