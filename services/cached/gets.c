/*
 * gets: reading entries, all calls of a bus message at once.
 *
 * Calls of one namespace that follow one another are looked up together. What would have to wait, and what is
 * more than a message of many calls may carry, is sent to Fetch, which travels alone.
 */
#include <string.h>

#include "cached_internal.h"
#include "fleet.h"

#define TOGETHER_BYTES (6u << 20) /* of values in a message; the bus takes 16 MiB */
#define MANY_BYTES     (4u << 20)

typedef Corbel__V1__CacheGetRequest GetRequest;

static const GetRequest *
request_of(const struct call *call)
{
	return (const GetRequest *)call_request(call);
}

static void
must_wait(struct call *call, const char *what)
{
	call_problem(call, "must-wait");
	call_end(call, status_make(STATUS_UNAVAILABLE, "%s: ask Cache/Fetch", what));
}

/* Whether the value is to be waited for; nobody who got the token waits. */
static bool
is_to_wait(const struct lookup *lookup, const struct get *get)
{
	bool wants_to = lookup->has_origin || lookup->request->wait_ms > 0;
	return wants_to && get->outcome == GET_MISS && !get->token && !lookup_is_over(lookup, get);
}

/* The values go into the arena as far as `*room` bytes of it go. */
static bool
look_up(struct space *space, struct get gets[], size_t count, struct arena *arena, size_t *room)
{
	size_t ceiling = arena->ceiling_bytes, before = arena->used_bytes;
	bool has_room = true;

	if (!space)
		return true;
	if (before + *room < ceiling)
		arena->ceiling_bytes = before + *room;
	engine_get(space, gets, count, arena, &has_room);
	arena->ceiling_bytes = ceiling;
	*room -= arena->used_bytes - before < *room ? arena->used_bytes - before : *room;
	return has_room;
}

static void
get_run(struct cached *self, struct lookup lookups[], struct call *calls[], struct get gets[], size_t count,
        size_t *room)
{
	uint64_t now_ms = clock_mono_ms(self->env.clock);

	for (size_t i = 0; i < count; i++)
		lookup_init(self, &lookups[i], &gets[i]);
	bool has_room = look_up(lookups[0].space, gets, count, call_arena(calls[0]), room);
	for (size_t i = 0; i < count; i++) {
		if (!has_room && gets[i].outcome == GET_MISS && !gets[i].token) {
			must_wait(calls[i], "the value may be too large to travel with others");
			continue;
		}
		if (gets[i].is_shared) {
			must_wait(calls[i], "other replicas may have the value");
			continue;
		}
		lookup_follow(self, &lookups[i], &gets[i]);
		if (is_to_wait(&lookups[i], &gets[i])) {
			waiting_expect(self->waiting, lookups[i].space, gets[i].key, now_ms);
			must_wait(calls[i], "the value may be on its way");
		} else {
			lookup_answer(calls[i], &lookups[i], &gets[i], false);
		}
	}
}

/* False: the call has ended. */
static bool
find_space(struct call *call, struct lookup *lookup)
{
	const GetRequest *request = request_of(call);
	const struct cached *self = call_service(call);
	struct status st = space_of_call(call, request->tenant_id, request->namespace_,
	                                 request->lease || self->fleet, &lookup->space);

	lookup->request = request;
	if (status_ok(&st))
		return true;
	call_end(call, st);
	return false;
}

void
cache_get_batch(void *arg, struct call *calls[], size_t count)
{
	struct lookup lookups[128];
	struct get gets[128];
	struct call *left[128];
	size_t ready = 0, room = TOGETHER_BYTES;

	for (size_t i = 0; i < count; i++) {
		if (ready == sizeof(left) / sizeof(left[0]))
			must_wait(calls[i], "too many calls in a message");
		else if (find_space(calls[i], &lookups[ready]))
			left[ready++] = calls[i];
	}
	for (size_t from = 0, to; from < ready; from = to) {
		for (to = from + 1; to < ready && lookups[to].space == lookups[from].space;)
			to++;
		get_run(arg, lookups + from, left + from, gets + from, to - from, &room);
	}
}

/* ---- many keys of one call ---- */

struct many {
	struct reading reading; /* first */
	struct call *call;
};

static void
answer_many(struct reading *reading)
{
	struct call *call = ((struct many *)reading)->call;
	Corbel__V1__CacheGetManyReply *reply = (Corbel__V1__CacheGetManyReply *)call_reply(call);
	struct arena *arena = call_arena(call);

	reply->entries = ARENA_ARRAY(arena, Corbel__V1__CacheEntry *, reading->count);
	for (; reply->n_entries < reading->count; reply->n_entries++) {
		const struct get *get = &reading->gets[reply->n_entries];
		Corbel__V1__CacheEntry *entry = ARENA_NEW(arena, Corbel__V1__CacheEntry);
		corbel__v1__cache_entry__init(entry);
		answer_entry(call, get, false, entry);
		entry->has_left_out = entry->left_out = !reading->has_room && get->outcome == GET_MISS && !get->token;
		reply->entries[reply->n_entries] = entry;
	}
	call_end(call, status_ok_value());
}

static bool
has_shared(const struct reading *reading)
{
	for (size_t i = 0; i < reading->count; i++)
		if (reading->gets[i].is_shared)
			return true;
	return false;
}

static void
get_many(struct cached *self, struct call *call)
{
	const Corbel__V1__CacheGetManyRequest *request =
	    (const Corbel__V1__CacheGetManyRequest *)call_request(call);
	struct arena *arena = call_arena(call);
	struct many *many = ARENA_NEW(arena, struct many);
	struct reading *reading = &many->reading;
	size_t room = MANY_BYTES;
	struct status st = space_of_call(call, request->tenant_id, request->namespace_,
	                                 request->lease || self->fleet, &reading->space);

	if (!status_ok(&st)) {
		call_end(call, st);
		return;
	}
	many->call = call;
	reading->gets = ARENA_ARRAY(arena, struct get, request->n_keys);
	reading->count = request->n_keys;
	reading->arena = arena;
	reading->done = answer_many;
	for (size_t i = 0; i < request->n_keys; i++)
		reading->gets[i] = (struct get){.key = request->keys[i],
		                                .key_length = strlen(request->keys[i]),
		                                .may_fill = request->lease,
		                                .has_failed = request->origin_failed};
	reading->has_room = look_up(reading->space, reading->gets, reading->count, arena, &room);
	if (has_shared(reading))
		fleet_read(self->fleet, reading);
	else
		answer_many(reading);
}

void
cache_get_many_batch(void *arg, struct call *calls[], size_t count)
{
	for (size_t i = 0; i < count; i++)
		get_many(arg, calls[i]);
}
