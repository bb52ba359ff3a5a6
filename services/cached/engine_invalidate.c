/*
 * engine_invalidate: changes of many entries at once. None of them is looked at: what they were is noted,
 * whoever meets an entry later compares, and upkeep lets the dead go.
 */
#include "engine_internal.h"

/* There is no number left for what it would have to be newer than: all of the space goes, and whoever was
 * asked to fill fills nothing. */
static void
empty(struct space *space, struct engine_waiter **woken)
{
	struct fill_level before = room_level(space);

	l1_clear(space->l1);
	room_account(space, before);
	(void)leases_expire(space->leases, UINT64_MAX, woken);
}

static struct status
invalidate(struct space *space, struct change *change, uint64_t *sequence)
{
	struct commit commit;
	struct status st;

	pthread_mutex_lock(&space->lock);
	change->now_ms = engine_now_ms(space->engine);
	bool is_done = space->tier->commit(space->tier, change, &commit, &st);
	if (!is_done && status_ok(&st))
		empty(space, &commit.woken);
	space->counts.invalidations += status_ok(&st);
	pthread_mutex_unlock(&space->lock);
	wake_all(commit.woken);
	*sequence = commit.sequence;
	return st;
}

uint64_t
engine_invalidate_tag(struct space *space, const char *tag, size_t length)
{
	struct change change = {.kind = CHANGE_TAG, .tag = tag_hash(tag, length)};
	uint64_t sequence;

	invalidate(space, &change, &sequence);
	return sequence;
}

uint64_t
engine_invalidate_prefix(struct space *space, const char *prefix, size_t length)
{
	struct change change = {.kind = CHANGE_PREFIX, .name = prefix, .name_length = length};
	uint64_t sequence;

	invalidate(space, &change, &sequence);
	return sequence;
}

struct status
engine_invalidate_glob(struct space *space, const char *pattern, size_t length, uint64_t *sequence)
{
	struct change change = {.kind = CHANGE_GLOB, .name = pattern, .name_length = length};

	return invalidate(space, &change, sequence);
}

uint64_t
engine_invalidate_all(struct space *space)
{
	struct change change = {.kind = CHANGE_ALL};
	uint64_t sequence;

	invalidate(space, &change, &sequence);
	return sequence;
}
