/*
 * engine: entries in memory, who may fill them, and what was invalidated.
 *
 * A space is a namespace of a tenant. Each change of a space takes the next number of its sequence, and an
 * entry's version is the number of the change that wrote it; versions never go back, not even when the space
 * is emptied or dropped and used again while the process lives.
 *
 * Every call may come from any thread and none waits for a caller. Hits take no lock, but for one that
 * readers share where an invalidation of many may cover the entry. Times are the clock's; whatever is drawn
 * at random comes from `random`, which must be safe for the threads that call.
 *
 *	fresh             grace                     error grace
 *	|----------------|-------------------------|---------------------------|-> gone
 *	 given             given, one caller         given to who says that
 *	                   gets a token to renew     the origin failed
 *
 * Both graces begin when freshness ends. engine_expire() ends freshness and leaves the graces; deleting,
 * and invalidating by tag, prefix, pattern or space, leave nothing that is ever given again.
 */
#ifndef CORBEL_CACHED_ENGINE_H
#define CORBEL_CACHED_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/status.h"

#define ENGINE_KEY_MAX    1024u /* bytes; at least 1 */
#define ENGINE_TAG_MAX    128u  /* bytes; at least 1 */
#define ENGINE_TAGS_MAX   16u
#define ENGINE_TYPE_MAX   127u       /* bytes of a content type; "" means none was given */
#define ENGINE_NAME_MAX   64u        /* bytes of a namespace's or tenant's name */
#define ENGINE_DEFAULT_MS UINT64_MAX /* as the space says */

struct engine;
struct space;

struct engine_options {
	uint64_t bytes_max;          /* all tenants together, overhead counted */
	uint32_t entry_share;        /* an entry takes at most one in so many of these bytes; 0: 16 */
	uint32_t spaces_max;         /* a tenant's, defined or not; 0: 4096 */
	const struct clock *clock;   /* NULL: the system's */
	const struct random *random; /* NULL: the system's */
	/* Where replicas share what is decided (engine_shared.h); NULL: this process is alone. */
	struct trust *(*trust_of)(void *arg, const char *tenant, const char *name);
	void *trust_arg;
};

/* What a space's entries are worth where replicas share a log. Whoever follows the log writes it, any thread
 * reads; times are clock_mono_ms(). */
struct trust {
	_Atomic uint64_t until_ms; /* in step with the log until then */
	_Atomic bool is_alone;     /* the log cannot be reached: this process decides */
	_Atomic uint64_t heard_ms; /* when it was in step last */
	_Atomic uint64_t followed; /* version of the latest change that was followed */
	/* The log was lost while it could not be reached: entries older than `renewed` are as good as when it
	 * was last heard of before that, at `lost_ms`. */
	_Atomic uint64_t renewed, lost_ms;
};

struct engine *engine_new(const struct engine_options *options);
void engine_free(struct engine *engine);

/* ---- tenants and spaces ---- */

/* 0: no bound; the weight of a tenant that was never set is 1. */
struct tenant_quota {
	uint64_t bytes_max, entries_max;
	uint32_t weight;
};
void engine_set_quota(struct engine *engine, const char *tenant, const struct tenant_quota *quota);

struct space_options {
	uint64_t ttl_ms, grace_ms, error_grace_ms, negative_ttl_ms;
	uint64_t lease_ms;               /* how long a token is good */
	uint64_t bytes_max, entries_max; /* 0: the tenant's bounds only */
	uint32_t value_max;              /* bytes of a value; 0: as the engine admits */
	double early;                    /* XFetch's beta; 0: never early */
	uint64_t outage_ms;              /* how long entries are given when the shared log is away */
};
/* An hour, no graces, negative 10 s, leases 10 s, early 1. */
struct space_options space_options_default(void);

/* The space, made with the default options when it is not there. Stays valid until engine_free().
 * RESOURCE_EXHAUSTED: the tenant has `spaces_max`, or as many as a quarter of the engine's bytes can hold, or
 * all tenants together what half of them can. */
struct status engine_space(struct engine *engine, const char *tenant, const char *name, struct space **out);
/* NULL: no call has used it. */
struct space *engine_find_space(struct engine *engine, const char *tenant, const char *name);
/* In force for what is written from now on, the bounds at once. */
void space_configure(struct space *space, const struct space_options *options);
/* Whether space_configure() was ever called. */
bool space_is_configured(const struct space *space);
/* Empties it and puts the default options back; the space is as if nobody had configured it. */
void engine_drop_space(struct space *space);

/* ---- reading ---- */

enum get_outcome {
	GET_MISS,
	GET_HIT,
	GET_STALE,    /* in grace, or in error grace when `has_failed` */
	GET_NEGATIVE, /* it is known that there is no value */
};

struct get {
	const char *key;
	size_t key_length;
	bool may_fill;   /* wants the token, if it is free */
	bool has_failed; /* the origin does not answer: error grace counts, and no token is handed out */
	bool may_wait;   /* as good as filling is that somebody else asks the replicas' store */
	bool is_counted; /* alone, and looked for once more: what came of it first is in the figures */

	enum get_outcome outcome; /* from here on: out */
	const void *value;        /* in the arena; NULL unless hit or stale */
	size_t value_length;
	const char *content_type; /* in the arena; "" when none was given */
	uint64_t version;         /* 0: miss */
	uint64_t age_ms;          /* since it was written */
	int64_t fresh_ms;         /* left; negative: past */
	uint64_t token;           /* not 0: this caller fills, within `lease_ms` */
	uint64_t lease_ms;
	bool is_filling; /* may_fill, but another caller holds the token: wait (engine_wait()) or take what there
	                  * is. Neither this nor a token: too many tokens are out, or the origin failed. */
	bool is_early;   /* fresh, and to be renewed */
	bool is_shared;  /* not decided here: the replicas' store is to be asked (engine_settle()), */
	uint64_t oldest; /* for an entry of this version or later */
};

/* Looks keys up; the more at once, the cheaper each. The arena's ceiling bounds what is copied: a value
 * that does not fit any more is reported as `*has_room` = false (may be NULL) and a miss without token. */
void engine_get(struct space *space, struct get *gets, size_t count, struct arena *arena, bool *has_room);

/* Who wants to be told when a key's token was used, lost or given back. `wake` is called once, from any
 * thread that holds no lock of the engine's, or from engine_wait_end() never. */
struct engine_waiter {
	void (*wake)(struct engine_waiter *waiter);
	struct engine_waiter *next, **link; /* the engine's; link is NULL when it does not wait */
};
/* False: nobody is filling (any more), look again at once; the waiter was not taken. */
bool engine_wait(struct space *space, const char *key, size_t key_length, struct engine_waiter *waiter);
/* Takes the waiter back; when it returns false, `wake` was called or is being called. */
bool engine_wait_end(struct space *space, struct engine_waiter *waiter);

/* ---- writing ---- */

enum set_outcome {
	SET_STORED,
	SET_LEASE_LOST,      /* something newer came since the token was handed out, or it was too late */
	SET_VERSION_DIFFERS, /* `version` says which one there is, 0: none */
	SET_TOO_LARGE,       /* larger than the space, its tenant or the engine has room for */
};

/* What is known of an entry that was kept elsewhere. */
struct entry_past {
	uint64_t age_ms;   /* since it was written */
	int64_t fresh_ms;  /* left, instead of ttl_ms, and without jitter; negative: past */
	uint32_t delta_ms; /* that it took to make the value; 0: not known */
};

struct set {
	const char *key;
	size_t key_length;
	const void *value;
	size_t value_length;
	const char *content_type; /* NULL or "": none */
	const char *const *tags;
	const uint64_t *tag_hashes; /* instead of their texts: of an entry that was kept */
	size_t tag_count;
	uint64_t ttl_ms, grace_ms, error_grace_ms; /* ENGINE_DEFAULT_MS: the space's */
	bool is_negative;                          /* there is no value; ttl_ms defaults to negative_ttl_ms */
	uint64_t token;                            /* 0: a write of its own right */
	bool has_if_version;                       /* only if this is the entry's version; 0: if there is none */
	uint64_t if_version;
	const struct entry_past *past; /* NULL: it begins now */

	enum set_outcome outcome; /* out */
	uint64_t version;         /* out */
};
/* A set that is not stored takes nothing away, except SET_TOO_LARGE: the old value is gone then, too. */
void engine_set(struct space *space, struct set *sets, size_t count);

/* True when there was one that could still be given. */
bool engine_delete(struct space *space, const char *key, size_t key_length);
bool engine_expire(struct space *space, const char *key, size_t key_length);
/* Makes it fresh for another `ttl_ms` from now (without jitter) and keeps its version; false: a miss. */
bool engine_touch(struct space *space, const char *key, size_t key_length, uint64_t ttl_ms);

enum incr_outcome { INCR_DONE, INCR_NOT_A_NUMBER, INCR_OVERFLOW, INCR_TOO_LARGE };
struct incr {
	const char *key;
	size_t key_length;
	int64_t by, initial; /* a missing entry becomes initial + by */
	uint64_t ttl_ms;     /* for one that is made; another keeps its times, type and tags */

	enum incr_outcome outcome; /* out */
	int64_t value;             /* out */
	uint64_t version;          /* out */
};
/* The value is a whole decimal number, as in JSON; one that is made is application/json, as in change.lua. */
void engine_incr(struct space *space, struct incr *incr);

/* Gives the token back without a value: the next caller gets one at once. False: it was lost before. */
bool engine_release(struct space *space, const char *key, size_t key_length, uint64_t token);

/* ---- invalidating: each takes the same time however many entries it hits ---- */

/* Each returns the sequence number of the invalidation: whatever is older and matches is never given again.
 */
uint64_t engine_invalidate_tag(struct space *space, const char *tag, size_t length);
/* A key is covered by "a/b" when it is "a/b" or begins with "a/b/". Slashes at the end do not matter; with
 * nothing left, every key is covered. Segments beyond the 32nd are left off. */
uint64_t engine_invalidate_prefix(struct space *space, const char *prefix, size_t length);
/* '*' stands for anything, also nothing and also '/', '?' for one byte, '\' takes the next literally.
 * INVALID_ARGUMENT: as glob_new() has it. Beyond 1024 live patterns the oldest is widened to everything older
 * than it. */
struct status engine_invalidate_glob(struct space *space, const char *pattern, size_t length,
                                     uint64_t *sequence);
uint64_t engine_invalidate_all(struct space *space);

/* ---- upkeep ---- */

/* Ends leases that ran out, lets go of what is dead, follows quotas. Every 10 to 100 ms, one thread. */
void engine_tick(struct engine *engine);
/* Lets entries go until all together take at most `bytes`, and memory goes back to the system. */
void engine_shrink(struct engine *engine, uint64_t bytes);

/* Hears of each change that is the latest of its space when it is told, under the space's lock: before any
 * caller sees it. */
struct change;
struct change_watch {
	void (*note)(void *arg, const struct space *space, const struct change *change);
	void *arg;
};
/* From now on; it lives as long as the engine. Before calls come. */
void engine_watch(struct engine *engine, const struct change_watch *watch);

/* ---- figures ---- */

enum eviction_cause {
	EVICTED_FOR_ROOM,    /* the engine's bytes */
	EVICTED_FOR_TENANT,  /* the tenant's quota */
	EVICTED_FOR_SPACE,   /* the space's bounds */
	EVICTED_EXPIRED,     /* every grace was over */
	EVICTED_INVALIDATED, /* found dead after an invalidation of many */
	EVICTED_SHRUNK,
	EVICTION_CAUSES
};

struct space_stats {
	uint64_t hits, misses, stale, negative; /* of gets, by what they gave */
	uint64_t shared_hits;          /* among them: given by the store that replicas share, not by memory */
	uint64_t early;                /* tokens handed out before freshness ended */
	uint64_t sets, fills, refused; /* refused: fills whose token was destroyed */
	uint64_t deletes, invalidations;
	uint64_t leases, leases_lost; /* handed out; run out without a fill */
	uint64_t evicted[EVICTION_CAUSES];
	uint64_t entries, bytes;                   /* now, overhead counted */
	uint64_t negative_entries, negative_bytes; /* of these */
};
void engine_space_stats(const struct space *space, struct space_stats *stats);

struct tenant_stats {
	uint64_t entries, bytes, spaces;
};
bool engine_tenant_stats(struct engine *engine, const char *tenant, struct tenant_stats *stats);
uint64_t engine_bytes(const struct engine *engine);

struct hot_key {
	const char *key; /* in the arena, NUL-terminated beside its length */
	size_t key_length;
	uint64_t gets; /* estimated, at most `error` too many */
	uint64_t error;
};
/* The most asked for, most first; at most 64. */
size_t engine_hot_keys(struct space *space, struct hot_key *keys, size_t count, struct arena *arena);

/* Calls `each` for a tenant's spaces (NULL: everybody's). `each` may call anything but engine_space(). */
typedef void engine_space_fn(void *arg, struct space *space);
void engine_each_space(struct engine *engine, const char *tenant, engine_space_fn *each, void *arg);
const char *space_name(const struct space *space);
const char *space_tenant(const struct space *space);
/* The number of the latest change. */
uint64_t space_sequence(const struct space *space);
struct space_options space_options(const struct space *space);

/* An entry as it is kept, for a snapshot. */
struct kept_entry {
	struct set set; /* as it would be written again, with `past` below */
	struct entry_past past;
};
/* Calls `each` for entries from `*cursor` (0 at first) on, about `count` of them; false at the end. Pointers
 * hold until `each` returns, which may not call the engine. */
typedef void engine_entry_fn(void *arg, const struct kept_entry *entry);
bool engine_each_entry(struct space *space, uint64_t *cursor, size_t count, engine_entry_fn *each, void *arg);

#endif
