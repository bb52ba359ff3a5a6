/*
 * lookups: what a question for a key comes to, where the value is made by callers and where by an origin.
 *
 * In a namespace with an origin the cache itself wants every token, unless the caller asks for it.
 */
#include <string.h>

#include "cached_internal.h"
#include "fetches.h"

void
lookup_init(struct cached *self, struct lookup *lookup, struct get *get)
{
	const Corbel__V1__CacheGetRequest *request = lookup->request;

	lookup->has_origin = lookup->space && fetches_has_origin(self, lookup->space);
	lookup->has_failed = lookup->has_origin && fetches_has_failed(self, lookup->space, request->key);
	*get = (struct get){.key = request->key,
	                    .key_length = strlen(request->key),
	                    .may_fill = request->lease || lookup->has_origin,
	                    .has_failed = request->origin_failed || lookup->has_failed};
}

void
lookup_follow(struct cached *self, struct lookup *lookup, struct get *get)
{
	if (!get->token || !lookup->has_origin || lookup->request->lease)
		return;
	get->is_filling = fetches_start(self, lookup->space, get->key, get->token);
	lookup->has_failed = !get->is_filling;
	get->token = 0;
}

bool
lookup_is_over(const struct lookup *lookup, const struct get *get)
{
	return lookup->has_origin && lookup->has_failed && !get->is_filling;
}

void
lookup_answer(struct call *call, const struct lookup *lookup, const struct get *get)
{
	bool is_missed = lookup->has_origin && get->outcome == GET_MISS && !get->token;

	if (is_missed) {
		call_retry_after_ms(call, 1000);
		call_end(call,
		         lookup->has_failed
		             ? status_make(STATUS_UNAVAILABLE, "the namespace's origin has failed to answer")
		             : status_make(STATUS_DEADLINE_EXCEEDED, "the namespace's origin has not answered yet"));
		return;
	}
	answer_entry(call, get, true, (Corbel__V1__CacheEntry *)call_reply(call));
	answer_headers(call, lookup, get);
	call_end(call, status_ok_value());
}
