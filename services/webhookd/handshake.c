/*
 * handshake: asking a receiver whether it wants deliveries, before any is made. See consent.h.
 *
 * Consent is for a URL: whoever changes it asks anew.
 */
#include <string.h>

#include "clearing.h"
#include "consent.h"
#include "corbel/webhookd.methods.gen.h"
#include "courier.h"
#include "sink.h"
#include "webhookd_internal.h"

typedef Corbel__V1__HandshakeReply HandshakeReply;

/* Shared by the worker that waits and the HTTP client's thread. */
struct question {
	pthread_mutex_t lock;
	pthread_cond_t answered;
	bool is_answered;
	const char *origin;
	struct arena *arena; /* the client's thread's until the answer */
	struct consent consent;
	Attempt *attempt;
};

static char *
readable(struct arena *arena, const char *text)
{
	return text && *text && text_is_utf8(text, strlen(text)) ? arena_strdup(arena, text) : NULL;
}

static void
note(struct question *question, const struct outbound_response *response)
{
	Attempt *attempt = question->attempt;

	attempt->has_latency_ms = true;
	attempt->latency_ms = response->latency_ms;
	attempt->has_status = response->status > 0;
	attempt->status = response->status;
	attempt->address = readable(question->arena, response->address);
	attempt->detail = readable(question->arena, response->detail);
	if (response->result != OUTBOUND_OK)
		attempt->error = arena_strdup(question->arena, outbound_result_name(response->result));
	else
		consent_read(response->head, response->head_size, question->origin, &question->consent);
	if (response->result == OUTBOUND_OK && !question->consent.is_given)
		attempt->error = arena_strdup(question->arena, "no_consent");
}

static void
on_done(struct outbound_request *request)
{
	struct question *question = request->user;

	note(question, &request->response);
	pthread_mutex_lock(&question->lock);
	question->is_answered = true;
	pthread_cond_signal(&question->answered);
	pthread_mutex_unlock(&question->lock);
}

/* The client ends every request within its time, so this wait does too. */
static bool
ask(struct sinks *sinks, struct outbound_request *request, struct question *question)
{
	pthread_mutex_init(&question->lock, NULL);
	pthread_cond_init(&question->answered, NULL);
	request->done = on_done;
	request->user = question;
	bool is_sent = sinks_request(sinks, request);
	pthread_mutex_lock(&question->lock);
	while (is_sent && !question->is_answered)
		pthread_cond_wait(&question->answered, &question->lock);
	pthread_mutex_unlock(&question->lock);
	pthread_cond_destroy(&question->answered);
	pthread_mutex_destroy(&question->lock);
	return is_sent;
}

static struct status
ask_receiver(struct call *call, const Endpoint *endpoint, struct question *question)
{
	struct webhookd *self = call_service(call);
	struct arena *arena = call_arena(call);
	const char *headers[2] = {arena_printf(arena, "WebHook-Request-Origin: %s", question->origin)};
	struct outbound_request request = {.url = endpoint->url,
	                                   .method = "OPTIONS",
	                                   .headers = headers,
	                                   .header_count = 1,
	                                   .timeout_ms = endpoint->has_timeout_ms ? endpoint->timeout_ms
	                                                                          : PARCEL_TIMEOUT_MS};

	if (endpoint->has_rate_per_second)
		headers[request.header_count++] =
		    arena_printf(arena, "WebHook-Request-Rate: %llu", endpoint->rate_per_second * 60ULL);
	question->attempt = ARENA_NEW(arena, Attempt);
	corbel__v1__attempt__init(question->attempt);
	question->attempt->has_number = question->attempt->has_started_at = true;
	question->attempt->number = 1;
	question->attempt->started_at = call_now_ms(call);
	return ask(courier_sinks(self->courier), &request, question)
	           ? status_ok_value()
	           : status_make(STATUS_RESOURCE_EXHAUSTED, "too many deliveries are under way");
}

static struct status
keep_consent(struct call *call, const Endpoint *asked, const struct consent *consent, Endpoint *out)
{
	struct store_tx tx;
	struct status st = clearing_finish(call, asked->id);

	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	st = endpoint_lock(call, &tx, asked->id, out);
	if (status_ok(&st) && strcmp(asked->url, out->url) != 0)
		st = status_make(STATUS_ABORTED, "the endpoint's url was changed meanwhile");
	if (status_ok(&st)) {
		out->has_consented_at = true;
		out->consented_at = call_now_ms(call);
		out->has_allowed_per_minute = consent->per_minute > 0;
		out->allowed_per_minute = consent->per_minute;
		st = endpoint_agree(call, &tx, out);
	}
	return store_end(&tx, st);
}

struct status
endpoints_handshake(struct call *call, const Corbel__V1__HandshakeRequest *request, HandshakeReply *reply)
{
	struct webhookd *self = call_service(call);
	Corbel__V1__GetEndpointRequest get = CORBEL__V1__GET_ENDPOINT_REQUEST__INIT;
	struct question question = {.origin = config_text(self->env.config, "webhookd.origin"),
	                            .arena = call_arena(call)};
	Endpoint *endpoint = ARENA_NEW(call_arena(call), Endpoint);

	corbel__v1__endpoint__init(endpoint);
	get.id = request->id;
	struct status st = endpoints_get(call, &get, endpoint);
	if (status_ok(&st) && !endpoint->handshake)
		st = status_make(STATUS_FAILED_PRECONDITION, "the endpoint has no handshake");
	if (status_ok(&st))
		st = ask_receiver(call, endpoint, &question);
	if (!status_ok(&st))
		return st;
	reply->attempt = question.attempt;
	reply->has_consented = true;
	reply->consented = question.consent.is_given;
	reply->endpoint = endpoint;
	return question.consent.is_given ? keep_consent(call, endpoint, &question.consent, endpoint) : st;
}
