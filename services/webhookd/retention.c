/*
 * retention: events and finished deliveries are kept for webhookd.retain, and of each tenant at most
 * webhookd.retain_bytes of events.
 *
 * Only from the old end of each log, so that what is kept has no gaps, and never beyond a delivery that
 * waits: what is owed outlives its time. Each transaction deletes a bounded number of rows.
 */
#include "retention.h"

#include <string.h>

#include "base/id.h"
#include "notice.h"
#include "waiting.h"

#define CHUNK     1000
#define TENANTS   100
#define TURNS_MAX 50

/* Ids grow with time: those before $1. */
static const struct store_sql OLD_DELIVERIES = {
    "old_deliveries",
    "DELETE FROM deliveries WHERE id IN (SELECT d.id FROM deliveries d WHERE d.id < $1 AND NOT EXISTS"
    " (SELECT 1 FROM waiting w WHERE w.id = d.id) ORDER BY d.id LIMIT $2) RETURNING id"};
static const struct store_sql OLD_ATTEMPTS = {
    "old_attempts", "DELETE FROM attempts WHERE delivery_id IN (SELECT c1 FROM @each@)"};
/* Messages of queues that nobody has fetched in time. */
static const struct store_sql OLD_MESSAGES = {
    "old_messages", "DELETE FROM waiting WHERE id IN"
                    " (SELECT d.id FROM endpoints e JOIN waiting d ON d.endpoint_id = e.id"
                    " WHERE e.pulled = 1 AND d.due_at < $1 LIMIT $2) RETURNING id, attempts"};
/* What was kept in order behind them may go. */
static const struct store_sql OLD_MESSAGES_NEXT = {
    "old_messages_next",
    "UPDATE waiting SET due_at = $1 WHERE id IN (SELECT d.id FROM endpoints e JOIN waiting d"
    " ON d.endpoint_id = e.id WHERE e.pulled = 1 AND d.due_at = $2 AND NOT EXISTS"
    " (SELECT 1 FROM waiting p WHERE p.endpoint_id = d.endpoint_id"
    " AND p.order_key = d.order_key AND p.sequence < d.sequence))"};
static const struct store_sql OLD_REPLAYS = {
    "old_replays", "DELETE FROM replays WHERE id IN"
                   " (SELECT id FROM replays WHERE state <> 1 AND finished_at < $1 LIMIT $2)"};
/* They count for what a tenant may cause in a day, and have no other use. */
static const struct store_sql OLD_MAILS = {"old_mails",
                                           "DELETE FROM mails WHERE state <> $1 AND created_at < $2"};
static const struct store_sql OLD_LOGS = {
    "old_logs",
    "SELECT tenant_id, MAX(sequence) FROM (SELECT tenant_id, sequence FROM events WHERE recorded_at < $1"
    " ORDER BY recorded_at LIMIT $2) AS old GROUP BY tenant_id"};
static const struct store_sql LARGE_LOGS = {
    "large_logs",
    "SELECT tenant_id, MIN(sequence) FROM (SELECT tenant_id, sequence, SUM(LENGTH(message)) OVER"
    " (PARTITION BY tenant_id ORDER BY sequence DESC) AS bytes FROM events) AS sized"
    " WHERE bytes <= $1 GROUP BY tenant_id LIMIT $2"};
static const struct store_sql OWED = {"log_owed", "SELECT MIN(sequence) FROM waiting WHERE endpoint_id IN"
                                                  " (SELECT id FROM endpoints WHERE tenant_id = $1)"};
static const struct store_sql LOG_CUT = {
    "log_cut", "UPDATE logs SET first_sequence = $2 WHERE tenant_id = $1 AND first_sequence < $2"};
static const struct store_sql EVENTS_CUT = {"events_cut",
                                            "DELETE FROM events WHERE tenant_id = $1 AND sequence < $2"};

/* Everything of the tenant's log before `first` goes, but what is owed. */
static struct status
cut_log(struct store_conn *conn, struct arena *arena, const char *tenant, int64_t first)
{
	struct log_state log;
	struct store_rows *rows;
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	st = log_lock(&tx, arena, tenant, &log);
	if (status_ok(&st))
		st = store_query(&tx, &OWED, STORE_PARAMS(store_text(tenant)), 1, arena, &rows);
	if (status_ok(&st) && rows_count(rows) > 0 && !row_is_null(rows, 0, 0) && row_i64(rows, 0, 0) < first)
		first = row_i64(rows, 0, 0);
	if (status_ok(&st))
		st = store_exec(&tx, &LOG_CUT, STORE_PARAMS(store_text(tenant), store_i64(first)), NULL);
	if (status_ok(&st))
		st = store_exec(&tx, &EVENTS_CUT, STORE_PARAMS(store_text(tenant), store_i64(first)), NULL);
	return store_end(&tx, st);
}

static struct status
cut_old(struct store_conn *conn, struct arena *arena, int64_t before, bool *is_more)
{
	struct store_rows *rows;
	struct status st =
	    store_read(conn, &OLD_LOGS, STORE_PARAMS(store_i64(before), store_i64(CHUNK)), CHUNK, arena, &rows);

	*is_more = false;
	for (size_t r = 0; status_ok(&st) && r < rows_count(rows); r++) {
		st = cut_log(conn, arena, row_text(rows, r, 0), row_i64(rows, r, 1) + 1);
		*is_more = true;
	}
	return st;
}

static struct status
cut_large(struct store_conn *conn, struct arena *arena, int64_t bytes)
{
	struct store_rows *rows;
	struct status st = store_read(conn, &LARGE_LOGS, STORE_PARAMS(store_i64(bytes), store_i64(TENANTS)),
	                              TENANTS, arena, &rows);

	for (size_t r = 0; status_ok(&st) && r < rows_count(rows); r++)
		st = cut_log(conn, arena, row_text(rows, r, 0), row_i64(rows, r, 1));
	return st;
}

static struct status
give_up_messages(struct store_tx *tx, struct arena *arena, int64_t before, int64_t now_ms, size_t *count)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &OLD_MESSAGES, STORE_PARAMS(store_i64(before), store_i64(CHUNK)),
	                               CHUNK, arena, &rows);

	*count = status_ok(&st) ? rows_count(rows) : 0;
	if (*count == 0)
		return st;
	struct lost *lost = ARENA_ARRAY(arena, struct lost, *count);
	for (size_t r = 0; r < *count; r++)
		lost[r] = (struct lost){row_text(rows, r, 0), (uint32_t)row_i64(rows, r, 1), now_ms};
	st = waiting_lost(tx, arena, lost, *count);
	return status_ok(&st) ? store_exec(tx, &OLD_MESSAGES_NEXT,
	                                   STORE_PARAMS(store_i64(now_ms), store_i64(NEVER_MS)), NULL)
	                      : st;
}

/* With their attempts. */
static struct status
delete_over(struct store_tx *tx, struct arena *arena, int64_t before, size_t *count)
{
	struct id first = id_before("dlv", before);
	struct store_rows *rows, *none;
	struct status st = store_query(
	    tx, &OLD_DELIVERIES, STORE_PARAMS(store_text(first.text), store_i64(CHUNK)), CHUNK, arena, &rows);

	*count = status_ok(&st) ? rows_count(rows) : 0;
	struct store_value *ids = ARENA_ARRAY(arena, struct store_value, *count + 1);
	for (size_t r = 0; r < *count; r++)
		ids[r] = store_text(row_text(rows, r, 0));
	return status_ok(&st) ? store_query_each(tx, &OLD_ATTEMPTS, ids, 1, *count, 1, arena, &none) : st;
}

static struct status
delete_deliveries(struct store_conn *conn, struct arena *arena, int64_t before, int64_t now_ms, bool *is_more)
{
	size_t given_up = 0, deleted = 0;
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	st = give_up_messages(&tx, arena, before, now_ms, &given_up);
	if (status_ok(&st))
		st = delete_over(&tx, arena, before, &deleted);
	if (status_ok(&st))
		st = store_exec(&tx, &OLD_REPLAYS, STORE_PARAMS(store_i64(before), store_i64(CHUNK)), NULL);
	if (status_ok(&st))
		st = store_exec(&tx, &OLD_MAILS, STORE_PARAMS(store_i64(MAIL_WAITS), store_i64(now_ms - MAIL_DAY_MS)),
		                NULL);
	st = store_end(&tx, st);
	*is_more = status_ok(&st) && (given_up == CHUNK || deleted == CHUNK);
	return st;
}

void
retention_task(void *arg, struct store_conn *conn)
{
	struct webhookd *self = arg;
	int64_t now_ms = clock_wall_ms(self->env.clock);
	int64_t before = now_ms - (int64_t)config_duration_ms(self->env.config, "webhookd.retain");
	int64_t bytes = (int64_t)config_size_bytes(self->env.config, "webhookd.retain_bytes");
	struct status st = status_ok_value();
	bool is_more = true;
	struct arena arena;

	arena_init(&arena, 16u << 10, 64u << 20);
	for (int turn = 0; turn < TURNS_MAX && is_more && status_ok(&st); turn++) {
		arena_reset(&arena);
		st = delete_deliveries(conn, &arena, before, now_ms, &is_more);
	}
	is_more = true;
	for (int turn = 0; turn < TURNS_MAX && is_more && status_ok(&st); turn++) {
		arena_reset(&arena);
		st = cut_old(conn, &arena, before, &is_more);
	}
	if (bytes > 0 && status_ok(&st))
		st = cut_large(conn, &arena, bytes);
	if (!status_ok(&st))
		log_warn(self->env.log, "old events not deleted", LOG_STATUS(&st));
	arena_fini(&arena);
}
