/*
 * tier_local: see tier.h. What was invalidated and who holds a lease is known in this process.
 */
#include <stdatomic.h>

#include "base/arena.h"
#include "tier.h"

struct local {
	struct tier tier; /* first */
	struct invalidations *invalidations;
	struct leases *leases;
	const struct change_watch *watch;
	const struct space *space;
	_Atomic uint64_t sequence; /* changed under the space's lock */
};

static uint64_t
next_number(struct local *local)
{
	return atomic_fetch_add_explicit(&local->sequence, 1, memory_order_relaxed) + 1;
}

/* Of a change of one key, which is done to the entry itself: it needs no number of its own between others. */
static uint64_t
number_of_key(struct local *local)
{
	uint64_t sequence = atomic_load_explicit(&local->sequence, memory_order_relaxed);

	return sequence & local->tier.between ? sequence : next_number(local);
}

/* The token is used up, whether it may fill or not: one that an invalidation made worthless makes place for
 * the next caller's. */
static bool
commit_fill(struct local *local, const struct change *change, struct commit *commit)
{
	const struct lease *lease = leases_find(local->leases, change->hash, change->now_ms);

	if (!lease || lease->token != change->token)
		return false;
	bool is_allowed = invalidations_allow(local->invalidations, &change->subject, lease->since);
	commit->delta_ms = change->now_ms - lease->granted_ms;
	leases_end(local->leases, change->hash, &commit->woken);
	if (is_allowed)
		commit->sequence = number_of_key(local);
	return is_allowed;
}

static bool
commit_invalidation(struct local *local, const struct change *change, struct commit *commit,
                    struct status *status)
{
	uint64_t sequence = atomic_load_explicit(&local->sequence, memory_order_relaxed) + 1;
	struct invalidations *invalidations = local->invalidations;

	if (local->tier.between && (sequence & local->tier.between) == 0)
		return false;
	if (change->kind == CHANGE_TAG)
		invalidations_add_tag(invalidations, change->tag, sequence);
	else if (change->kind == CHANGE_PREFIX)
		invalidations_add_prefix(invalidations, change->name, change->name_length, sequence);
	else if (change->kind == CHANGE_ALL)
		invalidations_add_all(invalidations, sequence);
	else
		*status = invalidations_add_glob(invalidations, change->name, change->name_length, sequence);
	if (status_ok(status))
		commit->sequence = next_number(local);
	return status_ok(status);
}

static bool
decide(struct local *local, const struct change *change, struct commit *commit, struct status *status)
{
	*commit = (struct commit){0};
	*status = status_ok_value();
	switch (change->kind) {
	case CHANGE_FILL:
		return commit_fill(local, change, commit);
	case CHANGE_TAG:
	case CHANGE_PREFIX:
	case CHANGE_GLOB:
	case CHANGE_ALL:
		return commit_invalidation(local, change, commit, status);
	case CHANGE_SET:
	case CHANGE_DELETE:
	case CHANGE_EXPIRE:
		leases_end(local->leases, change->hash, &commit->woken);
		break;
	case CHANGE_TOUCH:
		break;
	}
	commit->sequence = number_of_key(local);
	return true;
}

static bool
commit(struct tier *tier, const struct change *change, struct commit *commit, struct status *status)
{
	struct local *local = (struct local *)tier;
	bool is_done = decide(local, change, commit, status);

	if (is_done && local->watch->note)
		local->watch->note(local->watch->arg, local->space, change);
	return is_done;
}

/* A lease whose key was invalidated since cannot fill any more: it makes place for one that can. */
static bool
claim(struct tier *tier, struct claim *claim)
{
	struct local *local = (struct local *)tier;
	const struct lease *held = leases_find(local->leases, claim->hash, claim->now_ms);

	claim->lost = 0;
	claim->woken = NULL;
	claim->is_held = held && invalidations_allow(local->invalidations, &claim->subject, held->since);
	if (claim->is_held)
		return false;
	struct lease lease = {.hash = claim->hash,
	                      .token = claim->token,
	                      .since = atomic_load_explicit(&local->sequence, memory_order_relaxed),
	                      .granted_ms = claim->now_ms,
	                      .expires_ms = claim->now_ms + claim->lease_ms};
	return leases_grant(local->leases, &lease, claim->now_ms, &claim->woken, &claim->lost);
}

static bool
release(struct tier *tier, uint64_t hash, uint64_t token, uint64_t now_ms, struct engine_waiter **woken)
{
	struct local *local = (struct local *)tier;
	const struct lease *lease = leases_find(local->leases, hash, now_ms);

	if (!lease || lease->token != token)
		return false;
	leases_end(local->leases, hash, woken);
	return true;
}

static uint64_t
sequence(const struct tier *tier)
{
	return atomic_load_explicit(&((const struct local *)tier)->sequence, memory_order_relaxed);
}

static void
advance(struct tier *tier, uint64_t sequence)
{
	struct local *local = (struct local *)tier;

	if (sequence > atomic_load_explicit(&local->sequence, memory_order_relaxed))
		atomic_store_explicit(&local->sequence, sequence, memory_order_relaxed);
}

static void
free_local(struct tier *tier)
{
	mem_free(tier);
}

struct tier *
tier_local(struct invalidations *invalidations, struct leases *leases, const struct change_watch *watch,
           const struct space *space)
{
	struct local *local = mem_alloc(sizeof(*local));

	local->tier = (struct tier){commit, claim, release, sequence, advance, free_local, 0};
	local->invalidations = invalidations;
	local->leases = leases;
	local->watch = watch;
	local->space = space;
	return &local->tier;
}
