/*
 * respond: from outcomes to HTTP responses.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cloudevents.h"
#include "cors.h"
#include "http/problem.h"
#include "http/ratelimit_headers.h"

static void
add_header(struct MHD_Response *response, const char *name, const char *value)
{
	(void)MHD_add_response_header(response, name, value);
}

static void
add_x_headers(struct request *request, struct MHD_Response *response)
{
	/* The first item of each list, in the older form that some clients read. */
	const char *quota = strstr(request->policy.data, ";q="), *left = strstr(request->ratelimit.data, ";r=");
	const char *reset = strstr(request->ratelimit.data, ";t=");
	if (quota)
		add_header(response, "X-RateLimit-Limit",
		           arena_strndup(&request->arena, quota + 3, strspn(quota + 3, "0123456789")));
	if (left)
		add_header(response, "X-RateLimit-Remaining",
		           arena_strndup(&request->arena, left + 3, strspn(left + 3, "0123456789")));
	if (reset)
		add_header(response, "X-RateLimit-Reset",
		           arena_strndup(&request->arena, reset + 3, strspn(reset + 3, "0123456789")));
}

/* A method's own headers; those of limits join the lists of the plan's. */
static void
add_reply_headers(struct request *request, const Corbel__Bus__Reply *reply, struct MHD_Response *response)
{
	for (size_t i = 0; i < reply->n_headers; i++) {
		const char *name = reply->headers[i]->name, *value = reply->headers[i]->value;
		bool is_policy = name && strcmp(name, "RateLimit-Policy") == 0;
		bool is_limit = name && strcmp(name, "RateLimit") == 0;
		if (!name || !value)
			continue;
		if (is_policy || is_limit) {
			struct strbuf *list = is_policy ? &request->policy : &request->ratelimit;
			if (list->length > 0)
				strbuf_puts(list, ", ");
			strbuf_puts(list, value);
		} else {
			add_header(response, name, value);
		}
	}
}

void
respond_add_headers(struct request *request, struct MHD_Response *response)
{
	if (request->reply)
		add_reply_headers(request, request->reply, response);
	add_header(response, "X-Request-Id", request->request_id);
	if (request->traceparent[0])
		add_header(response, "traceparent", request->traceparent);
	if (request->policy.length > 0) {
		add_header(response, "RateLimit-Policy", request->policy.data);
		add_header(response, "RateLimit", request->ratelimit.data);
		if (request->shard->ingress->settings.has_x_headers)
			add_x_headers(request, response);
	}
	/* What a key may see is not for caches, which do not know X-API-Key as Authorization, unless the method
	 * says what they may do. */
	if ((request->method || request->stream) && !MHD_get_response_header(response, "Cache-Control"))
		add_header(response, "Cache-Control", "no-store");
	cors_add(request, response);
}

void
respond_with(struct request *request, unsigned http, struct MHD_Response *response)
{
	bool was_suspended = request->state == REQUEST_WAITING && !request->is_held;

	if (request->is_held)
		request->shard->held--;
	request->is_held = false;
	if (request->is_orphan) {
		MHD_destroy_response(response);
		request_end_orphan(request);
		return;
	}
	respond_add_headers(request, response);
	request->response = response;
	request->status = http;
	request->state = REQUEST_ANSWERED;
	if (was_suspended)
		MHD_resume_connection(request->connection);
}

static struct MHD_Response *
text_response(const char *type, const char *text, size_t size)
{
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(size, (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
	if (type && size > 0)
		add_header(response, "Content-Type", type);
	return response;
}

void
respond_text(struct request *request, unsigned http, const char *type, const char *text, size_t size)
{
	respond_with(request, http, text_response(type, text, size));
}

void
respond_wrong_verb(struct request *request, const char *allowed)
{
	bool is_options = strcmp(request->verb_text, "OPTIONS") == 0;

	if (is_options && cors_preflight(request, allowed))
		return;
	if (is_options)
		respond_text(request, 204, NULL, "", 0);
	else
		respond_problem(request, "method-not-allowed", NULL);
	if (allowed[0])
		add_header(request->response, "Allow", allowed);
}

/* The members that every problem has; the object stays open. */
static void
problem_open(struct request *request, const struct problem *problem, const char *code, const char *detail,
             struct strbuf *out)
{
	strbuf_puts(out, "{\"type\":\"");
	problem_put_type(problem, out);
	strbuf_puts(out, "\",\"title\":");
	strbuf_json_string(out, problem->title, strlen(problem->title));
	strbuf_puts(out, ",\"status\":");
	strbuf_u64(out, problem->http);
	if (detail && detail[0]) {
		strbuf_puts(out, ",\"detail\":");
		strbuf_json_string(out, detail, strlen(detail));
	}
	if (code)
		strbuf_printf(out, ",\"code\":\"%s\"", code);
	strbuf_puts(out, ",\"request_id\":");
	strbuf_json_string(out, request->request_id, strlen(request->request_id));
}

static void
problem_send(struct request *request, unsigned http, struct strbuf *body, uint64_t retry_ms)
{
	strbuf_putc(body, '}');
	struct MHD_Response *response = text_response("application/problem+json", body->data, body->length);
	if (http == 401)
		add_header(response, "WWW-Authenticate", "Bearer realm=\"corbel\"");
	if (retry_ms > 0)
		add_header(response, "Retry-After",
		           arena_printf(&request->arena, "%llu", (unsigned long long)retry_after_seconds(retry_ms)));
	respond_with(request, http, response);
}

void
respond_problem(struct request *request, const char *slug, const char *detail)
{
	const struct problem *problem = problem_named(slug);
	struct strbuf body;
	strbuf_init(&body, &request->arena);
	problem_open(request, problem, NULL, detail, &body);
	problem_send(request, problem->http, &body, 0);
}

/* Failures between the ingress and a service; those inside one are in the service's own log. */
static void
log_failure(const struct request *request, const struct problem *problem, const struct status *st)
{
	if (problem->http < 500)
		return;
	log_warn(request->shard->ingress->env.log, "request failed", LOG_TEXT("request_id", request->request_id),
	         LOG_TEXT("method", request->verb_text),
	         LOG_TEXT("route", request->method   ? request->method->path
	                           : request->stream ? STREAM_PATH
	                                             : FORWARD_PATH),
	         LOG_U64("http_status", problem->http), LOG_STATUS(st));
}

/* What is still under way when the ingress ends is not what its caller gave up. */
static struct status
as_seen_by_caller(const struct request *request, const struct status *st)
{
	if (st->code == STATUS_CANCELLED && atomic_load(&request->shard->ingress->is_closing))
		return status_make(STATUS_UNAVAILABLE, "this ingress is stopping");
	return *st;
}

void
respond_status(struct request *request, const struct status *given)
{
	const struct status seen = as_seen_by_caller(request, given), *st = &seen;
	/* A refusal that our own queues give is not the caller's quota. */
	struct problem problem =
	    problem_of(st->code, st->code == STATUS_RESOURCE_EXHAUSTED ? "overloaded" : NULL);
	struct strbuf body;
	log_failure(request, &problem, st);
	strbuf_init(&body, &request->arena);
	problem_open(request, &problem, status_code_name(st->code), st->message, &body);
	problem_send(request, problem.http, &body, problem.http == 503 ? 1000 : 0);
}

static void
put_error(struct strbuf *body, bool is_first, const char *pointer, const char *detail)
{
	strbuf_puts(body, is_first ? ",\"errors\":[{\"pointer\":" : ",{\"pointer\":");
	strbuf_json_string(body, pointer, strlen(pointer));
	strbuf_puts(body, ",\"detail\":");
	strbuf_json_string(body, detail, strlen(detail));
	strbuf_putc(body, '}');
}

void
respond_violations(struct request *request, const struct violations *violations)
{
	struct status st = violations_status(violations);
	struct problem problem = problem_of(st.code, NULL);
	struct strbuf body;

	strbuf_init(&body, &request->arena);
	problem_open(request, &problem, status_code_name(st.code), st.message, &body);
	for (size_t i = 0; i < violations->count; i++)
		put_error(&body, i == 0, violations->items[i].pointer, violations->items[i].detail);
	if (violations->count > 0)
		strbuf_putc(&body, ']');
	counter_add(request->shard->ingress->bad_requests, 1);
	problem_send(request, problem.http, &body, 0);
}

void
respond_limited(struct request *request, const char *limit, uint64_t retry_ms, bool is_for_good)
{
	struct problem problem = problem_of(STATUS_RESOURCE_EXHAUSTED, NULL);
	struct strbuf body;

	strbuf_init(&body, &request->arena);
	problem_open(request, &problem, "RESOURCE_EXHAUSTED", NULL, &body);
	strbuf_puts(&body, ",\"violated-policies\":[");
	strbuf_json_string(&body, limit, strlen(limit));
	strbuf_putc(&body, ']');
	counter_add(request->shard->ingress->limited, 1);
	problem_send(request, problem.http, &body, is_for_good ? 0 : retry_ms ? retry_ms : 1);
}

static void
respond_failure(struct request *request, const Corbel__Bus__Reply *reply)
{
	enum status_code code = status_code_from_wire(reply->code);
	struct problem problem = problem_of(code, reply->problem);
	struct strbuf body;

	strbuf_init(&body, &request->arena);
	problem_open(request, &problem, status_code_name(code), reply->message, &body);
	for (size_t i = 0; i < reply->n_violations; i++) {
		const char *pointer = reply->violations[i]->pointer ? reply->violations[i]->pointer : "";
		if (request->said_as != CLOUDEVENT_NONE)
			pointer = cloudevent_pointer(pointer, request->said_as, &request->arena);
		put_error(&body, i == 0, pointer, reply->violations[i]->detail ? reply->violations[i]->detail : "");
	}
	if (reply->n_violations > 0)
		strbuf_putc(&body, ']');
	problem_send(request, problem.http, &body, reply->retry_after_ms);
}

static ProtobufCMessage *
unpack_reply(struct request *request, const Corbel__Bus__Reply *reply)
{
	struct arena_allocator allocator = arena_allocator(&request->arena);
	ProtobufCAllocator protobuf = {
	    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};
	return protobuf_c_message_unpack(request->method->reply->descriptor, &protobuf, reply->payload.len,
	                                 reply->payload.data);
}

/* The answer's body; returns its type. */
static const char *
put_message(struct request *request, const ProtobufCMessage *message, struct strbuf *body)
{
	if (request->answered_as != CLOUDEVENT_NONE)
		return cloudevents_write(request, message, body);
	if (request->method->success != 204)
		json_from_message(message, request->method->reply, NULL, body);
	return "application/json";
}

void
respond_reply(struct request *request, const Corbel__Bus__Reply *reply)
{
	struct strbuf body;

	if (reply->code != 0) {
		respond_failure(request, reply);
		return;
	}
	ProtobufCMessage *message = unpack_reply(request, reply);
	if (!message) {
		struct status st = status_make(STATUS_INTERNAL, "the service's answer cannot be read");
		respond_status(request, &st);
		return;
	}
	request->reply = reply;
	if (request->method->raw_answer) {
		raw_respond(request, message);
		return;
	}
	strbuf_init(&body, &request->arena);
	const char *type = put_message(request, message, &body);
	struct MHD_Response *response = text_response(type, body.data ? body.data : "", body.length);
	const char *link = cloudevents_link(request, message);
	if (link)
		add_header(response, "Link", link);
	respond_with(request, request->method->success, response);
}
