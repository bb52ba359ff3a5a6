/*
 * warms: keys that are fetched in advance because a caller says so.
 */
#include <string.h>

#include "cached_internal.h"
#include "corbel/cached.methods.gen.h"
#include "fetches.h"

static void
warm_one(struct cached *self, struct space *space, const struct get *get, Corbel__V1__CacheWarmReply *reply)
{
	bool is_there = get->outcome != GET_MISS && !get->token;
	bool is_fetched = get->is_filling || (get->token && fetches_start(self, space, get->key, get->token));

	reply->present += is_there;
	reply->fetching += !is_there && is_fetched;
}

struct status
cache_warm(struct call *call, const Corbel__V1__CacheWarmRequest *request, Corbel__V1__CacheWarmReply *reply)
{
	struct cached *self = call_service(call);
	struct space *space;
	struct status st = space_of_call(call, request->tenant_id, request->namespace_, false, &space);

	if (!status_ok(&st))
		return st;
	if (!space || !fetches_has_origin(self, space))
		return status_make(STATUS_FAILED_PRECONDITION, "namespace '%s' has no origin", request->namespace_);
	for (size_t i = 0; i < request->n_keys; i++) {
		struct get get = {.key = request->keys[i], .key_length = strlen(request->keys[i]), .may_fill = true};
		engine_get(space, &get, 1, call_arena(call), NULL);
		warm_one(self, space, &get, reply);
	}
	reply->has_present = reply->has_fetching = true;
	return st;
}
