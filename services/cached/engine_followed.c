/*
 * engine_followed: what was changed in the store that replicas share, done to what is held here.
 * See engine_shared.h.
 */
#include <string.h>

#include "engine_internal.h"
#include "engine_shared.h"

/* ---- own changes ---- */

bool
engine_plan_set(struct space *space, const struct set *set, struct shared_plan *plan)
{
	set_plan(space, set, plan);
	struct entry_parts parts = parts_of(set, plan->tags);
	return space_fits(space, &parts);
}

void
engine_plan_incr(struct space *space, const struct incr *incr, struct shared_plan *plan)
{
	struct set set = {
	    .ttl_ms = incr->ttl_ms, .grace_ms = ENGINE_DEFAULT_MS, .error_grace_ms = ENGINE_DEFAULT_MS};
	set_plan(space, &set, plan);
}

void
engine_stored(struct space *space, const struct set *set, const struct shared_plan *plan, uint64_t delta_ms)
{
	uint64_t hash = space_hash(space, set->key, set->key_length), now_ms = engine_now_ms(space->engine);
	struct entry_parts parts = parts_of(set, plan->tags);
	struct shared_change change = {.kind = CHANGE_SET,
	                               .is_own = true,
	                               .name = set->key,
	                               .length = set->key_length,
	                               .version = set->version};

	parts.version = set->version;
	parts.stored_ms = now_ms;
	parts.fresh_ms = now_ms + plan->ttl_ms;
	parts.grace_ms = plan->grace_ms;
	parts.error_grace_ms = plan->error_grace_ms;
	parts.delta_ms = delta_ms < UINT32_MAX ? (uint32_t)delta_ms : UINT32_MAX;
	space_keep_copy(space, hash, &parts, set->version);
	if (set->token)
		change.kind = CHANGE_FILL;
	engine_follow(space, &change);
}

void
engine_refused(struct space *space, const char *key, size_t length)
{
	struct engine_waiter *woken = NULL;

	pthread_mutex_lock(&space->lock);
	leases_end(space->leases, space_hash(space, key, length), &woken);
	space->counts.refused++;
	pthread_mutex_unlock(&space->lock);
	wake_all(woken);
}

void
engine_touched(struct space *space, const char *key, size_t length, uint64_t ttl_ms)
{
	uint64_t hash = space_hash(space, key, length), now_ms = engine_now_ms(space->engine);

	pthread_mutex_lock(&space->lock);
	if (ttl_ms == ENGINE_DEFAULT_MS)
		ttl_ms = space->options.ttl_ms;
	ttl_ms = ttl_ms < ENTRY_TIME_MAX / 4 ? ttl_ms : ENTRY_TIME_MAX / 4;
	(void)l1_set_fresh(space->l1, (uint32_t)hash, key, length, now_ms + ttl_ms);
	pthread_mutex_unlock(&space->lock);
}

/* ---- everybody's ---- */

/* A key's change; its lease is over. An entry of that version or a later one is what came of it. */
static void
follow_key(struct space *space, const struct shared_change *change, struct engine_waiter **woken)
{
	uint64_t hash = space_hash(space, change->name, change->length);
	uint64_t *changed = &space->copies->changed[hash % CHANGED_BUCKETS];
	const struct entry *entry = l1_find(space->l1, (uint32_t)hash, change->name, change->length);
	uint64_t now_ms = engine_now_ms(space->engine);
	struct entry_parts parts;

	leases_end(space->leases, hash, woken);
	if (change->kind == CHANGE_TOUCH)
		return;
	*changed = change->version > *changed ? change->version : *changed;
	if (!entry || entry_version(entry) >= change->version)
		return;
	if (change->kind != CHANGE_EXPIRE) {
		space_take_away(space, hash, change->name, change->length);
		return;
	}
	entry_read(entry, &parts);
	if (parts.fresh_ms > now_ms)
		(void)l1_set_fresh(space->l1, (uint32_t)hash, change->name, change->length, now_ms);
}

static void
follow_glob(struct space *space, const struct shared_change *change)
{
	(void)invalidations_add_glob(space->invalidations, change->name, change->length, change->version);
	(void)invalidations_add_glob(space->copies->globs, change->name, change->length, change->version);
	if (change->is_order && space->copies->known_globs > 0 && change->version > space->copies->known_globs)
		space->copies->known_globs = change->version;
}

static void
follow(struct space *space, const struct shared_change *change, struct engine_waiter **woken)
{
	struct invalidations *invalidations = space->invalidations;

	switch (change->kind) {
	case CHANGE_TAG:
		invalidations_add_tag(invalidations, change->tag, change->version);
		break;
	case CHANGE_PREFIX:
		invalidations_add_prefix(invalidations, change->name, change->length, change->version);
		break;
	case CHANGE_GLOB:
		follow_glob(space, change);
		break;
	case CHANGE_ALL:
		invalidations_add_all(invalidations, change->version);
		break;
	default:
		follow_key(space, change, woken);
	}
}

static void
count(struct space *space, enum change_kind kind)
{
	space->counts.sets += kind == CHANGE_SET || kind == CHANGE_FILL;
	space->counts.fills += kind == CHANGE_FILL;
	space->counts.deletes += kind == CHANGE_DELETE;
	space->counts.invalidations += kind >= CHANGE_TAG;
}

void
engine_follow(struct space *space, const struct shared_change *change)
{
	struct engine_waiter *woken = NULL;

	pthread_mutex_lock(&space->lock);
	space->tier->advance(space->tier, change->version);
	follow(space, change, &woken);
	if (change->is_own)
		count(space, change->kind);
	pthread_mutex_unlock(&space->lock);
	wake_all(woken);
}

void
engine_forget_older(struct space *space, uint64_t version)
{
	pthread_mutex_lock(&space->lock);
	space->tier->advance(space->tier, version);
	space->copies->known_globs = 0;
	invalidations_add_all(space->invalidations, version);
	pthread_mutex_unlock(&space->lock);
}
