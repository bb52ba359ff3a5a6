/*
 * ledger: how attempts went, many in a transaction.
 *
 * Deliveries that are over leave in one statement. Retries are one statement each, in one round trip: they
 * are few, or their receiver is unwell.
 */
#include "ledger.h"
#include "waiting.h"

#define ATTEMPT_COLS 7
#define RETRY_PARAMS 3
#define OVER_PARAMS  2

/* The next attempt of it, and no other: one whose commit was lost on its way back is not counted twice. */
static const struct store_sql DELIVERY_OVER = {
    "delivery_over", "DELETE FROM waiting @using@ WHERE id = @c1@ AND attempts = @c2@ - 1 @which@"};
static const struct store_sql DELIVERY_RETRY = {
    "delivery_retry", "UPDATE waiting SET attempts = $3, tries = tries + 1, due_at = $2"
                      " WHERE id = $1 AND attempts = $3 - 1"};
static const char *const ATTEMPT_COLUMNS[ATTEMPT_COLS] = {
    "delivery_id", "number", "endpoint_id", "started_at", "latency_ms", "succeeded", "message"};

static void
put_attempt(struct store_value row[ATTEMPT_COLS], const struct verdict *v, struct arena *arena)
{
	row[0] = store_text(v->delivery_id);
	row[1] = store_i64(v->number);
	row[2] = store_text(v->endpoint_id);
	row[3] = store_i64(v->attempt->started_at);
	row[4] = store_i64(v->attempt->latency_ms);
	row[5] = store_i64(v->is_success);
	row[6] = packed_value(arena, &v->attempt->base);
}

static bool
is_over(const struct verdict *v)
{
	return v->state != CORBEL__V1__DELIVERY_STATE__PENDING;
}

static int64_t
ended_at(const struct verdict *v)
{
	return v->attempt->started_at + v->attempt->latency_ms;
}

/* Those that wait no longer. */
static struct status
record_over(struct store_tx *tx, struct arena *arena, struct verdict **over, size_t count)
{
	struct store_value *sets = ARENA_ARRAY(arena, struct store_value, count * OVER_PARAMS + 1);
	bool *changed = ARENA_ARRAY(arena, bool, count + 1);

	for (size_t i = 0; i < count; i++) {
		sets[i * OVER_PARAMS] = store_text(over[i]->delivery_id);
		sets[i * OVER_PARAMS + 1] = store_i64(over[i]->number);
	}
	struct status st = store_change_each(tx, &DELIVERY_OVER, sets, OVER_PARAMS, count, changed);
	for (size_t i = 0; i < count && status_ok(&st); i++)
		over[i]->is_recorded = changed[i];
	return st;
}

static struct status
record_retries(struct store_tx *tx, struct arena *arena, struct verdict **retried, size_t count)
{
	struct store_value *sets = ARENA_ARRAY(arena, struct store_value, count * RETRY_PARAMS + 1);
	int64_t *changed = ARENA_ARRAY(arena, int64_t, count + 1);

	for (size_t i = 0; i < count; i++) {
		sets[i * RETRY_PARAMS] = store_text(retried[i]->delivery_id);
		sets[i * RETRY_PARAMS + 1] = store_i64(retried[i]->due_at);
		sets[i * RETRY_PARAMS + 2] = store_i64(retried[i]->number);
	}
	struct status st = store_exec_each(tx, &DELIVERY_RETRY, sets, RETRY_PARAMS, count, changed);
	for (size_t i = 0; status_ok(&st) && i < count; i++)
		retried[i]->is_recorded = changed[i] > 0;
	return st;
}

/* What follows from those that are recorded: what was given up, and who may go in their place. */
static struct status
record_consequences(struct store_tx *tx, struct arena *arena, struct verdict **over, size_t count)
{
	struct lost *lost = ARENA_ARRAY(arena, struct lost, count + 1);
	struct status st = status_ok_value();
	size_t lost_count = 0;

	for (size_t i = 0; i < count && status_ok(&st); i++) {
		const struct verdict *v = over[i];
		if (!v->is_recorded)
			continue;
		if (v->state == CORBEL__V1__DELIVERY_STATE__EXHAUSTED)
			lost[lost_count++] = (struct lost){v->delivery_id, v->number, ended_at(v)};
		if (v->has_order_key)
			st = ledger_let_next(tx, v->endpoint_id, v->order_key, ended_at(v));
	}
	return status_ok(&st) ? waiting_lost(tx, arena, lost, lost_count) : st;
}

struct status
ledger_add_attempts(struct store_tx *tx, struct arena *arena, const struct verdict *verdicts, size_t count)
{
	struct store_value *attempts = ARENA_ARRAY(arena, struct store_value, count * ATTEMPT_COLS + 1);
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (verdicts[i].is_recorded)
			put_attempt(&attempts[kept++ * ATTEMPT_COLS], &verdicts[i], arena);
	return store_bulk_insert(tx, "attempts", ATTEMPT_COLUMNS, ATTEMPT_COLS, attempts, kept);
}

struct status
ledger_record(struct store_tx *tx, struct arena *arena, struct verdict *verdicts, size_t count)
{
	struct verdict **over = ARENA_ARRAY(arena, struct verdict *, count + 1);
	struct verdict **retried = ARENA_ARRAY(arena, struct verdict *, count + 1);
	size_t over_count = 0, retried_count = 0;

	for (size_t i = 0; i < count; i++) {
		verdicts[i].is_recorded = false;
		if (verdicts[i].is_stale)
			continue;
		if (is_over(&verdicts[i]))
			over[over_count++] = &verdicts[i];
		else
			retried[retried_count++] = &verdicts[i];
	}
	struct status st = record_over(tx, arena, over, over_count);
	if (status_ok(&st))
		st = record_retries(tx, arena, retried, retried_count);
	return status_ok(&st) ? record_consequences(tx, arena, over, over_count) : st;
}
