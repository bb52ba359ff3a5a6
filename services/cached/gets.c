/*
 * gets: reading entries, all calls of a bus message at once.
 *
 * Calls of one namespace that follow one another are looked up together. What memory has is answered when all
 * of the message has been read; what is in Redis follows a round trip later, and with it the message. What
 * would have to wait for anybody, and what is more than a message of many calls may carry, is sent to Fetch,
 * which travels alone.
 */
#include <string.h>

#include "cached_internal.h"
#include "fleet.h"
#include "value_room.h"

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

/* False: not all of the values had room. */
static bool
look_up(struct space *space, struct get gets[], size_t count, struct arena *arena, struct value_room *room)
{
	bool has_room = true;

	if (!space)
		return true;
	value_room_enter(room, arena);
	engine_get(space, gets, count, arena, &has_room);
	value_room_leave(room, arena);
	return has_room;
}

/* Calls of one namespace: what each asks for, and what there is. */
struct run {
	struct call **calls;
	struct lookup *lookups;
	struct get *gets;
	size_t count;
	uint64_t began_ms;
};

static void
end_call(struct cached *self, const struct run *run, size_t i, bool has_room)
{
	struct lookup *lookup = &run->lookups[i];
	struct get *get = &run->gets[i];

	if (!has_room && get->outcome == GET_MISS && !get->token) {
		must_wait(run->calls[i], "the value may be too large to travel with others");
		return;
	}
	lookup_follow(self, lookup, get);
	if (is_to_wait(lookup, get)) {
		waiting_expect(self->waiting, run->calls[i], lookup, run->began_ms);
		must_wait(run->calls[i], "the value may be on its way");
		return;
	}
	lookup_answer(run->calls[i], lookup, get);
}

/* ---- what Redis is asked for ---- */

struct asked {
	struct reading reading; /* first */
	struct run run;
};

static void
answer_asked(struct reading *reading)
{
	/* What is in the arena may be gone with the last of the calls. */
	const struct run run = ((struct asked *)reading)->run;
	struct cached *self = call_service(run.calls[0]);
	bool has_room = reading->has_room;

	for (size_t i = 0; i < run.count; i++)
		end_call(self, &run, i, has_room);
}

static size_t
count_shared(const struct get gets[], size_t count)
{
	size_t shared = 0;

	for (size_t i = 0; i < count; i++)
		shared += gets[i].is_shared;
	return shared;
}

/* Those of the run that memory does not answer; NULL: it answers all. The arena is that of all calls. */
static struct reading *
ask_for(const struct run *run, struct value_room *room)
{
	size_t count = count_shared(run->gets, run->count);
	struct arena *arena = call_arena(run->calls[0]);

	if (count == 0)
		return NULL;
	struct asked *asked = ARENA_NEW(arena, struct asked);
	struct run *left = &asked->run;
	*left = (struct run){.calls = ARENA_ARRAY(arena, struct call *, count),
	                     .lookups = ARENA_ARRAY(arena, struct lookup, count),
	                     .gets = ARENA_ARRAY(arena, struct get, count),
	                     .began_ms = run->began_ms};
	for (size_t i = 0; i < run->count; i++) {
		if (!run->gets[i].is_shared)
			continue;
		left->calls[left->count] = run->calls[i];
		left->lookups[left->count] = run->lookups[i];
		left->gets[left->count++] = run->gets[i];
	}
	asked->reading = (struct reading){.space = run->lookups[0].space,
	                                  .gets = left->gets,
	                                  .count = count,
	                                  .arena = arena,
	                                  .room = room,
	                                  .has_room = true,
	                                  .done = answer_asked};
	return &asked->reading;
}

/* Ends what memory answers, and returns what is to be asked for. */
static struct reading *
get_run(struct cached *self, struct run *run, struct value_room *room)
{
	run->began_ms = clock_mono_ms(self->env.clock);
	for (size_t i = 0; i < run->count; i++)
		lookup_init(self, &run->lookups[i], &run->gets[i]);
	bool has_room = look_up(run->lookups[0].space, run->gets, run->count, call_arena(run->calls[0]), room);
	struct reading *reading = ask_for(run, room);
	for (size_t i = 0; i < run->count; i++)
		if (!run->gets[i].is_shared)
			end_call(self, run, i, has_room);
	return reading;
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
	lookup->has_waited = false;
	lookup->since_ms = 0;
	if (status_ok(&st))
		return true;
	call_end(call, st);
	return false;
}

/* Redis is asked when all of the message is read: its calls share their memory, which whoever ends them goes
 * on to use. Those that are asked for keep that memory, and the room, until they end. */
void
cache_get_batch(void *arg, struct call *calls[], size_t count)
{
	struct lookup lookups[128];
	struct get gets[128];
	struct call *left[128];
	struct reading *list = NULL, **last = &list;
	struct value_room *room = ARENA_NEW(call_arena(calls[0]), struct value_room);
	size_t ready = 0;

	room->left = TOGETHER_BYTES;
	for (size_t i = 0; i < count; i++) {
		if (ready == sizeof(left) / sizeof(left[0]))
			must_wait(calls[i], "too many calls in a message");
		else if (find_space(calls[i], &lookups[ready]))
			left[ready++] = calls[i];
	}
	for (size_t from = 0, to; from < ready; from = to) {
		for (to = from + 1; to < ready && lookups[to].space == lookups[from].space;)
			to++;
		struct run run = {
		    .calls = left + from, .lookups = lookups + from, .gets = gets + from, .count = to - from};
		*last = get_run(arg, &run, room);
		if (*last)
			last = &(*last)->next;
	}
	fleet_read(((struct cached *)arg)->fleet, list);
}

/* ---- many keys of one call ---- */

struct many {
	struct reading reading; /* first */
	struct value_room room;
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

static void
get_many(struct cached *self, struct call *call)
{
	const Corbel__V1__CacheGetManyRequest *request =
	    (const Corbel__V1__CacheGetManyRequest *)call_request(call);
	struct arena *arena = call_arena(call);
	struct many *many = ARENA_NEW(arena, struct many);
	struct reading *reading = &many->reading;
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
	reading->room = &many->room;
	reading->done = answer_many;
	many->room.left = MANY_BYTES;
	for (size_t i = 0; i < request->n_keys; i++)
		reading->gets[i] = (struct get){.key = request->keys[i],
		                                .key_length = strlen(request->keys[i]),
		                                .may_fill = request->lease,
		                                .has_failed = request->origin_failed};
	reading->has_room = look_up(reading->space, reading->gets, reading->count, arena, reading->room);
	if (count_shared(reading->gets, reading->count) > 0)
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
