/*
 * call_internal: a call as the daemon's own parts see it.
 *
 *   bus thread ── inline ─────────────────────────────► call_finish()
 *        │  batch handler: ends each with call_end(), here or on another thread
 *        └──► worker thread ── handler ───────────────► call_finish()
 *
 * One thread at a time touches a call. Calls that may end on another thread live in a `batch` of their
 * own arena; inline ones live in the bus message's.
 */
#ifndef CORBEL_DAEMON_CALL_INTERNAL_H
#define CORBEL_DAEMON_CALL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "api/json.h"
#include "daemon/call.h"
#include "daemon/dispatch.h"
#include "daemon/workers.h"

#define CALL_HEADERS_MAX 16

/* A method with what serves it here. */
struct bound_method {
	const struct api_method *method;
	api_handler handler; /* NULL: batched */
	service_batch batch; /* NULL: handler */
	struct metric_histogram *duration;
	struct metric_gauge *in_flight;
	/* Series of each outcome, made when first seen. */
	_Atomic(struct metric_counter *) outcomes[STATUS_CODES];
};

enum batch_kind { BATCH_LONE, BATCH_GATHERED, BATCH_KINDS };

/* Calls that share an arena. Whoever ends the last gives the batch back to the dispatcher. */
struct batch {
	struct batch *next; /* among the dispatcher's free ones */
	enum batch_kind kind;
	struct dispatcher *dispatcher;
	struct arena arena;
	atomic_uint open;
};

struct claim; /* idempotency.h */

struct call {
	struct dispatcher *dispatcher;
	struct server_call *wire;
	struct bound_method *bound;
	struct batch *batch; /* NULL: inline */
	struct arena *arena;
	ProtobufCMessage *request, *reply;
	struct store_conn *conn;
	int64_t wall_ms;
	uint64_t start_ns;
	struct trace_context trace;
	struct span *span;      /* NULL: not sampled */
	struct claim *claim;    /* NULL: no idempotency key, or not claimed */
	struct status *outcome; /* of a claimed batch call, between its two halves */
	bool is_replayed;       /* the reply is already in `wire` */
	struct work work;
};

struct free_batches {
	struct batch *first;
	size_t count;
};

struct dispatcher {
	struct dispatcher_options options;
	struct bound_method *methods;
	size_t method_count;
	struct bound_method **table; /* by method id, open addressing; size a power of two */
	uint32_t table_mask;
	struct metric_counter *unknown;
	pthread_mutex_t lock; /* guards what is below */
	struct free_batches free_batches[BATCH_KINDS];
};

/* The series of one outcome of one method; NULL without metrics. Any thread. */
struct metric_counter *bound_outcome(struct dispatcher *dispatcher, struct bound_method *bound,
                                     enum status_code code);

/* A batch that is open once; each call of it, and who opened it, leaves it once, and the last gives it back.
 */
struct batch *batch_new(struct dispatcher *dispatcher, enum batch_kind kind);
void batch_leave(struct batch *batch);
void batch_free_all(struct dispatcher *dispatcher);

/* Ends the call with this outcome: packs the reply, counts, closes the span, answers. */
void call_finish(struct call *call, struct status st);
/* Reply message into the reply of the bus. */
void call_pack_reply(struct call *call);
/* Request bytes into the request message, checked against the rules of its fields. */
struct status call_decode(struct call *call);

#endif
