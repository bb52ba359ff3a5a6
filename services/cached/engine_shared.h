/*
 * engine_shared: entries in memory as copies of what replicas share.
 *
 * Where a space has a `trust`, changes and leases are decided in a store outside, which numbers them; here is
 * done what that decided, to the entries that are held. What is in memory may be given while the log of
 * changes is followed closely (trust.until_ms), is asked for outside otherwise, and is decided here as if
 * there were no others while the store is away.
 *
 * A version is the number of the store's change times 64. What is written here while the store is away gets
 * numbers between two of these, so whatever the log brings later is newer.
 *
 * Any thread, any order: a change that is told late or twice does no harm.
 */
#ifndef CORBEL_CACHED_ENGINE_SHARED_H
#define CORBEL_CACHED_ENGINE_SHARED_H

#include "engine.h"
#include "entry.h"
#include "tier.h"

#define SHARED_NUMBER_SHIFT 6u
/* Until who waits for another asks again whether that one lives. With FLEET_HOLDER_MS, a turn of the upkeep
 * and a round trip less than the 500 ms after which the lease of one that died is somebody else's. */
#define SHARED_HELD_MS 100u
#define SHARED_SOON_MS 1u /* at the next tick */
#define SHARED_ASKING  1u /* instead of a token: somebody asks for it */

static inline uint64_t
shared_version(uint64_t number)
{
	return number << SHARED_NUMBER_SHIFT;
}

static inline uint64_t
shared_number(uint64_t version)
{
	return version >> SHARED_NUMBER_SHIFT;
}

/* Whether it was written while the store was away, so that no other replica knows the version. */
static inline bool
shared_is_own(uint64_t version)
{
	return version & ((1u << SHARED_NUMBER_SHIFT) - 1);
}

/* ---- what was read ---- */

struct shared_answer {
	uint64_t at; /* version that a change at that time would have had */
	bool has_entry;
	struct entry_parts parts; /* all but the key, and fresh_ms and stored_ms, which are told as: */
	int64_t fresh_left_ms;
	uint64_t age_ms;
	bool is_granted; /* the lease, under the token that `get` asked with */
	bool is_held;    /* by another */
};
/* Nobody could be asked: what engine_get() left open is decided here. */
void engine_settle_alone(struct space *space, struct get *get, struct arena *arena, bool *has_room);
/* Draws the token that a lease is asked for with. */
uint64_t engine_draw_token(struct space *space);
/* Ends a get that was `is_shared`: keeps the entry, unless something newer is known, and gives it. */
void engine_settle(struct space *space, struct get *get, const struct shared_answer *answer,
                   struct arena *arena, bool *has_room);
/* The number of the latest pattern that is known here, of all there are. */
uint64_t engine_known_globs(struct space *space);
struct shared_glob {
	const char *pattern;
	size_t length;
	uint64_t version;
};
/* All patterns of the space after that, but for what has been forgotten. */
struct shared_globs {
	const struct shared_glob *list;
	size_t count;
	uint64_t floor;  /* what is older than this is dead, whether or not a pattern is left that says so */
	uint64_t latest; /* version of the last of them */
};
void engine_learn_globs(struct space *space, const struct shared_globs *globs);
/* Whether a pattern covers an entry of this version, or did. */
bool engine_glob_covers(struct space *space, const char *key, size_t length, uint64_t version);

/* ---- what was changed ---- */

struct shared_plan {
	uint64_t tags[ENGINE_TAGS_MAX];
	uint64_t ttl_ms; /* with jitter */
	uint32_t grace_ms, error_grace_ms;
};
/* How a set is to be written; false: SET_TOO_LARGE, and the key is to be deleted instead. */
bool engine_plan_set(struct space *space, const struct set *set, struct shared_plan *plan);
void engine_plan_incr(struct space *space, const struct incr *incr, struct shared_plan *plan);
/* The set was stored as planned; `set->version` is its version. */
void engine_stored(struct space *space, const struct set *set, const struct shared_plan *plan,
                   uint64_t delta_ms);
/* A fill was refused: whoever waits for it looks again. */
void engine_refused(struct space *space, const char *key, size_t length);
/* It is fresh for so long from now. */
void engine_touched(struct space *space, const char *key, size_t length, uint64_t ttl_ms);

struct shared_change {
	enum change_kind kind;
	bool is_own;   /* asked for here: it is counted */
	bool is_order; /* told by the log in its order; all before it are known */
	const char *name;
	size_t length;
	uint64_t tag;
	uint64_t version;
};
void engine_follow(struct space *space, const struct shared_change *change);
/* Nothing that is older than this is known to be good: it is never given again. */
void engine_forget_older(struct space *space, uint64_t version);

#endif
