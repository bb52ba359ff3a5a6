/*
 * service: what a daemon is made of, and what it is given.
 *
 * A service is a constant table of this type and one structure of its own, made by `create` from its
 * environment; there is no global state, so one process can host all of them. The folder services/NAME
 * exports its table as `const struct service NAME_service`, declared in NAME.h; its main() is
 * daemon_main() with that table, and `corbel serve` finds it by that name.
 */
#ifndef CORBEL_DAEMON_SERVICE_H
#define CORBEL_DAEMON_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/status.h"
#include "base/text.h"
#include "bus/bus.h"
#include "bus/pool.h"
#include "bus/pubsub.h"
#include "config/config.h"
#include "daemon/call.h"
#include "redis/redis.h"
#include "store/store.h"
#include "telemetry/log.h"
#include "telemetry/metric.h"
#include "telemetry/trace.h"

struct outbox;

/* What a service gets. Everything is borrowed and outlives the service. */
struct service_env {
	const struct config *config;
	struct log *log; /* named after the service */
	struct metrics *metrics;
	struct tracer *tracer;
	const struct clock *clock;
	const struct random *random;
	struct bus *bus;
	struct publisher *publisher; /* the service's own PUB socket; NULL if it publishes nothing */
	struct store *store;         /* NULL if the service has no schema */
	struct outbox *outbox;       /* NULL if the service has no schema */
	struct redis *redis;         /* NULL when redis.url is not set: embedded size */
	struct host *host;           /* see below */
};

/* A handler for a method, beside the generated typed ones: gets all calls of one bus batch for that
 * method at once and ends each with call_end(), now or later. Methods that are fast or wait. */
typedef void (*service_batch)(void *self, struct call *calls[], size_t count);

struct service_handlers {
	const struct api_service *api;
	const api_handler *handlers; /* by method index; generated as NAME_handlers */
};

/* Tells that an option's value is wrong, and why. */
typedef void (*service_complain)(void *arg, const char *option, const char *what);

/* What a worker does for the service every `interval_ms`, as host_every() says. */
struct service_task {
	uint32_t interval_ms; /* 0 ends a list */
	void (*run)(void *self, struct store_conn *conn);
};

struct service {
	const char *name;                    /* "ratelimitd": daemon, schema, bus name */
	const char *summary;                 /* one line for --help */
	const struct config_option *options; /* beyond the common ones; names begin with the service's */
	/* Complains of values of its options that the table cannot judge; part of --check-config. NULL: none. */
	void (*check)(const struct config *config, service_complain complain, void *arg);
	const struct service_handlers *handlers;  /* ends with api NULL */
	const struct store_migration *migrations; /* NULL: no store */
	bool publishes;
	uint32_t workers;       /* default number of threads for slow methods; 0: 4 */
	uint32_t store_threads; /* of the service's own that take a store connection beside those */
	struct status (*create)(const struct service_env *env, void **self);
	/* Once all services of the process are created, and before this one is called: load, dial others, start
	 * own threads. */
	struct status (*start)(void *self);
	const struct service_task *tasks; /* begun after it; NULL: none */
	/* Batch handler of a fast method, or NULL for the generated one. */
	service_batch (*batch)(void *self, const struct api_method *method);
	/* NULL: ready once started. Adds its reason when it is not. */
	bool (*is_ready)(void *self, char *reason, size_t size);
	/* Not ready any more, and called on for drain.delay: let those who keep connections go elsewhere. NULL:
	 * nothing to do. */
	void (*leave)(void *self);
	/* No new work; finish or hand back what is under way before the deadline. */
	void (*drain)(void *self, uint32_t grace_ms);
	void (*destroy)(void *self);
	/* On SIGHUP, in the main thread: read certificate files and the like again. NULL: nothing to do. */
	void (*reload)(void *self);
};

/* The pool that calls another service (made on first use, shared by the process). The address is
 * option "bus.<service>"; in one process it is inproc. */
struct pool *host_pool(struct host *host, const char *service);
/* Where another service publishes. */
const char *host_publisher_address(struct host *host, const char *service);
/* Calls a method of another service and waits: from worker threads and start-up only, never from a
 * fast handler. `principal` of an internal caller. The reply lives in `arena`. */
struct status host_call(struct host *host, const struct api_method *method, const ProtobufCMessage *request,
                        uint32_t timeout_ms, struct arena *arena, ProtobufCMessage **reply);
/* Queues work for the service's worker threads; false when the bounded queue is full or the service
 * drains. `conn` is the worker's store connection: NULL when the service has no store, or when the
 * database is away just now. What was queued always runs, also during a drain. */
bool host_work(struct host *host, const struct service *service,
               void (*run)(void *arg, struct store_conn *conn), void *arg);
/* Runs `run` on a worker every `interval_ms` (± 10 % jitter) until the drain, never twice at a time. A
 * turn is skipped while the database is away, so `conn` is NULL only for services without a store. */
struct status host_every(struct host *host, const struct service *service, uint32_t interval_ms,
                         void (*run)(void *arg, struct store_conn *conn), void *arg);

/* Whether every service of the process is ready; adds an application/health+json body that tells why not. */
bool host_is_ready(struct host *host, struct strbuf *body);
/* The directory of option "data". */
const char *host_data_dir(const struct host *host);
/* Something for whoever started the process, such as "address" or "first admin key": printed at once as
 * "name: text" on standard output, and kept for host_announced(). */
void host_announce(struct host *host, const char *name, const char *text);
const char *host_announced(struct host *host, const char *name); /* NULL: not said */

/* One process that serves `services` (NULL-terminated). Parses the configuration, runs until SIGTERM
 * or SIGINT, drains, returns the exit code: 0; 1 on a failure while running; 2 on bad configuration. */
int daemon_main(int argc, char **argv, const struct service *const *services);

struct daemon_options {
	int argc;
	char **argv;                           /* argv[0] is skipped */
	const struct service *const *services; /* started in this order, drained in the reverse */
	bool is_exclusive;                     /* one such process a data directory: a second one is refused */
	bool only_migrates;                    /* brings the schemas of the services up to date, and ends */
	void (*ready)(struct host *host, FILE *out); /* tells that everything runs; NULL: the line "ready" */
};
int daemon_run(const struct daemon_options *options);

#endif
