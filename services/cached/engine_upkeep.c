/*
 * engine_upkeep: what time brings about. A sweep looks through all entries of a space, a part at each tick,
 * after an invalidation of many, and now and then for what has expired. When it is through, the
 * invalidations from before it began are forgotten, up to the oldest token that is still out: a fill is
 * judged by them.
 */
#include <malloc.h>

#include "base/arena.h"
#include "engine_internal.h"

#define PLACES_AT_ONCE 256u              /* under one hold of a space's lock */
#define GLOBS_A_PLACE  16u               /* patterns that take as long as a place without any */
#define PLACES_A_TICK  65536u            /* of all spaces */
#define SWEEP_NS       UINT64_C(5000000) /* of a tick, then the rest waits for the next */
#define EXPIRY_MS      10000u            /* between two sweeps without an invalidation */

struct keeping {
	struct space *space;
	uint64_t now_ms;
};

static bool
keep(void *arg, const struct entry *entry)
{
	const struct keeping *keeping = arg;
	struct entry_parts parts;

	entry_read(entry, &parts);
	enum life life = space_life(keeping->space, &parts, keeping->now_ms);
	if (life == LIFE_DEAD)
		keeping->space->counts.evicted[EVICTED_INVALIDATED]++;
	if (life == LIFE_OVER)
		keeping->space->counts.evicted[EVICTED_EXPIRED]++;
	return life > LIFE_OVER;
}

/* The number up to which all invalidations are known here. */
static uint64_t
known_until(const struct space *space)
{
	return space->copies ? atomic_load(&space->copies->trust->followed) : space_sequence(space);
}

static void
begin_sweep(struct space *space, uint64_t now_ms)
{
	bool is_due = l1_count(space->l1) > 0 && now_ms >= space->next_sweep_ms;
	uint64_t known = known_until(space), latest = invalidations_latest(space->invalidations);

	if (space->is_sweeping || (!is_due && (latest <= space->swept || latest > known)))
		return;
	space->is_sweeping = true;
	space->sweep_target = known;
	space->next_sweep_ms = now_ms + EXPIRY_MS;
}

/* Others wait for the lock meanwhile, and the rest of the upkeep for this space. */
static uint32_t
places_at_once(const struct space *space)
{
	return PLACES_AT_ONCE / (uint32_t)(1 + invalidations_globs(space->invalidations) / GLOBS_A_PLACE);
}

/* A part of the sweep; false: nothing (more) to do. */
static bool
sweep(struct space *space, uint64_t now_ms)
{
	struct keeping keeping = {space, now_ms};
	struct fill_level before = room_level(space);

	begin_sweep(space, now_ms);
	if (!space->is_sweeping)
		return false;
	space->is_sweeping = l1_sweep(space->l1, &space->sweep_cursor, places_at_once(space), keep, &keeping);
	room_account(space, before);
	if (!space->is_sweeping)
		space->swept = space->sweep_target;
	return space->is_sweeping;
}

static void
forget(struct space *space)
{
	uint64_t oldest = leases_oldest(space->leases, space->swept);
	uint64_t until = oldest < space->swept ? oldest : space->swept;

	if (until > space->forgotten)
		invalidations_forget(space->invalidations, until);
	space->forgotten = until > space->forgotten ? until : space->forgotten;
}

struct round {
	uint64_t places, until_ns; /* left to sweep; and the time */
	size_t first, at;          /* the space it begins with; the one it is at */
};

static bool
may_sweep(const struct engine *engine, const struct round *round)
{
	return round->places >= PLACES_AT_ONCE && clock_mono_ns(engine->options.clock) < round->until_ns;
}

static void
sweep_some(struct space *space, struct round *round)
{
	uint64_t now_ms = engine_now_ms(space->engine);

	for (bool is_sweeping = true; is_sweeping && may_sweep(space->engine, round);) {
		pthread_mutex_lock(&space->lock);
		is_sweeping = sweep(space, now_ms);
		pthread_mutex_unlock(&space->lock);
		round->places -= PLACES_AT_ONCE;
	}
}

static void
sweep_after_first(void *arg, struct space *space)
{
	struct round *round = arg;
	if (round->at++ >= round->first)
		sweep_some(space, round);
}

static void
sweep_before_first(void *arg, struct space *space)
{
	struct round *round = arg;
	if (round->at++ < round->first)
		sweep_some(space, round);
}

/* Each tick begins with another space, so that a large one does not keep others waiting for long. */
static void
sweep_all(struct engine *engine)
{
	struct round round = {.places = PLACES_A_TICK,
	                      .until_ns = clock_mono_ns(engine->options.clock) + SWEEP_NS,
	                      .first = engine->next_upkeep++};

	engine_each_space(engine, NULL, sweep_after_first, &round);
	if (round.at <= round.first)
		engine->next_upkeep = 0;
	round.at = 0;
	engine_each_space(engine, NULL, sweep_before_first, &round);
}

static void
tend(void *arg, struct space *space)
{
	struct engine_waiter *woken = NULL;

	(void)arg;
	pthread_mutex_lock(&space->lock);
	space->counts.leases_lost += leases_expire(space->leases, engine_now_ms(space->engine), &woken);
	forget(space);
	room_charge(space);
	pthread_mutex_unlock(&space->lock);
	wake_all(woken);
}

void
engine_tick(struct engine *engine)
{
	sweep_all(engine);
	engine_each_space(engine, NULL, tend, NULL);
	room_enforce(engine, engine->options.bytes_max, EVICTED_FOR_ROOM);
}

void
engine_shrink(struct engine *engine, uint64_t bytes)
{
	room_enforce(engine, bytes, EVICTED_SHRUNK);
	readers_flush(engine->readers);
	heap_trim(engine->heap);
	malloc_trim(0);
}
