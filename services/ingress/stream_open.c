/*
 * stream_open: a request for a stream, until it is one: in the shard's thread.
 *
 *   read the query  ->  who asks (a key, or a token)  ->  the plan's limit  ->  ask for the log's bounds, as
 * the caller  ->  a place among the streams  ->  hand the socket over
 *
 * The question about the log decides who may read whose, and where "from now on" is: what is published after
 * the answer begins, comes. When the log's daemon is away, a stream that says where it begins opens all the
 * same.
 */
#include <string.h>

#include "base/text.h"
#include "cors.h"
#include "daemon/authorize.h"
#include "stream_ask.h"
#include "stream_handshake.h"

#define SCOPE     "events.read"
#define VERIFY_MS 3000u

/* ---- what is asked for ---- */

/* Browsers send the header when they connect again, with the query of the first time. */
static bool
take_last_event_id(struct request *request, struct violations *violations)
{
	const char *text = request_header(request, "Last-Event-ID");
	struct stream_ask *ask = request->stream;

	ask->has_after = ask->query->has_after;
	ask->after = ask->query->after;
	if (!text || !text[0])
		return true;
	ask->has_after = text_to_u64(text, strlen(text), &ask->after);
	if (!ask->has_after)
		violations_add(violations, &request->arena, "",
		               "Last-Event-ID must be the id of an event of a stream");
	return ask->has_after;
}

static void
take_types(struct request *request, struct violations *violations)
{
	struct stream_ask *ask = request->stream;

	if (!ask->query->types)
		return;
	struct status st =
	    stream_patterns_parse(ask->query->types, &request->arena, &ask->types, &ask->type_count);
	if (!status_ok(&st))
		violations_add(violations, &request->arena, "/types", "%s", st.message);
}

/* Answers and returns false when it is wrong. */
static bool
take_query(struct request *request)
{
	const struct api_message *rules = api_message_of(&corbel__v1__stream_request__descriptor);
	struct violations *violations = ARENA_NEW(&request->arena, struct violations);
	struct stream_ask *ask = request->stream = ARENA_NEW(&request->arena, struct stream_ask);

	ask->query = ARENA_NEW(&request->arena, StreamRequest);
	corbel__v1__stream_request__init(ask->query);
	if (request->query)
		routes_bind_query(request->query, strlen(request->query), rules, &ask->query->base, &request->arena,
		                  violations);
	api_validate(&ask->query->base, rules, &request->arena, violations);
	if (violations->count == 0) {
		take_types(request, violations);
		(void)take_last_event_id(request, violations);
	}
	if (ask->after > INT64_MAX - 1)
		violations_add(violations, &request->arena, "/after", "is beyond every sequence");
	if (violations->count == 0)
		return true;
	respond_violations(request, violations);
	return false;
}

static bool
refuse_upgrade(struct request *request, enum stream_handshake_result result)
{
	if (result == HANDSHAKE_OTHER_VERSION) {
		respond_problem(request, "upgrade-required", "Sec-WebSocket-Version must be 13");
		(void)MHD_add_response_header(request->response, "Sec-WebSocket-Version", "13");
		(void)MHD_add_response_header(request->response, "Upgrade", "websocket");
	} else if (result == HANDSHAKE_BAD) {
		respond_problem(request, "malformed",
		                "WebSocket needs Connection: Upgrade, and a Sec-WebSocket-Key of 16 bytes");
	} else {
		respond_problem(request, "permission-denied", "pages of this Origin may not open a WebSocket");
	}
	return false;
}

/* Server-sent events, or WebSocket if the client asks for it. */
static bool
take_kind(struct request *request)
{
	struct stream_handshake handshake = {.connection = request_header(request, "Connection"),
	                                     .upgrade = request_header(request, "Upgrade"),
	                                     .version = request_header(request, "Sec-WebSocket-Version"),
	                                     .key = request_header(request, "Sec-WebSocket-Key"),
	                                     .protocols = request_header(request, "Sec-WebSocket-Protocol")};
	enum stream_handshake_result result =
	    request->is_http_1_0 ? HANDSHAKE_NONE : stream_handshake_check(&handshake);
	bool is_cloud = stream_list_has(handshake.protocols, STREAM_CLOUDEVENTS);

	if (result == HANDSHAKE_NONE)
		request->stream->kind = request->is_http_1_0 ? STREAM_PLAIN : STREAM_CHUNKED;
	else
		request->stream->kind = is_cloud ? STREAM_CLOUDEVENTS_SOCKET : STREAM_WEBSOCKET;
	if (result == HANDSHAKE_NONE || (result == HANDSHAKE_GOOD && cors_admits(request)))
		return true;
	return refuse_upgrade(request, result);
}

/* ---- the log ---- */

static void
refuse_after(struct request *request)
{
	struct stream_ask *ask = request->stream;
	struct status st = status_make(STATUS_OUT_OF_RANGE, "the log ends at %llu, and so before %llu",
	                               (unsigned long long)ask->last, (unsigned long long)ask->after);
	respond_status(request, &st);
}

static bool
is_away(const struct pool_call *call)
{
	return call->code == STATUS_UNAVAILABLE || call->code == STATUS_DEADLINE_EXCEEDED;
}

static void
log_answered(struct pool_call *call)
{
	struct request *request = call->user;
	struct stream_ask *ask = request->stream;
	struct arena_allocator allocator = arena_allocator(&request->arena);
	ProtobufCAllocator protobuf = {
	    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};
	struct status st = pool_call_status(call);
	const Corbel__V1__ListEventsReply *reply = NULL;

	/* The client hung up while the log was asked. */
	if (request->is_orphan) {
		request_end_orphan(request);
		return;
	}
	if (status_ok(&st))
		reply = corbel__v1__list_events_reply__unpack(&protobuf, call->reply->payload.len,
		                                              call->reply->payload.data);
	if (!reply && is_away(call) && ask->has_after &&
	    strcmp(ask->tenant, request->key->principal.tenant) == 0) {
		ask->last = ask->after;
		stream_take_place(request);
		return;
	}
	if (!reply) {
		if (call->reply)
			respond_reply(request, call->reply);
		else
			respond_status(request, &st);
		return;
	}
	ask->first = reply->first_sequence;
	ask->last = reply->last_sequence;
	if (!ask->has_after)
		ask->after = ask->last;
	if (ask->after > ask->last)
		refuse_after(request);
	else
		stream_take_place(request);
}

/* Behind every sequence: the bounds of the log, and no event. */
static void
ask_log(struct request *request)
{
	Corbel__V1__ListEventsRequest question = CORBEL__V1__LIST_EVENTS_REQUEST__INIT;
	struct ingress *ingress = request->shard->ingress;

	question.has_page_size = question.has_after = true;
	question.page_size = 1;
	question.after = INT64_MAX - 1;
	question.tenant_id = request->stream->query->tenant_id;
	size_t size = corbel__v1__list_events_request__get_packed_size(&question);
	uint8_t *bytes = arena_alloc_raw(&request->arena, size + 1);
	corbel__v1__list_events_request__pack(&question, bytes);
	request->call =
	    (struct pool_call){.method = EVENTS_LIST->id,
	                       .deadline_mono_ms = shard_now_ms(request->shard) + EVENTS_LIST->deadline_ms,
	                       .request_id = request->request_id,
	                       .traceparent = request->traceparent,
	                       .principal = &request->key->principal,
	                       .payload = bytes,
	                       .payload_size = size,
	                       .done = log_answered,
	                       .user = request};
	request_wait(request);
	port_call(request->shard->port, host_pool(ingress->env.host, EVENTS_LIST->daemon), &request->call);
}

/* ---- who asks ---- */

static void
authenticated(struct request *request)
{
	struct stream_ask *ask = request->stream;
	const Corbel__Bus__Principal *who = &request->key->principal;
	struct status st = authorize(EVENTS_LIST, who);

	if (!status_ok(&st)) {
		respond_status(request, &st);
		return;
	}
	ask->tenant = ask->query->tenant_id ? ask->query->tenant_id : who->tenant;
	lease_take(request->shard->leases, request, "api.read", ask_log);
}

static void
token_answered(struct pool_call *call)
{
	struct request *request = call->user;
	struct arena_allocator allocator = arena_allocator(&request->arena);
	ProtobufCAllocator protobuf = {
	    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};
	struct status st = pool_call_status(call);
	const Corbel__V1__VerifyStreamTokenReply *reply = NULL;

	if (!status_ok(&st)) {
		respond_status(request, &st);
		return;
	}
	reply = corbel__v1__verify_stream_token_reply__unpack(&protobuf, call->reply->payload.len,
	                                                      call->reply->payload.data);
	if (!reply || !reply->key || !reply->key->valid) {
		key_refuse(request);
		return;
	}
	request->stream->granted = (const char *const *)reply->types;
	request->stream->granted_count = reply->n_types;
	request->key = key_entry_new(request->shard, reply->key);
	usage_add(request->shard->ingress->usage, request->key, false);
	authenticated(request);
}

static void
verify_token(struct request *request)
{
	Corbel__Bus__Principal *self = ARENA_NEW(&request->arena, Corbel__Bus__Principal);
	Corbel__V1__VerifyStreamTokenRequest question = CORBEL__V1__VERIFY_STREAM_TOKEN_REQUEST__INIT;
	struct shard *shard = request->shard;
	uint64_t retry_ms;

	if (!address_has(shard->addresses, &request->peer, shard_now_ms(shard), &retry_ms)) {
		respond_limited(request, "anonymous", retry_ms, false);
		return;
	}
	corbel__bus__principal__init(self);
	self->tenant = (char *)(uintptr_t) "root";
	self->has_internal = self->internal = true;
	question.token = request->stream->query->token;
	size_t size = corbel__v1__verify_stream_token_request__get_packed_size(&question);
	uint8_t *bytes = arena_alloc_raw(&request->arena, size + 1);
	corbel__v1__verify_stream_token_request__pack(&question, bytes);
	request->call = (struct pool_call){.method = STREAM_TOKENS_VERIFY->id,
	                                   .deadline_mono_ms = shard_now_ms(shard) + VERIFY_MS,
	                                   .request_id = request->request_id,
	                                   .traceparent = request->traceparent,
	                                   .principal = self,
	                                   .payload = bytes,
	                                   .payload_size = size,
	                                   .done = token_answered,
	                                   .user = request};
	request_wait(request);
	port_call(shard->port, shard->ingress->accounts, &request->call);
}

void
stream_begin(struct request *request)
{
	request->place = HTTP_STREAM;
	if (request->verb != API_GET || strcmp(request->verb_text, "HEAD") == 0) {
		respond_wrong_verb(request, "GET");
		return;
	}
	if (request->body_size > 0) {
		respond_problem(request, "invalid-argument", "a stream takes no body");
		return;
	}
	if (!take_query(request) || !take_kind(request))
		return;
	request->authenticated = authenticated;
	if (request->stream->query->token)
		verify_token(request);
	else
		caller_authenticate(request);
}
