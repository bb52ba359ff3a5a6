/*
 * recovery: see recovery.h.
 */
#include "recovery.h"

#include <stdatomic.h>

#include "base/id.h"
#include "corbel/webhookd.methods.gen.h"
#include "redeliver.h"
#include "waiting.h"

#define IDLE_MS     1000u /* between looks while nothing moves */
#define RUNNING_MAX 100
#define STEPS       4    /* of one recovery in a turn */
#define STEP_MAX    1000 /* deliveries */

/* What waits for its next try, and what was given up or skipped; not what is leased. $5 is now. The sum keeps
 * either database from reading all that is due later, in the order in which it is, to sort it. */
#define WAITS                                                                                                \
	"SELECT id, sequence, 1 AS waits FROM waiting WHERE endpoint_id = $1 AND sequence > $2"                  \
	" AND created_at >= $3 AND created_at < $4 AND due_at + 0 > $5 AND leased_at IS NULL"
#define LOST                                                                                                 \
	"SELECT id, sequence, 0 AS waits FROM deliveries WHERE endpoint_id = $1 AND sequence > $2"               \
	" AND created_at >= $3 AND created_at < $4 AND state <> 0"
static const struct store_sql CANDIDATE_COUNT = {"recovery_count",
                                                 "SELECT COUNT(*) FROM (" WAITS " UNION ALL " LOST ") AS c"};
/* The limits within let each be read in the order of its index. */
static const struct store_sql CANDIDATE_LIST = {
    "recovery_list",
    "SELECT id, sequence, waits FROM (SELECT * FROM (" WAITS " ORDER BY sequence LIMIT $6) AS w"
    " UNION ALL SELECT * FROM (" LOST " ORDER BY sequence LIMIT $6) AS l) AS c"
    " ORDER BY sequence LIMIT $6"};
static const struct store_sql RECOVERY_INSERT = {
    "recovery_insert", "INSERT INTO recoveries (id, tenant_id, endpoint_id, since, until, at_sequence)"
                       " VALUES ($1, $2, $3, $4, $5, $6)"};
static const struct store_sql RECOVERY_RUNNING = {
    "recovery_running",
    "SELECT id, tenant_id, endpoint_id, since, until FROM recoveries ORDER BY id LIMIT $1"};
static const struct store_sql RECOVERY_PLACE = {"recovery_place",
                                                "SELECT at_sequence FROM recoveries WHERE id = $1"};
static const struct store_sql RECOVERY_ADVANCE = {"recovery_advance",
                                                  "UPDATE recoveries SET at_sequence = $2 WHERE id = $1"};
static const struct store_sql RECOVERY_END = {"recovery_end", "DELETE FROM recoveries WHERE id = $1"};

struct recovery {
	const char *id, *tenant, *endpoint;
	int64_t since, until;
	int64_t at; /* sequences up to here have been seen to */
	bool is_over;
};

/* ---- a step ---- */

static struct status
send_again(struct store_tx *tx, struct arena *arena, const struct store_rows *rows, int64_t now_ms)
{
	const char **waiting = ARENA_ARRAY(arena, const char *, rows_count(rows) + 1);
	const char **lost = ARENA_ARRAY(arena, const char *, rows_count(rows) + 1);
	size_t waiting_count = 0, lost_count = 0, made;

	for (size_t r = 0; r < rows_count(rows); r++) {
		if (row_i64(rows, r, 2) != 0)
			waiting[waiting_count++] = row_text(rows, r, 0);
		else
			lost[lost_count++] = row_text(rows, r, 0);
	}
	struct status st = waiting_now(tx, arena, waiting, waiting_count, now_ms);
	return status_ok(&st) ? waiting_again(tx, arena, lost, lost_count, now_ms, &made) : st;
}

/* Its endpoint is held. */
static struct status
take_step(struct store_tx *tx, struct arena *arena, struct recovery *recovery, int64_t now_ms)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &CANDIDATE_LIST,
	                               STORE_PARAMS(store_text(recovery->endpoint), store_i64(recovery->at),
	                                            store_i64(recovery->since), store_i64(recovery->until),
	                                            store_i64(now_ms), store_i64(STEP_MAX)),
	                               STEP_MAX, arena, &rows);

	if (!status_ok(&st))
		return st;
	recovery->is_over = rows_count(rows) < STEP_MAX;
	if (rows_count(rows) == 0)
		return st;
	recovery->at = row_i64(rows, rows_count(rows) - 1, 1);
	st = send_again(tx, arena, rows, now_ms);
	return status_ok(&st) ? waiting_due(tx, recovery->endpoint, now_ms) : st;
}

/* ---- asking for it ---- */

static struct status
count(struct store_tx *tx, struct arena *arena, const struct recovery *recovery, int64_t now_ms,
      uint64_t *out)
{
	struct store_rows *rows;
	struct status st =
	    store_query(tx, &CANDIDATE_COUNT,
	                STORE_PARAMS(store_text(recovery->endpoint), store_i64(recovery->at),
	                             store_i64(recovery->since), store_i64(recovery->until), store_i64(now_ms)),
	                1, arena, &rows);
	*out = status_ok(&st) ? (uint64_t)row_i64(rows, 0, 0) : 0;
	return st;
}

static struct status
insert(const struct webhookd *self, struct store_tx *tx, const struct recovery *recovery)
{
	struct id id = id_make("rcv", self->env.clock, self->env.random);

	return store_exec(tx, &RECOVERY_INSERT,
	                  STORE_PARAMS(store_text(id.text), store_text(recovery->tenant),
	                               store_text(recovery->endpoint), store_i64(recovery->since),
	                               store_i64(recovery->until), store_i64(recovery->at)),
	                  NULL);
}

static struct status
begin(struct call *call, struct store_tx *tx, struct recovery *recovery, uint64_t *deliveries)
{
	struct target target;
	struct status st = target_read(tx, call_arena(call), recovery->endpoint, &target);

	if (status_ok(&st) && !scope_sees(call, target.tenant))
		st = scope_not_found("endpoint");
	if (status_ok(&st) && target.is_disabled)
		st = status_make(STATUS_FAILED_PRECONDITION, "the endpoint is disabled; enable it first");
	if (!status_ok(&st))
		return st;
	recovery->tenant = target.tenant;
	st = count(tx, call_arena(call), recovery, call_now_ms(call), deliveries);
	if (status_ok(&st))
		st = take_step(tx, call_arena(call), recovery, call_now_ms(call));
	return status_ok(&st) && !recovery->is_over ? insert(call_service(call), tx, recovery) : st;
}

struct status
endpoints_recover(struct call *call, const Corbel__V1__RecoverEndpointRequest *request,
                  Corbel__V1__RecoverEndpointReply *reply)
{
	struct webhookd *self = call_service(call);
	struct recovery recovery = {.endpoint = request->id,
	                            .since = request->since,
	                            .until = request->has_until ? request->until : call_now_ms(call) + 1};
	struct store_tx tx;
	struct status st = store_begin(call_store(call), &tx);

	if (!status_ok(&st))
		return st;
	st = store_end(&tx, begin(call, &tx, &recovery, &reply->deliveries));
	if (!status_ok(&st))
		return st;
	reply->has_deliveries = true;
	webhookd_hint(self, recovery.tenant);
	if (!recovery.is_over)
		atomic_store(&self->is_recovering, true);
	return st;
}

/* ---- the task ---- */

/* Whether it is still to be done, and from where: under its endpoint, since replicas work side by side. */
static struct status
read_place(struct store_tx *tx, struct arena *arena, struct recovery *recovery)
{
	struct target target;
	struct store_rows *rows;
	struct status st = target_read(tx, arena, recovery->endpoint, &target);

	recovery->is_over = true;
	if (st.code == STATUS_NOT_FOUND)
		return status_ok_value();
	if (status_ok(&st))
		st = store_query(tx, &RECOVERY_PLACE, STORE_PARAMS(store_text(recovery->id)), 1, arena, &rows);
	if (!status_ok(&st) || rows_count(rows) == 0)
		return st;
	recovery->at = row_i64(rows, 0, 0);
	recovery->is_over = target.is_disabled;
	return st;
}

static struct status
go_on(struct webhookd *self, struct store_conn *conn, struct arena *arena, struct recovery *recovery)
{
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	st = read_place(&tx, arena, recovery);
	if (status_ok(&st) && !recovery->is_over)
		st = take_step(&tx, arena, recovery, clock_wall_ms(self->env.clock));
	if (status_ok(&st))
		st = recovery->is_over
		         ? store_exec(&tx, &RECOVERY_END, STORE_PARAMS(store_text(recovery->id)), NULL)
		         : store_exec(&tx, &RECOVERY_ADVANCE,
		                      STORE_PARAMS(store_text(recovery->id), store_i64(recovery->at)), NULL);
	st = store_end(&tx, st);
	if (status_ok(&st))
		webhookd_hint(self, recovery->tenant);
	return st;
}

static struct status
run_all(struct webhookd *self, struct store_conn *conn, struct arena *arena, bool *is_more)
{
	struct arena step_arena;
	struct store_rows *rows;
	struct status st =
	    store_read(conn, &RECOVERY_RUNNING, STORE_PARAMS(store_i64(RUNNING_MAX)), RUNNING_MAX, arena, &rows);

	arena_init(&step_arena, 64u << 10, SIZE_MAX);
	for (size_t r = 0; status_ok(&st) && r < rows_count(rows); r++) {
		struct recovery recovery = {.id = row_text(rows, r, 0),
		                            .tenant = row_text(rows, r, 1),
		                            .endpoint = row_text(rows, r, 2),
		                            .since = row_i64(rows, r, 3),
		                            .until = row_i64(rows, r, 4)};
		for (int step = 0; step < STEPS && !recovery.is_over && status_ok(&st); step++) {
			arena_reset(&step_arena);
			st = go_on(self, conn, &step_arena, &recovery);
		}
		*is_more = *is_more || !recovery.is_over;
	}
	arena_fini(&step_arena);
	return st;
}

void
recovery_task(void *arg, struct store_conn *conn)
{
	struct webhookd *self = arg;
	uint64_t now = clock_mono_ms(self->env.clock);
	bool is_more = false;
	struct arena arena;

	if (!atomic_exchange(&self->is_recovering, false) && now - atomic_load(&self->recovery_looked) < IDLE_MS)
		return;
	atomic_store(&self->recovery_looked, now);
	arena_init(&arena, 16u << 10, 16u << 20);
	struct status st = run_all(self, conn, &arena, &is_more);
	arena_fini(&arena);
	if (is_more)
		atomic_store(&self->is_recovering, true);
	if (!status_ok(&st))
		log_warn(self->env.log, "a recovery waits", LOG_STATUS(&st));
}
