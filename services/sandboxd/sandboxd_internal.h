/*
 * sandboxd: the service's structure, and what its files share.
 */
#ifndef CORBEL_SANDBOXD_INTERNAL_H
#define CORBEL_SANDBOXD_INTERNAL_H

#include "caps.h"
#include "corbel/contract.gen.h"
#include "daemon/outbox.h"
#include "daemon/scope.h"
#include "daemon/service.h"
#include "job.h"
#include "library.h"
#include "sandboxd.h"
#include "scheduler.h"

struct chronicle;
struct figures;

typedef Corbel__V1__Plugin Plugin;
typedef Corbel__V1__PluginVersion PluginVersion;

struct sandboxd {
	struct service_env env;
	char owner[96]; /* of claims: this process, this time */
	struct plan_table *plans;
	struct library *library;
	_Atomic(struct runner *) runner; /* NULL: the zygote did not start yet; set once */
	uint64_t runner_tried_mono_ms;   /* start(), then figures_task() */
	struct scheduler *scheduler;
	struct chronicle *chronicle;
	struct figures *figures;
	struct subscriber *changes; /* of other replicas */
	uint64_t lease_ms;
	uint32_t attempts_max;
	_Atomic bool is_claim_asked; /* a turn of the queue is on its way */
};

/* ---- sandboxd.c ---- */
/* Tries to start the runner if there is none, from time to time. One thread at a time. */
void sandboxd_start_runner(struct sandboxd *self);

/* ---- plugins.c ---- */
#define PLUGIN_COLUMNS "id, tenant_id, name, shared, disabled, installed, source_id, message"
enum {
	PLUGIN_ID,
	PLUGIN_TENANT,
	PLUGIN_NAME,
	PLUGIN_SHARED,
	PLUGIN_DISABLED,
	PLUGIN_INSTALLED,
	PLUGIN_SOURCE,
	PLUGIN_MESSAGE
};
struct status plugin_from_row(struct arena *arena, const struct store_rows *rows, size_t row, Plugin *out);
/* Of a call that may change it, locked until the transaction ends. */
struct status plugin_lock(struct call *call, struct store_tx *tx, const char *id, Plugin *out);
/* Locks one that the caller sees, be it shared; `is_own` tells whether it may change it. */
struct status plugin_lock_seen(struct call *call, struct store_tx *tx, const char *id, bool *is_own,
                               Plugin *out);
void plugin_begin(struct call *call, const char *tenant, Plugin *out);
void plugin_put_in_force(struct call *call, Plugin *plugin, uint32_t version);
struct status plugin_insert(struct call *call, struct store_tx *tx, Plugin *plugin);
struct status plugin_save(struct call *call, struct store_tx *tx, Plugin *plugin);
/* Commits, then this replica and the others forget what they knew of it. */
struct status plugin_commit(struct call *call, struct store_tx *tx, struct status st, const char *id);

/* ---- plugin_names.c ---- */
/* The id that a caller means by `text`: an id as it is, there or not; or the name of the tenant's own plugin,
 * or else of a shared one, for which the store is read. NOT_FOUND when no plugin has the name. *id lives as
 * long as `text` and the call. */
struct status plugin_named(struct call *call, struct store_conn *conn, const char *tenant, const char *text,
                           const char **id);
/* The same for the caller's own tenant, by the call's connection. */
struct status plugin_named_own(struct call *call, const char *text, const char **id);

/* ---- versions.c ---- */
/* Reads one with its code. NOT_FOUND when it is not kept. */
struct status version_read(struct store_tx *tx, struct arena *arena, const char *plugin_id, uint32_t version,
                           PluginVersion *out);
/* Adds the plugin's next version; older ones that are not needed go. */
struct status version_add(struct call *call, struct store_tx *tx, Plugin *plugin, PluginVersion *version);
/* Whether schemas are some and the code may run: what is wrong becomes violations of the call. It waits for
 * the check, which runs confined. */
struct status version_check(struct call *call, const PluginVersion *version);

/* ---- validate.c ---- */
/* Looks at code on a worker; `job->run` tells what is wrong with it. */
struct status code_check(struct sandboxd *self, struct arena *arena, const char *tenant, const char *code,
                         size_t size, const PluginRun **out);

/* ---- plugin_news.c ---- */
struct status tell_plugin(struct call *call, struct store_tx *tx, const char *type, const Plugin *plugin);

/* ---- asking.c ---- */
void plugin_runs_run_batch(void *self, struct call *calls[], size_t count);
void plugin_runs_run_code_batch(void *self, struct call *calls[], size_t count);
void plugin_hooks_batch(void *self, struct call *calls[], size_t count);
/* Whether a plugin may be run at all; of a call, `pointer` names its context in violations. */
struct status program_may_run(const struct program *program, uint32_t wanted);
/* A context that the input schema does not take is refused; `call` (may be NULL) gets what is wrong. */
struct status program_takes(const struct program *program, const ProtobufCBinaryData *context,
                            struct call *call);
/* Fills the request of a job that runs it; takes the reference. */
void job_of_program(struct job *job, const struct program *program, const ProtobufCBinaryData *context,
                    const struct caps *caps);

/* ---- queue.c ---- */
#define QUEUE_TURN_MS 500u
/* Claims what is next, as much as there are slots for; a worker's task. */
void queue_turn(void *self, struct store_conn *conn);
/* There may be something to claim. Any thread. */
void queue_ask(struct sandboxd *self);

/* ---- queue_upkeep.c ---- */
#define QUEUE_UPKEEP_MS 2000u
/* Renews the leases of what is claimed here, cancels what others cancelled, and takes back what was claimed
 * by those that died. */
void queue_upkeep_task(void *self, struct store_conn *conn);
/* A row of run_queues, made on first use and locked until the transaction ends; `by` is added to what waits.
 */
struct status queue_lock(struct store_tx *tx, struct arena *arena, const char *tenant, int64_t by,
                         int64_t *waiting);

/* ---- figures.c ---- */
#define FIGURES_MS 1000u
struct figures *figures_new(struct metrics *metrics);
void figures_free(struct figures *figures);
/* Repeated. */
void figures_task(void *self, struct store_conn *conn);

/* ---- expiry.c ---- */
#define EXPIRY_MS 60000u
void expiry_task(void *self, struct store_conn *conn);

/* ---- history.c ---- */
#define RUN_COLUMNS "id, tenant_id, state, outcome, started_at, ended_at, attempts, message, log, result"
/* NOT_FOUND when there is none that the caller sees. */
struct status history_read(struct call *call, struct store_tx *tx, const char *id, PluginRun *out);
/* What the row says wins over what its message says. */
struct status run_from_row(struct arena *arena, const struct store_rows *rows, size_t row, PluginRun *out);

#endif
