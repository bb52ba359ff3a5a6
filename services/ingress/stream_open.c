/*
 * stream_open: a request for a stream, until it is one: in the shard's thread.
 *
 *   read the query  ->  who asks (a key, or a token)  ->  the plan's limit  ->  ask for the log's bounds, as
 * the caller  ->  a place among the streams  ->  hand the socket over
 *
 * The question about the log decides who may read whose, and where "from now on" is: what is published after
 * the answer begins, comes. When the log's daemon is away, a stream that says where it begins opens all the
 * same.
 *
 * Without TLS the socket is duplicated and libmicrohttpd is told to drop the connection, which then takes
 * nothing with it but its memory: it closes its descriptor without a shutdown (MHD_USE_TURBO).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cors.h"
#include "daemon/authorize.h"
#include "stream_handshake.h"
#include "streams.h"

#define SCOPE     "events.read"
#define VERIFY_MS 3000u

typedef Corbel__V1__StreamRequest StreamRequest;

/* What is asked for; in the request's arena. */
struct stream_ask {
	StreamRequest *query;
	const char **types;
	size_t type_count;
	const char *const *granted;
	size_t granted_count;
	bool has_after;
	uint64_t after, first, last;
	const char *tenant; /* whose log */
	enum stream_kind kind;
};

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

/* ---- handing over ---- */

static enum MHD_Result
put_header(void *closure, enum MHD_ValueKind kind, const char *name, const char *value)
{
	(void)kind;
	strbuf_printf(closure, "%s: %s\r\n", name, value);
	return MHD_YES;
}

static void
write_upgrade(const struct request *request, struct strbuf *out)
{
	char accept[STREAM_ACCEPT_SIZE];

	stream_handshake_accept(request_header(request, "Sec-WebSocket-Key"), accept);
	strbuf_printf(out,
	              "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	              "Sec-WebSocket-Accept: %s\r\n",
	              accept);
	if (request->stream->kind == STREAM_CLOUDEVENTS_SOCKET)
		strbuf_puts(out, "Sec-WebSocket-Protocol: " STREAM_CLOUDEVENTS "\r\n");
}

/* The head of the answer. The body of server-sent events has no length and ends with the connection, for
 * clients of HTTP/1.1 also in words of its own: one that was cut off is told from one that ended. */
static void
write_head(struct request *request, struct strbuf *out)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	bool is_socket = request->stream->kind >= STREAM_WEBSOCKET;

	respond_add_headers(request, response);
	strbuf_init(out, &request->arena);
	/* X-Accel-Buffering: nginx passes each event on at once. */
	if (is_socket)
		write_upgrade(request, out);
	else
		strbuf_puts(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
		                 "X-Accel-Buffering: no\r\n");
	if (request->stream->kind == STREAM_CHUNKED)
		strbuf_puts(out, "Transfer-Encoding: chunked\r\n");
	(void)MHD_get_response_headers(response, put_header, out);
	strbuf_puts(out, "\r\n");
	MHD_destroy_response(response);
	request->status = is_socket ? 101 : 200;
}

/* A socket for the stream: its own, or with TLS the connection's; -1: there are no more descriptors. */
static int
socket_of(struct request *request, struct stream_offer *offer)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	int fd = info ? info->connect_fd : -1;

	if (!request->shard->tls)
		return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	info = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	offer->tls = info ? info->tls_session : NULL;
	offer->owner = request;
	return fd;
}

static struct stream_filter *
filter_of(const struct stream_ask *ask)
{
	return stream_filter_new(&(struct stream_filter_options){.types = ask->types,
	                                                         .type_count = ask->type_count,
	                                                         .granted = ask->granted,
	                                                         .granted_count = ask->granted_count,
	                                                         .subject = ask->query->subject});
}

static void
hand_over(struct request *request)
{
	struct streams *streams = request->shard->ingress->streams;
	const struct stream_ask *ask = request->stream;
	struct stream_offer offer = {.kind = ask->kind,
	                             .tenant = ask->tenant,
	                             .key_id = request->key->principal.key_id,
	                             .key_tenant = request->key->principal.tenant,
	                             .has_end = request->key->has_end,
	                             .ends_at_ms = request->key->ends_at_ms,
	                             .after = ask->after,
	                             .first = ask->first,
	                             .last = ask->last};
	struct strbuf head;

	offer.fd = socket_of(request, &offer);
	if (offer.fd < 0) {
		struct status st = status_make(STATUS_RESOURCE_EXHAUSTED, "there are too many open connections");
		streams_forgo(streams, ask->tenant);
		respond_status(request, &st);
		return;
	}
	write_head(request, &head);
	offer.filter = filter_of(ask);
	offer.head = head.data;
	offer.head_size = head.length;
	streams_open(streams, &offer);
	if (!offer.owner)
		request_end_stream(request);
}

static void
take_place(struct request *request)
{
	struct ingress *ingress = request->shard->ingress;
	struct status st;

	switch (streams_reserve(ingress->streams, request->stream->tenant)) {
	case STREAM_ADMITTED:
		hand_over(request);
		break;
	case STREAM_TENANT_FULL:
		respond_problem(request, "too-many-streams",
		                arena_printf(&request->arena,
		                             "the tenant has %zu streams open, and may not have more",
		                             ingress->settings.streams_per_tenant));
		break;
	case STREAM_ALL_FULL:
		st =
		    status_make(STATUS_RESOURCE_EXHAUSTED, "%zu streams are open here, and there is room for no more",
		                ingress->settings.streams);
		respond_status(request, &st);
		break;
	}
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
		take_place(request);
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
		take_place(request);
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
	if (request->verb != API_GET) {
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
