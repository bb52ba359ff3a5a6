/*
 * fleet: the replicas of cached as one cache, by way of a Redis that they share.
 *
 * Redis has the entries, the leases, what was invalidated, and a log of all changes. A namespace belongs to
 * one of 16 shards, whose keys carry the shard's hash tag. One script is one change: the entry, the end of
 * its lease, the shard's next number and the log. One thread asks and changes, whatever has been queued since
 * its last turn in one round trip; another one follows the logs and does to this replica's memory what the
 * others changed.
 *
 * While Redis is away each replica goes on by itself, and tells the others of what it invalidated when Redis
 * is back.
 */
#ifndef CORBEL_CACHED_FLEET_H
#define CORBEL_CACHED_FLEET_H

#include "errands.h"
#include "redis/redis.h"
#include "value_room.h"

#define FLEET_HOLDER_MS 350u

struct fleet;

struct fleet_options {
	struct redis *redis;
	uint32_t patience_ms; /* how long a call waits for Redis */
	uint32_t holder_ms;   /* a replica that gave no sign of life for so long has lost its leases; 0:
	                         FLEET_HOLDER_MS */
	const char *journal;  /* file of what others are still to be told; NULL: none, see fleet_pending.c */
	struct log *log;
	struct metrics *metrics;
	const struct clock *clock;
	const struct random *random; /* any thread */
};

struct fleet *fleet_new(const struct fleet_options *options);
/* Follows the logs from now on, for an engine whose spaces have their trust from here. */
struct status fleet_start(struct fleet *fleet, struct engine *engine);
/* Waits until the other replicas were told of everything that was done without Redis, which takes a Redis
 * that comes back. Returns how many changes are left, which the journal has for the next process. */
size_t fleet_await_told(struct fleet *fleet, uint32_t wait_ms);
/* Ends what is queued. Nobody may ask any more. */
void fleet_free(struct fleet *fleet);
/* For engine_options. */
struct trust *fleet_trust_of(void *fleet, const char *tenant, const char *name);
/* Whether the logs of all shards were reached and what an earlier process left was told, or Redis is away. */
bool fleet_is_ready(const struct fleet *fleet);
/* Redis is away, or memory is not in step with it again yet. */
bool fleet_is_alone(const struct fleet *fleet);

/* Gets of a space that engine_get() left to ask for; those that it did not are left alone. */
struct reading {
	struct space *space;
	struct get *gets;
	size_t count;
	struct arena *arena;     /* nobody else uses it until `done` */
	struct value_room *room; /* NULL: as much as the arena takes; of all readings of the arena */
	bool has_room;           /* false: what did not fit is a miss */
	void (*done)(struct reading *reading);
	void *user;
	unsigned turns; /* the fleet's */
	struct reading *next;
};
/* Calls each one's `done` from another thread. */
void fleet_read(struct fleet *fleet, struct reading *list);
/* The same for errands. */
void fleet_change(struct fleet *fleet, struct errand *list);

#endif
