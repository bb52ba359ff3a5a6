/*
 * request: from its first byte to its end.
 *
 * libmicrohttpd calls the handler when the headers are there, for each piece of the body, when the body is
 * complete, and again after a suspended connection was resumed; the request's state tells which it is.
 */
#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "base/text.h"
#include "connection.h"

#define ARENA_BLOCK   (16u << 10)
#define ARENA_CEILING (64u << 20)
#define SPARE_MAX     1024u
#define HELD_MAX      128u
#define HELD_IDLE_S   5u
#define URL_MAX       8192u

/* ---- memory ---- */

static struct request *
request_new(struct shard *shard)
{
	struct request *request = shard->spare;
	struct arena arena;

	if (request) {
		shard->spare = request->next;
		shard->spare_count--;
		arena = request->arena;
		char *body = request->body;
		size_t capacity = request->body_capacity;
		memset(request, 0, sizeof(*request));
		request->body = body;
		request->body_capacity = capacity;
	} else {
		request = mem_alloc(sizeof(*request));
		arena_init(&arena, ARENA_BLOCK, ARENA_CEILING);
	}
	request->arena = arena;
	request->shard = shard;
	strbuf_init(&request->policy, &request->arena);
	strbuf_init(&request->ratelimit, &request->arena);
	return request;
}

static void
request_free(struct request *request)
{
	arena_fini(&request->arena);
	mem_free(request->body);
	mem_free(request);
}

static void
request_put(struct request *request)
{
	struct shard *shard = request->shard;

	if (request->key)
		key_entry_release(request->key);
	if (request->response)
		MHD_destroy_response(request->response);
	arena_reset(&request->arena);
	/* A large body's memory is not kept for the next small one. */
	if (shard->spare_count >= SPARE_MAX || request->body_capacity > 64u << 10) {
		request_free(request);
		return;
	}
	request->next = shard->spare;
	shard->spare = request;
	shard->spare_count++;
}

void
request_free_spare(struct shard *shard)
{
	while (shard->spare) {
		struct request *request = shard->spare;
		shard->spare = request->next;
		request_free(request);
	}
}

/* ---- beginning ---- */

/* A target in absolute form is read as what a client would send to the origin: RFC 9112 section 3.2.2. */
static const char *
path_of(const char *uri)
{
	bool is_absolute = strncasecmp(uri, "http://", 7) == 0 || strncasecmp(uri, "https://", 8) == 0;
	if (!is_absolute)
		return uri;
	const char *path = strchr(strstr(uri, "//") + 2, '/');
	return path ? path : "/";
}

void *
request_url(void *arg, const char *uri, struct MHD_Connection *http)
{
	struct shard *shard = arg;
	struct connection *link = connection_of(http);
	struct request *request = request_new(shard);

	request->connection = http;
	request->link = link;
	request->started_ns = clock_mono_ns(shard->ingress->env.clock);
	uri = path_of(uri);
	request->url = strnlen(uri, URL_MAX + 1) <= URL_MAX ? arena_strdup(&request->arena, uri) : NULL;
	if (link) {
		link->request = request;
		link->since_ms = request->started_ns / 1000000;
	}
	atomic_fetch_add_explicit(&shard->active, 1, memory_order_relaxed);
	gauge_add(shard->ingress->active, 1);
	return request;
}

const char *
request_header(const struct request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

static enum api_verb
verb_of(const char *text)
{
	static const char *const NAMES[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
	for (int i = 0; i < 5; i++)
		if (strcmp(text, NAMES[i]) == 0)
			return (enum api_verb)(API_GET + i);
	return strcmp(text, "HEAD") == 0 ? API_GET : API_NONE;
}

static bool
is_good_id(const char *text)
{
	size_t length = strnlen(text, 64);
	static const char GOOD[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	return length > 0 && length < 64 && strspn(text, GOOD) == length;
}

static void
take_request_id(struct request *request)
{
	static const char DIGITS[] = "0123456789abcdef";
	const char *given = request_header(request, "X-Request-Id");

	if (given && is_good_id(given)) {
		snprintf(request->request_id, sizeof(request->request_id), "%s", given);
		return;
	}
	uint64_t words[2] = {random_fast_u64(), random_fast_u64()};
	memcpy(request->request_id, "req_", 4);
	for (int i = 0; i < 32; i++)
		request->request_id[4 + i] = DIGITS[words[i / 16] >> (4 * (i % 16)) & 15];
	request->request_id[36] = '\0';
}

static void
begin(struct request *request, const char *method)
{
	request->verb_text = method;
	request->verb = verb_of(method);
	take_request_id(request);
	request_span_begin(request);
	caller_take_address(request);
	if (request->url) {
		const char *question = strchr(request->url, '?');
		request->path_length = question ? (size_t)(question - request->url) : strlen(request->url);
		request->query = question ? question + 1 : NULL;
	}
}

static void
take_body(struct request *request, const char *data, size_t size)
{
	size_t max = request->shard->ingress->settings.body_max;

	if (request->is_too_large || size > max - request->body_size) {
		request->is_too_large = true;
		return;
	}
	if (request->body_size + size > request->body_capacity) {
		size_t capacity = request->body_capacity ? request->body_capacity : 1024;
		while (capacity < request->body_size + size)
			capacity *= 2;
		request->body = mem_resize(request->body, capacity, 1);
		request->body_capacity = capacity;
	}
	memcpy(request->body + request->body_size, data, size);
	request->body_size += size;
}

static bool
is_announced_too_large(const struct request *request)
{
	const char *text = request_header(request, "Content-Length");
	uint64_t length;
	return text && text_to_u64(text, strlen(text), &length) &&
	       length > request->shard->ingress->settings.body_max;
}

static enum MHD_Result
send_response(struct request *request)
{
	struct MHD_Response *response = request->response;
	/* Clients that keep connections go to another replica, or come back. */
	if (atomic_load_explicit(&request->shard->ingress->is_leaving, memory_order_relaxed))
		(void)MHD_add_response_header(response, "Connection", "close");
	enum MHD_Result result = MHD_queue_response(request->connection, request->status, response);
	MHD_destroy_response(response);
	request->response = NULL;
	if (request->link)
		request->link->since_ms = request->shard->turn_ms;
	return result;
}

/* The connection ends with the answer: what comes of the body is not read. */
static enum MHD_Result
answer_early(struct request *request)
{
	if (request->link)
		request->link->has_unread =
		    request_header(request, "Content-Length") || request_header(request, "Transfer-Encoding");
	return send_response(request);
}

/* ---- deciding ---- */

static void
method_not_allowed(struct request *request)
{
	char allowed[64];
	size_t length = routes_allowed(request->shard->ingress->routes, request->url, request->path_length,
	                               allowed, sizeof(allowed));
	respond_wrong_verb(request, length > 0 ? allowed : "");
}

static void
dispatch(struct request *request)
{
	struct ingress *ingress = request->shard->ingress;

	if (atomic_load(&request->shard->is_stopping)) { /* nobody is left to wait for an answer of the bus */
		struct status st = status_make(STATUS_UNAVAILABLE, "the ingress is stopping");
		respond_status(request, &st);
		return;
	}
	if (request->is_too_large) {
		respond_problem(
		    request, "content-too-large",
		    arena_printf(&request->arena, "the body must be at most %zu bytes", ingress->settings.body_max));
		return;
	}
	request->place = HTTP_PAGE; /* unless it says otherwise itself */
	if (pages_serve(request))
		return;
	request->place = HTTP_NONE;
	switch (
	    routes_match(ingress->routes, request->verb, request->url, request->path_length, &request->match)) {
	case ROUTE_FOUND:
		request->method = request->match.method;
		request->place = HTTP_METHOD;
		request->authenticated = call_begin;
		if (request->method->is_public)
			call_begin(request);
		else
			caller_authenticate(request);
		break;
	case ROUTE_WRONG_VERB:
		method_not_allowed(request);
		break;
	default:
		respond_problem(request, "not-found", "there is nothing at this path");
		break;
	}
}

void
request_wait(struct request *request)
{
	if (request->state == REQUEST_WAITING)
		return;
	request->state = REQUEST_WAITING;
	MHD_suspend_connection(request->connection);
}

/* Suspending and resuming costs two system calls. A connection that is not suspended and not answered is
 * asked about again in each turn of the loop, which for few connections costs next to nothing. */
void
request_hold(struct request *request)
{
	struct shard *shard = request->shard;

	/* libmicrohttpd's idle time runs on for them. */
	bool is_patient = shard->ingress->settings.idle_s >= HELD_IDLE_S;

	if (request->state == REQUEST_WAITING || shard->held >= HELD_MAX || !is_patient) {
		request_wait(request);
		return;
	}
	request->state = REQUEST_WAITING;
	request->is_held = true;
	shard->held++;
}

void
request_end_stream(struct request *request)
{
	if (request->is_orphan) {
		request_put(request);
		return;
	}
	request->state = REQUEST_TAKEN;
	MHD_resume_connection(request->connection);
}

/* Once for each request: when it ends, or becomes a stream. */
static void
account(struct request *request, uint64_t now_ns)
{
	struct ingress *ingress = request->shard->ingress;

	if (request->is_accounted)
		return;
	request->is_accounted = true;
	http_metrics_count(ingress->http, request->place, request->method, request->status,
	                   (double)(now_ns - request->started_ns) / 1e9);
	request_span_end(request);
}

void
request_lend(struct request *request)
{
	account(request, clock_mono_ns(request->shard->ingress->env.clock));
	request->is_lent = true;
}

void
request_lighten(struct request *request)
{
	request->is_lent = false;
	if (request->key)
		key_entry_release(request->key);
	mem_free(request->body);
	arena_fini(&request->arena);
	request->key = NULL;
	request->body = NULL;
	request->body_capacity = 0;
	request->url = request->query = NULL;
	request->stream = NULL;
	request->message = NULL;
}

void
request_end_orphan(struct request *request)
{
	request_put(request);
}

enum MHD_Result
request_handle(void *arg, struct MHD_Connection *http, const char *url, const char *method,
               const char *version, const char *data, size_t *size, void **closure)
{
	struct request *request = *closure;
	(void)arg;
	(void)http;
	(void)url;

	if (request->state == REQUEST_ANSWERED) {
		request->shard->has_unsent = true;
		return request->response ? send_response(request) : MHD_YES;
	}
	if (request->state == REQUEST_WAITING)
		return MHD_YES;
	if (request->state == REQUEST_TAKEN)
		return MHD_NO;
	if (!request->verb_text) {
		begin(request, method);
		request->is_http_1_0 = strcmp(version, MHD_HTTP_VERSION_1_1) != 0;
		if (!head_check(request, version))
			return answer_early(request);
		/* Refused before the body is sent: who expects "100 Continue" saves it. */
		if (is_announced_too_large(request)) {
			request->is_too_large = true;
			dispatch(request);
			return answer_early(request);
		}
		return MHD_YES;
	}
	if (*size > 0) {
		take_body(request, data, *size);
		*size = 0;
		return MHD_YES;
	}
	dispatch(request);
	return request->state == REQUEST_ANSWERED ? send_response(request) : MHD_YES;
}

void
request_ended(void *arg, struct MHD_Connection *http, void **closure, enum MHD_RequestTerminationCode code)
{
	struct shard *shard = arg;
	struct request *request = *closure;
	(void)http;
	(void)code;

	if (!request)
		return;
	uint64_t now_ns = clock_mono_ns(shard->ingress->env.clock);
	if (request->link) {
		request->link->request = NULL;
		request->link->since_ms = now_ns / 1000000;
	}
	account(request, now_ns);
	gauge_add(shard->ingress->active, -1);
	atomic_fetch_sub_explicit(&shard->active, 1, memory_order_relaxed);
	*closure = NULL;
	if (request->state == REQUEST_TAKEN)
		stream_let_go(request);
	/* The client hung up while its call is under way: the answer ends it. */
	if (request->state == REQUEST_WAITING) {
		request->is_orphan = true;
		return;
	}
	request_put(request);
}
