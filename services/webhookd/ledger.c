/*
 * ledger: see ledger.h.
 */
#include "ledger.h"

#include <string.h>

#define HOLD_WIDTH 8

/* `owner` and `token` are checked again under the row's lock, which is what decides between two replicas. */
static const struct store_sql CLAIM_FIND = {
    "claim_find", "SELECT id FROM endpoints WHERE next_at <= $1 AND owner_until < $1 AND disabled = 0"
                  " ORDER BY next_at LIMIT $2 @claim@"};
static const struct store_sql CLAIM_LOOK = {
    "claim_look",
    "SELECT 1 FROM endpoints WHERE next_at <= $1 AND owner_until < $1 AND disabled = 0 LIMIT 1"};
static const struct store_sql CLAIM_TAKE = {
    "claim_take",
    "UPDATE endpoints SET owner = $2, owner_token = owner_token + 1, owner_until = $3 WHERE id = $1 AND"
    " owner_until < $4 RETURNING id, tenant_id, owner_token, version, failing_since, secret, previous_secret,"
    " previous_until, message"};
static const struct store_sql CLAIM_RENEW = {
    "claim_renew",
    "UPDATE endpoints SET owner_until = $3 WHERE id = $1 AND owner_token = $2 AND disabled = 0"
    " RETURNING id, tenant_id, owner_token, version, failing_since, secret, previous_secret, previous_until,"
    " message"};
/* Not while somebody adds a delivery to it, whose row refers to it until the commit: that would be due at a
 * time that nobody knows. Whoever adds one later finds what is written here. */
static const struct store_sql RELEASE_LOCK = {
    "release_lock", "SELECT id FROM endpoints WHERE id = $1 AND owner_token = $2 @claim@"};
static const struct store_sql RELEASE_NEXT = {"release_next",
                                              "SELECT MIN(due_at) FROM waiting WHERE endpoint_id = $1"};
static const struct store_sql RELEASE = {
    "release", "UPDATE endpoints SET owner = '', owner_until = 0, next_at = $2 WHERE id = $1"};
static const struct store_sql CLAIM_CHECK = {
    "claim_check", "SELECT owner_token, version FROM endpoints WHERE id = $1 AND disabled = 0"};
static const struct store_sql LOOK = {
    "claim_outlook",
    "SELECT e.id, e.owner_token, e.version, (SELECT MIN(w.due_at) FROM waiting w WHERE w.endpoint_id = e.id)"
    " FROM @each@ JOIN endpoints e ON e.id = given.c1 WHERE e.disabled = 0"};
/* Another of its key waits before it. */
#define BEHIND                                                                                               \
	"EXISTS (SELECT 1 FROM waiting p WHERE p.endpoint_id = d.endpoint_id"                                    \
	" AND p.order_key = d.order_key AND p.sequence < d.sequence)"
/* The sub-selects keep the values from PostgreSQL's planner, which would otherwise, before it has seen the
 * table full, take the backlog for short: read all of it and sort. */
static const struct store_sql DUE_ANY = {
    "due_any",
    "SELECT d.id, d.attempts, d.tries, d.due_at, d.sequence, e.message, d.order_key, CASE WHEN d.order_key IS"
    " NOT NULL AND " BEHIND " THEN 1 ELSE 0 END FROM (SELECT * FROM waiting WHERE endpoint_id = (SELECT $1)"
    " AND due_at <= (SELECT $2) AND (due_at, sequence) > ((SELECT $4), (SELECT $5)) ORDER BY due_at, sequence"
    " LIMIT (SELECT $3)) AS d JOIN events e ON e.tenant_id = d.tenant_id AND e.sequence = d.sequence"
    " ORDER BY d.due_at, d.sequence"};
static const struct store_sql DUE_FIRST = {
    "due_first",
    "SELECT d.id, d.attempts, d.tries, d.due_at, d.sequence, e.message, d.order_key, 0 FROM waiting d"
    " JOIN events e ON e.tenant_id = d.tenant_id AND e.sequence = d.sequence"
    " WHERE d.endpoint_id = (SELECT $1) ORDER BY d.sequence LIMIT 1"};
/* Looks as far as DUE_ANY does at most, so that a turn costs a bounded time. */
static const struct store_sql PARK = {
    "park", "UPDATE waiting SET due_at = $3 WHERE id IN (SELECT d.id FROM"
            " (SELECT id, endpoint_id, order_key, sequence FROM waiting WHERE endpoint_id = $1"
            " AND due_at <= $2 ORDER BY due_at, sequence LIMIT 1000) d WHERE d.order_key IS NOT NULL"
            " AND " BEHIND ")"};
static const struct store_sql UNPARK = {
    "unpark", "UPDATE waiting SET due_at = $3 WHERE due_at = $4 AND id = (SELECT id FROM waiting"
              " WHERE endpoint_id = $1 AND order_key = $2 ORDER BY sequence LIMIT 1)"};
/* HOLD_WIDTH ids. */
static const struct store_sql HOLD = {
    "hold", "SELECT id, owner_token FROM endpoints WHERE id IN ($1, $2, $3, $4, $5, $6, $7, $8) ORDER BY id"
            " @lock@"};
static const struct store_sql FAILING_SET = {
    "failing_set", "UPDATE endpoints SET failing_since = $3 WHERE id = $1 AND owner_token = $2"};
static const struct store_sql SWEEP = {
    "sweep", "UPDATE endpoints SET next_at = $1 WHERE next_at > $1 AND disabled = 0 AND pulled = 0 AND id IN"
             " (SELECT endpoint_id FROM waiting WHERE due_at < $2)"};
/* ---- claims ---- */

static struct status
claim_from_row(struct webhookd *self, struct arena *arena, const struct store_rows *rows, struct claim *out)
{
	*out = (struct claim){
	    .endpoint_id = row_text(rows, 0, 0),
	    .tenant_id = row_text(rows, 0, 1),
	    .token = row_i64(rows, 0, 2),
	    .version = row_i64(rows, 0, 3),
	    .is_failing = !row_is_null(rows, 0, 4),
	    .failing_since = row_i64(rows, 0, 4),
	    .previous_until = row_i64(rows, 0, 7),
	    .endpoint = (Endpoint *)unpacked(arena, &corbel__v1__endpoint__descriptor, rows, 0, 8),
	};
	out->has_key = secret_open(self, arena, rows, 0, 5, &out->key);
	out->has_previous_key = secret_open(self, arena, rows, 0, 6, &out->previous_key);
	return out->endpoint ? status_ok_value()
	                     : status_make(STATUS_DATA_LOSS, "a stored endpoint cannot be read");
}

struct status
ledger_has_claims(struct store_conn *conn, struct arena *arena, int64_t now_ms, bool *out)
{
	struct store_rows *rows;
	struct status st = store_read(conn, &CLAIM_LOOK, STORE_PARAMS(store_i64(now_ms)), 1, arena, &rows);
	*out = status_ok(&st) && rows_count(rows) > 0;
	return st;
}

struct status
ledger_claim(struct webhookd *self, struct store_tx *tx, struct arena *arena, const char *owner,
             int64_t now_ms, int64_t until_ms, size_t most, struct claim **out, size_t *count)
{
	struct store_rows *found, *rows;
	struct status st = store_query(tx, &CLAIM_FIND, STORE_PARAMS(store_i64(now_ms), store_i64((int64_t)most)),
	                               most, arena, &found);

	*count = 0;
	if (!status_ok(&st))
		return st;
	*out = ARENA_ARRAY(arena, struct claim, rows_count(found) + 1);
	for (size_t i = 0; i < rows_count(found) && status_ok(&st); i++) {
		st = store_query(tx, &CLAIM_TAKE,
		                 STORE_PARAMS(store_text(row_text(found, i, 0)), store_text(owner),
		                              store_i64(until_ms), store_i64(now_ms)),
		                 1, arena, &rows);
		if (!status_ok(&st) || rows_count(rows) == 0)
			continue;
		/* One that cannot be read is nobody's, and its lease keeps it from being tried all the time. */
		struct status read = claim_from_row(self, arena, rows, &(*out)[*count]);
		if (status_ok(&read))
			(*count)++;
		else
			log_error(self->env.log, "endpoint cannot be read", LOG_TEXT("endpoint", row_text(rows, 0, 0)),
			          LOG_STATUS(&read));
	}
	return st;
}

struct status
ledger_renew(struct webhookd *self, struct store_tx *tx, struct arena *arena, const char *endpoint_id,
             int64_t token, int64_t until_ms, struct claim *out)
{
	struct store_rows *rows;
	struct status st = store_query(
	    tx, &CLAIM_RENEW, STORE_PARAMS(store_text(endpoint_id), store_i64(token), store_i64(until_ms)), 1,
	    arena, &rows);

	if (status_ok(&st) && rows_count(rows) == 0)
		return status_make(STATUS_NOT_FOUND, "the endpoint is another's");
	return status_ok(&st) ? claim_from_row(self, arena, rows, out) : st;
}

struct status
ledger_release(struct store_tx *tx, struct arena *arena, const char *endpoint_id, int64_t token,
               int64_t not_before_ms, bool *is_released)
{
	struct store_rows *rows;
	int64_t next = NEVER_MS;
	struct status st = store_query(tx, &RELEASE_LOCK, STORE_PARAMS(store_text(endpoint_id), store_i64(token)),
	                               1, arena, &rows);

	*is_released = status_ok(&st) && rows_count(rows) > 0;
	if (!*is_released)
		return st;
	st = store_query(tx, &RELEASE_NEXT, STORE_PARAMS(store_text(endpoint_id)), 1, arena, &rows);
	if (status_ok(&st) && rows_count(rows) > 0 && !row_is_null(rows, 0, 0))
		next = row_i64(rows, 0, 0) > not_before_ms ? row_i64(rows, 0, 0) : not_before_ms;
	if (status_ok(&st))
		st = store_exec(tx, &RELEASE, STORE_PARAMS(store_text(endpoint_id), store_i64(next)), NULL);
	return st;
}

struct status
ledger_look(struct store_conn *conn, struct arena *arena, const struct store_value *ids, size_t count,
            struct outlook **out, size_t *found)
{
	struct store_rows *rows;
	struct status st = store_read_each(conn, &LOOK, ids, 1, count, count, arena, &rows);

	*found = status_ok(&st) ? rows_count(rows) : 0;
	*out = ARENA_ARRAY(arena, struct outlook, *found + 1);
	for (size_t r = 0; r < *found; r++)
		(*out)[r] = (struct outlook){.endpoint_id = row_text(rows, r, 0),
		                             .token = row_i64(rows, r, 1),
		                             .version = row_i64(rows, r, 2),
		                             .next_at = row_is_null(rows, r, 3) ? NEVER_MS : row_i64(rows, r, 3)};
	return st;
}

/* ---- deliveries ---- */

static void
take_due(struct arena *arena, const struct store_rows *rows, int64_t now_ms, struct due_list *out)
{
	out->seen = rows_count(rows);
	out->items = ARENA_ARRAY(arena, struct due, rows_count(rows) + 1);
	for (size_t r = 0; r < rows_count(rows); r++) {
		struct due due = {.delivery_id = row_text(rows, r, 0),
		                  .attempts = (uint32_t)row_i64(rows, r, 1),
		                  .tries = (uint32_t)row_i64(rows, r, 2),
		                  .due_at = row_i64(rows, r, 3),
		                  .sequence = (uint64_t)row_i64(rows, r, 4)};
		due.event = row_bytes(rows, r, 5, &due.event_size);
		due.has_order_key = !row_is_null(rows, r, 6);
		due.order_key = row_i64(rows, r, 6);
		if (due.due_at > now_ms)
			out->next_at = due.due_at;
		else if (row_i64(rows, r, 7) != 0)
			out->has_blocked = true;
		else
			out->items[out->count++] = due;
	}
}

struct status
ledger_due(struct store_conn *conn, struct arena *arena, const struct due_query *query, struct due_list *out)
{
	const char *endpoint_id = query->endpoint_id;
	struct store_rows *rows;
	struct status st = store_read(conn, &CLAIM_CHECK, STORE_PARAMS(store_text(endpoint_id)), 1, arena, &rows);

	*out = (struct due_list){.count = 0};
	if (!status_ok(&st) || rows_count(rows) == 0)
		return st;
	out->token = row_i64(rows, 0, 0);
	out->version = row_i64(rows, 0, 1);
	if (query->is_ordered)
		st = store_read(conn, &DUE_FIRST, STORE_PARAMS(store_text(endpoint_id)), 1, arena, &rows);
	else
		st = store_read(conn, &DUE_ANY,
		                STORE_PARAMS(store_text(endpoint_id), store_i64(query->now_ms),
		                             store_i64((int64_t)query->most), store_i64(query->after.due_at),
		                             store_i64((int64_t)query->after.sequence)),
		                query->most, arena, &rows);
	if (status_ok(&st))
		take_due(arena, rows, query->now_ms, out);
	return st;
}

static void
note_holder(struct ownership *held, size_t count, const char *endpoint_id, int64_t token)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(held[i].endpoint_id, endpoint_id) == 0)
			held[i].is_ours = held[i].token == token;
}

struct status
ledger_hold(struct store_tx *tx, struct arena *arena, struct ownership *held, size_t count)
{
	struct store_value params[HOLD_WIDTH];
	struct status st = status_ok_value();
	struct store_rows *rows;

	for (size_t at = 0; at < count && status_ok(&st); at += HOLD_WIDTH) {
		size_t some = count - at < HOLD_WIDTH ? count - at : HOLD_WIDTH;
		for (size_t i = 0; i < HOLD_WIDTH; i++) {
			if (i < some)
				held[at + i].is_ours = false;
			params[i] = store_text(held[at + (i < some ? i : some - 1)].endpoint_id);
		}
		st = store_query(tx, &HOLD, params, HOLD_WIDTH, HOLD_WIDTH, arena, &rows);
		for (size_t r = 0; status_ok(&st) && r < rows_count(rows); r++)
			note_holder(held + at, some, row_text(rows, r, 0), row_i64(rows, r, 1));
	}
	return st;
}

struct status
ledger_park(struct store_tx *tx, struct arena *arena, const char *endpoint_id, int64_t token, int64_t now_ms)
{
	struct ownership held = {.endpoint_id = endpoint_id, .token = token};
	struct status st = ledger_hold(tx, arena, &held, 1);

	if (!status_ok(&st) || !held.is_ours)
		return st;
	return store_exec(tx, &PARK,
	                  STORE_PARAMS(store_text(endpoint_id), store_i64(now_ms), store_i64(NEVER_MS)), NULL);
}

struct status
ledger_let_next(struct store_tx *tx, const char *endpoint_id, int64_t order_key, int64_t now_ms)
{
	return store_exec(
	    tx, &UNPARK,
	    STORE_PARAMS(store_text(endpoint_id), store_i64(order_key), store_i64(now_ms), store_i64(NEVER_MS)),
	    NULL);
}

struct status
ledger_set_failing(struct store_tx *tx, const char *endpoint_id, int64_t token, const int64_t *since_ms)
{
	return store_exec(tx, &FAILING_SET,
	                  STORE_PARAMS(store_text(endpoint_id), store_i64(token),
	                               since_ms ? store_i64(*since_ms) : store_null()),
	                  NULL);
}

struct status
ledger_sweep(struct store_tx *tx, int64_t now_ms, uint64_t late_ms)
{
	return store_exec(tx, &SWEEP, STORE_PARAMS(store_i64(now_ms), store_i64(now_ms - (int64_t)late_ms)),
	                  NULL);
}
