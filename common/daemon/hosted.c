/*
 * hosted: one service's life in its process. Each step leaves what it made in `struct hosted`, and
 * hosted_free() gives back whatever there is, so a start may fail at any step.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "daemon/host_internal.h"
#include "daemon/idempotency.h"
#include "daemon/outbox_internal.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define PING_MS        5000
#define PURGE_MS       600000

static const struct config *
config_of(const struct hosted *self)
{
	return self->host->options.config;
}

static uint32_t
worker_count(const struct hosted *self)
{
	char name[80];

	snprintf(name, sizeof(name), "workers.%s", self->service->name);
	return (uint32_t)config_integer(config_of(self), name);
}

/* ---------------------------------------------------------------- the store */

static struct status
open_store(struct hosted *self)
{
	struct store_options options = {.service = self->service->name,
	                                .url = self->host->store_url,
	                                /* one a worker, one for pings, one for what the service does at start */
	                                .connections = worker_count(self) + self->service->store_threads + 2,
	                                .migrations = self->service->migrations,
	                                .log = self->env.log,
	                                .metrics = self->host->metrics,
	                                .clock = self->host->clock};

	return store_new(&options, &self->env.store);
}

static uint32_t
holder_of(const struct hosted *self)
{
	return idempotency_holder(self->env.store, self->host->node);
}

static struct status
migrate_once(struct hosted *self)
{
	struct status st = store_migrate(self->env.store);

	if (status_ok(&st))
		st = idempotency_migrate(self->env.store);
	if (status_ok(&st))
		st = idempotency_give_up_all(self->env.store, holder_of(self));
	return status_ok(&st) ? outbox_migrate(self->env.store) : st;
}

static bool
is_worth_waiting(const struct status *st)
{
	return st->code == STATUS_UNAVAILABLE || st->code == STATUS_DEADLINE_EXCEEDED ||
	       st->code == STATUS_ABORTED || st->code == STATUS_RESOURCE_EXHAUSTED;
}

/* A database that is away at start is waited for, with doubling pauses of up to 5 s: meanwhile the
 * process is alive and not ready. */
static struct status
migrate(struct hosted *self)
{
	uint32_t pause_ms = BACKOFF_MIN_MS;

	for (;;) {
		struct status st = migrate_once(self);
		if (!is_worth_waiting(&st))
			return st;
		log_warn(self->env.log, "store is away, waiting", LOG_STATUS(&st), LOG_U64("pause_ms", pause_ms));
		if (host_waits_to_stop(self->host, pause_ms / 2 + (uint32_t)(random_fast_u64() % pause_ms)))
			return status_make(STATUS_CANCELLED, "stopped while waiting for the store");
		pause_ms = pause_ms * 2 < BACKOFF_MAX_MS ? pause_ms * 2 : BACKOFF_MAX_MS;
	}
}

struct status
hosted_prepare(struct hosted *self)
{
	if (!self->service->migrations)
		return status_ok_value();
	atomic_store(&self->state, HOSTED_MIGRATING);
	struct status st = open_store(self);
	if (status_ok(&st))
		st = migrate(self);
	if (status_ok(&st))
		atomic_store(&self->state, HOSTED_STARTING);
	return status_wrap(st, "%s: store", self->service->name);
}

/* ---------------------------------------------------------------- up */

static struct status
open_publisher(struct hosted *self)
{
	if (!self->service->publishes)
		return status_ok_value();
	const char *said = config_text(config_of(self), "pub.listen");
	char *address = said ? mem_strdup(said) : host_address(self->host, "pub", self->service->name);
	struct status st = publisher_new(self->host->bus, address, &self->env.publisher);
	mem_free(address);
	return status_wrap(st, "publish");
}

static struct status
make_dispatcher(struct hosted *self)
{
	struct dispatcher_options options = {.service = self->service,
	                                     .self = self->self,
	                                     .workers = self->workers,
	                                     .log = self->env.log,
	                                     .metrics = self->host->metrics,
	                                     .tracer = self->host->tracer,
	                                     .clock = self->host->clock,
	                                     .random = self->host->random,
	                                     .is_idempotency_kept = self->env.store != NULL,
	                                     .idempotency_holder = self->env.store ? holder_of(self) : 0};

	return dispatcher_new(&options, &self->dispatcher);
}

struct status
hosted_create(struct hosted *self)
{
	struct workers_options workers = {.name = self->service->name,
	                                  .threads = worker_count(self),
	                                  .queue_max = (uint32_t)config_integer(config_of(self), "workers.queue"),
	                                  .store = self->env.store,
	                                  .log = self->env.log,
	                                  .metrics = self->host->metrics};
	struct status st = open_publisher(self);

	self->workers = workers_new(&workers);
	if (self->env.store)
		self->env.outbox = outbox_new(&self->env, self->service->name);
	if (status_ok(&st))
		st = self->service->create(&self->env, &self->self);
	if (status_ok(&st))
		st = make_dispatcher(self);
	return status_wrap(st, "%s", self->service->name);
}

struct status
hosted_listen(struct hosted *self)
{
	if (!self->service->handlers || !self->service->handlers[0].api)
		return status_ok_value();
	const char *said = config_text(config_of(self), "bus.listen");
	char *address = said ? mem_strdup(said) : host_address(self->host, "bus", self->service->name);
	struct server_options options = {.service = self->service->name,
	                                 .address = address,
	                                 .handle = dispatcher_handle,
	                                 .arg = self->dispatcher};
	struct status st = server_new(self->host->bus, &options, &self->server);
	if (status_ok(&st))
		log_info(self->env.log, "listening", LOG_TEXT("url", server_url(self->server)));
	mem_free(address);
	return status_wrap(st, "%s: listen", self->service->name);
}

static void
ping_store(void *arg, struct store_conn *conn)
{
	struct hosted *self = arg;
	struct status st = store_ping(self->env.store);
	bool is_away = !status_ok(&st);

	(void)conn;
	if (atomic_exchange(&self->is_store_away, is_away) == is_away)
		return;
	if (is_away)
		log_warn(self->env.log, "store is away", LOG_STATUS(&st));
	else
		log_info(self->env.log, "store is back");
}

static void
purge_idempotency(void *arg, struct store_conn *conn)
{
	struct hosted *self = arg;
	idempotency_purge(self->host->clock, conn);
}

static struct status
start_tasks(struct hosted *self)
{
	struct status st = status_ok_value();

	for (const struct service_task *task = self->service->tasks; task && task->interval_ms && status_ok(&st);
	     task++)
		st = workers_every(self->workers, task->interval_ms, task->run, self->self);
	return st;
}

struct status
hosted_start(struct hosted *self)
{
	struct status st = self->service->start ? self->service->start(self->self) : status_ok_value();

	self->has_started = status_ok(&st);
	if (status_ok(&st))
		st = start_tasks(self);
	if (status_ok(&st) && self->env.store)
		st = workers_every(self->workers, PURGE_MS, purge_idempotency, self);
	if (status_ok(&st) && self->env.store)
		st = workers_every(self->workers, PING_MS, ping_store, self);
	if (status_ok(&st) && self->env.store)
		st = workers_every(self->workers, OUTBOX_RELAY_MS, outbox_relay, self->env.outbox);
	if (status_ok(&st))
		atomic_store(&self->state, HOSTED_RUNNING);
	return status_wrap(st, "%s: start", self->service->name);
}

bool
hosted_is_ready(struct hosted *self, char *reason, size_t size)
{
	if (atomic_load(&self->host->is_leaving)) {
		snprintf(reason, size, "draining");
		return false;
	}
	switch (atomic_load(&self->state)) {
	case HOSTED_STARTING:
		snprintf(reason, size, "starting");
		return false;
	case HOSTED_MIGRATING:
		snprintf(reason, size, "waiting for the store");
		return false;
	case HOSTED_DRAINING:
		snprintf(reason, size, "draining");
		return false;
	case HOSTED_RUNNING:
		break;
	}
	return !self->service->is_ready || self->service->is_ready(self->self, reason, size);
}

/* ---------------------------------------------------------------- down */

void
hosted_leave(struct hosted *self)
{
	if (self->has_started && self->service->leave)
		self->service->leave(self->self);
}

void
hosted_drain(struct hosted *self, uint32_t grace_ms)
{
	atomic_store(&self->state, HOSTED_DRAINING);
	if (self->server)
		server_drain(self->server);
	if (self->has_started && self->service->drain)
		self->service->drain(self->self, grace_ms);
}

bool
hosted_finish(struct hosted *self, uint32_t grace_ms)
{
	uint64_t end_ms = clock_mono_ms(self->host->clock) + grace_ms;
	bool is_quiet = !self->workers || workers_drain(self->workers, grace_ms);
	uint64_t now_ms = clock_mono_ms(self->host->clock);

	if (is_quiet && self->server) {
		/* At least a moment, for replies that are under way to leave. */
		server_free(self->server, now_ms + 50 < end_ms ? (uint32_t)(end_ms - now_ms) : 50);
		self->server = NULL;
		/* what arrived in between */
		is_quiet = workers_drain(self->workers, 50);
	}
	return is_quiet;
}

void
hosted_free(struct hosted *self)
{
	if (self->server)
		server_free(self->server, 0);
	/* The service's own threads and subscriptions offer work until it is destroyed. */
	if (self->workers)
		workers_end(self->workers);
	if (self->self && self->service->destroy)
		self->service->destroy(self->self);
	workers_free(self->workers);
	outbox_free(self->env.outbox);
	dispatcher_free(self->dispatcher);
	if (self->env.publisher)
		publisher_free(self->env.publisher);
	if (self->env.store)
		store_free(self->env.store);
	if (self->env.log)
		log_free(self->env.log);
}
