/*
 * changes: what else is done to entries: deleting, expiring, counting, invalidating.
 */
#include <string.h>

#include "cached_internal.h"
#include "corbel/cached.methods.gen.h"
#include "fetches.h"

typedef Corbel__V1__CacheFoundReply FoundReply;
typedef Corbel__V1__CacheKeyRequest KeyRequest;

static struct status
found(FoundReply *reply, bool is_found)
{
	reply->has_found = true;
	reply->found = is_found;
	return status_ok_value();
}

struct status
cache_delete(struct call *call, const KeyRequest *request, FoundReply *reply)
{
	struct space *space;
	struct status st = space_of_call(call, request->tenant_id, request->namespace_, false, &space);

	if (!status_ok(&st))
		return st;
	return found(reply, space && engine_delete(space, request->key, strlen(request->key)));
}

struct status
cache_delete_many(struct call *call, const Corbel__V1__CacheKeysRequest *request,
                  Corbel__V1__CacheCountReply *reply)
{
	struct space *space;
	struct status st = space_of_call(call, request->tenant_id, request->namespace_, false, &space);

	reply->has_found = true;
	for (size_t i = 0; i < request->n_keys && status_ok(&st) && space; i++)
		reply->found += engine_delete(space, request->keys[i], strlen(request->keys[i]));
	return st;
}

struct status
cache_expire(struct call *call, const KeyRequest *request, FoundReply *reply)
{
	struct space *space;
	struct status st = space_of_call(call, request->tenant_id, request->namespace_, false, &space);

	if (!status_ok(&st))
		return st;
	return found(reply, space && engine_expire(space, request->key, strlen(request->key)));
}

struct status
cache_touch(struct call *call, const Corbel__V1__CacheTouchRequest *request, FoundReply *reply)
{
	struct space *space;
	struct status st = space_of_call(call, request->tenant_id, request->namespace_, false, &space);

	if (!status_ok(&st))
		return st;
	return found(reply, space && engine_touch(space, request->key, strlen(request->key),
	                                          request->has_ttl_ms ? request->ttl_ms : ENGINE_DEFAULT_MS));
}

struct status
cache_release(struct call *call, const Corbel__V1__CacheReleaseRequest *request, FoundReply *reply)
{
	struct space *space;
	struct status st = space_of_call(call, request->tenant_id, request->namespace_, false, &space);

	if (!status_ok(&st))
		return st;
	return found(reply, space && engine_release(space, request->key, strlen(request->key),
	                                            token_read(request->lease)));
}

struct status
cache_incr(struct call *call, const Corbel__V1__CacheIncrRequest *request, Corbel__V1__CacheIncrReply *reply)
{
	struct incr incr = {.key = request->key,
	                    .key_length = strlen(request->key),
	                    .by = request->has_by ? request->by : 1,
	                    .initial = request->initial,
	                    .ttl_ms = request->has_ttl_ms ? request->ttl_ms : ENGINE_DEFAULT_MS};
	struct space *space;
	struct status st = space_of_call(call, request->tenant_id, request->namespace_, true, &space);

	if (!status_ok(&st))
		return st;
	engine_incr(space, &incr);
	switch (incr.outcome) {
	case INCR_NOT_A_NUMBER:
		return status_make(STATUS_FAILED_PRECONDITION, "the value is no whole number of 64 bits");
	case INCR_OVERFLOW:
		return status_make(STATUS_OUT_OF_RANGE, "the sum would need more than 64 bits");
	case INCR_TOO_LARGE:
		return status_make(STATUS_INVALID_ARGUMENT, "the entry is larger than the namespace takes");
	default:
		break;
	}
	reply->has_value = reply->has_version = true;
	reply->value = incr.value;
	reply->version = incr.version;
	return st;
}

/* ---- in advance ---- */

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

/* ---- many entries by one word ---- */

static struct status
invalidate_patterns(struct call *call, struct space *space, const Corbel__V1__CacheInvalidateRequest *request,
                    uint64_t *version)
{
	struct status st = status_ok_value();

	for (size_t i = 0; i < request->n_patterns && status_ok(&st); i++) {
		const char *pattern = request->patterns[i];
		st = engine_invalidate_glob(space, pattern, strlen(pattern), version);
		if (!status_ok(&st))
			call_violation(call, arena_printf(call_arena(call), "/patterns/%zu", i), "%s", st.message);
	}
	return st;
}

struct status
cache_invalidate(struct call *call, const Corbel__V1__CacheInvalidateRequest *request,
                 Corbel__V1__CacheInvalidateReply *reply)
{
	uint64_t *version = &reply->version;
	struct space *space;
	struct status st = space_of_call(call, request->tenant_id, request->namespace_, true, &space);

	if (!status_ok(&st))
		return st;
	if (request->n_tags + request->n_prefixes + request->n_patterns == 0 && !request->everything) {
		call_violation(call, "", "one of tags, prefixes, patterns and everything has to be there");
		return status_make(STATUS_INVALID_ARGUMENT,
		                   "one of tags, prefixes, patterns and everything has to be there");
	}
	/* Patterns are what can be wrong, so they come first. */
	st = invalidate_patterns(call, space, request, version);
	if (!status_ok(&st))
		return st;
	for (size_t i = 0; i < request->n_tags; i++)
		*version = engine_invalidate_tag(space, request->tags[i], strlen(request->tags[i]));
	for (size_t i = 0; i < request->n_prefixes; i++)
		*version = engine_invalidate_prefix(space, request->prefixes[i], strlen(request->prefixes[i]));
	if (request->everything)
		*version = engine_invalidate_all(space);
	reply->has_version = true;
	return st;
}
