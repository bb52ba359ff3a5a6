/*
 * waiting: calls that wait until somebody has filled a key.
 *
 *     call ── engine_get ── found, or got the token ───────────────► answer
 *                  └─ nothing ── engine_wait ── woken, or nobody fills ──► look again
 *                                     └── time is over ─────────────────► what there is
 *
 * A parked call is in the list and in the engine's. Who takes it out of the engine's, the one that wakes it
 * or the one that looks after the time, takes it out of the list and answers.
 *
 * A caller comes here because Get found nothing, which is in the figures: looks from here are not counted. By
 * then the value may have come: it was waited for all the same, and is no hit of the cache. So requests whose
 * misses were sent here are remembered.
 */
#include <stdatomic.h>
#include <string.h>

#include "base/hash.h"
#include "cached_internal.h"
#include "fetches.h"
#include "fleet.h"

#define MARGIN_MS 100u /* of the caller's deadline, for the way back */
#define LOOKS_MAX 3    /* at a key that nobody fills */
#define MISSES    4096u

typedef Corbel__V1__CacheGetRequest GetRequest;

struct parked {
	struct engine_waiter waiter; /* first */
	struct waiting *waiting;
	struct parked *next, **link; /* under the lock */
	struct call *call;
	struct lookup lookup;
	struct get get;
	struct reading reading; /* of other replicas' values */
	bool is_last;
	int looks;
	uint64_t until_ms;
};

/* By hash of request and key; a newer one replaces an older, whose value may then be called a hit. */
struct miss {
	_Atomic uint64_t hash, at_ms;
};

struct waiting {
	struct cached *self;
	struct miss misses[MISSES];
	pthread_mutex_t lock;
	struct parked *first;
};

/* ---- misses that were sent here ---- */

static uint64_t
hash_of(const struct call *call, const struct lookup *lookup)
{
	const char *key = lookup->request->key, *id = call_request_id(call);
	uint64_t hash = hash_mix64(hash_table64(&lookup->space, sizeof(void *)), hash_table64(key, strlen(key)));

	return hash_mix64(hash, hash_table64(id, strlen(id)));
}

void
waiting_expect(struct waiting *waiting, const struct call *call, const struct lookup *lookup,
               uint64_t missed_ms)
{
	uint64_t hash = hash_of(call, lookup);
	struct miss *miss = &waiting->misses[hash % MISSES];

	atomic_store(&miss->at_ms, missed_ms);
	atomic_store(&miss->hash, hash);
}

/* The caller waits since it missed the key; where that was in another replica, since it came here. */
static void
recall_miss(const struct waiting *waiting, const struct call *call, struct lookup *lookup)
{
	uint64_t hash = hash_of(call, lookup);
	const struct miss *miss = &waiting->misses[hash % MISSES];
	bool was_here = atomic_load(&miss->hash) == hash;

	lookup->has_waited = true;
	lookup->since_ms = was_here ? atomic_load(&miss->at_ms) : clock_mono_ms(waiting->self->env.clock);
}

/* ---- the list ---- */

static void
link_in(struct parked *parked)
{
	struct waiting *waiting = parked->waiting;

	pthread_mutex_lock(&waiting->lock);
	parked->next = waiting->first;
	parked->link = &waiting->first;
	if (parked->next)
		parked->next->link = &parked->next;
	waiting->first = parked;
	pthread_mutex_unlock(&waiting->lock);
}

static void
take_out(struct parked *parked)
{
	*parked->link = parked->next;
	if (parked->next)
		parked->next->link = parked->link;
}

static void
link_out(struct parked *parked)
{
	pthread_mutex_lock(&parked->waiting->lock);
	take_out(parked);
	pthread_mutex_unlock(&parked->waiting->lock);
}

static bool
is_late(const struct parked *parked)
{
	return parked->is_last || clock_mono_ms(parked->waiting->self->env.clock) >= parked->until_ms;
}

/* False: it has to be looked at once more. */
static bool
park(struct parked *parked)
{
	const GetRequest *request = parked->lookup.request;

	link_in(parked);
	if (engine_wait(parked->lookup.space, request->key, strlen(request->key), &parked->waiter))
		return true;
	link_out(parked);
	parked->is_last = ++parked->looks == LOOKS_MAX;
	return false;
}

/* Ends the call with what was found, or waits where that is worth it. False: it is to be looked at again. */
static bool
take(struct parked *parked)
{
	struct get *get = &parked->get;

	lookup_follow(parked->waiting->self, &parked->lookup, get);
	bool is_found = get->outcome != GET_MISS || get->token;
	if (!is_found && !is_late(parked) && !lookup_is_over(&parked->lookup, get))
		return park(parked);
	lookup_answer(parked->call, &parked->lookup, get);
	return true;
}

static void look_or_park(struct parked *parked);

static void
answered(struct reading *reading)
{
	struct parked *parked = reading->user;

	if (!take(parked))
		look_or_park(parked);
}

static void
look_or_park(struct parked *parked)
{
	struct cached *self = parked->waiting->self;
	struct get *get = &parked->get;

	do {
		lookup_init(self, &parked->lookup, get);
		get->may_wait = !is_late(parked);
		get->is_counted = true;
		engine_get(parked->lookup.space, get, 1, call_arena(parked->call), NULL);
		if (get->is_shared) {
			parked->reading = (struct reading){.space = parked->lookup.space,
			                                   .gets = get,
			                                   .count = 1,
			                                   .arena = call_arena(parked->call),
			                                   .has_room = true,
			                                   .done = answered,
			                                   .user = parked};
			fleet_read(self->fleet, &parked->reading);
			return;
		}
	} while (!take(parked));
}

static void
wake(struct engine_waiter *waiter)
{
	struct parked *parked = (struct parked *)waiter;
	link_out(parked);
	parked->looks = 0;
	look_or_park(parked);
}

static struct status
fetch(struct cached *self, struct call *call)
{
	const GetRequest *request = (const GetRequest *)call_request(call);
	struct parked *parked = ARENA_NEW(call_arena(call), struct parked);
	uint64_t deadline = call_deadline_mono_ms(call);
	struct status st =
	    space_of_call(call, request->tenant_id, request->namespace_, true, &parked->lookup.space);

	if (!status_ok(&st))
		return st;
	parked->waiter.wake = wake;
	parked->waiting = self->waiting;
	parked->call = call;
	parked->lookup.request = request;
	recall_miss(self->waiting, call, &parked->lookup);
	parked->until_ms = clock_mono_ms(self->env.clock) + request->wait_ms;
	if (request->wait_ms == 0 && fetches_has_origin(self, parked->lookup.space))
		parked->until_ms = deadline;
	if (parked->until_ms + MARGIN_MS > deadline)
		parked->until_ms = deadline > MARGIN_MS ? deadline - MARGIN_MS : 0;
	look_or_park(parked);
	return st;
}

void
cache_fetch_batch(void *arg, struct call *calls[], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct status st = fetch(arg, calls[i]);
		if (!status_ok(&st))
			call_end(calls[i], st);
	}
}

void
waiting_tick(struct waiting *waiting, bool is_over)
{
	uint64_t now = clock_mono_ms(waiting->self->env.clock);
	struct parked *late = NULL;

	pthread_mutex_lock(&waiting->lock);
	for (struct parked *parked = waiting->first, *next; parked; parked = next) {
		next = parked->next;
		bool is_late = is_over || now >= parked->until_ms;
		if (!is_late || !engine_wait_end(parked->lookup.space, &parked->waiter))
			continue;
		take_out(parked);
		parked->next = late;
		late = parked;
	}
	pthread_mutex_unlock(&waiting->lock);
	while (late) {
		struct parked *parked = late;
		late = parked->next;
		parked->is_last = true;
		look_or_park(parked);
	}
}

struct waiting *
waiting_new(struct cached *self)
{
	struct waiting *waiting = mem_alloc(sizeof(*waiting));
	waiting->self = self;
	pthread_mutex_init(&waiting->lock, NULL);
	return waiting;
}

void
waiting_free(struct waiting *waiting)
{
	if (!waiting)
		return;
	pthread_mutex_destroy(&waiting->lock);
	mem_free(waiting);
}
