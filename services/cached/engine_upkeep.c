/*
 * engine_upkeep: what time brings about. A sweep looks through all entries of a space, a part at each tick,
 * after an invalidation of many, and now and then for what has expired. When it is through, the
 * invalidations from before it began are forgotten, up to the oldest token that is still out: a fill is
 * judged by them.
 */
#include <malloc.h>

#include "base/arena.h"
#include "engine_internal.h"

#define PLACES_AT_ONCE 256u   /* under one hold of a space's lock */
#define PLACES_A_TICK  65536u /* of all spaces */
#define EXPIRY_MS      10000u /* between two sweeps without an invalidation */

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

static void
begin_sweep(struct space *space, uint64_t now_ms)
{
	bool is_due = l1_count(space->l1) > 0 && now_ms >= space->next_sweep_ms;

	if (space->is_sweeping || (!is_due && invalidations_latest(space->invalidations) <= space->swept))
		return;
	space->is_sweeping = true;
	space->sweep_target = space_sequence(space);
	space->next_sweep_ms = now_ms + EXPIRY_MS;
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
	space->is_sweeping = l1_sweep(space->l1, &space->sweep_cursor, PLACES_AT_ONCE, keep, &keeping);
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

static void
tend(struct space *space, uint64_t *places)
{
	struct engine_waiter *woken = NULL;
	uint64_t now_ms = engine_now_ms(space->engine);
	bool is_sweeping = true;

	while (is_sweeping && *places >= PLACES_AT_ONCE) {
		pthread_mutex_lock(&space->lock);
		is_sweeping = sweep(space, now_ms);
		pthread_mutex_unlock(&space->lock);
		*places -= PLACES_AT_ONCE;
	}
	pthread_mutex_lock(&space->lock);
	space->counts.leases_lost += leases_expire(space->leases, now_ms, &woken);
	forget(space);
	room_charge(space);
	pthread_mutex_unlock(&space->lock);
	wake_all(woken);
}

struct round {
	uint64_t places, first, at; /* the space it begins with; the one it is at */
	bool is_second;             /* pass: those before the first */
};

static void
tend_each(void *arg, struct space *space)
{
	struct round *round = arg;

	if ((round->at++ < round->first) == round->is_second)
		tend(space, &round->places);
}

/* Each tick begins with another space, so that a large one does not keep others waiting for long. */
void
engine_tick(struct engine *engine)
{
	struct round round = {.places = PLACES_A_TICK, .first = engine->next_upkeep++};

	engine_each_space(engine, NULL, tend_each, &round);
	if (round.at <= round.first)
		engine->next_upkeep = 0;
	round.at = 0;
	round.is_second = true;
	engine_each_space(engine, NULL, tend_each, &round);
	room_enforce(engine, engine->options.bytes_max, EVICTED_FOR_ROOM);
}

void
engine_shrink(struct engine *engine, uint64_t bytes)
{
	room_enforce(engine, bytes, EVICTED_SHRUNK);
	malloc_trim(0);
}
