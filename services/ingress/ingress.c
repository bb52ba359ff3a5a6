/*
 * ingress: the service's table, its options, and its life.
 */
#include "ingress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cors.h"
#include "forward_rules.h"
#include "http/problem.h"
#include "ingress_internal.h"
#include "tls.h"

#define USAGE_MS     1000u
#define TLS_WATCH_MS 5000u

static const struct config_option OPTIONS[] = {
    {.name = "ingress.listen",
     .type = CONFIG_TEXT,
     .def = "127.0.0.1:8080",
     .help = "Address and port of the HTTP API; port 0 takes a free one."},
    {.name = "ingress.tls_cert",
     .type = CONFIG_TEXT,
     .help =
         "PEM file of the certificate chain, leaf first: serves HTTPS instead of HTTP. Read again on SIGHUP "
         "and when it changes."},
    {.name = "ingress.tls_key",
     .type = CONFIG_TEXT,
     .help = "PEM file of the certificate's private key, without a password."},
    {.name = "ingress.shards",
     .type = CONFIG_INTEGER,
     .def = "1",
     .min = 1,
     .max = 64,
     .help = "Threads that serve HTTP; each takes part of the connections."},
    {.name = "ingress.body_max",
     .type = CONFIG_SIZE,
     .def = "1MiB",
     .min = 1024,
     .max = 64 << 20,
     .help = "Largest request body."},
    {.name = "ingress.header_max",
     .type = CONFIG_SIZE,
     .def = "12KiB",
     .min = 4096,
     .max = 1 << 20,
     .help = "Largest head of a request: its URL and headers."},
    {.name = "ingress.connections",
     .type = CONFIG_INTEGER,
     .def = "4096",
     .min = 16,
     .max = 1000000,
     .help = "Open connections of a shard at most."},
    {.name = "ingress.connections_per_address",
     .type = CONFIG_INTEGER,
     .def = "512",
     .min = 0,
     .max = 1000000,
     .help = "Open connections of a shard from one address at most, trusted proxies aside; 0: no bound."},
    {.name = "ingress.idle_timeout",
     .type = CONFIG_DURATION,
     .def = "60s",
     .min = 1000,
     .max = 3600000,
     .help = "Time that a connection may wait for its next request."},
    {.name = "ingress.request_timeout",
     .type = CONFIG_DURATION,
     .def = "30s",
     .min = 1000,
     .max = 3600000,
     .help = "Time for a request to arrive and for its answer to be fetched."},
    {.name = "ingress.key_ttl",
     .type = CONFIG_DURATION,
     .def = "30s",
     .min = 1000,
     .max = 30000,
     .help = "Time that a verified key is believed when the news of its revocation is lost."},
    {.name = "ingress.anonymous_per_minute",
     .type = CONFIG_INTEGER,
     .def = "120",
     .min = 0,
     .max = 1000000,
     .help = "Requests without a good key that one address may make in a minute; 0: no bound."},
    {.name = "ingress.ipv6_prefix",
     .type = CONFIG_INTEGER,
     .def = "64",
     .min = 32,
     .max = 128,
     .help = "Bits of an IPv6 address that count as one client."},
    {.name = "ingress.trusted_proxies",
     .type = CONFIG_LIST,
     .def = "",
     .max = 256,
     .help = "Networks whose X-Forwarded-For is believed, such as 10.0.0.0/8."},
    {.name = "ingress.cors_origins",
     .type = CONFIG_LIST,
     .def = "",
     .max = 256,
     .help = "Origins whose pages may call the API from a browser, such as https://app.example; \"*\": all."},
    {.name = "ingress.x_ratelimit_headers",
     .type = CONFIG_BOOL,
     .def = "false",
     .help = "Also send X-RateLimit-Limit, -Remaining and -Reset (seconds)."},
    {.name = "ingress.forward_limits",
     .type = CONFIG_LIST,
     .def = "* * = api.requests",
     .max = 1000,
     .help =
         "For forward-auth: which limit a request takes from, as \"METHOD PATTERN = LIMIT\"; the first that "
         "fits wins, and a limit that is not defined limits nothing."},
    {.name = "ingress.forward_headers",
     .type = CONFIG_CHOICE,
     .def = "original",
     .choices = "original|original_url|forwarded|path",
     .help = "For forward-auth: where the gateway puts the original method and path. original: "
             "X-Original-Method and X-Original-URI; original_url: X-Original-Method and X-Original-URL; "
             "forwarded: X-Forwarded-Method and X-Forwarded-Uri; path: its own method, and the path behind "
             "/v1/auth/forward."},
    {.name = "ingress.forward_on_failure",
     .type = CONFIG_CHOICE,
     .def = "known",
     .choices = "deny|known|allow",
     .help =
         "For forward-auth: who passes while accountd or ratelimitd cannot be asked. deny: nobody; known: "
         "without limits, whose key is known; allow: everybody."},
    {.name = NULL}};

/* ---- what accountd says ---- */

static void
tell_all(struct ingress *self, const struct notice *notice)
{
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

static enum forward_failure
read_forward_failure(const struct config *config)
{
	const char *text = config_text(config, "ingress.forward_on_failure");
	return strcmp(text, "deny") == 0    ? FORWARD_DENY
	       : strcmp(text, "allow") == 0 ? FORWARD_ALLOW
	                                    : FORWARD_KNOWN;
}

static struct status
read_settings(struct ingress *self)
{
	const struct config *config = self->env.config;
	struct settings *settings = &self->settings;
	const char *const *proxies = config_list(config, "ingress.trusted_proxies");
	const char *bad;

	settings->body_max = config_size_bytes(config, "ingress.body_max");
	settings->header_max = config_size_bytes(config, "ingress.header_max");
	settings->connections = (unsigned)config_integer(config, "ingress.connections");
	settings->connections_per_address = (unsigned)config_integer(config, "ingress.connections_per_address");
	settings->idle_s = (unsigned)(config_duration_ms(config, "ingress.idle_timeout") / 1000);
	settings->request_ms = config_duration_ms(config, "ingress.request_timeout");
	settings->key_ttl_ms = config_duration_ms(config, "ingress.key_ttl");
	settings->has_x_headers = config_bool(config, "ingress.x_ratelimit_headers");
	settings->anonymous_per_minute = (uint64_t)config_integer(config, "ingress.anonymous_per_minute");
	settings->ipv6_prefix = (unsigned)config_integer(config, "ingress.ipv6_prefix");
	settings->tls_certificate = config_text(config, "ingress.tls_cert");
	settings->tls_key = config_text(config, "ingress.tls_key");
	settings->cors_origins = config_list(config, "ingress.cors_origins");
	bad = cors_check(settings->cors_origins);
	if (bad)
		return status_make(STATUS_INVALID_ARGUMENT, "ingress.cors_origins: '%s' is not an origin", bad);
	settings->forward_headers = config_text(config, "ingress.forward_headers");
	settings->forward_on_failure = read_forward_failure(config);
	settings->proxies = networks_new(proxies, &bad);
	if (!settings->tls_certificate != !settings->tls_key)
		return status_make(STATUS_INVALID_ARGUMENT, "ingress.tls_cert and ingress.tls_key need each other");
	if (!settings->proxies)
		return status_make(STATUS_INVALID_ARGUMENT, "ingress.trusted_proxies: '%s' is not a network", bad);
	settings->forward_rules = forward_rules_new(config_list(config, "ingress.forward_limits"), &bad);
	if (!settings->forward_rules)
		return status_make(STATUS_INVALID_ARGUMENT,
		                   "ingress.forward_limits: '%s' is not \"METHOD PATTERN = LIMIT\"", bad);
	return status_ok_value();
}

static void
settings_free(struct settings *settings)
{
	networks_free(settings->proxies);
	forward_rules_free(settings->forward_rules);
}

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
	struct status st = read_settings(self);
	if (!status_ok(&st)) {
		settings_free(&self->settings);
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

	self->accounts = host_pool(self->env.host, "accountd");
	self->ratelimits = host_pool(self->env.host, "ratelimitd");
	if (self->settings.tls_certificate)
		st = tls_new(self->settings.tls_certificate, self->settings.tls_key, self->env.log, self->env.metrics,
		             &self->tls);
	for (size_t i = 0; i < self->shard_count && status_ok(&st); i++)
		st = shard_start(&self->shards[i], self, listen, i == 0);
	if (status_ok(&st))
		st = subscriber_new(self->env.bus, &keys, &self->key_changes);
	if (status_ok(&st))
		st = host_every(self->env.host, &ingress_service, USAGE_MS, usage_task, self);
	if (status_ok(&st) && self->tls)
		st = host_every(self->env.host, &ingress_service, TLS_WATCH_MS, watch_tls, self);
	if (!status_ok(&st))
		return st;
	snprintf(url, sizeof(url), "%s://%s", self->tls ? "https" : "http", self->address);
	host_announce(self->env.host, "address", url);
	return st;
}

static bool
is_ready(void *arg, char *reason, size_t size)
{
	const struct ingress *self = arg;
	const struct {
		const char *name;
		struct pool *pool;
	} needed[] = {{"accountd", self->accounts}, {"ratelimitd", self->ratelimits}};

	if (atomic_load(&self->is_draining)) {
		snprintf(reason, size, "draining");
		return false;
	}
	for (size_t i = 0; i < 2; i++) {
		if (needed[i].pool && pool_healthy(needed[i].pool) > 0)
			continue;
		snprintf(reason, size, "%s cannot be reached", needed[i].name);
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

/* No new connections; those with a request under way may finish it. */
static void
drain(void *arg, uint32_t grace_ms)
{
	struct ingress *self = arg;
	uint64_t end = clock_mono_ms(self->env.clock) + grace_ms;
	const struct timespec pause = {.tv_nsec = 5000000};

	atomic_store(&self->is_draining, true);
	for (size_t i = 0; i < self->shard_count; i++)
		shard_quiet(&self->shards[i]);
	while (active_requests(self) > 0 && clock_mono_ms(self->env.clock) < end)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	usage_task(self, NULL);
}

static void
destroy(void *arg)
{
	struct ingress *self = arg;
	subscriber_free(self->key_changes);
	for (size_t i = 0; i < self->shard_count; i++)
		shard_stop(&self->shards[i]);
	mem_free(self->shards);
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

const struct service ingress_service = {
    .name = "ingress",
    .summary = "Serves the HTTP API and asks the other services",
    .options = OPTIONS,
    .handlers = HANDLERS,
    .workers = 1,
    .create = create,
    .start = start,
    .is_ready = is_ready,
    .drain = drain,
    .destroy = destroy,
    .reload = reload,
};
