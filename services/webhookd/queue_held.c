/*
 * queue_held: the ends of leases, as attempts.
 */
#include "ledger.h"
#include "queue_internal.h"
#include "waiting.h"

#define ATTEMPT_COLS 7

static const struct store_sql HELD_EXHAUST = {
    "held_exhaust", "DELETE FROM waiting WHERE id = $1 AND attempts = $2 AND leased_at IS NOT NULL"};
static const char *const ATTEMPT_COLUMNS[ATTEMPT_COLS] = {
    "delivery_id", "number", "endpoint_id", "started_at", "latency_ms", "succeeded", "message"};

void
held_log_init(struct held_log *log, struct arena *arena, size_t most)
{
	*log = (struct held_log){.arena = arena,
	                         .rows = ARENA_ARRAY(arena, struct store_value, most * ATTEMPT_COLS + 1)};
}

void
held_log_add(struct held_log *log, const struct queue *queue, const struct held *held, int64_t ended_at,
             const char *error, const char *detail)
{
	struct store_value *row = &log->rows[log->count++ * ATTEMPT_COLS];
	int64_t latency = ended_at > held->leased_at ? ended_at - held->leased_at : 0;
	Attempt attempt = CORBEL__V1__ATTEMPT__INIT;

	attempt.has_number = attempt.has_started_at = attempt.has_latency_ms = true;
	attempt.number = held->number;
	attempt.started_at = held->leased_at;
	attempt.latency_ms = latency > UINT32_MAX ? UINT32_MAX : (uint32_t)latency;
	attempt.error = (char *)(uintptr_t)error;
	attempt.detail = (char *)(uintptr_t)detail;
	row[0] = store_text(held->delivery_id);
	row[1] = store_i64(held->number);
	row[2] = store_text(queue->id);
	row[3] = store_i64(held->leased_at);
	row[4] = store_i64(attempt.latency_ms);
	row[5] = store_i64(!error);
	row[6] = packed_value(log->arena, &attempt.base);
}

struct status
held_log_insert(struct held_log *log, struct store_tx *tx)
{
	return log->count > 0
	           ? store_bulk_insert(tx, "attempts", ATTEMPT_COLUMNS, ATTEMPT_COLS, log->rows, log->count)
	           : status_ok_value();
}

bool
held_is_last(const struct queue *queue, const struct held *held)
{
	return held->tries > queue->schedule.count;
}

struct status
held_let_next(struct store_tx *tx, const struct queue *queue, const struct held *held, int64_t now_ms)
{
	return held->has_order_key ? ledger_let_next(tx, queue->id, held->order_key, now_ms) : status_ok_value();
}

struct status
held_tell(const struct webhookd *self, struct store_tx *tx, struct arena *arena, const struct queue *queue,
          const struct held *held, const char *error, int64_t next_at)
{
	const char *type = news_of_try(held->event_type, held->tries, !error, error && held_is_last(queue, held));

	if (!type)
		return status_ok_value();
	return tell_attempt(self, tx, arena, type,
	                    &(struct tried){.tenant = queue->tenant,
	                                    .delivery_id = held->delivery_id,
	                                    .endpoint_id = queue->id,
	                                    .event_id = held->event_id,
	                                    .event_type = held->event_type,
	                                    .error = error,
	                                    .attempts = held->number,
	                                    .next_at = next_at});
}

struct status
held_exhaust(const struct webhookd *self, struct store_tx *tx, struct arena *arena, const struct queue *queue,
             const struct held *held, int64_t now_ms, const char *error, bool *is_done)
{
	const struct lost lost = {held->delivery_id, held->number, now_ms};
	int64_t changed = 0;
	struct status st = store_exec(
	    tx, &HELD_EXHAUST, STORE_PARAMS(store_text(held->delivery_id), store_i64(held->number)), &changed);

	*is_done = changed > 0;
	if (status_ok(&st) && changed > 0)
		st = waiting_lost(tx, arena, &lost, 1);
	if (status_ok(&st) && changed > 0)
		st = held_let_next(tx, queue, held, now_ms);
	return status_ok(&st) && changed > 0 ? held_tell(self, tx, arena, queue, held, error, 0) : st;
}
