/*
 * waiting: see waiting.h.
 */
#include "waiting.h"

/* How often a delivery that does not wait was tried. Of those that were given up it is written down, since a
 * lease may have ended without an attempt. */
#define TRIED                                                                                                \
	"CASE WHEN d.state <> 0 THEN d.attempts ELSE (SELECT COALESCE(MAX(a.number), 0) FROM attempts a"         \
	" WHERE a.delivery_id = d.id) END"
static const struct store_sql AGAIN = {
    "waiting_again",
    "INSERT INTO waiting (id, tenant_id, endpoint_id, sequence, attempts, tries, due_at, created_at, "
    "order_key)"
    " SELECT d.id, d.tenant_id, d.endpoint_id, d.sequence, " TRIED ", 0, given.c2, d.created_at, d.order_key"
    " FROM @each@ JOIN deliveries d ON d.id = given.c1"
    " WHERE NOT EXISTS (SELECT 1 FROM waiting w WHERE w.id = d.id) RETURNING id"};
static const struct store_sql FOUND = {"waiting_found",
                                       "UPDATE deliveries SET state = 0, attempts = 0, finished_at = NULL"
                                       " WHERE state <> 0 AND id IN (SELECT c1 FROM @each@) RETURNING id"};
static const struct store_sql NOW = {
    "waiting_now",
    "UPDATE waiting SET due_at = CASE WHEN leased_at IS NOT NULL THEN due_at ELSE given.c2 END, tries = 0"
    " FROM @each@ WHERE id = given.c1 RETURNING id"};
/* The next of the endpoint, held: whoever settles one of them has done so, or finds it gone. The sub-selects
 * keep PostgreSQL from reading all that waits to find a part of it, as in DUE_ANY of the ledger. */
static const struct store_sql SOME = {"waiting_some",
                                      "SELECT id, attempts FROM waiting WHERE endpoint_id = (SELECT $1)"
                                      " ORDER BY due_at, sequence LIMIT (SELECT $2) @lock@"};
static const struct store_sql DUE = {
    "waiting_now_due", "UPDATE endpoints SET next_at = $2 WHERE id = $1 AND next_at > $2 AND pulled = 0"};
static const struct store_sql SKIP = {
    "waiting_skip",
    "UPDATE deliveries SET state = 4, attempts = @c2@, finished_at = @c3@ @from@ WHERE id = @c1@"
    " @which@"};
static const struct store_sql DROP = {"waiting_drop", "DELETE FROM waiting @using@ WHERE id = @c1@ @which@"};
static const struct store_sql LOST = {
    "waiting_lost", "UPDATE deliveries SET state = 3, attempts = given.c2, finished_at = given.c3 FROM @each@"
                    " WHERE id = given.c1 RETURNING id"};
static const struct store_sql FORGET = {"waiting_forget",
                                        "DELETE FROM deliveries @using@ WHERE id = @c1@ @which@"};
static const struct store_sql FORGET_LOST = {
    "waiting_forget_lost",
    "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE endpoint_id = $1"
    " AND state <> 0 LIMIT $2)"};
static const struct store_sql FORGET_ATTEMPTS = {
    "waiting_forget_attempts",
    "DELETE FROM attempts WHERE (delivery_id, number) IN (SELECT delivery_id, number FROM attempts"
    " WHERE endpoint_id = $1 LIMIT $2) RETURNING delivery_id"};

struct status
waiting_again(struct store_tx *tx, struct arena *arena, const char *const *ids, size_t count, int64_t now_ms,
              size_t *made)
{
	struct store_value *sets = ARENA_ARRAY(arena, struct store_value, count * 2 + 1);
	struct store_value *alone = ARENA_ARRAY(arena, struct store_value, count + 1);
	struct store_rows *rows, *found;

	for (size_t i = 0; i < count; i++) {
		sets[i * 2] = alone[i] = store_text(ids[i]);
		sets[i * 2 + 1] = store_i64(now_ms);
	}
	struct status st = store_query_each(tx, &AGAIN, sets, 2, count, count, arena, &rows);
	if (status_ok(&st))
		st = store_query_each(tx, &FOUND, alone, 1, count, count, arena, &found);
	*made = status_ok(&st) ? rows_count(rows) : 0;
	return st;
}

struct status
waiting_now(struct store_tx *tx, struct arena *arena, const char *const *ids, size_t count, int64_t now_ms)
{
	struct store_value *sets = ARENA_ARRAY(arena, struct store_value, count * 2 + 1);
	struct store_rows *rows;

	for (size_t i = 0; i < count; i++) {
		sets[i * 2] = store_text(ids[i]);
		sets[i * 2 + 1] = store_i64(now_ms);
	}
	return store_query_each(tx, &NOW, sets, 2, count, count, arena, &rows);
}

struct status
waiting_due(struct store_tx *tx, const char *endpoint_id, int64_t now_ms)
{
	return store_exec(tx, &DUE, STORE_PARAMS(store_text(endpoint_id), store_i64(now_ms)), NULL);
}

/* For each row a change by its id, the first column. */
static struct status
change_all(struct store_tx *tx, struct arena *arena, const struct store_sql *sql,
           const struct store_rows *rows)
{
	struct store_value *ids = ARENA_ARRAY(arena, struct store_value, rows_count(rows) + 1);
	bool *changed = ARENA_ARRAY(arena, bool, rows_count(rows) + 1);

	for (size_t r = 0; r < rows_count(rows); r++)
		ids[r] = store_text(row_text(rows, r, 0));
	return store_change_each(tx, sql, ids, 1, rows_count(rows), changed);
}

static struct status
hold_some(struct store_tx *tx, struct arena *arena, const char *endpoint_id, size_t most,
          struct store_rows **rows)
{
	return store_query(tx, &SOME, STORE_PARAMS(store_text(endpoint_id), store_i64((int64_t)most)), most,
	                   arena, rows);
}

struct status
waiting_skip(struct store_tx *tx, struct arena *arena, const char *endpoint_id, size_t most, int64_t now_ms,
             bool *is_over)
{
	struct store_rows *rows;
	struct status st = hold_some(tx, arena, endpoint_id, most, &rows);

	if (!status_ok(&st))
		return st;
	size_t count = rows_count(rows);
	struct store_value *sets = ARENA_ARRAY(arena, struct store_value, count * 3 + 1);
	bool *changed = ARENA_ARRAY(arena, bool, count + 1);
	*is_over = count < most;
	for (size_t r = 0; r < count; r++) {
		sets[r * 3] = store_text(row_text(rows, r, 0));
		sets[r * 3 + 1] = store_i64(row_i64(rows, r, 1));
		sets[r * 3 + 2] = store_i64(now_ms);
	}
	st = store_change_each(tx, &SKIP, sets, 3, count, changed);
	return status_ok(&st) ? change_all(tx, arena, &DROP, rows) : st;
}

struct status
waiting_lost(struct store_tx *tx, struct arena *arena, const struct lost *lost, size_t count)
{
	struct store_value *sets = ARENA_ARRAY(arena, struct store_value, count * 3 + 1);
	struct store_rows *rows;

	for (size_t i = 0; i < count; i++) {
		sets[i * 3] = store_text(lost[i].delivery_id);
		sets[i * 3 + 1] = store_i64(lost[i].attempts);
		sets[i * 3 + 2] = store_i64(lost[i].at_ms);
	}
	return store_query_each(tx, &LOST, sets, 3, count, count, arena, &rows);
}

static struct status
forget_waiting(struct store_tx *tx, struct arena *arena, const char *endpoint_id, size_t most, size_t *count)
{
	struct store_rows *rows;
	struct status st = hold_some(tx, arena, endpoint_id, most, &rows);

	*count = status_ok(&st) ? rows_count(rows) : 0;
	if (status_ok(&st))
		st = change_all(tx, arena, &FORGET, rows);
	return status_ok(&st) ? change_all(tx, arena, &DROP, rows) : st;
}

static struct status
forget_tried(struct store_tx *tx, struct arena *arena, const char *endpoint_id, size_t most, size_t *count)
{
	struct store_rows *rows;
	struct status st =
	    store_query(tx, &FORGET_ATTEMPTS, STORE_PARAMS(store_text(endpoint_id), store_i64((int64_t)most)),
	                most, arena, &rows);

	*count = status_ok(&st) ? rows_count(rows) : 0;
	return status_ok(&st) ? change_all(tx, arena, &FORGET, rows) : st;
}

/* Each delivery waits, is lost, or has an attempt. */
struct status
waiting_forget(struct store_tx *tx, struct arena *arena, const char *endpoint_id, size_t most, bool *is_over)
{
	size_t waiting = 0, tried = 0;
	int64_t lost = 0;
	struct status st = forget_waiting(tx, arena, endpoint_id, most, &waiting);

	if (status_ok(&st))
		st = forget_tried(tx, arena, endpoint_id, most, &tried);
	if (status_ok(&st))
		st = store_exec(tx, &FORGET_LOST, STORE_PARAMS(store_text(endpoint_id), store_i64((int64_t)most)),
		                &lost);
	*is_over = status_ok(&st) && waiting < most && tried < most && (size_t)lost < most;
	return st;
}
