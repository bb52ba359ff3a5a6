/*
 * Any verb, path and query finds a method or none; its parameters lie inside the path and bind or are
 * refused.
 */
#include <assert.h>
#include <string.h>

#include "api/json.h"
#include "api/routes.h"
#include "corbel/contract.gen.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
bind(const struct route_match *match, const char *path, size_t length, const char *query, size_t query_length)
{
	struct violations *found;
	struct arena arena;

	for (size_t i = 0; i < match->param_count; i++)
		assert(match->params[i].value > path &&
		       match->params[i].value + match->params[i].length <= path + length);
	arena_init(&arena, 4096, 4u << 20);
	found = ARENA_NEW(&arena, struct violations);
	ProtobufCMessage *message = arena_alloc(&arena, match->method->request->descriptor->sizeof_message);
	match->method->request->descriptor->message_init(message);
	routes_bind_path(match, message, &arena, found);
	routes_bind_query(query, query_length, match->method->request, message, &arena, found);
	api_validate(message, match->method->request, &arena, found);
	arena_fini(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct routes *routes;
	struct route_match match;
	char allowed[64];

	if (size < 2 || size > 8192)
		return 0;
	if (!routes)
		routes = routes_new(api_services);
	const char *path = (const char *)data + 1;
	const char *question = memchr(path, '?', size - 1);
	size_t length = question ? (size_t)(question - path) : size - 1;
	enum api_verb verb = (enum api_verb)(data[0] % 6);
	enum route_result result = routes_match(routes, verb, path, length, &match);
	assert((routes_allowed(routes, path, length, allowed, sizeof(allowed)) == 0) ==
	       (result == ROUTE_NOT_FOUND));
	if (result == ROUTE_FOUND)
		bind(&match, path, length, question ? question + 1 : "", question ? size - 2 - length : 0);
	return 0;
}
