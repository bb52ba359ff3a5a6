/*
 * cached: the service's table, its options, and its life.
 */
#include "cached.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cached_internal.h"
#include "corbel/cached.handlers.gen.h"
#include "daemon/keyring.h"
#include "fetches.h"
#include "fleet.h"
#include "outbound/policy.h"
#include "snapshot.h"
#include "tenant_weights.h"
#include "warming.h"
#include "windows.h"

#define REFRESH_MS   1000u
#define SAVE_MS      60000u
#define TICK_MS      20 /* cache_holder_test counts on it */
#define GAUGES_TURNS 25

extern const struct store_migration cached_migrations[];

static const struct config_option OPTIONS[] = {
    {.name = "cached.memory",
     .type = CONFIG_SIZE,
     .def = "256MiB",
     .min = 1 << 20,
     .max = (int64_t)1 << 44,
     .help = "Memory for entries, all tenants together; beyond it, those leave that are needed least."},
    {.name = "cached.tenant_memory",
     .type = CONFIG_SIZE,
     .def = "0",
     .min = 0,
     .max = (int64_t)1 << 44,
     .help = "Most of it that one tenant gets; 0: as much as the others leave."},
    {.name = "cached.tenant_entries",
     .type = CONFIG_INTEGER,
     .def = "0",
     .min = 0,
     .max = 1000000000,
     .help = "Most entries that one tenant has; 0: as many as there is memory for."},
    {.name = "cached.tenant_weights",
     .type = CONFIG_LIST,
     .max = TENANT_WEIGHTS_MAX,
     .help = "Shares of the memory, as TENANT=WEIGHT: 4 for one that is to keep four times as much as "
             "others, whose "
             "weight is 1. The tenant furthest above its share loses entries first."},
    {.name = "cached.lease",
     .type = CONFIG_DURATION,
     .def = "10s",
     .min = 100,
     .max = 600000,
     .help = "How long a caller who was asked to fill a key has for it; then another one is."},
    {.name = "cached.snapshot",
     .type = CONFIG_SIZE,
     .def = "0",
     .min = 0,
     .max = (int64_t)1 << 44,
     .help =
         "Size of a file in the data directory that the entries are kept in over a restart; 0: none. Without "
         "Redis only."},
    {.name = "cached.snapshot_every",
     .type = CONFIG_DURATION,
     .def = "5m",
     .min = 100,
     .max = 86400000,
     .help = "How often that file is written, beside at the end."},
    {.name = "cached.redis_patience",
     .type = CONFIG_DURATION,
     .def = "100ms",
     .min = 1,
     .max = 2000,
     .help = "How long a call waits for Redis; then this replica goes on by itself until it answers again."},
    {.name = "cached.outage",
     .type = CONFIG_DURATION,
     .def = "5m",
     .min = 0,
     .max = 86400000,
     .help =
         "How long values in memory are given at most while Redis is away, in namespaces that do not say."},
    {.name = "cached.secrets",
     .type = CONFIG_TEXT,
     .is_secret = true,
     .help =
         "Secrets that headers of origins are sealed under, as id:hex texts separated by commas; the last "
         "one is current. Kept in a file of the data directory when unset; on PostgreSQL there are no such "
         "headers then."},
    {.name = "cached.allow",
     .type = CONFIG_TEXT,
     .help = "Networks that origins may be in beside public ones, such as \"10.0.0.0/8\"."},
    {.name = "cached.proxy",
     .type = CONFIG_TEXT,
     .help = "URL of an egress proxy for origins. It has to judge addresses itself then."},
    {.name = "cached.ca_file",
     .type = CONFIG_TEXT,
     .help = "Authorities that origins' certificates are checked against, PEM; the system's when unset."},
    {.name = NULL}};

static void
on_changes(void *arg, const char *node, const char *topic, const void *payload, size_t size)
{
	struct cached *self = arg;
	(void)topic;
	(void)payload;
	(void)size;
	if (strcmp(node, bus_node(self->env.bus)) != 0)
		(void)host_work(self->env.host, &cached_service, namespaces_refresh_task, self);
}

static struct fleet *
new_fleet(const struct service_env *env, const char *journal)
{
	return fleet_new(&(struct fleet_options){
	    .redis = env->redis,
	    .patience_ms = (uint32_t)config_duration_ms(env->config, "cached.redis_patience"),
	    .journal = journal,
	    .log = env->log,
	    .metrics = env->metrics,
	    .clock = env->clock,
	    .random = env->random});
}

static struct status
create(const struct service_env *env, void **out)
{
	struct cached *self = mem_alloc(sizeof(*self));

	struct engine_options options = {
	    .bytes_max = config_size_bytes(env->config, "cached.memory"),
	    .clock = env->clock,
	};
	struct status st = status_ok_value();

	self->env = *env;
	self->definitions = definitions_new();
	pthread_mutex_init(&self->refresh_lock, NULL);
	self->tenant_bytes = config_size_bytes(env->config, "cached.tenant_memory");
	self->tenant_entries = (uint64_t)config_integer(env->config, "cached.tenant_entries");
	self->lease_ms = config_duration_ms(env->config, "cached.lease");
	self->outage_ms = config_duration_ms(env->config, "cached.outage");
	self->epoch = env->redis ? 0 : (uint32_t)random_u64(env->random);
	if (env->redis)
		self->journal = mem_printf("%s/cached.pending", host_data_dir(env->host));
	if (self->journal)
		self->fleet = new_fleet(env, self->journal);
	options.trust_of = self->fleet ? fleet_trust_of : NULL;
	options.trust_arg = self->fleet;
	self->engine = engine_new(&options);
	self->waiting = waiting_new(self);
	self->warming = warming_new(self);
	self->windows = windows_new();
	self->gauges = gauges_new(self);
	*out = self;
	if (status_ok(&st))
		st = fetches_new(self, &self->fetches);
	if (status_ok(&st))
		st = snapshot_open(self, &self->snapshot);
	bool has_secrets = config_text(env->config, "cached.secrets") || !store_is_postgres(env->store);
	if (status_ok(&st) && has_secrets)
		st = keyring_load(env, "cached.secrets", "cached.secret", &self->keyring);
	return st;
}

/* A thread of its own, which nothing keeps from ending leases in time. */
static void *
upkeep_main(void *arg)
{
	struct cached *self = arg;
	const struct timespec pause = {.tv_nsec = TICK_MS * 1000000};

	for (unsigned turn = 0; !atomic_load(&self->is_stopping); turn++) {
		engine_tick(self->engine);
		waiting_tick(self->waiting, false);
		warming_tick(self->warming);
		if (turn % GAUGES_TURNS == 0) {
			gauges_tick(self->gauges, self->engine);
			windows_tick(self->windows, self->engine, clock_mono_ms(self->env.clock));
		}
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static struct status
load(struct cached *self)
{
	struct store_conn *conn;
	struct status st = store_take(self->env.store, 5000, &conn);
	if (!status_ok(&st))
		return st;
	st = namespaces_refresh(self, conn);
	if (status_ok(&st))
		st = warming_load(self->warming, conn);
	store_put(self->env.store, conn);
	return st;
}

static struct status
start(void *arg)
{
	struct cached *self = arg;
	static const char *const TOPICS[] = {"namespaces", NULL};
	struct subscriber_options options = {.address = host_publisher_address(self->env.host, "cached"),
	                                     .topics = TOPICS,
	                                     .message = on_changes,
	                                     .arg = self};
	struct status st = load(self);

	if (status_ok(&st) && self->fleet)
		st = fleet_start(self->fleet, self->engine);
	if (self->fleet)
		(void)host_pool(self->env.host,
		                "cached"); /* statistics ask the others: they are to be known by then */
	if (status_ok(&st))
		st = subscriber_new(self->env.bus, &options, &self->changes);
	if (status_ok(&st) && self->snapshot)
		st = host_every(self->env.host, &cached_service,
		                (uint32_t)config_duration_ms(self->env.config, "cached.snapshot_every"),
		                snapshot_write_task, self);
	if (!status_ok(&st))
		return st;
	self->has_upkeep = pthread_create(&self->upkeep, NULL, upkeep_main, self) == 0;
	return self->has_upkeep ? st : status_make(STATUS_UNAVAILABLE, "the kernel gives no thread");
}

static void
save(struct cached *self, uint32_t grace_ms)
{
	struct store_conn *conn;
	struct status st = store_take(self->env.store, grace_ms, &conn);

	if (!status_ok(&st)) {
		log_warn(self->env.log, "hot keys not written down at the end", LOG_STATUS(&st));
		return;
	}
	warming_save_task(self, conn);
	store_put(self->env.store, conn);
}

/* Where the data directory goes with the process, as with a pod that is deleted, this is the last chance to
 * tell the others. Half of the time is left to the other services of the process. */
static void
tell_the_others(struct cached *self, uint32_t grace_ms)
{
	size_t left = fleet_await_told(self->fleet, grace_ms / 2);

	if (left > 0)
		log_warn(self->env.log, "changes are left for the next process to tell", LOG_U64("changes", left),
		         LOG_TEXT("journal", self->journal ? self->journal : ""));
}

/* Who waits for a value is told that there is none, and goes on without. */
static void
drain(void *arg, uint32_t grace_ms)
{
	struct cached *self = arg;
	waiting_tick(self->waiting, true);
	save(self, grace_ms);
	if (self->fleet)
		tell_the_others(self, grace_ms);
}

static void
check(const struct config *config, service_complain complain, void *arg)
{
	struct policy policy;
	struct status st = policy_parse(config_text(config, "cached.allow"), &policy);
	if (!status_ok(&st))
		complain(arg, "cached.allow", st.message);
	tenant_weights_check(config, complain, arg);
}

static service_batch
batch(void *self, const struct api_method *method)
{
	static const struct {
		const char *name;
		service_batch batch;
	} BATCHES[] = {{"Cache/Get", cache_get_batch},
	               {"Cache/Fetch", cache_fetch_batch},
	               {"Cache/GetMany", cache_get_many_batch},
	               {"Cache/Warm", cache_warm_batch},
	               {"Cache/Statistics", cache_statistics_batch},
	               {"Cache/ReplicaStatistics", cache_replica_statistics_batch}};
	(void)self;
	if (cache_changes(method))
		return cache_change_batch;
	for (size_t i = 0; i < sizeof(BATCHES) / sizeof(BATCHES[0]); i++)
		if (strcmp(method->name, BATCHES[i].name) == 0)
			return BATCHES[i].batch;
	return NULL;
}

static bool
is_ready(void *arg, char *reason, size_t size)
{
	const struct cached *self = arg;
	bool is_ready = !self->fleet || fleet_is_ready(self->fleet);

	if (!is_ready)
		snprintf(reason, size, "the logs in Redis are not reached yet");
	return is_ready;
}

static void
destroy(void *arg)
{
	struct cached *self = arg;
	atomic_store(&self->is_stopping, true);
	if (self->has_upkeep)
		(void)pthread_join(self->upkeep, NULL);
	subscriber_free(self->changes);
	/* Each may still call the other: answers of origins are told to the fleet, whose own lead to fetches. */
	fetches_stop(self->fetches);
	fleet_free(self->fleet);
	fetches_free(self->fetches);
	mem_free(self->journal);
	waiting_free(self->waiting);
	warming_free(self->warming);
	windows_free(self->windows);
	gauges_free(self->gauges);
	snapshot_close(self->snapshot);
	engine_free(self->engine);
	definitions_free(self->definitions);
	keyring_free(self->keyring);
	pthread_mutex_destroy(&self->refresh_lock);
	mem_free(self);
}

static const struct service_handlers HANDLERS[] = {
    {&api_cache_namespaces, cache_namespaces_handlers}, {&api_cache, cache_handlers}, {NULL, NULL}};

static const struct service_task TASKS[] = {
    {REFRESH_MS, namespaces_refresh_task}, {SAVE_MS, warming_save_task}, {0, NULL}};

const struct service cached_service = {
    .name = "cached",
    .summary = "Keeps values for a while, and the namespaces they are in",
    .options = OPTIONS,
    .check = check,
    .handlers = HANDLERS,
    .migrations = cached_migrations,
    .publishes = true,
    .workers = 4,
    .create = create,
    .start = start,
    .tasks = TASKS,
    .batch = batch,
    .is_ready = is_ready,
    .drain = drain,
    .destroy = destroy,
};
