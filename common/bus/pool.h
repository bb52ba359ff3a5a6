/*
 * pool: calls to the replicas of one service.
 *
 * One REQ socket a replica. A call goes to the replica with the fewest calls in flight of two picked
 * at random, or, with a routing hash, to the first healthy replica in rendezvous order. A breaker
 * sets a replica aside after consecutive time-outs or failures; pings bring it back.
 *
 * Calls of fast methods are coalesced: at most two messages in flight a replica, up to 128 calls
 * each; the second one leaves only when it is worth it. Other calls travel alone, at most 64 at a time to a
 * replica, beside 1024 that wait there. Nothing is ever sent twice by the bus: a call whose pipe broke ends
 * UNAVAILABLE, and `was_sent` tells whether it may have run.
 *
 * Deadlines are kept on the monotonic clock by the port. Every queue is bounded: a full one ends the
 * call RESOURCE_EXHAUSTED at once.
 *
 * A port is where the completions of one thread's calls arrive: an event loop has one, polls its
 * descriptor, and calls port_flush() once a turn so that calls of the turn travel together. Threads
 * without a loop use pool_call_wait().
 */
#ifndef CORBEL_BUS_POOL_H
#define CORBEL_BUS_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "bus/bus.h"
#include "corbel/bus.pb-c.h"

struct pool;
struct port;

struct pool_options {
	const char *service;       /* name for logs and metrics */
	const char *address;       /* see bus_address_check() */
	uint32_t max_queued;       /* calls waiting or in flight, the whole pool; 0: 16384 */
	uint32_t breaker_failures; /* consecutive; 0: 3 */
	uint32_t ping_ms;          /* 0: 1000 */
};

struct status pool_new(struct bus *bus, const struct pool_options *options, struct pool **out);
void pool_free(struct pool *pool); /* calls under way end CANCELLED first */
size_t pool_replicas(const struct pool *pool);
size_t pool_healthy(const struct pool *pool);
/* Nodes known now, in no order: index < pool_replicas(); "" when not yet heard from. For tests,
 * diagnostics and rendezvous ownership. */
struct pool_replica {
	char node[64];
	char url[256];
	uint64_t epoch;
	uint32_t in_flight;
	bool is_healthy, is_draining;
};
size_t pool_list(const struct pool *pool, struct pool_replica *out, size_t max);

/* One call, owned by the caller, who keeps it and all it points at until `done` has run. */
struct pool_call {
	/* to set */
	uint32_t method;
	bool is_fast;    /* may be coalesced */
	bool is_waiting; /* may take long because it waits for something to happen: it holds up no other */
	bool has_route;
	uint64_t route;   /* rendezvous hash of the key */
	const char *node; /* only the replica of this name, UNAVAILABLE when it is not there; NULL: any */
	uint64_t deadline_mono_ms;
	const char *request_id;                  /* NULL: none */
	const char *traceparent;                 /* NULL: none */
	const char *idempotency_key;             /* NULL: none */
	const Corbel__Bus__Principal *principal; /* NULL: none */
	/* The same, packed by who sends it often; NULL: it is packed for the call. */
	const ProtobufCBinaryData *packed_principal;
	const void *payload;
	size_t payload_size;
	/* Runs once, in the port's thread inside port_poll() (or before pool_call_wait() returns). */
	void (*done)(struct pool_call *call);
	void *user;
	/* the result, valid inside `done` and until the call is reused */
	enum status_code code;
	const Corbel__Bus__Reply *reply; /* NULL when no replica answered; then `message` says why */
	const char *message;
	bool was_sent; /* may have run even though no reply came */
	/* the pool's own */
	struct pool_call *next;
	void *internal[6];
};

struct status port_new(struct bus *bus, struct port **out);
void port_free(struct port *port);    /* its calls under way end CANCELLED first */
int port_fd(const struct port *port); /* readable when completions wait */
/* Queues; nothing is sent before port_flush(). Completes only inside port_poll(), even on failure. */
void port_call(struct port *port, struct pool *pool, struct pool_call *call);
void port_flush(struct port *port);
/* Calls since the last flush. So many fast ones are worth a message of their own, which costs some ten
 * hand-overs between threads, and a call in it next to nothing. Fewer wait for more while another message is
 * out. */
#define PORT_GATHER_CALLS 32u
size_t port_queued(const struct port *port);
/* Runs what has completed and ends what is past its deadline. Returns the number completed. A
 * reply's memory is freed after its `done` returns: copy what must live on. */
size_t port_poll(struct port *port);
/* Ends a call early: CANCELLED, through port_poll(). A late reply is ignored. */
void port_cancel(struct port *port, struct pool_call *call);
/* ms until the next deadline; -1: none. */
int port_timeout_ms(const struct port *port);

/* Blocks this thread (never a bus thread) until the call ends. The reply is unpacked into `arena`,
 * `call->done` is not used. Returns the call's outcome as a status. */
struct status pool_call_wait(struct pool *pool, struct pool_call *call, struct arena *arena);
/* The outcome of a completed call as a status. */
struct status pool_call_status(const struct pool_call *call);

/* The rendezvous winner for `route` among the healthy replicas, as the pool itself would choose: node
 * name and epoch. False when none is known. */
bool pool_owner(const struct pool *pool, uint64_t route, char node[64], uint64_t *epoch);

#endif
