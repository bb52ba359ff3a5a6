/*
 * flight: one call on its way, between a port and a pool.
 *
 * The caller's struct is touched by the port's thread alone. What travels is copied into the flight, so
 * that a call may end by its deadline while its bytes are still being sent. A flight has two holders:
 * the port, until `done` has run, and the pool, until it has an outcome; it goes when both let go.
 */
#ifndef CORBEL_BUS_FLIGHT_H
#define CORBEL_BUS_FLIGHT_H

#include "base/arena.h"
#include "bus_internal.h"
#include "corbel/bus.pb-c.h"

struct replica;

/* What a call asks of its replica: the three do not hold each other up. */
enum lane_kind { LANE_FAST, LANE_SLOW, LANE_WAITING, LANE_KINDS };

/* Replies of one message: over when the last flight that points into it is done. */
struct replies {
	struct bus *bus;      /* outlives them */
	struct replies *next; /* spare ones */
	_Atomic size_t holders;
	struct arena arena;
};

struct flight {
	struct flight *next; /* in a queue, a lane, or the port's completions */
	_Atomic int holders;
	struct port *port;      /* held */
	struct pool_call *call; /* port's thread only; NULL once it has ended */
	struct pool *pool;
	struct replica *replica; /* held once chosen; NULL before */
	uint64_t deadline_ms;
	uint64_t started_ns;
	struct call_series *series; /* outlives the pool */
	size_t heap_index;          /* in the port's deadlines; port's thread only */
	_Atomic bool has_ended;     /* the port gave up: not worth sending */
	enum lane_kind kind;
	bool has_route;
	uint64_t route;
	uint64_t only; /* identity of the one replica that may have it; 0: any */
	/* the outcome, written by the pool before the flight is handed back */
	enum status_code code;
	const char *message; /* static */
	_Atomic bool was_sent;
	const Corbel__Bus__Reply *reply;
	struct replies *replies; /* held */
	size_t capacity;         /* of `bytes` */
	/* the packed Call without index and budget */
	size_t size;
	uint8_t bytes[];
};

/* Flights that are over, for one thread to use again; a bounded number. Zeroed, it is empty. */
struct hangar {
	struct flight *first;
	size_t count;
};
void hangar_put(struct hangar *hangar, struct flight *flight);
void hangar_fini(struct hangar *hangar);

/* From a call: what travels, its deadline and its way. The rest is zero. */
struct flight *flight_new(struct hangar *hangar, const struct pool_call *call);
/* Ends one hold. True with the last: what the flight held is let go, but for its port and its memory. */
bool flight_let_go(struct flight *flight);
void flight_release(struct flight *flight);
/* Hands the pool's hold on flights, which have their outcomes, to their ports: each port is woken once for
 * those of its own that follow each other. */
void port_complete(struct flight *flights[], size_t count);

/* ---- replies.c: any thread ---- */
/* Held once, and empty. */
struct replies *replies_take(struct bus *bus);
/* Ends one hold; NULL has none. */
void replies_release(struct replies *replies);

/* The pool's end: queues and sends; each flight comes back by port_complete(). */
void pool_submit(struct pool *pool, struct flight *flight);
/* After a port's flush: sends what was submitted. */
void pool_pump(struct pool *pool);
/* The flight ended by its deadline: its replica may be stuck. True when it may have been sent. */
bool pool_note_timeout(struct flight *flight);
void replica_release(struct replica *replica);
struct call_series *pool_series(const struct pool *pool);
/* Counts a call against the pool's bound; false when it is reached. */
bool pool_admit(struct pool *pool);

#endif
