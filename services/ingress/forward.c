/*
 * forward: forward-auth, the question that a gateway asks about each request.
 *
 * The gateway passes the original request's headers, and its method and path in headers of its own kind;
 * the answer is 200 with who it is, or 401, 403 or 429. The limit to take from is chosen by method and
 * path from option ingress.forward_limits; a request that no entry fits is only identified.
 */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "ingress_internal.h"

#define CHECK_MS 2000u

static const char *
first_header(const struct request *request, const char *const *names)
{
	for (; *names; names++) {
		const char *value = request_header(request, *names);
		if (value && value[0])
			return value;
	}
	return NULL;
}

/* nginx: X-Original-Method and X-Original-URI; Traefik and Caddy: X-Forwarded-Method and -Uri; Envoy puts
 * the path behind ours and keeps the method. */
static void
original(const struct request *request, const char **method, const char **path)
{
	static const char *const METHODS[] = {"X-Original-Method", "X-Forwarded-Method", NULL};
	static const char *const PATHS[] = {"X-Original-URI", "X-Forwarded-Uri", "X-Original-Url", NULL};

	*method = first_header(request, METHODS);
	*path = first_header(request, PATHS);
	if (!*method)
		*method = request->verb_text;
	if (!*path)
		*path = request->url + sizeof(FORWARD_PATH) - 1;
}

/* An entry is "METHOD PATTERN = LIMIT"; "*" is any method, and the pattern is a shell glob over the path
 * without its query. The first that fits wins. */
static const char *
limit_for(const struct request *request, const char *method, const char *path)
{
	const char *const *entries = request->shard->ingress->settings.forward_limits;
	char bare[1024];

	snprintf(bare, sizeof(bare), "%.*s", (int)strcspn(path, "?#"), path);
	for (; *entries; entries++) {
		char verb[16], pattern[512];
		if (sscanf(*entries, "%15s %511s", verb, pattern) != 2)
			continue;
		const char *equals = strstr(*entries, " = ");
		if (!equals || (strcmp(verb, "*") != 0 && strcasecmp(verb, method) != 0))
			continue;
		if (fnmatch(pattern, bare, 0) == 0)
			return equals + 3;
	}
	return NULL;
}

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
	if (!reply || reply->n_limits < 1) {
		/* A limit that is not defined limits nothing; a ratelimitd that is away is the limits' own
		 * policy's business, and without one the gateway's traffic goes on. */
		identify(request);
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

	original(request, &method, &path);
	const char *limit = limit_for(request, method, path);
	if (!limit) {
		identify(request);
		return;
	}
	check.limit = (char *)(uintptr_t)limit;
	check.key = request->key->principal.key_id;
	check.route = arena_strndup(&request->arena, path, strcspn(path, "?#") < 256 ? strcspn(path, "?#") : 256);
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
	request_wait(request);
	port_call(request->shard->port, request->shard->ingress->ratelimits, &request->call);
}

void
forward_begin(struct request *request)
{
	request->place = HTTP_FORWARD;
	request->authenticated = take_from_limit;
	request_authenticate(request);
}
