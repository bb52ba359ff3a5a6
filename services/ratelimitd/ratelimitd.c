/*
 * ratelimitd: the service's table, its options, and its life.
 */
#include "ratelimitd.h"

#include <stdio.h>
#include <string.h>

#include "alarms.h"
#include "corbel/ratelimitd.handlers.gen.h"
#include "job.h"
#include "news.h"

#define REFRESH_MS 1000u
#define KEEP_MS    500u

extern const struct store_migration ratelimitd_migrations[];

static const struct config_option OPTIONS[] = {
    {.name = "ratelimitd.max_keys",
     .type = CONFIG_INTEGER,
     .def = "4000000",
     .min = 1000,
     .max = 1000000000,
     .help = "Counters held in memory; a new key beyond them is refused until others expire."},
    {.name = "ratelimitd.redis_patience",
     .type = CONFIG_DURATION,
     .def = "5ms",
     .min = 1,
     .max = 2000,
     .help = "How long a decision waits for Redis; then each limit's failure mode decides."},
    {.name = NULL}};

static void
on_limits(void *arg, const char *node, const char *topic, const void *payload, size_t size)
{
	struct ratelimitd *self = arg;
	(void)payload;
	(void)size;
	(void)topic;
	if (strcmp(node, bus_node(self->env.bus)) != 0)
		(void)host_work(self->env.host, &ratelimitd_service, refresh_task, self);
}

static void
on_plans(void *arg, const char *node, const char *topic, const void *payload, size_t size)
{
	struct ratelimitd *self = arg;
	(void)node;
	(void)payload;
	(void)size;
	(void)topic;
	atomic_store(&self->plans_are_stale, true);
	(void)host_work(self->env.host, &ratelimitd_service, refresh_task, self);
}

/* Something may have been missed: ask. */
static void
on_event(void *arg, const char *node, enum subscriber_event event)
{
	struct ratelimitd *self = arg;
	(void)node;
	if (event == SUBSCRIBER_SILENT)
		return;
	atomic_store(&self->plans_are_stale, true);
	(void)host_work(self->env.host, &ratelimitd_service, refresh_task, self);
}

static struct status
create(const struct service_env *env, void **out)
{
	struct ratelimitd *self = mem_alloc(sizeof(*self));
	int64_t max_keys = config_integer(env->config, "ratelimitd.max_keys");

	self->env = *env;
	self->registry = registry_new();
	self->table = table_new((size_t)max_keys, env->clock);
	self->statistics = statistics_new();
	self->alarms = alarms_new(env->clock);
	arena_init(&self->plans, 4096, 64u << 20);
	pthread_mutex_init(&self->refresh_lock, NULL);
	self->allowed = metrics_counter(
	    env->metrics,
	    &(struct metric_spec){.name = "corbel_ratelimit_allowed", .help = "Decisions that admitted"}, NULL);
	self->refused = metrics_counter(
	    env->metrics,
	    &(struct metric_spec){.name = "corbel_ratelimit_refused", .help = "Decisions that refused"}, NULL);
	self->degraded = metrics_counter(env->metrics,
	                                 &(struct metric_spec){.name = "corbel_ratelimit_degraded",
	                                                       .help = "Decisions made without the shared store"},
	                                 NULL);
	self->keys = metrics_gauge(
	    env->metrics,
	    &(struct metric_spec){.name = "corbel_ratelimit_keys", .help = "Counters held in memory"}, NULL);
	*out = self;
	return env->redis ? shared_engine_new(self, &self->engine) : status_ok_value();
}

static struct status
load(struct ratelimitd *self)
{
	struct store_conn *conn;
	struct status st = store_take(self->env.store, 5000, &conn);
	if (!status_ok(&st))
		return st;
	st = keeper_load(self, conn);
	if (status_ok(&st))
		st = definitions_refresh(self, conn, true);
	store_put(self->env.store, conn);
	return st;
}

static struct status
start(void *arg)
{
	struct ratelimitd *self = arg;
	static const char *const LIMITS[] = {"limits", NULL}, *const PLANS[] = {"plans", NULL};
	struct subscriber_options limits = {.address = host_publisher_address(self->env.host, "ratelimitd"),
	                                    .topics = LIMITS,
	                                    .message = on_limits,
	                                    .event = on_event,
	                                    .arg = self};
	struct subscriber_options plans = {.address = host_publisher_address(self->env.host, "accountd"),
	                                   .topics = PLANS,
	                                   .message = on_plans,
	                                   .event = on_event,
	                                   .arg = self};
	struct status st = load(self);

	(void)host_pool(self->env.host, "ratelimitd"); /* the other replicas are known before they are needed */
	if (status_ok(&st))
		st = subscriber_new(self->env.bus, &limits, &self->limit_changes);
	if (status_ok(&st))
		st = subscriber_new(self->env.bus, &plans, &self->plan_changes);
	return st;
}

static bool
is_ready(void *arg, char *reason, size_t size)
{
	struct ratelimitd *self = arg;
	if (atomic_load(&self->has_definitions))
		return true;
	snprintf(reason, size, "definitions of limits are not loaded yet");
	return false;
}

static void
drain(void *arg, uint32_t grace_ms)
{
	struct ratelimitd *self = arg;
	struct store_conn *conn;

	struct status st = store_take(self->env.store, grace_ms, &conn);
	if (!status_ok(&st)) {
		log_warn(self->env.log, "counters not kept at the end", LOG_STATUS(&st));
		return;
	}
	keeper_task(self, conn);
	news_task(self, conn);
	store_put(self->env.store, conn);
}

static void
destroy(void *arg)
{
	struct ratelimitd *self = arg;
	subscriber_free(self->limit_changes);
	subscriber_free(self->plan_changes);
	shared_engine_free(self->engine);
	registry_free(self->registry);
	table_free(self->table);
	statistics_free(self->statistics);
	alarms_free(self->alarms);
	arena_fini(&self->plans);
	pthread_mutex_destroy(&self->refresh_lock);
	mem_free(self);
}

static const struct service_handlers HANDLERS[] = {
    {&api_limits, limits_handlers}, {&api_ratelimits, ratelimits_handlers}, {NULL, NULL}};

static const struct service_task TASKS[] = {
    {REFRESH_MS, refresh_task}, {KEEP_MS, keeper_task}, {NEWS_MS, news_task}, {0, NULL}};

const struct service ratelimitd_service = {
    .name = "ratelimitd",
    .summary = "Decides whether a caller may act now, and keeps the limits",
    .options = OPTIONS,
    .handlers = HANDLERS,
    .migrations = ratelimitd_migrations,
    .publishes = true,
    .workers = 4,
    .create = create,
    .start = start,
    .tasks = TASKS,
    .batch = ratelimitd_batch,
    .is_ready = is_ready,
    .drain = drain,
    .destroy = destroy,
};
