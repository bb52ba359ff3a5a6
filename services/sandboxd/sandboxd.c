/*
 * sandboxd: the service's table, its options, and its life.
 */
#include "sandboxd.h"

#include <stdio.h>
#include <string.h>

#include "base/cpus.h"
#include "corbel/sandboxd.handlers.gen.h"
#include "chronicle.h"
#include "sandboxd_internal.h"

#define SLOTS_A_CPU    2u /* so that one tenant alone, who gets half of them, can keep the processors busy */
#define SLOTS_MIN      4u
#define STOP_MS        1000u
#define START_AGAIN_MS 10000u /* after a zygote that did not start */

extern const struct store_migration sandboxd_migrations[];

static const struct config_option OPTIONS[] = {
    {.name = "sandboxd.slots",
     .type = CONFIG_INTEGER,
     .def = "0",
     .min = 0,
     .max = RUNNER_SLOTS_MAX,
     .help = "Runs under way at once, in one replica; 0: two for each processor that its cgroup has, and at "
             "least 4."},
    {.name = "sandboxd.waiting",
     .type = CONFIG_INTEGER,
     .def = "1024",
     .min = 1,
     .max = 65536,
     .help = "Runs that may wait for a slot, in one replica; more are refused."},
    {.name = "sandboxd.policy",
     .type = CONFIG_TEXT,
     .def = RUNNER_POLICY_DEFAULT,
     .help = "Layers of isolation without which no plugin runs, separated by commas; a|b is one of them at "
             "least."},
    {.name = "sandboxd.zygote",
     .type = CONFIG_TEXT,
     .help = "Path of the program corbel-zygote; beside the one that runs when unset."},
    {.name = "sandboxd.zygote_runs",
     .type = CONFIG_INTEGER,
     .def = "500",
     .min = 1,
     .max = 1000000,
     .help =
         "Runs that share an interpreter's start, and with it the seed of its hashes; 1: each run has its "
         "own, which costs it the start of an interpreter."},
    {.name = "sandboxd.lease",
     .type = CONFIG_DURATION,
     .def = "10s",
     .min = 3000,
     .max = 600000,
     .help = "How long a replica has a queued run without renewing that: so long a run waits when its "
             "replica dies."},
    {.name = "sandboxd.attempts",
     .type = CONFIG_INTEGER,
     .def = "3",
     .min = 1,
     .max = 100,
     .help = "How often a queued run is begun when the replicas that run it die."},
    {.name = "sandboxd.retain",
     .type = CONFIG_DURATION,
     .def = "7d",
     .min = 60000,
     .max = 315360000000,
     .help = "How long runs that have ended are kept."},
    {.name = "sandboxd.retain_runs",
     .type = CONFIG_INTEGER,
     .def = "10000",
     .min = 1,
     .max = 10000000,
     .help = "Runs of a tenant that are kept at most, the newest ones."},
    {.name = "sandboxd.retain_bytes",
     .type = CONFIG_SIZE,
     .def = "256MiB",
     .min = 1 << 20,
     .max = (int64_t)1 << 44,
     .help = "Bytes of runs of a tenant, results and logs included, that are kept at most."},
    {.name = NULL}};

static void
check(const struct config *config, service_complain complain, void *arg)
{
	struct status st = runner_policy_check(config_text(config, "sandboxd.policy"));
	if (!status_ok(&st))
		complain(arg, "sandboxd.policy", st.message);
}

static uint32_t
slots(const struct config *config)
{
	uint32_t said = (uint32_t)config_integer(config, "sandboxd.slots");
	size_t count = cpus_available(NULL) * SLOTS_A_CPU;

	if (said > 0)
		return said;
	if (count < SLOTS_MIN)
		return SLOTS_MIN;
	return count < RUNNER_SLOTS_MAX ? (uint32_t)count : RUNNER_SLOTS_MAX;
}

static struct status
create(const struct service_env *env, void **out)
{
	struct sandboxd *self = mem_alloc(sizeof(*self));

	self->env = *env;
	snprintf(self->owner, sizeof(self->owner), "%.70s.%016llx", bus_node(env->bus),
	         (unsigned long long)random_u64(env->random));
	self->lease_ms = config_duration_ms(env->config, "sandboxd.lease");
	self->attempts_max = (uint32_t)config_integer(env->config, "sandboxd.attempts");
	self->plans = plan_table_new(env, &sandboxd_service);
	self->library = library_new(env->clock);
	self->chronicle = chronicle_new(self);
	self->figures = figures_new(env->metrics);
	*out = self;
	return status_ok_value();
}

#define NEWS_MAX 64 /* an id, or a traceparent */

/* What another replica says: a plugin has changed, a run is to end: the payload is its id; or the caller with
 * this traceparent has hung up. */
static void
on_news(void *arg, const char *node, const char *topic, const void *payload, size_t size)
{
	struct sandboxd *self = arg;
	char name[NEWS_MAX];

	if (strcmp(node, bus_node(self->env.bus)) == 0 || size >= sizeof(name))
		return;
	memcpy(name, payload, size);
	name[size] = '\0';
	if (strcmp(topic, "plugins") == 0)
		library_forget(self->library, name);
	else if (strcmp(topic, "hungup") == 0)
		(void)scheduler_abandon(self->scheduler, name);
	else
		(void)scheduler_cancel(self->scheduler, name, NULL, NULL, NULL);
}

/* Without its zygote a replica does all but run: what waits in the queue is for others, or for later. */
void
sandboxd_start_runner(struct sandboxd *self)
{
	const struct config *config = self->env.config;
	uint64_t now = clock_mono_ms(self->env.clock);
	struct runner_options options = {.zygote = config_text(config, "sandboxd.zygote"),
	                                 .policy = config_text(config, "sandboxd.policy"),
	                                 .slots = slots(config),
	                                 .generation = (uint32_t)config_integer(config, "sandboxd.zygote_runs"),
	                                 .log = self->env.log};
	struct runner *runner;

	bool is_early = self->runner_tried_mono_ms > 0 && now - self->runner_tried_mono_ms < START_AGAIN_MS;
	if (atomic_load(&self->runner) || is_early)
		return;
	self->runner_tried_mono_ms = now;
	struct status st = runner_start(&options, &runner);
	if (!status_ok(&st)) {
		log_error(self->env.log, "no plugin runs here", LOG_STATUS(&st));
		return;
	}
	atomic_store(&self->runner, runner);
	scheduler_set_runner(self->scheduler, runner);
}

static struct status
start(void *arg)
{
	static const char *const TOPICS[] = {"plugins", "cancel", "hungup", NULL};
	struct sandboxd *self = arg;
	struct subscriber_options news = {.address = host_publisher_address(self->env.host, "sandboxd"),
	                                  .topics = TOPICS,
	                                  .message = on_news,
	                                  .arg = self};

	self->scheduler = scheduler_new(&(struct scheduler_options){
	    .slots = slots(self->env.config),
	    .waiting_max = (size_t)config_integer(self->env.config, "sandboxd.waiting"),
	    .clock = self->env.clock,
	    .metrics = self->env.metrics});
	sandboxd_start_runner(self);
	struct status st = subscriber_new(self->env.bus, &news, &self->changes);
	if (status_ok(&st))
		st = plan_table_start(self->plans);
	return st;
}

static service_batch
batch(void *self, const struct api_method *method)
{
	static const struct {
		const char *name;
		service_batch batch;
	} BATCHES[] = {{"PluginRuns/Run", plugin_runs_run_batch},
	               {"PluginRuns/RunCode", plugin_runs_run_code_batch},
	               {"PluginHooks/Receive", plugin_hooks_batch},
	               {"PluginHooks/Transform", plugin_hooks_batch}};
	(void)self;
	for (size_t i = 0; i < sizeof(BATCHES) / sizeof(BATCHES[0]); i++)
		if (strcmp(method->name, BATCHES[i].name) == 0)
			return BATCHES[i].batch;
	return NULL;
}

/* Runs that do not end in time are cut off: who waits is told to go elsewhere, what was queued waits again.
 */
static void
drain(void *arg, uint32_t grace_ms)
{
	struct sandboxd *self = arg;
	struct store_conn *conn;

	scheduler_drain(self->scheduler, grace_ms / 2);
	struct status st = store_take(self->env.store, grace_ms / 2, &conn);
	if (!status_ok(&st)) {
		log_warn(self->env.log, "ends of runs not written at the end", LOG_STATUS(&st));
		return;
	}
	chronicle_task(self, conn);
	store_put(self->env.store, conn);
}

static void
destroy(void *arg)
{
	struct sandboxd *self = arg;

	subscriber_free(self->changes);
	struct runner *runner = atomic_load(&self->runner);
	if (runner)
		runner_stop(runner, STOP_MS);
	scheduler_free(self->scheduler);
	plan_table_free(self->plans);
	chronicle_free(self->chronicle);
	figures_free(self->figures);
	library_free(self->library);
	mem_free(self);
}

static const struct service_handlers HANDLERS[] = {{&api_plugins, plugins_handlers},
                                                   {&api_plugin_runs, plugin_runs_handlers},
                                                   {&api_plugin_hooks, plugin_hooks_handlers},
                                                   {NULL, NULL}};

static const struct service_task TASKS[] = {
    {QUEUE_TURN_MS, queue_turn},    {QUEUE_UPKEEP_MS, queue_upkeep_task},
    {CHRONICLE_MS, chronicle_task}, {FIGURES_MS, figures_task},
    {EXPIRY_MS, expiry_task},       {0, NULL}};

const struct service sandboxd_service = {
    .name = "sandboxd",
    .summary = "Runs plugins of tenants, confined by the kernel",
    .options = OPTIONS,
    .check = check,
    .handlers = HANDLERS,
    .migrations = sandboxd_migrations,
    .publishes = true,
    .workers = 4,
    .create = create,
    .start = start,
    .tasks = TASKS,
    .batch = batch,
    .drain = drain,
    .destroy = destroy,
};
