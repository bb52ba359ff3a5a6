/*
 * engine: its structure, shared by engine_*.c.
 *
 *	engine.c            life, tenants and spaces
 *	engine_get.c        looking up, leases for what is not there
 *	engine_count.c      what look-ups came to
 *	engine_wait.c       waiting for who fills
 *	engine_set.c        changes of one key
 *	engine_invalidate.c changes of many
 *	engine_room.c       bounds of bytes and entries, and who has to leave
 *	engine_upkeep.c     what time brings about: leases that run out, entries that are dead
 *	engine_figures.c    statistics, hot keys, snapshots
 *	engine_shared.c     entries as copies of what replicas share
 *	engine_followed.c   what the others changed
 *
 * Locks, in this order: room_lock, registry, a space's, then one of the invalidations', the readers' and the
 * heap's. No two spaces' locks are held together, and no waiter is woken under any. Within a reading the
 * invalidations' alone is taken, which nobody holds who waits for readers.
 */
#ifndef CORBEL_CACHED_ENGINE_INTERNAL_H
#define CORBEL_CACHED_ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine.h"
#include "entry.h"
#include "heap.h"
#include "hot_keys.h"
#include "invalidations.h"
#include "l1.h"
#include "leases.h"
#include "readers.h"
#include "tier.h"

#define STRIPES         8u
#define SHARED_STRIPE   (STRIPES - 1)
#define CHANGED_BUCKETS 64u

struct tenant {
	char *name;
	_Atomic uint64_t bytes, entries; /* bytes: with what is reserved for an entry that comes */
	_Atomic uint64_t remembered;     /* of the bytes: by its spaces, beside entries */
	_Atomic uint64_t bytes_max, entries_max;
	_Atomic uint32_t weight;
	struct space **spaces; /* guarded by the registry's lock, as their number */
	size_t space_count, space_capacity;
};

/* What gets count: by enum get_outcome, and those that are left to the replicas' store. The first threads
 * have a stripe each that only they write to, which spares them the wait that an atomic addition is; the
 * others share the last. */
#define COUNTED_SHARED (GET_NEGATIVE + 1)
struct stripe {
	_Atomic uint64_t counts[COUNTED_SHARED + 1];
} __attribute__((aligned(64)));

/* What a space knows of what replicas share; most of it guarded by the space's lock. */
struct copies {
	struct trust *trust;               /* any thread */
	_Atomic uint64_t outage_ms;        /* entries are given for so long when the log is away */
	_Atomic uint64_t hits;             /* gets of what the store had and memory had not */
	uint64_t changed[CHANGED_BUCKETS]; /* the version of the latest change of a key, by its hash */
	struct invalidations *globs;       /* patterns that what is read in the store is judged by: */
	uint64_t known_globs;              /* all up to this version; 0: not all are known */
};

struct space {
	struct engine *engine;
	struct tenant *tenant;
	char *name;
	struct l1 *l1; /* readers need no lock; its writer has `lock` */
	struct invalidations *invalidations;
	struct hot_keys *hot_keys;
	struct tier *tier;
	_Atomic uint32_t early_permille;
	_Atomic bool is_configured; /* read at every call; written under `lock`, with the options */
	struct copies *copies;      /* NULL: this process decides alone, always */
	struct stripe stripes[STRIPES];

	pthread_mutex_t lock; /* guards what follows, and calls of the tier */
	struct leases *leases;
	struct space_options options;
	struct space_stats counts; /* those that are not striped */
	uint32_t sweep_cursor;
	bool is_sweeping;
	uint64_t sweep_target;     /* the sequence when the sweep began */
	uint64_t swept;            /* that of the last whole sweep */
	uint64_t forgotten;        /* invalidations up to this number */
	uint64_t next_sweep_ms;    /* for what has expired */
	uint64_t charged_bytes;    /* beside entries; counted with the tenant's */
	uint64_t remembered_bytes; /* of these: leases, what was invalidated, hot keys */
};

struct engine {
	struct engine_options options;
	uint64_t start_ms, seed;
	uint64_t entry_bytes_max;
	struct heap *heap;       /* of entries and their indexes, */
	struct readers *readers; /* and who reads them */
	_Atomic uint64_t draws;
	_Atomic uint64_t bytes;      /* with what is reserved */
	_Atomic uint64_t remembered; /* of these, beside entries */
	struct change_watch watch;   /* note: NULL, or set before calls come */

	pthread_rwlock_t registry; /* guards what follows */
	struct tenant **tenants;
	size_t tenant_count, tenant_capacity;
	struct space **spaces; /* in the order they came */
	size_t space_count, space_capacity;
	uint32_t *buckets; /* of spaces by name: place + 1; a power of two, half full at most */
	size_t bucket_count;

	pthread_mutex_t room_lock; /* guards what follows; held while entries leave for others' */
	struct space *victim;
	unsigned victim_turns;

	_Atomic size_t next_upkeep; /* the space that the next tick begins with */
};

/* ---- engine.c ---- */
uint64_t engine_now_ms(const struct engine *engine);
/* The same, or a few milliseconds ago: CLOCK_COARSE_LAG_MS. */
uint64_t engine_coarse_ms(const struct engine *engine);
/* Uniform, not secret, any thread. */
uint64_t engine_draw(struct engine *engine);
uint64_t space_hash(const struct space *space, const char *key, size_t length);
void wake_all(struct engine_waiter *woken);

/* ---- life of an entry ---- */
enum life { LIFE_DEAD, LIFE_OVER, LIFE_ERROR_GRACE, LIFE_GRACE, LIFE_FRESH };
enum life space_life(const struct space *space, const struct entry_parts *parts, uint64_t now_ms);

/* ---- engine_room.c: bytes and entries are counted here only ---- */
/* Reserves room for an entry, letting others go. False: there is none to be had. No lock is held. */
bool room_reserve(struct space *space, uint64_t bytes);
void room_release(struct space *space, uint64_t bytes);
/* The space's own bounds; its lock is held. `key_is_new` needs a place, too. */
void room_in_space(struct space *space, uint64_t bytes, bool key_is_new);
/* Room for a negative entry among their share of the space, in the place of others. False: there is none to
 * be had. The space's lock is held. */
bool room_for_negative(struct space *space, uint64_t bytes);
/* The space's entries are others now than these figures say; its lock is held. */
struct fill_level {
	uint64_t bytes, entries;
};
struct fill_level room_level(const struct space *space);
void room_account(struct space *space, struct fill_level before);
/* Counts the bytes beside the entries; where the tenant's spaces remember too much, this one forgets. Its
 * lock is held. */
void room_charge(struct space *space);
/* How many leases the space may have at this time. */
size_t room_leases_max(const struct space *space);
/* Back within the tenant's and the engine's bounds, which may have changed. No lock is held. */
void room_enforce(struct engine *engine, uint64_t bytes_max, enum eviction_cause cause);

/* ---- engine_get.c ---- */
/* Of what is held, whether replicas may have changed it meanwhile. */
enum standing {
	STANDING_OWN,     /* whatever was changed is known, and it is decided here */
	STANDING_IN_STEP, /* whatever was changed is known */
	STANDING_ALONE,   /* it was known until the store went away, and it is decided here */
	STANDING_UNSURE,  /* the store is there: ask it */
};
enum standing space_standing(const struct space *space, uint64_t now_ms);
/* Until when an entry is given that was known to be good at `known_ms` (0: never) of the process's clock. */
uint64_t space_bearable_until(const struct space *space, const struct entry_parts *parts, uint64_t known_ms);
/* Copies it for the caller; false: it does not fit into the arena any more. */
bool space_give(const struct entry_parts *parts, enum get_outcome outcome, uint64_t now_ms,
                struct arena *arena, struct get *get);

/* ---- engine_count.c ---- */
/* Of the thread with this reader's number. */
void space_count_gets(struct space *space, unsigned thread, const struct get *gets, const uint64_t *hashes,
                      size_t count);
/* One that was settled later. */
void space_count_get(struct space *space, const struct get *get);

/* ---- engine_shared.c ---- */
/* Keeps what was known to be good at `at`, unless something newer is known. No lock is held. */
void space_keep_copy(struct space *space, uint64_t hash, const struct entry_parts *parts, uint64_t at);

/* ---- engine_set.c: the space's lock is held ---- */
/* Puts an entry of these parts in, for which room was reserved. */
void space_put_in(struct space *space, uint64_t hash, const struct entry_parts *parts);
void space_take_away(struct space *space, uint64_t hash, const char *key, size_t length);
/* An entry that is there and could be given to somebody; its parts point into it. */
bool space_find_living(const struct space *space, uint64_t hash, const char *key, size_t length,
                       uint64_t now_ms, struct entry_parts *parts, enum life *life);
struct entry_parts parts_of(const struct set *set, const uint64_t *tags);
/* How long it is kept, and by which tags it is known. */
struct shared_plan;
void set_plan(struct space *space, const struct set *set, struct shared_plan *plan);
/* No lock is held. */
bool space_fits(struct space *space, const struct entry_parts *parts);
/* Takes an entry away that is dead or over. */
void space_discard(struct space *space, uint64_t hash, const char *key, size_t length,
                   enum eviction_cause cause);

#endif
