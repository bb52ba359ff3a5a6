/*
 * engine_set: changes of one key: the tier orders them, and the entry follows, under the space's lock.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "engine_internal.h"
#include "engine_shared.h"

#define JITTER_PERMILLE 100u
#define GRACE_MAX_MS    UINT32_MAX
#define NUMBER_TYPE     "application/json"

bool
space_find_living(const struct space *space, uint64_t hash, const char *key, size_t length, uint64_t now_ms,
                  struct entry_parts *parts, enum life *life)
{
	const struct entry *entry = l1_find(space->l1, (uint32_t)hash, key, length);

	if (!entry)
		return false;
	entry_read(entry, parts);
	*life = space_life(space, parts, now_ms);
	return *life > LIFE_OVER;
}

void
space_take_away(struct space *space, uint64_t hash, const char *key, size_t length)
{
	struct fill_level before = room_level(space);

	l1_remove(space->l1, (uint32_t)hash, key, length);
	room_account(space, before);
}

void
space_discard(struct space *space, uint64_t hash, const char *key, size_t length, enum eviction_cause cause)
{
	space_take_away(space, hash, key, length);
	space->counts.evicted[cause]++;
}

/* Puts an entry of these parts in; room was made for it, but a negative one may still find none. */
void
space_put_in(struct space *space, uint64_t hash, const struct entry_parts *parts)
{
	if (parts->is_negative && !room_for_negative(space, entry_bytes_for(parts))) {
		space_take_away(space, hash, parts->key, parts->key_length);
		return;
	}
	bool key_is_new = !l1_find(space->l1, (uint32_t)hash, parts->key, parts->key_length);
	struct entry *entry = entry_new(space->engine->heap, parts);

	room_in_space(space, entry_bytes_for(parts), key_is_new);
	struct fill_level before = room_level(space);
	l1_put(space->l1, (uint32_t)hash, entry);
	room_account(space, before);
}

/* ---- set ---- */

/* Ten per cent more or less, so that what was written together does not end together. */
static uint64_t
jitter(struct engine *engine, uint64_t ttl_ms)
{
	uint64_t spread = ttl_ms / 1000 * JITTER_PERMILLE + ttl_ms % 1000 * JITTER_PERMILLE / 1000;
	return spread ? ttl_ms - spread + engine_draw(engine) % (2 * spread + 1) : ttl_ms;
}

static uint32_t
grace_of(uint64_t asked_ms, uint64_t otherwise_ms)
{
	uint64_t grace_ms = asked_ms == ENGINE_DEFAULT_MS ? otherwise_ms : asked_ms;
	return grace_ms < GRACE_MAX_MS ? (uint32_t)grace_ms : GRACE_MAX_MS;
}

static uint64_t
ttl_of(const struct space *space, const struct set *set)
{
	const struct space_options *options = &space->options;
	uint64_t ttl_ms = set->ttl_ms != ENGINE_DEFAULT_MS ? set->ttl_ms
	                  : set->is_negative               ? options->negative_ttl_ms
	                                                   : options->ttl_ms;
	return ttl_ms < ENTRY_TIME_MAX / 4 ? ttl_ms : ENTRY_TIME_MAX / 4;
}

static void
hash_tags(const struct set *set, uint64_t tags[ENGINE_TAGS_MAX])
{
	for (size_t i = 0; i < set->tag_count; i++)
		tags[i] = set->tag_hashes ? set->tag_hashes[i] : tag_hash(set->tags[i], strlen(set->tags[i]));
}

/* What does not depend on the time or the space's options. */
struct entry_parts
parts_of(const struct set *set, const uint64_t *tags)
{
	return (struct entry_parts){.is_negative = set->is_negative,
	                            .key = set->key,
	                            .key_length = set->key_length,
	                            .value = set->value,
	                            .value_length = set->is_negative ? 0 : set->value_length,
	                            .type = set->content_type,
	                            .type_length = set->content_type ? strlen(set->content_type) : 0,
	                            .tags = tags,
	                            .tag_count = set->tag_count};
}

/* The times of an entry that was kept go on from where they were. */
static void
set_past(const struct entry_past *past, uint64_t now_ms, struct entry_parts *parts)
{
	parts->stored_ms = past->age_ms < now_ms ? now_ms - past->age_ms : 0;
	parts->fresh_ms =
	    past->fresh_ms < 0 && (uint64_t)-past->fresh_ms > now_ms ? 0 : now_ms + (uint64_t)past->fresh_ms;
	parts->delta_ms = past->delta_ms;
}

static void
set_times(struct space *space, const struct set *set, const struct commit *commit, uint64_t now_ms,
          struct entry_parts *parts)
{
	parts->version = commit->sequence;
	parts->stored_ms = now_ms;
	parts->fresh_ms = now_ms + jitter(space->engine, ttl_of(space, set));
	parts->delta_ms = commit->delta_ms < UINT32_MAX ? (uint32_t)commit->delta_ms : UINT32_MAX;
	if (set->past)
		set_past(set->past, now_ms, parts);
	if (set->is_negative)
		return;
	parts->grace_ms = grace_of(set->grace_ms, space->options.grace_ms);
	parts->error_grace_ms = grace_of(set->error_grace_ms, space->options.error_grace_ms);
}

void
set_plan(struct space *space, const struct set *set, struct shared_plan *plan)
{
	hash_tags(set, plan->tags);
	pthread_mutex_lock(&space->lock);
	plan->ttl_ms = jitter(space->engine, ttl_of(space, set));
	plan->grace_ms = set->is_negative ? 0 : grace_of(set->grace_ms, space->options.grace_ms);
	plan->error_grace_ms =
	    set->is_negative ? 0 : grace_of(set->error_grace_ms, space->options.error_grace_ms);
	pthread_mutex_unlock(&space->lock);
}

static bool
version_differs(const struct space *space, struct set *set, uint64_t hash, uint64_t now_ms)
{
	struct entry_parts parts;
	enum life life;

	if (!set->has_if_version)
		return false;
	bool is_there = space_find_living(space, hash, set->key, set->key_length, now_ms, &parts, &life);
	set->version = is_there ? parts.version : 0;
	return set->version != set->if_version;
}

static struct engine_waiter *
set_locked(struct space *space, struct set *set, uint64_t hash, struct entry_parts *parts)
{
	uint64_t now_ms = engine_now_ms(space->engine);
	struct change change = {.kind = set->token ? CHANGE_FILL : CHANGE_SET,
	                        .hash = hash,
	                        .subject = {parts->key, parts->key_length, parts->tags, parts->tag_count},
	                        .token = set->token,
	                        .now_ms = now_ms};
	struct commit commit;
	struct status st;

	set->outcome = SET_VERSION_DIFFERS;
	if (version_differs(space, set, hash, now_ms))
		return NULL;
	set->outcome = SET_LEASE_LOST;
	if (!space->tier->commit(space->tier, &change, &commit, &st)) {
		space->counts.refused++;
		return commit.woken;
	}
	set_times(space, set, &commit, now_ms, parts);
	space_put_in(space, hash, parts);
	set->outcome = SET_STORED;
	set->version = commit.sequence;
	space->counts.sets++;
	space->counts.fills += set->token != 0;
	return commit.woken;
}

/* What is too large was a change all the same: what was there before must not be given any more. */
static void
refuse(struct space *space, struct set *set)
{
	engine_delete(space, set->key, set->key_length);
	set->outcome = SET_TOO_LARGE;
	set->version = 0;
}

bool
space_fits(struct space *space, const struct entry_parts *parts)
{
	uint64_t bytes = entry_bytes_for(parts), tenant_max = atomic_load(&space->tenant->bytes_max);

	pthread_mutex_lock(&space->lock);
	uint64_t space_max = space->options.bytes_max;
	uint32_t value_max = space->options.value_max;
	pthread_mutex_unlock(&space->lock);
	return parts->value_length <= ENTRY_VALUE_MAX && (value_max == 0 || parts->value_length <= value_max) &&
	       bytes <= space->engine->entry_bytes_max && (tenant_max == 0 || bytes <= tenant_max) &&
	       (space_max == 0 || bytes <= space_max);
}

static void
set_one(struct space *space, struct set *set)
{
	uint64_t tags[ENGINE_TAGS_MAX], hash = space_hash(space, set->key, set->key_length);

	hash_tags(set, tags);
	struct entry_parts parts = parts_of(set, tags);
	uint64_t bytes = entry_bytes_for(&parts);
	set->version = 0;
	if (!space_fits(space, &parts) || !room_reserve(space, bytes)) {
		refuse(space, set);
		return;
	}
	pthread_mutex_lock(&space->lock);
	struct engine_waiter *woken = set_locked(space, set, hash, &parts);
	pthread_mutex_unlock(&space->lock);
	room_release(space, bytes);
	wake_all(woken);
}

void
engine_set(struct space *space, struct set *sets, size_t count)
{
	for (size_t i = 0; i < count; i++)
		set_one(space, &sets[i]);
}

/* ---- delete, expire, touch ---- */

/* Orders a change that ends the key's lease; the lock is held. */
static struct engine_waiter *
commit_key(struct space *space, enum change_kind kind, uint64_t hash, const char *key, size_t length,
           uint64_t now_ms)
{
	struct change change = {
	    .kind = kind, .hash = hash, .subject = {.key = key, .key_length = length}, .now_ms = now_ms};
	struct commit commit;
	struct status st;

	space->tier->commit(space->tier, &change, &commit, &st);
	return commit.woken;
}

bool
engine_delete(struct space *space, const char *key, size_t key_length)
{
	uint64_t hash = space_hash(space, key, key_length), now_ms = engine_now_ms(space->engine);
	struct entry_parts parts;
	enum life life;

	pthread_mutex_lock(&space->lock);
	struct engine_waiter *woken = commit_key(space, CHANGE_DELETE, hash, key, key_length, now_ms);
	bool was_there = space_find_living(space, hash, key, key_length, now_ms, &parts, &life);
	space_take_away(space, hash, key, key_length);
	space->counts.deletes++;
	pthread_mutex_unlock(&space->lock);
	wake_all(woken);
	return was_there;
}

bool
engine_expire(struct space *space, const char *key, size_t key_length)
{
	uint64_t hash = space_hash(space, key, key_length), now_ms = engine_now_ms(space->engine);
	struct entry_parts parts;
	enum life life;

	pthread_mutex_lock(&space->lock);
	struct engine_waiter *woken = commit_key(space, CHANGE_EXPIRE, hash, key, key_length, now_ms);
	bool is_there = space_find_living(space, hash, key, key_length, now_ms, &parts, &life);
	if (is_there && life == LIFE_FRESH)
		l1_set_fresh(space->l1, (uint32_t)hash, key, key_length, now_ms);
	pthread_mutex_unlock(&space->lock);
	wake_all(woken);
	return is_there;
}

bool
engine_touch(struct space *space, const char *key, size_t key_length, uint64_t ttl_ms)
{
	uint64_t hash = space_hash(space, key, key_length), now_ms = engine_now_ms(space->engine);
	struct entry_parts parts;
	enum life life;

	pthread_mutex_lock(&space->lock);
	bool is_there =
	    space_find_living(space, hash, key, key_length, now_ms, &parts, &life) && life >= LIFE_GRACE;
	if (ttl_ms == ENGINE_DEFAULT_MS)
		ttl_ms = space->options.ttl_ms;
	if (is_there) {
		commit_key(space, CHANGE_TOUCH, hash, key, key_length, now_ms);
		l1_set_fresh(space->l1, (uint32_t)hash, key, key_length,
		             now_ms + (ttl_ms < ENTRY_TIME_MAX / 4 ? ttl_ms : ENTRY_TIME_MAX / 4));
	}
	pthread_mutex_unlock(&space->lock);
	return is_there;
}

/* ---- incr ---- */

/* The value after the addition; the entry's own times and type stay. */
static bool
add_up(struct incr *incr, const struct entry_parts *parts, bool is_there)
{
	int64_t value = incr->initial;

	incr->outcome = INCR_NOT_A_NUMBER;
	if (is_there && !text_to_i64(parts->value, parts->value_length, &value))
		return false;
	incr->outcome = INCR_OVERFLOW;
	return !__builtin_add_overflow(value, incr->by, &incr->value);
}

static struct engine_waiter *
incr_locked(struct space *space, struct incr *incr, uint64_t hash)
{
	uint64_t now_ms = engine_now_ms(space->engine);
	struct set set = {.key = incr->key,
	                  .key_length = incr->key_length,
	                  .content_type = NUMBER_TYPE,
	                  .ttl_ms = incr->ttl_ms,
	                  .grace_ms = ENGINE_DEFAULT_MS,
	                  .error_grace_ms = ENGINE_DEFAULT_MS};
	struct entry_parts there, parts = parts_of(&set, NULL);
	enum life life;
	bool is_there = space_find_living(space, hash, incr->key, incr->key_length, now_ms, &there, &life) &&
	                life == LIFE_FRESH && !there.is_negative;
	char text[24];

	if (!add_up(incr, &there, is_there))
		return NULL;
	struct change change = {.kind = CHANGE_SET,
	                        .hash = hash,
	                        .subject = {.key = incr->key, .key_length = incr->key_length},
	                        .now_ms = now_ms};
	struct commit commit;
	struct status st;
	space->tier->commit(space->tier, &change, &commit, &st);
	set_times(space, &set, &commit, now_ms, &parts);
	if (is_there)
		parts = there;
	parts.version = incr->version = commit.sequence;
	parts.stored_ms = now_ms;
	parts.value = text;
	parts.value_length = (size_t)snprintf(text, sizeof(text), "%" PRId64, incr->value);
	space_put_in(space, hash, &parts);
	incr->outcome = INCR_DONE;
	space->counts.sets++;
	return commit.woken;
}

void
engine_incr(struct space *space, struct incr *incr)
{
	uint64_t hash = space_hash(space, incr->key, incr->key_length);
	/* As large as it can be: the type and tags of one that is there are not known yet. */
	struct entry_parts largest = {.key_length = incr->key_length,
	                              .type_length = ENGINE_TYPE_MAX,
	                              .tag_count = ENGINE_TAGS_MAX,
	                              .value_length = 24,
	                              .grace_ms = 1};
	uint64_t bytes = entry_bytes_for(&largest);

	incr->outcome = INCR_TOO_LARGE;
	incr->version = 0;
	if (!space_fits(space, &largest) || !room_reserve(space, bytes))
		return;
	pthread_mutex_lock(&space->lock);
	struct engine_waiter *woken = incr_locked(space, incr, hash);
	pthread_mutex_unlock(&space->lock);
	room_release(space, bytes);
	wake_all(woken);
}
