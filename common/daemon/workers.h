/*
 * workers: the threads that run what may block, of one service.
 *
 * A bounded queue, first in first out, and tasks that repeat. Each piece of work runs with a
 * connection to the service's store, taken for its duration. Any thread may submit.
 */
#ifndef CORBEL_DAEMON_WORKERS_H
#define CORBEL_DAEMON_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "store/store.h"
#include "telemetry/log.h"
#include "telemetry/metric.h"

struct workers;

/* One piece of work, embedded in its owner, who keeps it until `run` is called. `conn` is NULL when
 * there is no store; when there is one that cannot be reached, `store` tells why. */
struct work {
	struct work *next;
	void (*run)(struct work *work, struct store_conn *conn, const struct status *store);
};

struct workers_options {
	const char *name; /* of the service, for threads and metrics */
	uint32_t threads;
	uint32_t queue_max;
	struct store *store; /* NULL: none */
	struct log *log;
	struct metrics *metrics;
};

struct workers *workers_new(const struct workers_options *options);
/* False when the queue is full. */
bool workers_submit(struct workers *workers, struct work *work);
/* For the second half of work that was accepted before: always accepted. */
void workers_resubmit(struct workers *workers, struct work *work);
/* As workers_submit(), for a function that owns its argument; false, too, once draining. */
bool workers_run(struct workers *workers, void (*run)(void *arg, struct store_conn *conn), void *arg);
/* RESOURCE_EXHAUSTED beyond 64 tasks. */
struct status workers_every(struct workers *workers, uint32_t interval_ms,
                            void (*run)(void *arg, struct store_conn *conn), void *arg);
/* Ends repeated tasks and refuses workers_run(), then waits until nothing is queued or running, at most
 * `grace_ms`; tells whether it came to that. */
bool workers_drain(struct workers *workers, uint32_t grace_ms);
/* Runs what is queued, then ends the threads. Who has the pool still may offer it work, which is refused. */
void workers_end(struct workers *workers);
void workers_free(struct workers *workers);

#endif
