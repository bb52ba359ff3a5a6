/*
 * host_internal: the structures behind host.h, for the parts of common/daemon.
 */
#ifndef CORBEL_DAEMON_HOST_INTERNAL_H
#define CORBEL_DAEMON_HOST_INTERNAL_H

#include <pthread.h>

#include "bus/server.h"
#include "daemon/admin.h"
#include "daemon/dispatch.h"
#include "daemon/host.h"
#include "daemon/process_stats.h"
#include "daemon/workers.h"
#include "telemetry/metric_push.h"

/* A life goes one way through these. */
enum hosted_state { HOSTED_STARTING, HOSTED_MIGRATING, HOSTED_RUNNING, HOSTED_DRAINING };

/* One service in the process. */
struct hosted {
	struct host *host;
	const struct service *service;
	struct service_env env;
	void *self; /* made by create; NULL before */
	bool has_started;
	struct workers *workers;
	struct dispatcher *dispatcher;
	struct server *server;
	_Atomic(enum hosted_state) state;
	atomic_bool is_store_away; /* found by the last ping */
};

struct host_pool {
	struct host_pool *next;
	const char *service;
	struct pool *pool;
};

struct host_announcement {
	struct host_announcement *next;
	char *name, *text;
};

struct host {
	struct host_options options;
	struct log *log;
	struct metrics *metrics;
	struct tracer *tracer;
	struct metric_push *push; /* NULL: metrics are only scraped */
	const struct clock *clock;
	const struct random *random;
	struct bus *bus;
	struct redis *redis;
	struct process_stats *stats;
	char *store_url, *node;
	struct hosted *hosted;
	size_t count;
	struct admin *admin;
	atomic_bool is_leaving; /* still serves, but is to be asked no more */
	pthread_mutex_t lock;   /* guards the lists below */
	struct host_pool *pools;
	struct host_announcement *announcements;
};

/* The parts of a host, in the order in which they need each other. `name` is what telemetry calls the
 * process. */
void host_make_telemetry(struct host *host, const char *name);
struct status host_make_bus(struct host *host);
/* Makes none where none is configured. */
struct status host_make_redis(struct host *host);
struct status host_make_admin(struct host *host);

/* Opens the store and brings its schema up to date, waiting for a database that is away. */
struct status hosted_prepare(struct hosted *hosted);
struct status hosted_create(struct hosted *hosted);
struct status hosted_listen(struct hosted *hosted);
struct status hosted_start(struct hosted *hosted);
/* Tells the service that callers are to move on while it serves on. */
void hosted_leave(struct hosted *hosted);
/* Tells callers to move on, and lets the service finish. */
void hosted_drain(struct hosted *hosted, uint32_t grace_ms);
/* Waits for workers and replies; false when the grace was not enough. */
bool hosted_finish(struct hosted *hosted, uint32_t grace_ms);
void hosted_free(struct hosted *hosted);
/* Whether it serves; the reason when it does not. */
bool hosted_is_ready(struct hosted *hosted, char *reason, size_t size);

/* Where a service's calls (`kind` "bus") or publications ("pub") are: the option, or the place that
 * everybody assumes. Owned by the caller. */
char *host_address(const struct host *host, const char *kind, const char *service);
/* Whether everything has been running once; adds a health body. Draining is no reason to restart. */
bool host_has_started(struct host *host, struct strbuf *body);
/* Keeps a text under a name for the host's life, without telling anybody. */
void host_remember(struct host *host, const char *name, const char *text);
/* Waits; true when the process is to stop. */
bool host_waits_to_stop(const struct host *host, uint32_t ms);

#endif
