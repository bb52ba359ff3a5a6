/*
 * engine_get: looking keys up, and leases for what is not there.
 *
 * Hits are decided without a lock, within a reading (readers.h). Only who may fill and has something to fill
 * takes the space's lock, and looks once more under it: another may have filled meanwhile.
 */
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "engine_internal.h"
#include "engine_shared.h"

#define BATCH       64u
#define EARLY_REACH 32u /* -ln(u) is less than that for all but one in 10^14 */

struct looking {
	struct space *space;
	struct get *get;
	struct arena *arena;
	struct reader *reader; /* this thread's */
	uint64_t now_ms;       /* may be so late as a coarse clock is, */
	bool is_exact;         /* or not */
	enum standing standing;
	uint64_t renewed; /* older versions are from before the shared log was lost */
	bool is_early;    /* fresh, but one caller may renew it */
	bool has_room;
};

enum life
space_life(const struct space *space, const struct entry_parts *parts, uint64_t now_ms)
{
	uint64_t tags[ENGINE_TAGS_MAX];
	struct subject subject = {parts->key, parts->key_length, tags, parts->tag_count};

	if (parts->version < invalidations_latest(space->invalidations)) {
		if (parts->tag_count > 0)
			memcpy(tags, parts->tags, parts->tag_count * sizeof(tags[0]));
		if (invalidations_cover(space->invalidations, &subject, parts->version))
			return LIFE_DEAD;
	}
	if (now_ms < parts->fresh_ms)
		return LIFE_FRESH;
	if (now_ms < parts->fresh_ms + parts->grace_ms)
		return LIFE_GRACE;
	return now_ms < parts->fresh_ms + parts->error_grace_ms ? LIFE_ERROR_GRACE : LIFE_OVER;
}

/* XFetch (Vattani, Chierichetti and Lowenstein, VLDB 2015): the longer a value takes to make, and the less
 * time is left, the likelier it is renewed now. */
static bool
is_time_to_renew(struct space *space, const struct entry_parts *parts, uint64_t now_ms)
{
	if (parts->delta_ms == 0 || parts->is_negative)
		return false;
	double beta = atomic_load_explicit(&space->early_permille, memory_order_relaxed) / 1000.0;
	double left_ms = (double)(parts->fresh_ms - now_ms), reach_ms = beta * parts->delta_ms;

	if (left_ms > reach_ms * EARLY_REACH)
		return false;
	double u = ((double)(engine_draw(space->engine) >> 11) + 1) / 9007199254740993.0;
	return -reach_ms * log(u) >= left_ms;
}

static void *
copy(struct arena *arena, const void *bytes, size_t length, size_t zeros)
{
	size_t size = length + zeros > 0 ? length + zeros : 1;

	/* What rounding and the head of a new block may add, too. */
	if (size > SIZE_MAX / 2 || arena->used_bytes + size + 64 > arena->ceiling_bytes)
		return NULL;
	char *at = arena_alloc_raw(arena, size);
	if (length > 0)
		memcpy(at, bytes, length);
	if (zeros > 0)
		memset(at + length, 0, zeros);
	return at;
}

bool
space_give(const struct entry_parts *parts, enum get_outcome outcome, uint64_t now_ms, struct arena *arena,
           struct get *get)
{
	get->value = parts->is_negative ? NULL : copy(arena, parts->value, parts->value_length, 0);
	get->content_type = parts->type_length ? copy(arena, parts->type, parts->type_length, 1) : "";
	if (!get->content_type || (!get->value && !parts->is_negative)) {
		get->value = NULL;
		get->content_type = "";
		return false;
	}
	get->outcome = parts->is_negative ? GET_NEGATIVE : outcome;
	get->value_length = parts->value_length;
	get->version = parts->version;
	get->age_ms = now_ms > parts->stored_ms ? now_ms - parts->stored_ms : 0;
	get->fresh_ms = (int64_t)(parts->fresh_ms - now_ms);
	return true;
}

static void
give(struct looking *looking, const struct entry_parts *parts, enum get_outcome outcome)
{
	if (!space_give(parts, outcome, looking->now_ms, looking->arena, looking->get))
		looking->has_room = false;
}

/* ---- what is shared with other replicas ---- */

enum standing
space_standing(const struct space *space, uint64_t now_ms)
{
	if (!space->copies)
		return STANDING_OWN;
	const struct trust *trust = space->copies->trust;
	bool is_alone = atomic_load(&trust->is_alone);
	if (now_ms + space->engine->start_ms < atomic_load(&trust->until_ms))
		return is_alone ? STANDING_OWN : STANDING_IN_STEP;
	return is_alone ? STANDING_ALONE : STANDING_UNSURE;
}

/* Half of the outage's time or more after it was known to be good, so that what is in memory does not end all
 * at once. */
uint64_t
space_bearable_until(const struct space *space, const struct entry_parts *parts, uint64_t known_ms)
{
	uint64_t outage_ms = atomic_load_explicit(&space->copies->outage_ms, memory_order_relaxed);
	uint64_t spared_ms = hash_mix64(parts->version, parts->key_length) % (outage_ms / 2 + 1);

	known_ms = known_ms > 0 ? known_ms - space->engine->start_ms : 0; /* 0: never */
	return (known_ms > parts->stored_ms ? known_ms : parts->stored_ms) + outage_ms - spared_ms;
}

/* Whether the replicas' rules let the entry be given, as far as it lives. */
static bool
is_good(const struct looking *looking, const struct entry_parts *parts)
{
	const struct copies *copies = looking->space->copies;

	if (looking->standing == STANDING_ALONE)
		return looking->now_ms <
		       space_bearable_until(looking->space, parts, atomic_load(&copies->trust->heard_ms));
	return parts->version >= looking->renewed ||
	       looking->now_ms <
	           space_bearable_until(looking->space, parts, atomic_load(&copies->trust->lost_ms));
}

static void
look_at_clock(struct looking *looking)
{
	if (!looking->is_exact)
		looking->now_ms = engine_now_ms(looking->space->engine);
	looking->is_exact = true;
}

/* Whether the entry is of use to this caller; it is copied then. Well before an entry's end any clock says
 * that it is fresh. */
static bool
look(struct looking *looking, const struct entry *entry)
{
	struct entry_parts parts;

	entry_read(entry, &parts);
	if (looking->now_ms + CLOCK_COARSE_LAG_MS >= parts.fresh_ms)
		look_at_clock(looking);
	if (!is_good(looking, &parts))
		return false;
	enum life life = space_life(looking->space, &parts, looking->now_ms);
	if (life == LIFE_FRESH) {
		give(looking, &parts, GET_HIT);
		looking->is_early = is_time_to_renew(looking->space, &parts, looking->now_ms);
		return true;
	}
	if (life != LIFE_GRACE && !(life == LIFE_ERROR_GRACE && looking->get->has_failed))
		return false;
	give(looking, &parts, GET_STALE);
	return true;
}

static void
look_up(struct looking *looking, uint32_t hash)
{
	struct l1 *l1 = looking->space->l1;
	const struct get *get = looking->get;

	reader_enter(looking->reader);
	const struct entry *entry = l1_look(l1, hash, get->key, get->key_length);
	if (entry && look(looking, entry))
		l1_use(l1, looking->reader, hash, entry);
	reader_leave(looking->reader);
}

static void
reset(struct get *get)
{
	get->outcome = GET_MISS;
	get->value = NULL;
	get->value_length = 0;
	get->content_type = "";
	get->version = get->age_ms = get->token = get->lease_ms = get->oldest = 0;
	get->fresh_ms = 0;
	get->is_filling = get->is_early = get->is_shared = false;
}

/* ---- what has to be filled ---- */

static void
claim(struct looking *looking, uint64_t hash, struct engine_waiter **woken)
{
	struct space *space = looking->space;
	struct get *get = looking->get;
	struct claim claim = {.hash = hash,
	                      .subject = {.key = get->key, .key_length = get->key_length},
	                      .now_ms = looking->now_ms,
	                      .lease_ms = space->options.lease_ms};

	while (claim.token == 0)
		claim.token = random_u64(space->engine->options.random);
	if (space->tier->claim(space->tier, &claim)) {
		get->token = claim.token;
		get->lease_ms = claim.lease_ms;
		space->counts.leases++;
		space->counts.early += looking->is_early;
	}
	get->is_filling = claim.is_held && !looking->is_early;
	space->counts.leases_lost += claim.lost;
	*woken = claim.woken;
}

/* Looks again under the lock, and takes away what can never be given again. */
static void
look_again(struct looking *looking, uint64_t hash)
{
	struct space *space = looking->space;
	struct get *get = looking->get;
	const struct entry *entry = l1_find(space->l1, (uint32_t)hash, get->key, get->key_length);
	struct entry_parts parts;

	if (!entry)
		return;
	entry_read(entry, &parts);
	enum life life = space_life(space, &parts, looking->now_ms);
	if (life == LIFE_FRESH && parts.version != get->version && is_good(looking, &parts))
		give(looking, &parts, GET_HIT);
	else if (life == LIFE_DEAD || life == LIFE_OVER)
		space_discard(space, hash, get->key, get->key_length,
		              life == LIFE_DEAD ? EVICTED_INVALIDATED : EVICTED_EXPIRED);
}

static void
settle(struct looking *looking, uint64_t hash)
{
	struct space *space = looking->space;
	struct get *get = looking->get;
	struct engine_waiter *woken = NULL;

	look_at_clock(looking);
	pthread_mutex_lock(&space->lock);
	look_again(looking, hash);
	bool is_given = get->outcome == GET_HIT || get->outcome == GET_NEGATIVE;
	if (looking->has_room && (!is_given || looking->is_early))
		claim(looking, hash, &woken);
	pthread_mutex_unlock(&space->lock);
	wake_all(woken);
}

/* Where leases are given outside, nobody asks for one that is known to be out; and of those who can wait one
 * asks, the others wait for its answer as for a fill. */
static bool
is_filled_by_another(struct looking *looking, uint64_t hash)
{
	struct space *space = looking->space;
	struct engine_waiter *woken = NULL;

	if (looking->standing != STANDING_IN_STEP)
		return false;
	pthread_mutex_lock(&space->lock);
	const struct lease *held = leases_find(space->leases, hash, looking->now_ms);
	bool is_held = held && (held->token != SHARED_ASKING || looking->get->may_wait);
	struct lease asking = {.hash = hash,
	                       .token = SHARED_ASKING,
	                       .granted_ms = looking->now_ms,
	                       .expires_ms = looking->now_ms + SHARED_HELD_MS,
	                       .is_others = true};
	if (!held && looking->get->outcome == GET_MISS)
		(void)leases_grant(space->leases, &asking, looking->now_ms, &woken, &space->counts.leases_lost);
	pthread_mutex_unlock(&space->lock);
	wake_all(woken);
	return is_held;
}

static void
ask_outside(struct looking *looking, uint64_t hash, bool wants_token)
{
	struct get *get = looking->get;

	get->is_early = looking->is_early;
	get->is_shared = looking->has_room && (wants_token || get->outcome == GET_MISS);
	if (get->is_shared && is_filled_by_another(looking, hash)) {
		get->is_shared = false;
		get->is_filling = (wants_token || get->may_wait) && !get->is_early;
	}
}

static void
get_one(struct looking *looking, uint64_t hash)
{
	struct get *get = looking->get;

	looking->is_early = false;
	reset(get);
	if (looking->standing != STANDING_UNSURE)
		look_up(looking, (uint32_t)hash);
	bool is_given = get->outcome == GET_HIT || get->outcome == GET_NEGATIVE;
	bool wants_token = get->may_fill && !get->has_failed && (!is_given || looking->is_early);
	if (looking->standing == STANDING_IN_STEP || looking->standing == STANDING_UNSURE)
		ask_outside(looking, hash, wants_token);
	else if (wants_token && looking->has_room)
		settle(looking, hash);
}

/* ---- several at once ---- */

/* One after the other for all of them: the memory that the next step needs is under way meanwhile. */
static void
fetch_ahead(const struct looking *looking, const uint64_t *hashes, size_t count)
{
	const struct l1 *l1 = looking->space->l1;
	const struct entry *approached[BATCH];

	reader_enter(looking->reader);
	for (size_t i = 0; i < count; i++)
		l1_expect(l1, (uint32_t)hashes[i]);
	for (size_t i = 0; i < count; i++)
		approached[i] = l1_approach(l1, (uint32_t)hashes[i]);
	for (size_t i = 0; i < count; i++)
		l1_arrive(l1, approached[i]);
	reader_leave(looking->reader);
}

static void
get_batch(struct looking *looking, struct get *gets, size_t count)
{
	uint64_t hashes[BATCH];

	for (size_t i = 0; i < count; i++)
		hashes[i] = space_hash(looking->space, gets[i].key, gets[i].key_length);
	if (count > 1)
		fetch_ahead(looking, hashes, count);
	for (size_t i = 0; i < count; i++) {
		looking->get = &gets[i];
		get_one(looking, hashes[i]);
	}
	space_count_gets(looking->space, looking->reader->number, gets, hashes, count);
}

/* What replicas share is good for so long as they are in step, to the millisecond. */
static struct looking
looking_at(struct space *space, struct arena *arena)
{
	bool is_exact = space->copies != NULL;
	struct looking looking = {.space = space,
	                          .arena = arena,
	                          .reader = readers_own(space->engine->readers),
	                          .now_ms =
	                              is_exact ? engine_now_ms(space->engine) : engine_coarse_ms(space->engine),
	                          .is_exact = is_exact,
	                          .has_room = true};

	looking.standing = space_standing(space, looking.now_ms);
	looking.renewed = space->copies ? atomic_load(&space->copies->trust->renewed) : 0;
	return looking;
}

void
engine_get(struct space *space, struct get *gets, size_t count, struct arena *arena, bool *has_room)
{
	struct looking looking = looking_at(space, arena);

	for (size_t i = 0; i < count; i += BATCH)
		get_batch(&looking, gets + i, count - i < BATCH ? count - i : BATCH);
	if (has_room)
		*has_room = looking.has_room;
}
