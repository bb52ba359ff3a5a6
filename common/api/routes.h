/*
 * routes: an HTTP verb and path to a method and its path parameters.
 *
 * Built once from the contract; matching takes no lock and allocates nothing. A literal segment wins
 * over a parameter. "{name...}" takes the rest. Segments are percent-decoded after splitting, so an
 * encoded slash stays inside its segment.
 */
#ifndef CORBEL_API_ROUTES_H
#define CORBEL_API_ROUTES_H

#include <stddef.h>

#include "api/api.h"

#define ROUTE_PARAMS_MAX 4

struct routes;

struct route_param {
	const char *field;    /* of the request message */
	const char *value;    /* inside the path, still percent-encoded, not NUL-terminated */
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
	ROUTE_WRONG_VERB  /* the path exists for other verbs: routes_allowed() lists them */
};

/* All methods of the contract that have a path. */
struct routes *routes_new(const struct api_service *const *services);
void routes_free(struct routes *routes);
enum route_result routes_match(const struct routes *routes, enum api_verb verb, const char *path,
                               size_t length, struct route_match *out);
/* "GET, PATCH" for an Allow header; returns the length, 0 when the path is unknown. */
size_t routes_allowed(const struct routes *routes, const char *path, size_t length, char *out, size_t size);

/* Fills the request's fields from path parameters and, for verbs without a body, from the query
 * string ("a=1&b=x%20y"; repeated names append; unknown names are violations). */
struct route_binding;

#endif
