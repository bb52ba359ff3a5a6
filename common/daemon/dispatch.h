/*
 * dispatch: from the bus's batches to a service's handlers and back.
 *
 * Fast methods run on the bus's thread, alone or, where the service has a batch handler, all calls of
 * a bus message for one method at once. Slow ones, and all that carry an idempotency key, go to the
 * service's workers through their bounded queue. Each call is authorised, unpacked, validated,
 * counted, traced, and ended exactly once.
 */
#ifndef CORBEL_DAEMON_DISPATCH_H
#define CORBEL_DAEMON_DISPATCH_H

#include "base/clock.h"
#include "base/random.h"
#include "base/status.h"
#include "bus/server.h"
#include "daemon/service.h"
#include "daemon/workers.h"
#include "telemetry/log.h"
#include "telemetry/metric.h"
#include "telemetry/trace.h"

struct dispatcher;

/* Everything is borrowed and outlives the dispatcher. */
struct dispatcher_options {
	const struct service *service;
	void *self; /* the service's structure */
	struct workers *workers;
	struct log *log;
	struct metrics *metrics;
	struct tracer *tracer;
	const struct clock *clock;
	const struct random *random;
	bool is_idempotency_kept;    /* the service has a store with the idempotency table */
	uint32_t idempotency_holder; /* see idempotency_holder() */
};

/* FAILED_PRECONDITION when a method has neither a handler nor a batch handler. */
struct status dispatcher_new(const struct dispatcher_options *options, struct dispatcher **out);
void dispatcher_free(struct dispatcher *dispatcher); /* after the server is closed */
/* For struct server_options: `arg` is the dispatcher. */
void dispatcher_handle(void *arg, struct server_call *calls[], size_t count);

#endif
