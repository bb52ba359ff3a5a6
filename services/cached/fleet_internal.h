/*
 * fleet_internal: what the parts of the fleet share.
 *
 *	fleet.c          life
 *	fleet_ask.c      the queue of questions and changes, and the thread that asks Redis
 *	fleet_trips.c    what it asks in one turn, round trip by round trip
 *	fleet_keys.c     names in Redis
 *	fleet_inquiry.c  what readings of one namespace want together, and what becomes of the answers
 *	fleet_look.c     the first look at entries, by plain commands
 *	fleet_names.c    the second, at what tags and prefixes have ended
 *	fleet_read.c     what these leave open as runs of read.lua, and its answers
 *	fleet_change.c   changes as runs of change.lua, and its answers
 *	fleet_follow.c   the thread that follows the logs
 *	fleet_pending.c  what the other replicas are still to be told
 *	fleet_restock.c  what Redis lost, put into it again
 */
#ifndef CORBEL_CACHED_FLEET_INTERNAL_H
#define CORBEL_CACHED_FLEET_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine_shared.h"
#include "fleet.h"
#include "follower.h"

#define FLEET_SHARDS 16u
/* Of entries in Redis, see change.lua. */
#define ENTRY_LAYOUT 1u
#define ENTRY_HEAD   40u /* bytes before the tags: */
enum entry_at {
	ENTRY_VERSION_AT = 0,
	ENTRY_STORED_AT = 8,
	ENTRY_FRESH_AT = 16,
	ENTRY_GRACE_AT = 24,
	ENTRY_ERROR_GRACE_AT = 28,
	ENTRY_DELTA_AT = 32,
	ENTRY_FLAGS_AT = 36,
	ENTRY_TAGS_AT = 37,
	ENTRY_TYPE_AT = 38,
	ENTRY_LAYOUT_AT = 39
};

struct shard {
	struct trust trust;
	struct follower follower; /* the following thread's */
	_Atomic bool is_known;
};

struct pending;

/* Zeros: there is nothing to put in. */
struct restock {
	struct space **spaces;
	size_t count, at;
	uint64_t cursor; /* in the entries of that space */
	uint64_t end_ms; /* of trying */
};

struct fleet {
	struct fleet_options options;
	struct engine *engine;
	struct shard shards[FLEET_SHARDS];
	char holder[17];
	struct pending *pending;
	struct restock restock; /* the following thread's */

	pthread_mutex_t lock; /* guards the queues */
	pthread_cond_t wake;
	struct errand *errands, **last_errand;
	struct reading *readings, **last_reading;
	bool is_stopping;
	pthread_t asking, following;
	bool is_asking, is_following;
	_Atomic bool is_ending; /* the following thread's turn to end */
	/* An earlier process left changes to be told, and Redis was not found to be away. */
	_Atomic bool is_restoring;

	struct metric_counter *gaps, *renewals, *told, *restocked;
	struct metric_gauge *lag, *trusted, *waiting;
	bool is_degraded; /* the asking thread's: whether it was told */
};

/* ---- fleet_keys.c: texts are in the arena ---- */
unsigned fleet_shard_of(const char *tenant, const char *name);
struct space_keys {
	unsigned shard;
	const char *space; /* "tenant/name" */
	struct redis_arg head, log, names, meta, globs, scratch;
	struct redis_arg entry, lease; /* what names of these begin with */
};
void fleet_keys(const struct space *space, struct arena *arena, struct space_keys *out);
struct redis_arg fleet_entry_key(const struct space_keys *keys, const char *key, size_t length,
                                 struct arena *arena);
struct redis_arg fleet_lease_key(const struct space_keys *keys, const char *key, size_t length,
                                 struct arena *arena);
/* What names of signs of life begin with. */
struct redis_arg fleet_life_prefix(unsigned shard, struct arena *arena);
struct redis_arg fleet_head_key(unsigned shard, struct arena *arena);
struct redis_arg fleet_log_key(unsigned shard, struct arena *arena);

/* ---- arguments of scripts and commands ---- */
struct args {
	struct arena *arena;
	struct redis_arg *list;
	size_t count, capacity;
};
/* The words that were put in as a command. */
struct redis_eval_item args_command(const struct args *args);
void args_text(struct args *args, const char *text);
void args_bytes(struct args *args, const void *bytes, size_t size);
void args_number(struct args *args, uint64_t number);
/* Sixteen digits. */
void args_hex(struct args *args, uint64_t number);
/* Eight bytes, the highest first. */
void args_hash(struct args *args, uint64_t hash);
/* An entry without version and times. */
void args_rest(struct args *args, const struct set *set, const uint64_t *tags);
/* Their number, and the hashes of the prefixes that cover the key. */
void args_prefixes(struct args *args, const char *key, size_t length);
uint64_t big_endian(const void *bytes, size_t size);
void put_big_endian(void *bytes, uint64_t number, size_t size);
/* An integer or its text; 0 when it is neither. */
uint64_t reply_number(const struct redis_reply *reply);

/* A connection and the memory of one round trip. */
struct turn {
	struct fleet *fleet;
	struct redis_conn *conn;
	struct arena *arena;
	const struct space *named; /* the last whose keys were made, NULL: none */
	struct space_keys keys;    /* of that */
};
/* The same as fleet_keys(), for what mostly goes on with the same space; they hold until the next call. */
const struct space_keys *turn_keys(struct turn *turn, const struct space *space);

/* ---- fleet_inquiry.c ---- */
/* Where a namespace stood when its entries were looked up, or before: numbers of changes, and Redis' time. */
struct stand {
	uint64_t seq, now_ms, floor, tags, prefixes, globs;
};
struct wanted {
	struct reading *reading;
	struct get *get;
	/* What the first look found, if it is as good as what is wanted unless a tag or prefix has ended it. */
	const struct redis_reply *doubtful;
};
/* What all readings of one space want in a turn. */
struct inquiry {
	struct space *space;
	struct space_keys keys;
	uint64_t lease_ms;
	struct stand stand; /* by the first look */
	struct wanted *wanted;
	size_t count, capacity;
	size_t doubts; /* how many are doubtful */
	size_t read;   /* so many have had their run of read.lua, or need none */
	struct inquiry *next;
};
/* One for each space, in the order of the readings. */
struct inquiry *inquiries_of(struct turn *turn, struct reading *readings);
/* False: there is none, or what is there was written by something else, or by another release. */
bool entry_is_sound(const struct redis_reply *value);
enum read_code { READ_DONE, READ_GRANTED, READ_HELD, READ_LEFT_OUT };
/* Ends the get, unless it is left out or a pattern covers the entry: then it stays `is_shared`. */
struct status inquiry_settle(struct turn *turn, struct inquiry *inquiry, struct wanted *wanted,
                             const struct stand *stand, enum read_code code, const struct redis_reply *value);
/* Patterns of the space up to `latest` are known when this is OK. */
struct status globs_learn(struct turn *turn, struct space *space, uint64_t latest);

/* ---- fleet_look.c ---- */
/* How many items the first look takes. */
size_t look_items(const struct inquiry *inquiry);
/* `bytes_max` is what is returned of an entry at most; what is longer stays open. */
void look_encode(struct turn *turn, struct inquiry *inquiry, size_t bytes_max, struct redis_eval_item *out);
struct status look_decode(struct turn *turn, struct inquiry *inquiry, size_t bytes_max,
                          const struct redis_reply *replies);

/* ---- fleet_names.c ---- */
/* How many items the second look takes; 0: nothing is doubtful. */
size_t names_items(const struct inquiry *inquiry);
void names_encode(struct turn *turn, struct inquiry *inquiry, struct redis_eval_item *out);
/* Nothing is doubtful afterwards; what is ended, and wanted to be filled, stays open. */
struct status names_decode(struct turn *turn, struct inquiry *inquiry, const struct redis_reply *replies);

/* ---- fleet_read.c ---- */
/* Some of an inquiry that one run of read.lua asks for. */
struct read_run {
	struct inquiry *inquiry;
	struct wanted *wanted;
	size_t count;
};
struct read_bounds {
	size_t bytes; /* of values, */
	bool has_one; /* or one value, however long */
};
/* How many runs those that are still open take; 0 as long as something is doubtful. */
size_t reads_left(const struct inquiry *inquiry);
/* The next run; there is one left. */
void read_encode(struct turn *turn, struct inquiry *inquiry, const struct read_bounds *bounds,
                 struct read_run *run, struct redis_eval_item *out);
struct status read_decode(struct turn *turn, const struct read_run *run, const struct redis_reply *reply);

/* ---- fleet_change.c ---- */
/* False: the operation needs no run (any more). */
bool op_encode(struct turn *turn, struct errand *errand, struct op *op, struct redis_eval_item *out);
struct status op_decode(struct turn *turn, struct errand *errand, struct op *op,
                        const struct redis_reply *reply);

/* ---- fleet_trips.c ---- */
/* What one turn does. */
struct work_list {
	struct errand *errands;
	struct reading *readings;
};
/* Does all of it, but for what is left out of an answer's bytes. When this fails, what was not done by then
 * is still to be decided. */
struct status trips_run(struct fleet *fleet, const struct work_list *work, struct arena *arena);

/* ---- fleet_ask.c ---- */
void *fleet_ask_main(void *fleet);

/* ---- fleet_follow.c ---- */
void *fleet_follow_main(void *fleet);

/* ---- fleet_restock.c: the following thread's ---- */
/* Everything that is held and that Redis may not have is to be put in. */
void restock_begin(struct fleet *fleet, uint64_t now_ms);
bool restock_is_on(const struct restock *restock);
/* Puts some of it in; the logs of all shards were followed. */
struct status restock_go_on(struct turn *turn, uint64_t now_ms);
void restock_end(struct restock *restock);

/* ---- fleet.c ---- */
/* Redis cannot be reached, or can be again. */
void fleet_be_alone(struct fleet *fleet, bool is_alone);

/* ---- fleet_pending.c ---- */
struct pending *pending_new(struct fleet *fleet);
void pending_free(struct pending *pending);
/* What an earlier process had not told is to be told by this one, before anybody asks for anything. Well
 * without a journal, too: then nothing is changed while Redis is away. */
struct status pending_restore(struct pending *pending, const char *path, size_t bytes_max,
                              struct engine *engine);
/* Does the errands in this replica alone, and keeps what the others are to be told. The asking thread's. */
void pending_run(struct pending *pending, struct errand *errands);
/* Tells them; Redis is back. */
void pending_tell(struct pending *pending);
/* Ends being alone, unless something is still to be told: then false. */
bool pending_join(struct pending *pending);

#endif
