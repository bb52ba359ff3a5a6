/*
 * engine_room: bounds of bytes and entries, and who has to leave.
 *
 * Room for an entry is reserved before it is put in, so that what is counted never exceeds a bound. Over the
 * engine's bound the tenant furthest above its share loses, its share being its weight's part of the whole
 * among those that have entries. Which of a tenant's spaces loses is drawn by their bytes: in the long run
 * each space's part is that of what it takes in, as if all were one queue.
 */
#include "engine_internal.h"

#define VICTIM_TURNS   16u    /* that one choice serves */
#define LEASES_MAX     65536u /* of a space, */
#define LEASES_LEFT    16u    /* and where its tenant has too much remembered */
#define NEGATIVE_SHARE 10u    /* of a space's capacity, one in so many bytes and entries */

struct fill_level
room_level(const struct space *space)
{
	return (struct fill_level){l1_bytes(space->l1) + space->charged_bytes, l1_count(space->l1)};
}

void
room_account(struct space *space, struct fill_level before)
{
	struct fill_level now = room_level(space);

	atomic_fetch_add_explicit(&space->tenant->bytes, now.bytes - before.bytes, memory_order_relaxed);
	atomic_fetch_add_explicit(&space->tenant->entries, now.entries - before.entries, memory_order_relaxed);
	atomic_fetch_add_explicit(&space->engine->bytes, now.bytes - before.bytes, memory_order_relaxed);
}

/* ---- beside entries ---- */

static uint64_t
remembered_by(const struct space *space)
{
	return invalidations_bytes(space->invalidations) + leases_bytes(space->leases) +
	       hot_keys_bytes(space->hot_keys) + (space->copies ? invalidations_bytes(space->copies->globs) : 0);
}

static void
charge(struct space *space)
{
	struct fill_level before = room_level(space);
	uint64_t tables = l1_overhead(space->l1), counted = l1_count(space->l1) * ENTRY_TABLES_BYTES;
	uint64_t remembered = remembered_by(space), more = remembered - space->remembered_bytes;

	space->remembered_bytes = remembered;
	space->charged_bytes = sizeof(*space) + (space->copies ? sizeof(*space->copies) : 0) +
	                       (tables > counted ? tables - counted : 0) + remembered;
	atomic_fetch_add(&space->tenant->remembered, more);
	atomic_fetch_add(&space->engine->remembered, more);
	room_account(space, before);
}

/* What is remembered cannot be evicted: a tenant that has its spaces remember much would push out what others
 * keep. When all together remember half of the bytes, the large ones among them have less. */
static bool
is_too_much(const struct space *space)
{
	const struct engine *engine = space->engine;
	uint64_t bytes_max = engine->options.bytes_max;
	uint64_t part = atomic_load(&engine->remembered) > bytes_max / 2 ? 16 : 4;

	return atomic_load(&space->tenant->remembered) > bytes_max / part;
}

size_t
room_leases_max(const struct space *space)
{
	return is_too_much(space) ? LEASES_LEFT : LEASES_MAX;
}

/* Nothing that was invalidated is given again: more goes than was named. Leases end with their time. */
static void
forget(struct space *space)
{
	invalidations_widen(space->invalidations);
	if (space->copies)
		invalidations_widen(space->copies->globs);
	hot_keys_clear(space->hot_keys);
}

void
room_charge(struct space *space)
{
	charge(space);
	leases_set_max(space->leases, room_leases_max(space));
	if (!is_too_much(space))
		return;
	forget(space);
	charge(space);
}

/* ---- evicting ---- */

/* Lets one of the space's entries go; its lock is held. */
static bool
evict_locked(struct space *space, enum eviction_cause cause)
{
	struct fill_level before = room_level(space);
	bool was_one = l1_evict(space->l1);

	room_account(space, before);
	space->counts.evicted[cause] += was_one;
	return was_one;
}

static bool
evict(struct space *space, enum eviction_cause cause)
{
	pthread_mutex_lock(&space->lock);
	bool was_one = evict_locked(space, cause);
	pthread_mutex_unlock(&space->lock);
	return was_one;
}

static bool
is_space_over(const struct space *space, uint64_t bytes, uint64_t entries)
{
	const struct space_options *options = &space->options;

	return (options->bytes_max > 0 && l1_bytes(space->l1) + bytes > options->bytes_max) ||
	       (options->entries_max > 0 && l1_count(space->l1) + entries > options->entries_max);
}

void
room_in_space(struct space *space, uint64_t bytes, bool key_is_new)
{
	while (is_space_over(space, bytes, key_is_new) && evict_locked(space, EVICTED_FOR_SPACE))
		;
}

/* ---- negative entries ---- */

/* The least of several bounds, of which 0 is none. */
static uint64_t
least_bound(uint64_t a, uint64_t b)
{
	return a == 0 || (b > 0 && b < a) ? b : a;
}

/* What is asked for by guessing has no end, so that there is no value may never push out values. One always
 * has a place. */
static bool
has_negative_room(const struct space *space, uint64_t bytes)
{
	const struct space_options *options = &space->options;
	struct l1_part negatives = l1_negatives(space->l1);
	uint64_t bytes_max = least_bound(space->engine->options.bytes_max,
	                                 least_bound(options->bytes_max, atomic_load(&space->tenant->bytes_max)));
	uint64_t entries_max = least_bound(options->entries_max, atomic_load(&space->tenant->entries_max));

	return negatives.count == 0 ||
	       (negatives.bytes + bytes <= bytes_max / NEGATIVE_SHARE &&
	        (entries_max == 0 || negatives.count + 1 <= entries_max / NEGATIVE_SHARE));
}

bool
room_for_negative(struct space *space, uint64_t bytes)
{
	bool has_room;

	while (!(has_room = has_negative_room(space, bytes))) {
		struct fill_level before = room_level(space);
		if (!l1_evict_negative(space->l1))
			break;
		room_account(space, before);
		space->counts.evicted[EVICTED_FOR_SPACE]++;
	}
	return has_room;
}

/* ---- who loses ---- */

/* How far the tenant is above its share, in bytes; the registry is locked. */
static double
excess_of(const struct engine *engine, const struct tenant *tenant, uint64_t weights)
{
	double share = (double)engine->options.bytes_max * atomic_load(&tenant->weight) / (double)weights;
	return (double)atomic_load(&tenant->bytes) - share;
}

static const struct tenant *
tenant_to_lose(const struct engine *engine)
{
	const struct tenant *loser = NULL;
	uint64_t weights = 0;

	for (size_t i = 0; i < engine->tenant_count; i++)
		if (atomic_load(&engine->tenants[i]->entries) > 0)
			weights += atomic_load(&engine->tenants[i]->weight);
	for (size_t i = 0; i < engine->tenant_count; i++) {
		const struct tenant *tenant = engine->tenants[i];
		if (atomic_load(&tenant->entries) > 0 &&
		    (!loser || excess_of(engine, tenant, weights) > excess_of(engine, loser, weights)))
			loser = tenant;
	}
	return loser;
}

static struct space *
space_to_lose(struct engine *engine, const struct tenant *tenant)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < tenant->space_count; i++)
		sum += l1_bytes(tenant->spaces[i]->l1);
	uint64_t drawn = sum ? engine_draw(engine) % sum : 0;
	for (size_t i = 0; i < tenant->space_count; i++) {
		uint64_t bytes = l1_bytes(tenant->spaces[i]->l1);
		if (bytes > drawn)
			return tenant->spaces[i];
		drawn -= bytes;
	}
	return NULL;
}

/* `tenant` NULL: whoever is furthest above its share. room_lock is held. */
static struct space *
victim_of(struct engine *engine, const struct tenant *tenant)
{
	bool is_of_tenant = engine->victim && (!tenant || engine->victim->tenant == tenant);

	if (is_of_tenant && engine->victim_turns > 0 && l1_count(engine->victim->l1) > 0) {
		engine->victim_turns--;
		return engine->victim;
	}
	pthread_rwlock_rdlock(&engine->registry);
	const struct tenant *loser = tenant ? tenant : tenant_to_lose(engine);
	engine->victim = loser ? space_to_lose(engine, loser) : NULL;
	pthread_rwlock_unlock(&engine->registry);
	engine->victim_turns = VICTIM_TURNS;
	return engine->victim;
}

static bool
evict_one(struct engine *engine, const struct tenant *tenant, enum eviction_cause cause)
{
	pthread_mutex_lock(&engine->room_lock);
	struct space *victim = victim_of(engine, tenant);
	bool was_one = victim && evict(victim, cause);
	if (!was_one)
		engine->victim = NULL;
	pthread_mutex_unlock(&engine->room_lock);
	return was_one;
}

/* ---- bounds ---- */

static bool
is_tenant_over(const struct tenant *tenant)
{
	uint64_t bytes_max = atomic_load(&tenant->bytes_max), entries_max = atomic_load(&tenant->entries_max);

	return (bytes_max > 0 && atomic_load(&tenant->bytes) > bytes_max) ||
	       (entries_max > 0 && atomic_load(&tenant->entries) > entries_max);
}

static void
fit_tenant(struct engine *engine, const struct tenant *tenant)
{
	while (is_tenant_over(tenant) && evict_one(engine, tenant, EVICTED_FOR_TENANT))
		;
}

static bool
fit_engine(struct engine *engine, uint64_t bytes_max, enum eviction_cause cause)
{
	while (atomic_load(&engine->bytes) > bytes_max)
		if (!evict_one(engine, NULL, cause))
			return false;
	return true;
}

bool
room_reserve(struct space *space, uint64_t bytes)
{
	struct engine *engine = space->engine;

	atomic_fetch_add(&space->tenant->bytes, bytes);
	atomic_fetch_add(&engine->bytes, bytes);
	fit_tenant(engine, space->tenant);
	if (!is_tenant_over(space->tenant) && fit_engine(engine, engine->options.bytes_max, EVICTED_FOR_ROOM))
		return true;
	room_release(space, bytes);
	return false;
}

void
room_release(struct space *space, uint64_t bytes)
{
	atomic_fetch_sub(&space->tenant->bytes, bytes);
	atomic_fetch_sub(&space->engine->bytes, bytes);
	fit_tenant(space->engine, space->tenant);
}

void
room_enforce(struct engine *engine, uint64_t bytes_max, enum eviction_cause cause)
{
	pthread_rwlock_rdlock(&engine->registry);
	size_t count = engine->tenant_count;
	pthread_rwlock_unlock(&engine->registry);
	for (size_t i = 0; i < count; i++) {
		pthread_rwlock_rdlock(&engine->registry);
		const struct tenant *tenant = engine->tenants[i];
		pthread_rwlock_unlock(&engine->registry);
		fit_tenant(engine, tenant);
	}
	fit_engine(engine, bytes_max, cause);
}
