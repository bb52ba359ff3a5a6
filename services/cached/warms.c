/*
 * warms: keys that are fetched in advance because a caller says so.
 */
#include <string.h>

#include "cached_internal.h"
#include "fetches.h"
#include "fleet.h"

static void
warm_one(struct cached *self, struct space *space, const struct get *get, Corbel__V1__CacheWarmReply *reply)
{
	bool is_there = get->outcome != GET_MISS && !get->token;
	bool is_fetched = get->is_filling || (get->token && fetches_start(self, space, get->key, get->token));

	reply->present += is_there;
	reply->fetching += !is_there && is_fetched;
}

struct warm {
	struct reading reading; /* first */
	struct call *call;
};

static void
start_fetches(struct reading *reading)
{
	struct call *call = ((struct warm *)reading)->call;
	Corbel__V1__CacheWarmReply *reply = (Corbel__V1__CacheWarmReply *)call_reply(call);

	for (size_t i = 0; i < reading->count; i++)
		warm_one(call_service(call), reading->space, &reading->gets[i], reply);
	reply->has_present = reply->has_fetching = true;
	call_end(call, status_ok_value());
}

/* Values are of no interest, so what has no room is as good as the rest. */
static void
warm(struct cached *self, struct call *call, struct space *space)
{
	const Corbel__V1__CacheWarmRequest *request = (const Corbel__V1__CacheWarmRequest *)call_request(call);
	struct arena *arena = call_arena(call);
	struct warm *warm = ARENA_NEW(arena, struct warm);
	bool is_shared = false;

	warm->call = call;
	warm->reading = (struct reading){.space = space,
	                                 .gets = ARENA_ARRAY(arena, struct get, request->n_keys),
	                                 .count = request->n_keys,
	                                 .arena = arena,
	                                 .has_room = true,
	                                 .done = start_fetches};
	for (size_t i = 0; i < request->n_keys; i++) {
		struct get *get = &warm->reading.gets[i];
		*get =
		    (struct get){.key = request->keys[i], .key_length = strlen(request->keys[i]), .may_fill = true};
		engine_get(space, get, 1, arena, NULL);
		is_shared = is_shared || get->is_shared;
	}
	if (is_shared)
		fleet_read(self->fleet, &warm->reading);
	else
		start_fetches(&warm->reading);
}

static void
warm_call(struct cached *self, struct call *call)
{
	const Corbel__V1__CacheWarmRequest *request = (const Corbel__V1__CacheWarmRequest *)call_request(call);
	struct space *space;
	struct status st = space_of_call(call, request->tenant_id, request->namespace_, false, &space);

	if (status_ok(&st) && (!space || !fetches_has_origin(self, space)))
		st = status_make(STATUS_FAILED_PRECONDITION, "namespace '%s' has no origin", request->namespace_);
	if (status_ok(&st))
		warm(self, call, space);
	else
		call_end(call, st);
}

void
cache_warm_batch(void *arg, struct call *calls[], size_t count)
{
	for (size_t i = 0; i < count; i++)
		warm_call(arg, calls[i]);
}
