/*
 * ingress: the service's table and its life.
 */
#include "ingress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "http/problem.h"
#include "ingress_internal.h"
#include "streams.h"
#include "tls.h"

#define USAGE_MS     1000u
#define TLS_WATCH_MS 5000u
#define PATIENCE_MS  5000u

/* ---- what accountd says ---- */

static void
tell_all(struct ingress *self, const struct notice *notice)
{
	if (!notice->has_new_tls_pair)
		streams_notice(self->streams, notice);
	for (size_t i = 0; i < self->shard_count; i++)
		shard_tell(&self->shards[i], notice);
}

static void
on_keys(void *arg, const char *node, const char *topic, const void *payload, size_t size)
{
	Corbel__V1__KeysChanged *changed = corbel__v1__keys_changed__unpack(NULL, size, payload);
	struct notice notice;
	(void)node;
	(void)topic;

	if (!changed)
		return;
	for (size_t i = 0; i < changed->n_key_ids; i++) {
		notice = (struct notice){.is_doubt = false};
		snprintf(notice.key_id, sizeof(notice.key_id), "%s", changed->key_ids[i]);
		tell_all(arg, &notice);
	}
	for (size_t i = 0; i < changed->n_tenant_ids; i++) {
		notice = (struct notice){.is_doubt = false};
		snprintf(notice.tenant_id, sizeof(notice.tenant_id), "%s", changed->tenant_ids[i]);
		tell_all(arg, &notice);
	}
	corbel__v1__keys_changed__free_unpacked(changed, NULL);
}

static void
on_event(void *arg, const char *node, enum subscriber_event event)
{
	(void)node;
	if (event != SUBSCRIBER_BACK)
		tell_all(arg, &(struct notice){.is_doubt = true});
}

/* ---- life ---- */

static void
register_metrics(struct ingress *self)
{
	static const struct metric_spec BAD = {.name = "corbel_http_bad_requests",
	                                       .help = "Requests refused because of their content."};
	static const struct metric_spec UNKNOWN = {.name = "corbel_http_unauthenticated",
	                                           .help = "Requests without a good key."};
	static const struct metric_spec LIMITED = {.name = "corbel_http_limited",
	                                           .help = "Requests refused by a limit."};
	static const struct metric_spec TURNED_AWAY = {
	    .name = "corbel_http_connections_turned_away",
	    .help = "Connections closed because their address had too many."};
	static const struct metric_spec FORWARD = {
	    .name = "corbel_forward_failures",
	    .help = "Gateways' questions for which a service could not be asked."};
	static const struct metric_spec ACTIVE = {.name = "corbel_http_requests_in_flight",
	                                          .help = "Requests begun and not yet ended."};
	struct metrics *m = self->env.metrics;

	self->http = http_metrics_new(m);
	self->bad_requests = metrics_counter(m, &BAD, NULL);
	self->unauthenticated = metrics_counter(m, &UNKNOWN, NULL);
	self->limited = metrics_counter(m, &LIMITED, NULL);
	self->turned_away = metrics_counter(m, &TURNED_AWAY, NULL);
	self->forward_failures = metrics_counter(m, &FORWARD, NULL);
	self->active = metrics_gauge(m, &ACTIVE, NULL);
}

static struct status
create(const struct service_env *env, void **out)
{
	struct ingress *self = mem_alloc(sizeof(*self));

	self->env = *env;
	*out = self;
	struct status st = settings_read(env->config, &self->settings);
	if (!status_ok(&st)) {
		mem_free(self);
		return st;
	}
	self->routes = routes_new(api_services);
	self->docs_page = pages_make_docs();
	self->problems_page = problem_make_page();
	self->usage = usage_new(self);
	self->shard_count = (size_t)config_integer(env->config, "ingress.shards");
	self->shards = mem_array(self->shard_count, sizeof(*self->shards));
	register_metrics(self);
	return st;
}

static void
renew_tls(struct ingress *self, bool always)
{
	if (self->tls && tls_reload(self->tls, always))
		tell_all(self, &(struct notice){.has_new_tls_pair = true});
}

static void
watch_tls(void *arg, struct store_conn *conn)
{
	(void)conn;
	renew_tls(arg, false);
}

static void
reload(void *arg)
{
	renew_tls(arg, true);
}

static bool
is_dialled(const struct ingress *self, const char *daemon)
{
	for (size_t i = 0; i < self->target_count; i++)
		if (strcmp(self->targets[i].daemon, daemon) == 0)
			return true;
	return false;
}

/* Every daemon that serves a method, so that the first call finds a connection. */
static void
dial_all(struct ingress *self)
{
	size_t most = 0;

	while (api_services[most])
		most++;
	self->targets = mem_array(most, sizeof(*self->targets));
	self->dialled_mono = clock_mono_ms(self->env.clock);
	for (size_t i = 0; i < most; i++) {
		const char *daemon = api_services[i]->daemon;
		if (!is_dialled(self, daemon))
			self->targets[self->target_count++] =
			    (struct target){.daemon = daemon, .pool = host_pool(self->env.host, daemon)};
	}
}

static struct status
start(void *arg)
{
	struct ingress *self = arg;
	static const char *const TOPICS[] = {"keys", NULL};
	struct subscriber_options keys = {.address = host_publisher_address(self->env.host, "accountd"),
	                                  .topics = TOPICS,
	                                  .message = on_keys,
	                                  .event = on_event,
	                                  .arg = self};
	const char *listen = config_text(self->env.config, "ingress.listen");
	struct status st = status_ok_value();
	char url[160];

	dial_all(self);
	self->accounts = host_pool(self->env.host, "accountd");
	self->ratelimits = host_pool(self->env.host, "ratelimitd");
	if (self->settings.tls_certificate)
		st = tls_new(self->settings.tls_certificate, self->settings.tls_key, self->env.log, self->env.metrics,
		             &self->tls);
	if (status_ok(&st))
		st = streams_start(self, &self->streams);
	for (size_t i = 0; i < self->shard_count && status_ok(&st); i++)
		st = shard_start(&self->shards[i], self, listen, i == 0);
	if (status_ok(&st))
		st = subscriber_new(self->env.bus, &keys, &self->key_changes);
	if (status_ok(&st) && self->tls)
		st = host_every(self->env.host, &ingress_service, TLS_WATCH_MS, watch_tls, self);
	if (!status_ok(&st))
		return st;
	snprintf(url, sizeof(url), "%s://%s", self->tls ? "https" : "http", self->address);
	host_announce(self->env.host, "address", url);
	return st;
}

/* Without it no call can be verified or admitted. */
static bool
is_needed(const char *daemon)
{
	return strcmp(daemon, "accountd") == 0 || strcmp(daemon, "ratelimitd") == 0;
}

/* Waited for at the start, so that first calls find their service; no longer than PATIENCE_MS where it is not
 * needed by all calls, since an installation may run without it. A service that goes away later does not
 * count: this ingress could reach it no worse than any other, and all of them would leave their balancer
 * together. */
static bool
is_ready(void *arg, char *reason, size_t size)
{
	struct ingress *self = arg;
	bool is_patient = clock_mono_ms(self->env.clock) - self->dialled_mono < PATIENCE_MS;

	if (atomic_load(&self->is_draining)) {
		snprintf(reason, size, "draining");
		return false;
	}
	for (size_t i = 0; i < self->target_count; i++) {
		struct target *target = &self->targets[i];
		if (target->pool && pool_healthy(target->pool) > 0)
			atomic_store(&target->was_reached, true);
		if (atomic_load(&target->was_reached) || !(is_patient || is_needed(target->daemon)))
			continue;
		snprintf(reason, size, "%s has not been reached yet", target->daemon);
		return false;
	}
	return true;
}

static size_t
active_requests(const struct ingress *self)
{
	size_t active = 0;
	for (size_t i = 0; i < self->shard_count; i++)
		active += atomic_load(&self->shards[i].active);
	return active;
}

/* Callers that keep connections find another ingress with their next one, while this one still serves. */
static void
leave(void *arg)
{
	struct ingress *self = arg;

	atomic_store(&self->is_leaving, true);
}

/* No new connections; those with a request under way may finish it. */
static void
drain(void *arg, uint32_t grace_ms)
{
	struct ingress *self = arg;
	uint64_t end = clock_mono_ms(self->env.clock) + grace_ms;
	const struct timespec pause = {.tv_nsec = 5000000};

	leave(self);
	atomic_store(&self->is_draining, true);
	streams_drain(self->streams);
	for (size_t i = 0; i < self->shard_count; i++)
		shard_quiet(&self->shards[i]);
	while (active_requests(self) > 0 && clock_mono_ms(self->env.clock) < end)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	atomic_store(&self->is_closing, true);
	usage_task(self, NULL);
}

static void
destroy(void *arg)
{
	struct ingress *self = arg;
	subscriber_free(self->key_changes);
	/* Shards open streams, and streams give connections back to them: neither may run while the other ends.
	 */
	for (size_t i = 0; i < self->shard_count; i++)
		shard_halt(&self->shards[i]);
	streams_free(self->streams);
	self->streams = NULL;
	for (size_t i = 0; i < self->shard_count; i++)
		shard_stop(&self->shards[i]);
	mem_free(self->shards);
	mem_free(self->targets);
	tls_free(self->tls);
	usage_free(self->usage);
	http_metrics_free(self->http);
	routes_free(self->routes);
	settings_free(&self->settings);
	mem_free(self->docs_page);
	mem_free(self->problems_page);
	mem_free(self);
}

static const struct service_handlers HANDLERS[] = {{NULL, NULL}};

static const struct service_task TASKS[] = {{USAGE_MS, usage_task}, {0, NULL}};

const struct service ingress_service = {
    .name = "ingress",
    .summary = "Serves the HTTP API and asks the other services",
    .options = settings_options,
    .check = settings_check,
    .handlers = HANDLERS,
    .workers = 1,
    .create = create,
    .start = start,
    .tasks = TASKS,
    .is_ready = is_ready,
    .leave = leave,
    .drain = drain,
    .destroy = destroy,
    .reload = reload,
};
