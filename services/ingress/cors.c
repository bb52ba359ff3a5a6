/*
 * cors: see cors.h.
 */
#include "cors.h"

#include <string.h>

#include "ingress_internal.h"

/* What the API reads, and what it says, beyond the headers that every page may use. */
#define REQUEST_HEADERS                                                                                      \
	"Authorization, X-API-Key, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-Id, traceparent"
#define EXPOSED_HEADERS                                                                                      \
	"RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, "             \
	"Retry-After, "                                                                                          \
	"WWW-Authenticate, Link, X-Request-Id, traceparent"
#define PREFLIGHT_KEPT_S "600"

static bool
is_origin(const char *text)
{
	size_t scheme = strncmp(text, "http://", 7) == 0 ? 7 : strncmp(text, "https://", 8) == 0 ? 8 : 0;
	return strcmp(text, "*") == 0 ||
	       (scheme > 0 && text[scheme] && text[scheme + strcspn(text + scheme, "/?#@, ")] == '\0');
}

const char *
cors_check(const char *const *origins)
{
	while (*origins && is_origin(*origins))
		origins++;
	return *origins;
}

/* What Access-Control-Allow-Origin says; NULL: the origin is not allowed, or there is none. */
static const char *
allowed_origin(const struct request *request)
{
	const char *const *origins = request->shard->ingress->settings.cors_origins;
	const char *origin = *origins ? request_header(request, "Origin") : NULL;

	for (; origin && *origins; origins++) {
		if (strcmp(*origins, "*") == 0)
			return "*";
		if (strcmp(*origins, origin) == 0)
			return origin;
	}
	return NULL;
}

bool
cors_admits(const struct request *request)
{
	const char *origin = request_header(request, "Origin"), *host = request_header(request, "Host");
	const char *authority = origin ? strstr(origin, "://") : NULL;

	return !origin || allowed_origin(request) ||
	       (authority && host && strcasecmp(authority + strlen("://"), host) == 0);
}

static void
add(struct MHD_Response *response, const char *name, const char *value)
{
	(void)MHD_add_response_header(response, name, value);
}

bool
cors_preflight(struct request *request, const char *allowed)
{
	if (!allowed[0] || !allowed_origin(request) || !request_header(request, "Access-Control-Request-Method"))
		return false;
	struct MHD_Response *response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	add(response, "Access-Control-Allow-Methods", allowed);
	add(response, "Access-Control-Allow-Headers", REQUEST_HEADERS);
	add(response, "Access-Control-Max-Age", PREFLIGHT_KEPT_S);
	respond_with(request, 204, response);
	return true;
}

void
cors_add(const struct request *request, struct MHD_Response *response)
{
	const char *const *origins = request->shard->ingress->settings.cors_origins;
	const char *allowed = allowed_origin(request);

	/* A cache must not give one origin the answer to another. */
	if (*origins && strcmp(*origins, "*") != 0)
		add(response, "Vary", "Origin");
	if (!allowed)
		return;
	add(response, "Access-Control-Allow-Origin", allowed);
	add(response, "Access-Control-Expose-Headers", EXPOSED_HEADERS);
}
