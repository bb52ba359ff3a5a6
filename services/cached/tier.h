/*
 * tier: where the changes of a space get their order, and its keys their leases.
 *
 * A tier decides; the engine then does the same to the entries it has in memory. Whoever shares a tier
 * agrees on one sequence of changes for each space, and on one holder of a token for each key.
 *
 * Calls for one space come one at a time, under the space's lock.
 */
#ifndef CORBEL_CACHED_TIER_H
#define CORBEL_CACHED_TIER_H

#include "invalidations.h"
#include "leases.h"

enum change_kind {
	CHANGE_SET,
	CHANGE_FILL, /* a set with a token */
	CHANGE_DELETE,
	CHANGE_EXPIRE,
	CHANGE_TOUCH,
	CHANGE_TAG,
	CHANGE_PREFIX,
	CHANGE_GLOB,
	CHANGE_ALL,
};

struct change {
	enum change_kind kind;
	uint64_t hash;          /* of the key; 0 when it is not of one key */
	struct subject subject; /* key, and tags of a fill */
	const char *name;       /* prefix or pattern */
	size_t name_length;
	uint64_t tag;
	uint64_t token;
	uint64_t now_ms;
};

struct commit {
	uint64_t sequence;
	uint64_t delta_ms;           /* of a fill: since its lease was granted */
	struct engine_waiter *woken; /* to be woken when no lock is held */
};

struct claim {
	uint64_t hash;
	struct subject subject;
	uint64_t token, now_ms, lease_ms;

	bool is_held;  /* out: by another */
	uint64_t lost; /* out: leases found that had run out */
	struct engine_waiter *woken;
};

struct tier {
	/* Gives the change the next number of the sequence and ends the lease of its key. A fill is refused
	 * (false) when its token is not the key's any more, or when an invalidation since it was handed out
	 * covers the key or its tags. A pattern may be refused with INVALID_ARGUMENT in `status`. */
	bool (*commit)(struct tier *tier, const struct change *change, struct commit *commit,
	               struct status *status);
	/* True: the token is the key's for `lease_ms`. */
	bool (*claim)(struct tier *tier, struct claim *claim);
	/* Gives a token back; false: it was lost. */
	bool (*release)(struct tier *tier, uint64_t hash, uint64_t token, uint64_t now_ms,
	                struct engine_waiter **woken);
	uint64_t (*sequence)(const struct tier *tier);
	/* The next number is higher than this. */
	void (*advance)(struct tier *tier, uint64_t sequence);
	void (*free)(struct tier *tier);
	/* Not 0: numbers come from elsewhere, too, and have none of these bits; what is counted here stays below
	 * the next of those. Only changes of many entries are counted then, and one that finds no number left
	 * is refused with status OK: it has to be done without. */
	uint64_t between;
};

/* This process alone: numbers are counted here and nowhere else. No argument is taken. */
struct tier *tier_local(struct invalidations *invalidations, struct leases *leases,
                        const struct change_watch *watch, const struct space *space);

#endif
