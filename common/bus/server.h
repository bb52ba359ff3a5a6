/*
 * server: the listening end of calls.
 *
 * Calls arrive in batches. The server decodes a batch, drops what has expired, and hands all calls
 * of the batch to the handler at once, on one of the bus's threads; the handler must not block, and
 * ends each call exactly once with server_call_end(), there or later from any thread. When the last
 * call of a batch ends, the reply leaves. Batches of one caller may run on several threads at once.
 */
#ifndef CORBEL_BUS_SERVER_H
#define CORBEL_BUS_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "bus/bus.h"
#include "corbel/bus.pb-c.h"

struct server;

/* One call as the server sees it. Valid until server_call_end(). */
struct server_call {
	const Corbel__Bus__Call *call; /* read-only */
	Corbel__Bus__Reply reply;      /* to fill; texts and payload from `arena` */
	struct arena *arena;           /* the batch's: lives until the reply has left. One thread
	                                  at a time: calls of a batch that end on other threads use
	                                  their own arena and keep it until server_call_end(),
	                                  which copies the reply into the message */
	uint64_t deadline_mono_ms;     /* on the bus's clock */
	const char *origin;
	uint64_t origin_epoch;
	void *user; /* the handler's own */
};

struct server_options {
	const char *service; /* label of metrics; may be NULL */
	const char *address; /* to listen on; several URLs are allowed */
	/* Gets every batch; see above. */
	void (*handle)(void *arg, struct server_call *calls[], size_t count);
	void *arg;
	uint32_t max_calls_in_flight; /* beyond it calls are answered RESOURCE_EXHAUSTED; 0: 4096 */
	/* REP contexts to begin with, each a message under way; when all are, more are opened, up to as many as
	 * calls may be in flight. 0: 320. */
	uint32_t contexts;
};

struct status server_new(struct bus *bus, const struct server_options *options, struct server **out);
/* Ends the call: sends the batch's reply if it was the last. */
void server_call_end(struct server_call *call);
/* Fills the reply from a failed status. */
void server_call_fail(struct server_call *call, const struct status *st);
/* From now on replies say "draining", so that callers move on; calls are still served. */
void server_drain(struct server *server);
size_t server_in_flight(const struct server *server);
/* Waits for the calls in flight to end and their replies to leave, at most `grace_ms`, then closes. A
 * call still held then stays valid until server_call_end(), whose answer goes nowhere. */
void server_free(struct server *server, uint32_t grace_ms);
/* The URL actually bound (a port 0 is replaced), for tests and for "ready" lines. */
const char *server_url(const struct server *server);

#endif
