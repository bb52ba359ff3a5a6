/*
 * forward: forward-auth, the question that a gateway asks about each request.
 *
 * The gateway passes the original request's headers, and its method and path in headers of its own kind or
 * behind our path; the answer is 200 with who it is, or 401, 403 or 429. Only the kind that
 * ingress.forward_headers names is read: the gateway sets those, while a client may send any other. Without
 * them the answer is 400, so that a gateway which is set up wrongly admits nobody.
 */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "forward_rules.h"
#include "ingress_internal.h"

#define CHECK_MS  2000u
#define ROUTE_MAX 256u

/* ---- the original request ---- */

static const struct kind {
	const char *name, *method, *target; /* headers; NULL: our own method, or the path behind ours */
} KINDS[] = {{"original", "X-Original-Method", "X-Original-URI"},
             {"original_url", "X-Original-Method", "X-Original-URL"},
             {"forwarded", "X-Forwarded-Method", "X-Forwarded-Uri"},
             {"path", NULL, NULL}};

struct lines {
	const char *name, *value;
	unsigned count;
};

static enum MHD_Result
count_line(void *closure, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct lines *lines = closure;
	(void)kind;

	if (strcasecmp(name, lines->name) == 0) {
		lines->count++;
		lines->value = value;
	}
	return MHD_YES;
}

/* The header's value, which must be there once: a second one would be the client's. */
static const char *
gateways_header(struct request *request, const char *name)
{
	struct lines lines = {.name = name};

	(void)MHD_get_connection_values(request->connection, MHD_HEADER_KIND, count_line, &lines);
	if (lines.count == 1 && lines.value && lines.value[0])
		return lines.value;
	respond_problem(request, "invalid-argument",
	                arena_printf(&request->arena,
	                             "the gateway must set the header %s once; see ingress.forward_headers",
	                             name));
	return NULL;
}

/* False with an answer given when the gateway does not tell. */
static bool
original(struct request *request, const char **method, const char **path)
{
	const char *chosen = request->shard->ingress->settings.forward_headers;
	const struct kind *kind = KINDS;

	while (strcmp(kind->name, chosen) != 0)
		kind++;
	*method = kind->method ? gateways_header(request, kind->method) : request->verb_text;
	if (!*method)
		return false;
	const char *target =
	    kind->target ? gateways_header(request, kind->target) : request->url + sizeof(FORWARD_PATH) - 1;
	if (target)
		*path = forward_plain_path(&request->arena, target);
	return target != NULL;
}

/* ---- answers ---- */

static void
identify(struct request *request)
{
	const Corbel__Bus__Principal *who = &request->key->principal;
	struct MHD_Response *response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	struct strbuf scopes;

	strbuf_init(&scopes, &request->arena);
	strbuf_add(&scopes, "", 0);
	for (size_t i = 0; i < who->n_scopes; i++)
		strbuf_printf(&scopes, "%s%s", i ? " " : "", who->scopes[i]);
	(void)MHD_add_response_header(response, "X-Corbel-Tenant", who->tenant);
	(void)MHD_add_response_header(response, "X-Corbel-Key-Id", who->key_id);
	if (who->plan)
		(void)MHD_add_response_header(response, "X-Corbel-Plan", who->plan);
	if (scopes.length > 0)
		(void)MHD_add_response_header(response, "X-Corbel-Scopes", scopes.data);
	respond_with(request, 200, response);
}

/* The limits' headers of a check's reply, as the request's own. */
static void
take_limit_headers(struct request *request, const Corbel__Bus__Reply *reply)
{
	for (size_t i = 0; i < reply->n_headers; i++) {
		if (!reply->headers[i]->name || !reply->headers[i]->value)
			continue;
		if (strcmp(reply->headers[i]->name, "RateLimit-Policy") == 0)
			strbuf_puts(&request->policy, reply->headers[i]->value);
		else if (strcmp(reply->headers[i]->name, "RateLimit") == 0)
			strbuf_puts(&request->ratelimit, reply->headers[i]->value);
	}
}

/* Who is known passes without a limit that cannot be asked for, unless all must be refused then. */
static void
undecided(struct request *request, const struct status *st)
{
	counter_add(request->shard->ingress->forward_failures, 1);
	if (request->shard->ingress->settings.forward_on_failure == FORWARD_DENY)
		respond_status(request, st);
	else
		identify(request);
}

/* accountd cannot be asked whose key it is. */
static void
unverified(struct request *request, const struct status *st)
{
	counter_add(request->shard->ingress->forward_failures, 1);
	if (request->shard->ingress->settings.forward_on_failure == FORWARD_ALLOW)
		respond_text(request, 200, NULL, "", 0);
	else
		respond_status(request, st);
}

static void
checked(struct pool_call *call)
{
	struct request *request = call->user;
	struct arena_allocator allocator = arena_allocator(&request->arena);
	ProtobufCAllocator protobuf = {
	    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};
	struct status st = pool_call_status(call);
	Corbel__V1__CheckReply *reply = NULL;

	if (status_ok(&st) && call->reply)
		reply =
		    corbel__v1__check_reply__unpack(&protobuf, call->reply->payload.len, call->reply->payload.data);
	if (st.code == STATUS_NOT_FOUND) {
		identify(request); /* a limit that is not defined limits nothing */
		return;
	}
	if (!reply || reply->n_limits < 1) {
		if (status_ok(&st))
			st = status_make(STATUS_INTERNAL, "the decision cannot be read");
		undecided(request, &st);
		return;
	}
	take_limit_headers(request, call->reply);
	if (reply->allowed) {
		identify(request);
		return;
	}
	usage_add(request->shard->ingress->usage, request->key, true);
	respond_limited(request, reply->limits[0]->limit, reply->limits[0]->retry_after_ms,
	                reply->limits[0]->impossible);
}

static void
take_from_limit(struct request *request)
{
	Corbel__V1__CheckRequest question = CORBEL__V1__CHECK_REQUEST__INIT;
	Corbel__V1__LimitCheck check = CORBEL__V1__LIMIT_CHECK__INIT, *checks[1] = {&check};
	const char *method, *path;

	if (!original(request, &method, &path))
		return;
	const char *limit = forward_rules_find(request->shard->ingress->settings.forward_rules, method, path);
	if (!limit) {
		identify(request);
		return;
	}
	check.limit = (char *)(uintptr_t)limit;
	check.key = request->key->principal.key_id;
	check.route = arena_strndup(&request->arena, path, strnlen(path, ROUTE_MAX));
	question.n_checks = 1;
	question.checks = checks;
	size_t size = corbel__v1__check_request__get_packed_size(&question);
	uint8_t *bytes = arena_alloc_raw(&request->arena, size + 1);
	corbel__v1__check_request__pack(&question, bytes);
	/* Corbel asks, whatever scopes the caller's key has. */
	Corbel__Bus__Principal *asker = ARENA_NEW(&request->arena, Corbel__Bus__Principal);
	*asker = request->key->principal;
	static char *SCOPES[] = {(char *)(uintptr_t) "ratelimits.check"};
	asker->n_scopes = 1;
	asker->scopes = SCOPES;
	request->call = (struct pool_call){.method = RATELIMITS_CHECK->id,
	                                   .is_fast = true,
	                                   .has_route = true,
	                                   .route = hash_stable64(check.key, strlen(check.key), 0),
	                                   .deadline_mono_ms = shard_now_ms(request->shard) + CHECK_MS,
	                                   .request_id = request->request_id,
	                                   .traceparent = request->traceparent,
	                                   .principal = asker,
	                                   .payload = bytes,
	                                   .payload_size = size,
	                                   .done = checked,
	                                   .user = request};
	request_hold(request);
	port_call(request->shard->port, request->shard->ingress->ratelimits, &request->call);
}

void
forward_begin(struct request *request)
{
	request->place = HTTP_FORWARD;
	request->authenticated = take_from_limit;
	request->unverified = unverified;
	caller_authenticate(request);
}
