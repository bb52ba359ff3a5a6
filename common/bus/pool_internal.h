/*
 * pool: the structures that choosing, sending and watching replicas share.
 */
#ifndef CORBEL_BUS_POOL_INTERNAL_H
#define CORBEL_BUS_POOL_INTERNAL_H

#include <nng/nng.h>

#include "flight.h"

#define BATCH_CALLS   128u         /* of one coalesced message */
#define BATCH_BYTES   (256u << 10) /* a batch stops growing beyond it */
#define FAST_LANES    2u
#define SLOW_LANES    64u
#define WAITING_LANES 1024u
/* Worth a message, too, beside PORT_GATHER_CALLS; and for how long fewer wait for one that is out. */
#define GATHER_BYTES (64u << 10)
#define GATHER_MS    5u
#define UNSENT_MS    100u /* a message that finds no connection goes back after so long */
#define STUCK_MS     300u /* a fast message out for longer makes its replica suspect, which is pinged */
/* How long a suspect has to answer anything: it is set aside then. Without another to turn to there is little
 * to win by that, so a busy one gets more time. */
#define SUSPECT_MS       100u
#define SUSPECT_ALONE_MS 3000u

enum lane_state { LANE_IDLE, LANE_SENDING, LANE_RECEIVING };

/* A REQ context and the message it carries. Idle lanes belong to the pool's lock; a busy one to
 * whoever sends or completes it, and its flights with it. */
struct lane {
	struct replica *replica;
	struct lane *next; /* idle lanes of its kind, or lanes to cancel */
	nng_ctx ctx;
	nng_aio *aio;
	nng_aio *prompt;   /* of a send that does not wait; whoever sends */
	_Atomic int state; /* enum lane_state; IDLE changes under the pool's lock only */
	enum lane_kind kind;
	bool is_ping, is_open;
	struct flight *first;
	struct flight *by_index[BATCH_CALLS];
	size_t count;
	nng_msg *next_message;       /* whoever sends, or takes the reply before; NULL: none */
	_Atomic uint64_t started_ms; /* 0 while idle: read by the timer */
	_Atomic uint64_t deadline_ms;
};

struct queue {
	struct flight *first, **last;
	size_t count, bytes;
};

/* Lanes of one kind that carry one call each, made when they are first needed. */
struct lanes {
	struct lane **items;
	size_t count, capacity, max;
	struct lane *idle;
};

struct replica {
	struct replica *next;
	struct pool *pool;
	_Atomic int holders;
	char url[BUS_URL_MAX];
	uint64_t identity; /* for rendezvous: of the node's name once heard, before of the URL; pool's lock */
	nng_socket socket;
	struct dial dial; /* the timer's, once dialled */
	bool is_open;     /* the socket exists */
	/* guarded by the pool's lock: */
	int pipes;
	char node[64];
	uint64_t epoch;
	_Atomic uint32_t in_flight; /* queued and sent; falls without the lock */
	uint32_t failures;          /* consecutive */
	bool is_aside, is_draining, is_removed;
	uint64_t removed_ms;
	struct queue queues[LANE_KINDS];
	struct lane fast_lanes[FAST_LANES];
	struct lanes lanes[LANE_KINDS]; /* but of the fast */
	struct lane ping;
	bool is_pinging;
	uint64_t pinged_ms;
	uint64_t answered_ms;  /* when anything last came from it */
	uint64_t suspected_ms; /* since when; 0: it is not */
};

struct pool {
	struct bus *bus; /* first: pool_call_wait() relies on it */
	char *service;
	uint32_t max_queued, breaker_failures, ping_ms;
	_Atomic uint32_t queued;
	struct ticker ticker;
	struct watch watch;
	pthread_mutex_t lock;
	struct replica *replicas;
	_Atomic bool is_closing;
	_Atomic uint64_t batch_number;
	struct call_series *series;
	struct metric_counter *set_aside;
	struct metric_gauge *healthy, *in_flight;
	struct metric_histogram *sizes;
};

/* ---- replica.c: under the pool's lock ---- */
struct replica *replica_new(struct pool *pool, const char *url);
/* Dials; not under the lock. */
struct status replica_open(struct replica *replica);
/* Closes the socket and waits for its lanes; not under the lock. */
void replica_close(struct replica *replica);
bool replica_is_usable(const struct replica *replica);
void replica_set_aside(struct replica *replica, const char *why);
/* An idle lane for the next message, NULL when all are busy. */
struct lane *replica_idle_lane(struct replica *replica, enum lane_kind kind);

/* ---- lane.c ---- */
struct status lane_open(struct lane *lane, struct replica *replica);
void lane_close(struct lane *lane);
/* Sends the lane's flights, or a ping; not under the lock. */
void lane_send(struct lane *lane);

/* ---- pool.c ---- */
/* Gives a flight its outcome and takes it off the pool's counts. */
void pool_settle(struct pool *pool, struct flight *flight, enum status_code code, const char *message,
                 bool was_sent);
/* The same, and hands it back. */
void pool_fail(struct pool *pool, struct flight *flight, enum status_code code, const char *message,
               bool was_sent);
/* Moves what waits for a replica to the others; under the lock. */
void pool_evacuate(struct pool *pool, struct replica *replica);

/* ---- pool_watch.c ---- */
/* The pool's turn of the bus's timer. */
void pool_tick(void *pool, uint64_t now_ms);

static inline void
queue_init(struct queue *queue)
{
	queue->first = NULL;
	queue->last = &queue->first;
	queue->count = queue->bytes = 0;
}

static inline void
queue_add(struct queue *queue, struct flight *flight)
{
	flight->next = NULL;
	*queue->last = flight;
	queue->last = &flight->next;
	queue->count++;
	queue->bytes += flight->size;
}

static inline struct flight *
queue_take(struct queue *queue)
{
	struct flight *flight = queue->first;
	if (!flight)
		return NULL;
	if (!(queue->first = flight->next))
		queue->last = &queue->first;
	queue->count--;
	queue->bytes -= flight->size;
	return flight;
}

#endif
