/*
 * routes: an HTTP verb and path to a method, and the parameters of path and query to its request.
 *
 * Built once from the contract; matching takes no lock and allocates nothing. A literal segment wins
 * over a parameter. "{name...}" takes the rest. Segments are percent-decoded after splitting, so an
 * encoded slash stays inside its segment.
 */
#ifndef CORBEL_API_ROUTES_H
#define CORBEL_API_ROUTES_H

#include <stddef.h>

#include "api/api.h"
#include "api/json.h"
#include "base/arena.h"

#define ROUTE_PARAMS_MAX 4

struct routes;

struct route_param {
	const char *field; /* of the request message */
	const char *value; /* inside the path, still percent-encoded, not NUL-terminated */
	size_t length;
};

struct route_match {
	const struct api_method *method;
	struct route_param params[ROUTE_PARAMS_MAX];
	size_t param_count;
};

enum route_result {
	ROUTE_FOUND,
	ROUTE_NOT_FOUND,
	ROUTE_WRONG_VERB /* the path exists for other verbs: routes_allowed() lists them */
};

/* All methods of the contract that have a path. */
struct routes *routes_new(const struct api_service *const *services);
void routes_free(struct routes *routes);
/* `path` is without its query; an empty segment matches nothing. */
enum route_result routes_match(const struct routes *routes, enum api_verb verb, const char *path,
                               size_t length, struct route_match *out);
/* "GET, PATCH" for an Allow header; returns the length, 0 when the path is unknown. */
size_t routes_allowed(const struct routes *routes, const char *path, size_t length, char *out, size_t size);

/* Sets the fields that path parameters name. A field that the body set too must not differ: the path
 * wins. Wrong percent-encoding and wrong values become violations. */
void routes_bind_path(const struct route_match *match, ProtobufCMessage *message, struct arena *arena,
                      struct violations *violations);
/* Sets fields from a query string ("a=1&b=x%20y", '+' is a space): repeated names append to repeated
 * fields and are violations for others; unknown names are violations. For verbs without a body. */
void routes_bind_query(const char *query, size_t length, const struct api_message *rules,
                       ProtobufCMessage *message, struct arena *arena, struct violations *violations);

#endif
