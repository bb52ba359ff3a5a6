/*
 * queue_upkeep: leases of queued runs: renewed while this replica lives, and ended for those that do not.
 */
#include <string.h>

#include "run_news.h"
#include "sandboxd_internal.h"

#define LOST_MAX 64u /* in a turn */

static const struct store_sql LEASE_RENEW = {
    "lease_renew", "UPDATE runs SET leased_until = $2 WHERE state = 2 AND owner = $1 AND leased_until > $3"};
static const struct store_sql LEASE_CANCELLED = {
    "lease_cancelled", "SELECT id FROM runs WHERE state = 2 AND owner = $1 AND cancelled = 1"};
static const struct store_sql LEASE_LOST = {
    "lease_lost", "SELECT id, tenant_id, token, attempts, cancelled, message FROM runs"
                  " WHERE state = 2 AND leased_until < $1 ORDER BY leased_until LIMIT $2"};
static const struct store_sql RUN_AGAIN = {
    "run_again", "UPDATE runs SET state = 1, owner = NULL, leased_until = NULL WHERE id = $1 AND token = $2"
                 " AND state = 2 AND leased_until < $3"};
static const struct store_sql RUN_GIVE_UP = {
    "run_give_up",
    "UPDATE runs SET state = 3, outcome = $4, ended_at = $3, message = $5, work = NULL, owner = NULL,"
    " leased_until = NULL WHERE id = $1 AND token = $2 AND state = 2 AND leased_until < $3"};
enum { ID, TENANT, TOKEN, ATTEMPTS, CANCELLED, MESSAGE };

#define CLAIMED_MAX 1024u

/* A run that another replica was asked to cancel, or whose publication was lost. */
static struct status
cancel_marked(struct sandboxd *self, struct store_conn *conn, struct arena *arena)
{
	struct store_rows *rows;
	struct status st =
	    store_read(conn, &LEASE_CANCELLED, STORE_PARAMS(store_text(self->owner)), CLAIMED_MAX, arena, &rows);

	for (size_t row = 0; status_ok(&st) && row < rows_count(rows); row++)
		(void)scheduler_cancel(self->scheduler, row_text(rows, row, ID), NULL, NULL, NULL);
	return st;
}

static struct status
renew(struct sandboxd *self, struct store_conn *conn)
{
	int64_t now = clock_wall_ms(self->env.clock);
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	return store_end(&tx, store_exec(&tx, &LEASE_RENEW,
	                                 STORE_PARAMS(store_text(self->owner),
	                                              store_i64(now + (int64_t)self->lease_ms), store_i64(now)),
	                                 NULL));
}

/* ---- those of the dead ---- */

/* One that cannot be read is ended with what is known of it: left as it is, it would be the first to be
 * looked at in every turn, and hold up those behind it. */
static PluginRun *
run_of_row(struct arena *arena, const struct store_rows *rows, size_t row)
{
	PluginRun *run = (void *)unpacked(arena, &corbel__v1__plugin_run__descriptor, rows, row, MESSAGE);

	if (run)
		return run;
	run = ARENA_NEW(arena, PluginRun);
	corbel__v1__plugin_run__init(run);
	run->id = row_text(rows, row, ID);
	run->tenant_id = row_text(rows, row, TENANT);
	return run;
}

static struct status
give_up(struct sandboxd *self, struct store_tx *tx, struct arena *arena, const struct store_rows *rows,
        size_t row, int64_t now)
{
	PluginRun *run = run_of_row(arena, rows, row);
	bool is_cancelled = row_i64(rows, row, CANCELLED) != 0;

	run->has_state = run->has_outcome = run->has_ended_at = run->has_attempts = true;
	run->state = CORBEL__V1__RUN_STATE__RUN_ENDED;
	run->outcome = is_cancelled ? CORBEL__V1__RUN_OUTCOME__CANCELLED : CORBEL__V1__RUN_OUTCOME__HOST_ERROR;
	run->attempts = (uint32_t)row_i64(rows, row, ATTEMPTS);
	run->message = arena_printf(arena, "the replica that ran it was lost, %u times", run->attempts);
	run->ended_at = now;
	int64_t changed = 0;
	struct status st =
	    store_exec(tx, &RUN_GIVE_UP,
	               STORE_PARAMS(store_text(run->id), store_i64(row_i64(rows, row, TOKEN)), store_i64(now),
	                            store_i64(run->outcome), packed_value(arena, &run->base)),
	               &changed);
	if (!status_ok(&st) || changed == 0)
		return st;
	return tell_run(self, NULL, tx, arena, &(struct run_news){.run = run, .is_queued = true});
}

static struct status
take_back(struct sandboxd *self, struct store_tx *tx, struct arena *arena, const struct store_rows *rows,
          size_t row)
{
	const char *tenant = row_text(rows, row, TENANT);
	int64_t now = clock_wall_ms(self->env.clock), waiting, changed = 0;
	bool is_over = row_i64(rows, row, CANCELLED) != 0 || row_i64(rows, row, ATTEMPTS) >= self->attempts_max;
	struct status st = queue_lock(tx, arena, tenant, 0, &waiting);

	if (!status_ok(&st))
		return st;
	if (is_over)
		return give_up(self, tx, arena, rows, row, now);
	st = store_exec(tx, &RUN_AGAIN,
	                STORE_PARAMS(store_text(row_text(rows, row, ID)), store_i64(row_i64(rows, row, TOKEN)),
	                             store_i64(now)),
	                &changed);
	return status_ok(&st) && changed > 0 ? queue_lock(tx, arena, tenant, 1, &waiting) : st;
}

/* Each in a transaction of its own, so that rows of several tenants are never held together. */
static struct status
take_back_lost(struct sandboxd *self, struct store_conn *conn, struct arena *arena)
{
	int64_t now = clock_wall_ms(self->env.clock);
	struct store_rows *rows;
	struct status st = store_read(conn, &LEASE_LOST, STORE_PARAMS(store_i64(now), store_i64(LOST_MAX)),
	                              LOST_MAX, arena, &rows);
	size_t count = status_ok(&st) ? rows_count(rows) : 0;

	for (size_t row = 0; row < count && status_ok(&st); row++) {
		struct store_tx tx;
		st = store_begin(conn, &tx);
		if (status_ok(&st))
			st = store_end(&tx, take_back(self, &tx, arena, rows, row));
	}
	if (count > 0)
		queue_ask(self);
	return st;
}

void
queue_upkeep_task(void *arg, struct store_conn *conn)
{
	struct sandboxd *self = arg;
	struct arena arena;

	if (!conn)
		return;
	arena_init(&arena, 16u << 10, SIZE_MAX);
	struct status st = renew(self, conn);
	if (status_ok(&st))
		st = cancel_marked(self, conn, &arena);
	if (status_ok(&st))
		st = take_back_lost(self, conn, &arena);
	if (!status_ok(&st))
		log_warn(self->env.log, "leases of queued runs not kept up", LOG_STATUS(&st));
	arena_fini(&arena);
}
