/*
 * clearing: see clearing.h.
 */
#include "clearing.h"

#include <stdatomic.h>

#include "corbel/webhookd.methods.gen.h"
#include "redeliver.h"
#include "settler.h"
#include "waiting.h"

#define TAKE_MS   1000u
#define STEP_MAX  1000u /* deliveries */
#define STEPS     8     /* of one endpoint in a turn */
#define IDLE_MS   1000u /* between looks while there is nothing to do */
#define FOUND_MAX 100

static const struct store_sql LEFT = {"clearing_left",
                                      "SELECT 1 FROM waiting WHERE endpoint_id = $1 LIMIT 1"};
static const struct store_sql DISABLED = {
    "clearing_disabled",
    "SELECT e.id FROM endpoints e WHERE e.disabled <> 0 AND EXISTS (SELECT 1 FROM waiting w"
    " WHERE w.endpoint_id = e.id) LIMIT $1"};
static const struct store_sql GONE = {"clearing_gone", "SELECT endpoint_id FROM forgettings LIMIT $1"};
/* Whoever has it takes the step: replicas work side by side. */
static const struct store_sql GONE_HOLD = {
    "clearing_gone_hold", "SELECT endpoint_id FROM forgettings WHERE endpoint_id = $1 @claim@"};
static const struct store_sql GONE_ADD = {"clearing_gone_add",
                                          "INSERT INTO forgettings (endpoint_id) VALUES ($1)"};
static const struct store_sql GONE_END = {"clearing_gone_end",
                                          "DELETE FROM forgettings WHERE endpoint_id = $1"};

struct status
clearing_skip(struct store_tx *tx, struct arena *arena, const char *endpoint_id, int64_t now_ms)
{
	bool is_over;
	return waiting_skip(tx, arena, endpoint_id, STEP_MAX, now_ms, &is_over);
}

struct status
clearing_forget(struct store_tx *tx, struct arena *arena, const char *endpoint_id)
{
	bool is_over;
	struct status st = waiting_forget(tx, arena, endpoint_id, STEP_MAX, &is_over);

	if (!status_ok(&st) || is_over)
		return st;
	return store_exec(tx, &GONE_ADD, STORE_PARAMS(store_text(endpoint_id)), NULL);
}

struct status
clearing_check(struct store_tx *tx, struct arena *arena, const char *endpoint_id)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &LEFT, STORE_PARAMS(store_text(endpoint_id)), 1, arena, &rows);

	if (status_ok(&st) && rows_count(rows) > 0)
		return status_make(STATUS_ABORTED, "what waited for the endpoint is still being skipped; try again");
	return st;
}

/* ---- a step ---- */

/* Of an endpoint that is still disabled, under its row. */
static struct status
skip_some(struct store_tx *tx, struct arena *arena, const char *id, int64_t now_ms, bool *is_over)
{
	struct target target;
	struct status st = target_read(tx, arena, id, &target);

	*is_over = true;
	if (st.code == STATUS_NOT_FOUND)
		return status_ok_value();
	if (!status_ok(&st) || !target.is_disabled)
		return st;
	return waiting_skip(tx, arena, id, STEP_MAX, now_ms, is_over);
}

static struct status
forget_some(struct store_tx *tx, struct arena *arena, const char *id, int64_t now_ms, bool *is_over)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &GONE_HOLD, STORE_PARAMS(store_text(id)), 1, arena, &rows);

	(void)now_ms;
	*is_over = true;
	if (!status_ok(&st) || rows_count(rows) == 0)
		return st;
	st = waiting_forget(tx, arena, id, STEP_MAX, is_over);
	return status_ok(&st) && *is_over ? store_exec(tx, &GONE_END, STORE_PARAMS(store_text(id)), NULL) : st;
}

typedef struct status (*step_fn)(struct store_tx *tx, struct arena *arena, const char *id, int64_t now_ms,
                                 bool *is_over);

static struct status
take_step(struct store_conn *conn, step_fn step, const char *id, int64_t now_ms, bool *is_over)
{
	struct arena arena;
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	arena_init(&arena, 64u << 10, SIZE_MAX);
	st = store_end(&tx, step(&tx, &arena, id, now_ms, is_over));
	arena_fini(&arena);
	return st;
}

static struct status
finish(struct call *call, struct store_conn *conn, const char *endpoint_id)
{
	struct status st = status_ok_value();
	bool is_over = false;

	while (status_ok(&st) && !is_over) {
		if (call_has_expired(call))
			return status_make(STATUS_DEADLINE_EXCEEDED,
			                   "what waited for the endpoint is still being skipped");
		st = take_step(conn, skip_some, endpoint_id, call_now_ms(call), &is_over);
	}
	return st;
}

/* On a connection of its own: the call's commits once, with the record of its Idempotency-Key. */
struct status
clearing_finish(struct call *call, const char *endpoint_id)
{
	struct webhookd *self = call_service(call);
	Corbel__V1__GetEndpointRequest get = CORBEL__V1__GET_ENDPOINT_REQUEST__INIT;
	Endpoint endpoint = CORBEL__V1__ENDPOINT__INIT;
	struct store_conn *conn;

	get.id = (char *)(uintptr_t)endpoint_id;
	struct status st = endpoints_get(call, &get, &endpoint);
	if (!status_ok(&st) || !endpoint.disabled)
		return st;
	st = store_take(self->env.store, TAKE_MS, &conn);
	if (!status_ok(&st))
		return st;
	st = finish(call, conn, endpoint_id);
	store_put(self->env.store, conn);
	return st;
}

/* ---- the task ---- */

/* What cannot be cleared for the sake of a row keeps no other from being cleared: it is tried again at the
 * next look. */
static struct status
clear_one(const struct webhookd *self, struct store_conn *conn, step_fn step, const char *id, bool *is_over)
{
	struct status st = status_ok_value();

	*is_over = false;
	for (int i = 0; i < STEPS && !*is_over && status_ok(&st); i++)
		st = take_step(conn, step, id, clock_wall_ms(self->env.clock), is_over);
	if (!settler_blames_row(&st))
		return st;
	log_error(self->env.log, "deliveries of an endpoint cannot be cleared", LOG_TEXT("endpoint", id),
	          LOG_STATUS(&st));
	*is_over = true;
	return status_ok_value();
}

static struct status
clear_found(struct webhookd *self, struct store_conn *conn, struct arena *arena, const struct store_sql *find,
            step_fn step, bool *is_more)
{
	struct store_rows *rows;
	struct status st = store_read(conn, find, STORE_PARAMS(store_i64(FOUND_MAX)), FOUND_MAX, arena, &rows);

	for (size_t r = 0; status_ok(&st) && r < rows_count(rows); r++) {
		bool is_over;
		st = clear_one(self, conn, step, row_text(rows, r, 0), &is_over);
		*is_more = *is_more || !is_over;
	}
	return st;
}

void
clearing_task(void *arg, struct store_conn *conn)
{
	struct webhookd *self = arg;
	uint64_t now = clock_mono_ms(self->env.clock);
	bool is_more = false;
	struct arena arena;

	if (!atomic_exchange(&self->is_clearing, false) && now - atomic_load(&self->clearing_looked) < IDLE_MS)
		return;
	atomic_store(&self->clearing_looked, now);
	arena_init(&arena, 16u << 10, 16u << 20);
	struct status st = clear_found(self, conn, &arena, &DISABLED, skip_some, &is_more);
	if (status_ok(&st))
		st = clear_found(self, conn, &arena, &GONE, forget_some, &is_more);
	arena_fini(&arena);
	if (is_more)
		atomic_store(&self->is_clearing, true);
	if (!status_ok(&st))
		log_warn(self->env.log, "deliveries of a disabled or deleted endpoint wait", LOG_STATUS(&st));
}
