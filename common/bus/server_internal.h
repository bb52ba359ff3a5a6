/*
 * server_internal: the structures that a server and its batches share.
 */
#ifndef CORBEL_BUS_SERVER_INTERNAL_H
#define CORBEL_BUS_SERVER_INTERNAL_H

#include <nng/nng.h>

#include "base/text.h"
#include "bus/server.h"
#include "bus_internal.h"

struct server_batch {
	struct server *server;
	nng_ctx ctx;
	nng_aio *aio;
	enum { RECEIVING, WORKING, SENDING } state; /* by the thread that owns the batch at that time */
	struct arena arena;
	Corbel__Bus__Request *request;
	struct server_call **calls;
	struct strbuf out; /* packed replies; guarded by `lock` */
	pthread_mutex_t lock;
	bool is_closed; /* guarded by `lock`: nothing may be sent any more */
	_Atomic size_t open;
	struct server_peer *peer; /* whose message it carries */
	bool is_farewell;         /* what is sent says "draining" */
};

#define SERVER_PEERS 64u

/* Connections whose numbers, which count up, leave the same rest: one of them, nearly always. */
struct server_peer {
	_Atomic uint64_t called_ms; /* 0: nobody who is there has called */
	_Atomic bool is_told;       /* that there will be no more */
};

struct ended_call {
	struct server_call call; /* first */
	struct server_batch *batch;
};

struct server {
	struct bus *bus;
	void (*handle)(void *arg, struct server_call *calls[], size_t count);
	void *arg;
	nng_socket socket;
	pthread_mutex_t growing;
	struct server_batch **batches; /* places for `batch_max`; guarded by `growing`, as their number */
	_Atomic size_t batch_count;
	size_t batch_max;
	uint32_t max_in_flight;
	size_t message_max;
	_Atomic size_t in_flight; /* calls */
	_Atomic size_t busy;      /* batches working or sending */
	_Atomic uint64_t taken;   /* batches in all */
	_Atomic size_t holders;   /* the owner, and each busy batch */
	_Atomic bool is_draining, is_closed;
	struct server_peer peers[SERVER_PEERS];
	char url[BUS_URL_MAX];
	struct metric_counter *received, *refused, *expired, *garbage;
	struct metric_histogram *sizes;
};

/* ---- server_batch.c ---- */
struct status server_batch_new(struct server *server, size_t arena_block, struct server_batch **out);
void server_batch_free(struct server_batch *batch);
/* Waits for the next message. */
void server_batch_receive(struct server_batch *batch);

/* ---- server.c ---- */
/* Opens more contexts when all of them are busy. */
void server_grow(struct server *server);
/* Lets go of the server; the last holder frees it. */
void server_release(struct server *server);
struct server_peer *server_peer(struct server *server, nng_pipe pipe);

#endif
