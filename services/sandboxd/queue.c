/*
 * queue: runs that nobody waits for. They are rows, so that they outlive a replica.
 *
 *   asked for ──► RUN_QUEUED ── claimed, token + 1 ──► RUN_UNDER_WAY ── its end written ──► RUN_ENDED
 *                      ▲                                     │
 *                      └──── the lease ended, or given back ─┘
 *
 * A replica claims what it has free slots for, from the tenants in turn, and holds it by a lease that it
 * renews (queue_upkeep.c). Rows are locked in the order run_queues, runs.
 */
#include <stdatomic.h>
#include <string.h>

#include "corbel/sandboxd.methods.gen.h"
#include "chronicle.h"
#include "sandboxd_internal.h"

#define TENANTS_AT_ONCE 32u

static const struct store_sql QUEUE_LOCK = {
    "queue_lock", "INSERT INTO run_queues (tenant_id, waiting, turn) VALUES ($1, $2, 0)"
                  " ON CONFLICT (tenant_id) DO UPDATE SET waiting = run_queues.waiting + excluded.waiting"
                  " RETURNING waiting"};
static const struct store_sql RUN_QUEUE = {"run_queue",
                                           "INSERT INTO runs (id, tenant_id, plugin_id, state, outcome, "
                                           "created_at, started_at, ended_at, cpu_us, wall_us,"
                                           " memory_bytes, bytes, attempts, token, cancelled, message, work) "
                                           "VALUES ($1, $2, $3, 1, 0, $4, 0, 0, 0, 0, 0,"
                                           " $5, 0, 0, 0, $6, $7)"};
/* The tenants that have waited longest since one of theirs was claimed. */
static const struct store_sql QUEUES_DUE = {
    "queues_due",
    "SELECT tenant_id, waiting FROM run_queues WHERE waiting > 0 ORDER BY turn, tenant_id LIMIT $1 @claim@"};
static const struct store_sql RUN_CLAIM = {
    "run_claim",
    "UPDATE runs SET state = 2, attempts = attempts + 1, token = token + 1, owner = $2, leased_until = $3,"
    " started_at = $4 WHERE id IN (SELECT id FROM runs WHERE tenant_id = $1 AND state = 1 ORDER BY id LIMIT "
    "$5)"
    " RETURNING id, message, work, attempts, token"};
static const struct store_sql QUEUE_TAKEN = {
    "queue_taken", "UPDATE run_queues SET waiting = waiting - $2, turn = $3 WHERE tenant_id = $1"};
enum { ID, MESSAGE, WORK, ATTEMPTS, TOKEN };

/* ---- asking ---- */

struct status
queue_lock(struct store_tx *tx, struct arena *arena, const char *tenant, int64_t by, int64_t *waiting)
{
	struct store_rows *rows;
	struct status st =
	    store_query(tx, &QUEUE_LOCK, STORE_PARAMS(store_text(tenant), store_i64(by)), 1, arena, &rows);

	*waiting = status_ok(&st) && rows_count(rows) > 0 ? row_i64(rows, 0, 0) : 0;
	return st;
}

static struct status
insert(struct call *call, struct store_tx *tx, const PluginRun *run, const Corbel__V1__RunPluginRequest *work,
       size_t queued_max)
{
	struct arena *arena = call_arena(call);
	int64_t waiting;
	struct status st = queue_lock(tx, arena, run->tenant_id, 1, &waiting);

	if (status_ok(&st) && (uint64_t)waiting > queued_max) {
		call_problem(call, "quota-exceeded");
		st = status_make(STATUS_RESOURCE_EXHAUSTED,
		                 "%zu runs of the tenant wait in the queue, the most that may", queued_max);
	}
	if (!status_ok(&st))
		return st;
	st = store_exec(tx, &RUN_QUEUE,
	                STORE_PARAMS(store_text(run->id), store_text(run->tenant_id), store_text(run->plugin_id),
	                             store_i64(run->created_at), store_i64((int64_t)work->context.len),
	                             packed_value(arena, &run->base), packed_value(arena, &work->base)),
	                NULL);
	return st.code == STATUS_ALREADY_EXISTS ? status_make(st.code, "a run has the id '%s' already", run->id)
	                                        : st;
}

/* The run as it will be, of the version that is in force now. */
static struct job *
prepare(struct call *call, const Corbel__V1__RunPluginRequest *request, const struct program *program,
        const struct caps *caps)
{
	struct sandboxd *self = call_service(call);
	struct job *job = job_new(call_arena(call), &self->env, program->tenant, request->run_id);

	job_of_program(job, program, &request->context, caps);
	job->program = NULL;
	job->run->attempts = 0;
	return job;
}

struct status
plugin_runs_queue(struct call *call, const Corbel__V1__RunPluginRequest *request, PluginRun *reply)
{
	struct sandboxd *self = call_service(call);
	Corbel__V1__RunPluginRequest work = *request;
	const struct program *program = NULL;
	struct caps caps;
	struct store_tx tx;
	const char *id;
	struct status st = plugin_named_own(call, request->id, &id);

	if (status_ok(&st))
		st = library_load(self->library, call_store(call), id, request->version, &program);
	if (status_ok(&st) && !scope_sees(call, program->tenant))
		st = scope_not_found("plugin");
	if (status_ok(&st))
		st = program_may_run(program, request->version);
	if (status_ok(&st))
		st = program_takes(program, &request->context, call);
	if (status_ok(&st)) {
		caps_of_call(self->plans, call, &caps);
		*reply = *prepare(call, request, program, &caps)->run;
		work.run_id = NULL;
		work.id = reply->plugin_id;
		work.has_version = true;
		work.version = program->version;
	}
	program_release(program);
	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	st = store_end(&tx, insert(call, &tx, reply, &work, caps.queued));
	if (status_ok(&st))
		queue_ask(self);
	return st;
}

/* ---- claiming ---- */

/* On the runner's thread, or on who cancels. */
static void
on_ended(struct job *job)
{
	struct sandboxd *self = job->user;
	struct arena arena = *job->arena;
	bool is_cut_off =
	    job->run->outcome == CORBEL__V1__RUN_OUTCOME__CANCELLED && scheduler_is_draining(self->scheduler);

	if (status_ok(&job->refused) && !is_cut_off)
		chronicle_add(self->chronicle, job);
	else
		chronicle_give_back(self->chronicle, job);
	program_release(job->program);
	arena_fini(&arena);
}

/* A plugin that is no more, or not to run any more, ends what waits for it. */
static void
end_unrun(struct job *job, const struct status *why)
{
	struct sandboxd *self = job->user;
	int64_t now = clock_wall_ms(self->env.clock);

	job_end_as(job, CORBEL__V1__RUN_OUTCOME__CANCELLED, why->message, now);
	on_ended(job);
}

static void
start(struct sandboxd *self, struct store_conn *conn, struct job *job,
      const Corbel__V1__RunPluginRequest *work)
{
	struct caps caps;
	struct status st = caps_of_tenant(self->plans, job->run->tenant_id, &caps);

	/* The limits of a run were set when it was asked for; while the plan is not known, only this bound is
	 * not. */
	job->at_once_max = status_ok(&st) ? caps.at_once : 0;
	st = library_load(self->library, conn, work->id, work->version, &job->program);
	if (status_ok(&st))
		st = program_may_run(job->program, work->version);
	if (st.code == STATUS_NOT_FOUND || st.code == STATUS_FAILED_PRECONDITION) {
		end_unrun(job, &st);
		return;
	}
	if (status_ok(&st)) {
		job->request.code = job->program->code;
		job->request.code_size = job->program->code_size;
		job->request.file_name = job->program->name;
		st = scheduler_submit(self->scheduler, job);
	}
	if (status_ok(&st))
		return;
	job->refused = st;
	on_ended(job);
}

/* From what the claim returned; NULL when the row cannot be read. */
static struct job *
job_of_row(struct sandboxd *self, const struct store_rows *rows, size_t row,
           Corbel__V1__RunPluginRequest **work)
{
	struct arena begun;

	arena_init(&begun, 8u << 10, 64u << 20);
	struct arena *arena = ARENA_NEW(&begun, struct arena);
	*arena = begun;
	PluginRun *run = (void *)unpacked(arena, &corbel__v1__plugin_run__descriptor, rows, row, MESSAGE);
	*work = (void *)unpacked(arena, &corbel__v1__run_plugin_request__descriptor, rows, row, WORK);
	if (!run || !*work) {
		begun = *arena;
		arena_fini(&begun);
		return NULL;
	}
	struct job *job = job_new(arena, &self->env, run->tenant_id, run->id);
	job->run = run;
	run->attempts = (uint32_t)row_i64(rows, row, ATTEMPTS);
	job->token = row_i64(rows, row, TOKEN);
	PluginLimits none = CORBEL__V1__PLUGIN_LIMITS__INIT;
	job_limit(job, run->limits, run->limits ? run->limits : &none);
	job->request.context = (*work)->has_context ? (const char *)(*work)->context.data : NULL;
	job->request.context_size = (*work)->context.len;
	job->ended = on_ended;
	job->user = self;
	return job;
}

/* Claims of one tenant; their rows are put behind those of others. */
static struct status
claim_of(struct sandboxd *self, struct store_tx *tx, struct arena *arena, const char *tenant, size_t most,
         struct store_rows **rows)
{
	int64_t now = clock_wall_ms(self->env.clock);
	struct status st = store_query(tx, &RUN_CLAIM,
	                               STORE_PARAMS(store_text(tenant), store_text(self->owner),
	                                            store_i64(now + (int64_t)self->lease_ms), store_i64(now),
	                                            store_i64((int64_t)most)),
	                               most, arena, rows);

	if (status_ok(&st))
		st = store_exec(
		    tx, &QUEUE_TAKEN,
		    STORE_PARAMS(store_text(tenant), store_i64((int64_t)rows_count(*rows)), store_i64(now)), NULL);
	return st;
}

struct claim {
	struct store_rows *of[TENANTS_AT_ONCE];
	size_t count, runs;
};

/* Tenants that have no room here are passed by: there are no more of them than there are slots. */
static struct status
claim(struct sandboxd *self, struct store_tx *tx, struct arena *arena, size_t slots, struct claim *out)
{
	struct store_rows *due;
	size_t most = TENANTS_AT_ONCE + RUNNER_SLOTS_MAX;
	struct status st =
	    store_query(tx, &QUEUES_DUE, STORE_PARAMS(store_i64((int64_t)most)), most, arena, &due);

	for (size_t i = 0; status_ok(&st) && i < rows_count(due); i++) {
		const char *tenant = row_text(due, i, 0);
		size_t room = scheduler_room_of(self->scheduler, tenant);
		if (out->runs >= slots || out->count == TENANTS_AT_ONCE)
			break;
		if (room > slots - out->runs)
			room = slots - out->runs;
		if (room == 0)
			continue;
		st = claim_of(self, tx, arena, tenant, room, &out->of[out->count]);
		out->runs += status_ok(&st) ? rows_count(out->of[out->count]) : 0;
		out->count += status_ok(&st);
	}
	return st;
}

static void
start_all(struct sandboxd *self, struct store_conn *conn, const struct claim *claimed)
{
	for (size_t i = 0; i < claimed->count; i++) {
		for (size_t row = 0; row < rows_count(claimed->of[i]); row++) {
			Corbel__V1__RunPluginRequest *work;
			struct job *job = job_of_row(self, claimed->of[i], row, &work);
			if (job)
				start(self, conn, job, work);
			else
				log_error(self->env.log, "a queued run cannot be read",
				          LOG_TEXT("run", row_text(claimed->of[i], row, ID)));
		}
	}
}

void
queue_turn(void *arg, struct store_conn *conn)
{
	struct sandboxd *self = arg;
	size_t slots = scheduler_free_slots(self->scheduler);
	struct claim claimed = {.count = 0};
	struct arena arena;
	struct store_tx tx;

	atomic_store(&self->is_claim_asked, false);
	if (!conn || slots == 0)
		return;
	arena_init(&arena, 64u << 10, SIZE_MAX);
	struct status st = store_begin(conn, &tx);
	if (status_ok(&st))
		st = store_end(&tx, claim(self, &tx, &arena, slots, &claimed));
	if (status_ok(&st))
		start_all(self, conn, &claimed);
	else
		log_warn(self->env.log, "queued runs not claimed", LOG_STATUS(&st));
	arena_fini(&arena);
}

void
queue_ask(struct sandboxd *self)
{
	if (!atomic_exchange(&self->is_claim_asked, true) &&
	    !host_work(self->env.host, &sandboxd_service, queue_turn, self))
		atomic_store(&self->is_claim_asked, false);
}
