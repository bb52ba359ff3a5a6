/*
 * queue_lease: finding what is due and leasing it.
 */
#include <string.h>

#include "queue_internal.h"

#define LEASED_MAX  1000u
#define REPLY_BYTES (4u << 20) /* of events, in one lease, and one more */
#define SWEEP_MAX   200

static const struct store_sql QUEUE_READ = {
    "queue_read", "SELECT tenant_id, disabled, message FROM endpoints WHERE id = $1 AND pulled = 1"};
static const struct store_sql QUEUE_LOOK = {
    "queue_look", "SELECT 1 FROM waiting WHERE endpoint_id = $1 AND due_at <= $2 LIMIT 1"};
/* Updating a row to what it is locks it, on either database, and lets inserts of deliveries pass. */
static const struct store_sql QUEUE_LOCK = {
    "queue_lock",
    "UPDATE endpoints SET owner_until = owner_until WHERE id = $1 AND disabled = 0 RETURNING id"};
static const struct store_sql QUEUE_LEASED = {
    "queue_leased", "SELECT COUNT(*) FROM waiting WHERE endpoint_id = $1 AND leased_at IS NOT NULL"
                    " AND due_at > $2"};
#define FOUND_COLUMNS "d.id, e.id, e.type, d.attempts, d.tries, d.leased_at, d.due_at, d.order_key"
#define EVENT_JOIN    " JOIN events e ON e.tenant_id = d.tenant_id AND e.sequence = d.sequence"
/* Another of its key waits before it. */
#define BEHIND                                                                                               \
	"EXISTS (SELECT 1 FROM waiting p WHERE p.endpoint_id = d.endpoint_id"                                    \
	" AND p.order_key = d.order_key AND p.sequence < d.sequence)"
static const struct store_sql QUEUE_DUE = {
    "queue_due",
    "SELECT " FOUND_COLUMNS ", LENGTH(e.message) FROM (SELECT id, tenant_id, sequence, attempts, tries,"
    " leased_at, due_at, order_key FROM waiting d WHERE endpoint_id = $1"
    " AND due_at <= $2 AND (order_key IS NULL OR NOT " BEHIND
    ") ORDER BY due_at, sequence LIMIT $3 @claim@) AS d" EVENT_JOIN " ORDER BY d.due_at, d.sequence"};
/* The first of all, whether it is due or not: nothing passes it. */
static const struct store_sql QUEUE_FIRST = {
    "queue_first", "SELECT " FOUND_COLUMNS ", LENGTH(e.message) FROM waiting d" EVENT_JOIN
                   " WHERE d.endpoint_id = (SELECT $1) ORDER BY d.sequence LIMIT 1"};
/* What is due behind another of its key, as far as one turn looks. */
static const struct store_sql QUEUE_PARK = {
    "queue_park",
    "UPDATE waiting SET due_at = $3 WHERE leased_at IS NULL AND id IN (SELECT d.id FROM"
    " (SELECT id, endpoint_id, order_key, sequence FROM waiting WHERE endpoint_id = $1"
    " AND due_at <= $2 ORDER BY due_at, sequence LIMIT 1000) d WHERE d.order_key IS NOT NULL AND " BEHIND
    ")"};
static const struct store_sql QUEUE_ENDED = {
    "queue_ended", "SELECT " FOUND_COLUMNS
                   " FROM (SELECT id, tenant_id, sequence, attempts, tries, leased_at, due_at, order_key"
                   " FROM waiting WHERE endpoint_id = $1 AND leased_at IS NOT NULL AND due_at <= $2"
                   " AND tries > $3 ORDER BY due_at LIMIT $4 @claim@) AS d" EVENT_JOIN " ORDER BY d.due_at"};
static const struct store_sql QUEUES_ENDED = {
    "queues_ended", "SELECT DISTINCT endpoint_id FROM waiting WHERE leased_at IS NOT NULL"
                    " AND due_at <= $1 LIMIT $2"};

/* ---- the queue ---- */

struct status
queue_read(struct store_conn *conn, struct arena *arena, const char *id, struct queue *out)
{
	struct store_rows *rows;
	struct status st = store_read(conn, &QUEUE_READ, STORE_PARAMS(store_text(id)), 1, arena, &rows);

	if (!status_ok(&st))
		return st;
	if (rows_count(rows) == 0)
		return scope_not_found("queue");
	const Endpoint *endpoint = (Endpoint *)unpacked(arena, &corbel__v1__endpoint__descriptor, rows, 0, 2);
	if (!endpoint)
		return status_make(STATUS_DATA_LOSS, "a stored endpoint cannot be read");
	*out = (struct queue){.id = arena_strdup(arena, id),
	                      .tenant = row_text(rows, 0, 0),
	                      .is_disabled = row_i64(rows, 0, 1) != 0,
	                      .is_ordered = endpoint->has_ordered && endpoint->ordered,
	                      .is_keyed = endpoint->order_by != NULL,
	                      .leased_max = endpoint->has_concurrency ? endpoint->concurrency : LEASED_MAX};
	schedule_init(&out->schedule, endpoint->retry_ms, endpoint->n_retry_ms);
	return st;
}

struct status
queue_has_due(struct store_conn *conn, struct arena *arena, const struct queue *queue, int64_t now_ms,
              bool *out)
{
	struct store_rows *rows;
	struct status st = store_read(conn, &QUEUE_LOOK, STORE_PARAMS(store_text(queue->id), store_i64(now_ms)),
	                              1, arena, &rows);
	*out = status_ok(&st) && rows_count(rows) > 0;
	return st;
}

/* ---- what is due ---- */

static struct held
held_from_row(const struct store_rows *rows, size_t row)
{
	return (struct held){.delivery_id = row_text(rows, row, 0),
	                     .event_id = row_text(rows, row, 1),
	                     .event_type = row_text(rows, row, 2),
	                     .number = (uint32_t)row_i64(rows, row, 3),
	                     .tries = (uint32_t)row_i64(rows, row, 4),
	                     .leased_at = row_i64(rows, row, 5),
	                     .was_leased = !row_is_null(rows, row, 5),
	                     .ended_at = row_i64(rows, row, 6),
	                     .has_order_key = !row_is_null(rows, row, 7),
	                     .order_key = row_i64(rows, row, 7)};
}

/* How many more may be leased: none while an ordered queue's first one is. */
static struct status
find_room(struct store_tx *tx, struct arena *arena, const struct queue *queue, int64_t now_ms, size_t *room)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &QUEUE_LEASED, STORE_PARAMS(store_text(queue->id), store_i64(now_ms)),
	                               1, arena, &rows);
	size_t leased = status_ok(&st) ? (size_t)row_i64(rows, 0, 0) : 0;
	size_t most = queue->is_ordered ? 1 : queue->leased_max;

	*room = leased < most ? most - leased : 0;
	return st;
}

static struct status
find_due(struct store_tx *tx, struct arena *arena, const struct queue *queue, int64_t now_ms, size_t most,
         struct store_rows **rows)
{
	struct status st = status_ok_value();

	if (queue->is_ordered)
		return store_query(tx, &QUEUE_FIRST, STORE_PARAMS(store_text(queue->id)), 1, arena, rows);
	if (queue->is_keyed)
		st = store_exec(tx, &QUEUE_PARK,
		                STORE_PARAMS(store_text(queue->id), store_i64(now_ms), store_i64(NEVER_MS)), NULL);
	if (!status_ok(&st))
		return st;
	return store_query(tx, &QUEUE_DUE,
	                   STORE_PARAMS(store_text(queue->id), store_i64(now_ms), store_i64((int64_t)most)), most,
	                   arena, rows);
}

/* ---- leasing ---- */

/* The lease before ended without a word, and it was the last one. */
static struct status
give_up(const struct webhookd *self, struct store_tx *tx, const struct queue *queue, const struct held *held,
        int64_t now_ms, struct held_log *log)
{
	bool is_done;
	struct status st = held_exhaust(self, tx, log->arena, queue, held, now_ms, "lease_expired", &is_done);

	if (is_done)
		held_log_add(log, queue, held, held->ended_at, "lease_expired", NULL);
	return st;
}

/* What of the due may be leased now: what has tries left, up to REPLY_BYTES. */
static struct status
choose(const struct webhookd *self, struct store_tx *tx, const struct queue *queue,
       const struct store_rows *rows, int64_t now_ms, struct held_log *log, struct held *chosen,
       size_t *count)
{
	struct status st = status_ok_value();
	size_t bytes = 0;

	for (size_t r = 0; r < rows_count(rows) && status_ok(&st) && bytes < REPLY_BYTES; r++) {
		struct held held = held_from_row(rows, r);
		if (held.ended_at > now_ms)
			break;
		if (held.was_leased && held_is_last(queue, &held)) {
			st = give_up(self, tx, queue, &held, now_ms, log);
			continue;
		}
		chosen[(*count)++] = held;
		bytes += (size_t)row_i64(rows, r, 8);
	}
	return st;
}

struct status
queue_lease(const struct webhookd *self, struct store_tx *tx, struct arena *arena, const struct queue *queue,
            const struct lease_request *request, QueueMessage ***messages, size_t *count)
{
	struct store_rows *rows;
	struct held_log log;
	size_t room = 0;
	int64_t now_ms = request->now_ms;
	struct status st = store_query(tx, &QUEUE_LOCK, STORE_PARAMS(store_text(queue->id)), 1, arena, &rows);

	*count = 0;
	if (!status_ok(&st) || rows_count(rows) == 0)
		return st;
	st = find_room(tx, arena, queue, now_ms, &room);
	if (!status_ok(&st) || room == 0)
		return st;
	st = find_due(tx, arena, queue, now_ms, room < request->most ? room : request->most, &rows);
	if (!status_ok(&st))
		return st;
	size_t found = rows_count(rows), chosen_count = 0;
	struct held *chosen = ARENA_ARRAY(arena, struct held, found + 1);
	QueueMessage **taken = ARENA_ARRAY(arena, QueueMessage *, found + 1);
	held_log_init(&log, arena, found);
	st = choose(self, tx, queue, rows, now_ms, &log, chosen, &chosen_count);
	if (status_ok(&st))
		st = queue_take(tx, arena, chosen, chosen_count, request, taken);
	for (size_t i = 0; i < chosen_count && status_ok(&st); i++) {
		if (!taken[i])
			continue;
		if (chosen[i].was_leased) {
			held_log_add(&log, queue, &chosen[i], chosen[i].ended_at, "lease_expired", NULL);
			st = held_tell(self, tx, arena, queue, &chosen[i], "lease_expired", 0);
		}
		taken[(*count)++] = taken[i];
	}
	*messages = taken;
	return status_ok(&st) ? held_log_insert(&log, tx) : st;
}

/* ---- what nobody fetches ---- */

struct status
queue_expire(const struct webhookd *self, struct store_tx *tx, struct arena *arena, const struct queue *queue,
             int64_t now_ms)
{
	struct store_rows *rows;
	struct held_log log;
	struct status st =
	    store_query(tx, &QUEUE_ENDED,
	                STORE_PARAMS(store_text(queue->id), store_i64(now_ms),
	                             store_i64((int64_t)queue->schedule.count), store_i64(SWEEP_MAX)),
	                SWEEP_MAX, arena, &rows);

	if (!status_ok(&st))
		return st;
	held_log_init(&log, arena, rows_count(rows));
	for (size_t r = 0; r < rows_count(rows) && status_ok(&st); r++) {
		struct held held = held_from_row(rows, r);
		st = give_up(self, tx, queue, &held, now_ms, &log);
	}
	return status_ok(&st) ? held_log_insert(&log, tx) : st;
}

static struct status
sweep_queue(struct webhookd *self, struct store_conn *conn, struct arena *arena, const char *id,
            int64_t now_ms)
{
	struct queue queue;
	struct store_tx tx;
	struct status st = queue_read(conn, arena, id, &queue);

	if (status_ok(&st))
		st = store_begin(conn, &tx);
	return status_ok(&st) ? store_end(&tx, queue_expire(self, &tx, arena, &queue, now_ms)) : st;
}

void
queue_sweep_task(void *arg, struct store_conn *conn)
{
	struct webhookd *self = arg;
	int64_t now_ms = clock_wall_ms(self->env.clock);
	struct store_rows *rows;
	struct arena arena;

	arena_init(&arena, 16u << 10, 64u << 20);
	struct status st = store_read(conn, &QUEUES_ENDED, STORE_PARAMS(store_i64(now_ms), store_i64(SWEEP_MAX)),
	                              SWEEP_MAX, &arena, &rows);
	for (size_t r = 0; status_ok(&st) && r < rows_count(rows); r++) {
		st = sweep_queue(self, conn, &arena, row_text(rows, r, 0), now_ms);
		if (st.code == STATUS_NOT_FOUND)
			st = status_ok_value();
	}
	if (!status_ok(&st))
		log_warn(self->env.log, "ended leases not looked after", LOG_STATUS(&st));
	arena_fini(&arena);
}
