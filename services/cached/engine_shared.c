/*
 * engine_shared: what was read from the store that replicas share. See engine_shared.h.
 *
 * The guard: what was read at a number is put in only if no change that covers the key is known that is
 * newer. So it does not matter which arrives first, the entry or the news of its end.
 */
#include "engine_shared.h"

#include <string.h>

#include "engine_internal.h"

uint64_t
engine_draw_token(struct space *space)
{
	uint64_t token = 0;

	while (token <= SHARED_ASKING)
		token = random_u64(space->engine->options.random);
	return token;
}

/* ---- keeping a copy ---- */

/* Times as they are kept: what ended before the engine began leaves that much less of its graces. */
static void
set_times(struct entry_parts *parts, const struct shared_answer *answer, uint64_t now_ms)
{
	int64_t fresh_ms = (int64_t)now_ms + answer->fresh_left_ms;
	uint64_t before_ms = fresh_ms < 0 ? (uint64_t)-fresh_ms : 0;

	parts->fresh_ms = fresh_ms < 0 ? 0 : (uint64_t)fresh_ms;
	parts->stored_ms = now_ms > answer->age_ms ? now_ms - answer->age_ms : 0;
	parts->grace_ms = parts->grace_ms > before_ms ? (uint32_t)(parts->grace_ms - before_ms) : 0;
	parts->error_grace_ms =
	    parts->error_grace_ms > before_ms ? (uint32_t)(parts->error_grace_ms - before_ms) : 0;
}

/* Nothing that covers the entry is known to have come after `at`; the space's lock is held. */
static bool
is_current(const struct space *space, uint64_t hash, const struct entry_parts *parts, uint64_t at)
{
	uint64_t tags[ENGINE_TAGS_MAX];
	struct subject subject = {parts->key, parts->key_length, tags, parts->tag_count};
	const struct entry *there = l1_find(space->l1, (uint32_t)hash, parts->key, parts->key_length);

	if (parts->tag_count > 0)
		memcpy(tags, parts->tags, parts->tag_count * sizeof(tags[0]));
	return space->copies->changed[hash % CHANGED_BUCKETS] <= at &&
	       (!there || entry_version(there) <= parts->version) &&
	       invalidations_allow(space->invalidations, &subject, at);
}

void
space_keep_copy(struct space *space, uint64_t hash, const struct entry_parts *parts, uint64_t at)
{
	uint64_t bytes = entry_bytes_for(parts);

	if (!space_fits(space, parts) || !room_reserve(space, bytes))
		return;
	pthread_mutex_lock(&space->lock);
	space->tier->advance(space->tier, at);
	if (is_current(space, hash, parts, at))
		space_put_in(space, hash, parts);
	pthread_mutex_unlock(&space->lock);
	room_release(space, bytes);
}

/* ---- giving ---- */

static void
give(struct space *space, struct get *get, const struct entry_parts *parts, struct arena *arena,
     bool *has_room)
{
	uint64_t now_ms = engine_now_ms(space->engine);
	bool is_fresh = now_ms < parts->fresh_ms;
	bool is_stale = now_ms < parts->fresh_ms + parts->grace_ms ||
	                (get->has_failed && now_ms < parts->fresh_ms + parts->error_grace_ms);

	if ((is_fresh || is_stale) && !space_give(parts, is_fresh ? GET_HIT : GET_STALE, now_ms, arena, get) &&
	    has_room)
		*has_room = false;
}

/* How long whoever waits for another replica's fill does so before it asks again. What was followed since
 * Redis answered may have been that fill, of which nobody would hear a second time. */
static uint64_t
patience_ms(const struct space *space, uint64_t hash, const struct shared_answer *answer)
{
	bool may_be_over = space->copies->changed[hash % CHANGED_BUCKETS] > answer->at;
	return may_be_over ? SHARED_SOON_MS : SHARED_HELD_MS;
}

/* Waiters of this process wait on a lease of its own books, whoever has it. It ends when there is an entry,
 * and what is left of whoever asked makes place. */
static void
note_lease(struct space *space, uint64_t hash, const struct shared_answer *answer, struct get *get)
{
	uint64_t now_ms = engine_now_ms(space->engine);
	struct engine_waiter *woken = NULL;

	pthread_mutex_lock(&space->lock);
	uint64_t held_ms = answer->is_granted ? get->lease_ms : patience_ms(space, hash, answer);
	struct lease lease = {.hash = hash,
	                      .token = answer->is_granted ? get->token : 0,
	                      .since = answer->at,
	                      .granted_ms = now_ms,
	                      .is_others = !answer->is_granted,
	                      .expires_ms = now_ms + held_ms};
	const struct lease *held = leases_find(space->leases, hash, now_ms);
	bool is_ours = held && held->token > SHARED_ASKING;
	if (answer->is_granted || (answer->is_held && !is_ours))
		(void)leases_grant(space->leases, &lease, now_ms, &woken, &space->counts.leases_lost);
	else if (!answer->is_held && !is_ours)
		leases_end(space->leases, hash, &woken);
	space->counts.leases += answer->is_granted;
	space->counts.early += answer->is_granted && get->is_early;
	pthread_mutex_unlock(&space->lock);
	wake_all(woken);
}

void
engine_settle(struct space *space, struct get *get, const struct shared_answer *answer, struct arena *arena,
              bool *has_room)
{
	uint64_t hash = space_hash(space, get->key, get->key_length);

	get->is_shared = false;
	if (answer->has_entry) {
		struct entry_parts parts = answer->parts;
		parts.key = get->key;
		parts.key_length = get->key_length;
		set_times(&parts, answer, engine_now_ms(space->engine));
		space_keep_copy(space, hash, &parts, answer->at);
		give(space, get, &parts, arena, has_room);
	}
	note_lease(space, hash, answer, get);
	if (!answer->is_granted)
		get->token = get->lease_ms = 0;
	get->is_filling = answer->is_held && !get->is_early;
	space_count_get(space, get);
	if (answer->has_entry && !get->is_counted)
		atomic_fetch_add_explicit(&space->copies->hits, get->outcome != GET_MISS, memory_order_relaxed);
}

void
engine_settle_alone(struct space *space, struct get *get, struct arena *arena, bool *has_room)
{
	uint64_t hash = space_hash(space, get->key, get->key_length);
	struct engine_waiter *woken = NULL;

	pthread_mutex_lock(&space->lock);
	const struct lease *held = leases_find(space->leases, hash, engine_now_ms(space->engine));
	if (held && held->token == SHARED_ASKING)
		leases_end(space->leases, hash, &woken);
	pthread_mutex_unlock(&space->lock);
	engine_get(space, get, 1, arena, has_room);
	wake_all(woken);
	if (!get->is_shared)
		return;
	get->is_shared = false;
	get->token = get->lease_ms = 0;
	space_count_get(space, get);
}

/* ---- patterns ---- */

uint64_t
engine_known_globs(struct space *space)
{
	pthread_mutex_lock(&space->lock);
	uint64_t known = space->copies->known_globs;
	pthread_mutex_unlock(&space->lock);
	return known;
}

void
engine_learn_globs(struct space *space, const struct shared_globs *globs)
{
	pthread_mutex_lock(&space->lock);
	for (size_t i = 0; i < globs->count; i++)
		(void)invalidations_add_glob(space->copies->globs, globs->list[i].pattern, globs->list[i].length,
		                             globs->list[i].version);
	invalidations_add_all(space->copies->globs, globs->floor);
	if (globs->latest > space->copies->known_globs)
		space->copies->known_globs = globs->latest;
	pthread_mutex_unlock(&space->lock);
}

bool
engine_glob_covers(struct space *space, const char *key, size_t length, uint64_t version)
{
	struct subject subject = {.key = key, .key_length = length};
	return invalidations_cover(space->copies->globs, &subject, version);
}
