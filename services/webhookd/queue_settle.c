/*
 * queue_settle: what holders of leases say of them.
 *
 * Rows are locked in the order of their ids, so that two that settle the same ones wait for each other.
 */
#include <stdlib.h>
#include <string.h>

#include "queue_internal.h"

typedef Corbel__V1__ReceiptResult ReceiptResult;

static const struct store_sql HELD_READ = {
    "held_read",
    "SELECT event_id, event_type, state, attempts, tries, leased_at, order_key FROM delivery_states"
    " WHERE id = $1 AND endpoint_id = $2"};
#define UNDER_LEASE " WHERE id = $1 AND attempts = $2 AND leased_at IS NOT NULL"
/* $3 is the queue. Locked in the order of their ids before they go. */
static const struct store_sql HELD_ACK = {
    "held_ack", "DELETE FROM waiting WHERE id IN (SELECT w.id FROM waiting w WHERE (w.id, w.attempts,"
                " w.endpoint_id) IN (SELECT c1, c2, c3 FROM @each@) AND w.leased_at IS NOT NULL"
                " ORDER BY w.id @lock@) RETURNING id, attempts, leased_at, order_key, tries,"
                " (SELECT event_id FROM deliveries d WHERE d.id = waiting.id),"
                " (SELECT event_type FROM deliveries d WHERE d.id = waiting.id)"};
static const struct store_sql HELD_NACK = {"held_nack",
                                           "UPDATE waiting SET due_at = $3, leased_at = NULL" UNDER_LEASE};
/* Not one that has ended: others may have been leased in its place. */
static const struct store_sql HELD_EXTEND = {"held_extend",
                                             "UPDATE waiting SET due_at = $3" UNDER_LEASE " AND due_at > $4"};

/* A receipt of the request, where its result goes. */
struct item {
	struct receipt receipt;
	ReceiptResult *result;
};

static int
by_delivery(const void *a, const void *b)
{
	return strcmp(((const struct item *)a)->receipt.delivery_id,
	              ((const struct item *)b)->receipt.delivery_id);
}

struct settling {
	const struct webhookd *self;
	struct store_tx *tx;
	struct arena *arena;
	const struct queue *queue;
	const struct settlement *what;
	struct held_log log;
};

static struct status
change(struct settling *s, const struct store_sql *sql, const struct held *held, int64_t time, bool *is_done)
{
	int64_t changed = 0;
	struct status st = store_exec(
	    s->tx, sql, STORE_PARAMS(store_text(held->delivery_id), store_i64(held->number), store_i64(time)),
	    &changed);
	*is_done = changed > 0;
	return st;
}

static int64_t
wait_of(const struct settling *s, const struct held *held)
{
	uint64_t wait_ms = 0;

	if (s->what->has_delay)
		return s->what->delay_ms;
	(void)schedule_next(&s->queue->schedule, held->tries, 0, s->self->env.random, &wait_ms);
	return (int64_t)wait_ms;
}

static struct status
nack(struct settling *s, const struct held *held, ReceiptResult *result, bool *is_done)
{
	int64_t until = s->what->now_ms + wait_of(s, held);
	bool is_last = held_is_last(s->queue, held);
	struct status st =
	    is_last ? held_exhaust(s->self, s->tx, s->arena, s->queue, held, s->what->now_ms, "nack", is_done)
	            : change(s, &HELD_NACK, held, until, is_done);

	if (*is_done)
		held_log_add(&s->log, s->queue, held, s->what->now_ms, "nack", s->what->reason);
	if (status_ok(&st) && *is_done && !is_last)
		st = held_tell(s->self, s->tx, s->arena, s->queue, held, "nack", until);
	result->has_until = *is_done && !is_last;
	result->until = until;
	return st;
}

static struct status
extend(struct settling *s, const struct held *held, ReceiptResult *result, bool *is_done)
{
	int64_t changed = 0;

	result->until = s->what->now_ms + s->what->delay_ms;
	struct status st = store_exec(s->tx, &HELD_EXTEND,
	                              STORE_PARAMS(store_text(held->delivery_id), store_i64(held->number),
	                                           store_i64(result->until), store_i64(s->what->now_ms)),
	                              &changed);
	*is_done = changed > 0;
	result->has_until = *is_done;
	return st;
}

static struct status
apply(struct settling *s, const struct held *held, ReceiptResult *result, bool *is_done)
{
	*is_done = false;
	switch (s->what->what) {
	case QUEUE_NACK:
		return nack(s, held, result, is_done);
	case QUEUE_EXTEND:
		return extend(s, held, result, is_done);
	case QUEUE_ACK:
		break; /* ack_some() has had it */
	}
	return status_ok_value();
}

static struct status
settle_one(struct settling *s, struct item *item)
{
	struct store_rows *rows;
	bool is_done = false;
	struct status st = store_query(
	    s->tx, &HELD_READ, STORE_PARAMS(store_text(item->receipt.delivery_id), store_text(s->queue->id)), 1,
	    s->arena, &rows);

	if (!status_ok(&st) || rows_count(rows) == 0)
		return st;
	struct held held = {.delivery_id = item->receipt.delivery_id,
	                    .event_id = row_text(rows, 0, 0),
	                    .event_type = row_text(rows, 0, 1),
	                    .number = item->receipt.number,
	                    .tries = (uint32_t)row_i64(rows, 0, 4),
	                    .leased_at = row_i64(rows, 0, 5),
	                    .has_order_key = !row_is_null(rows, 0, 6),
	                    .order_key = row_i64(rows, 0, 6)};
	bool is_newest = row_i64(rows, 0, 3) == item->receipt.number;
	if (is_newest && row_i64(rows, 0, 2) == CORBEL__V1__DELIVERY_STATE__PENDING)
		st = apply(s, &held, item->result, &is_done);
	else if (is_newest && s->what->what == QUEUE_ACK)
		/* Said again: only this lease's ack can have delivered it. */
		is_done = row_i64(rows, 0, 2) == CORBEL__V1__DELIVERY_STATE__DELIVERED;
	item->result->outcome =
	    is_done ? CORBEL__V1__RECEIPT_OUTCOME__ACCEPTED : CORBEL__V1__RECEIPT_OUTCOME__STALE;
	return st;
}

/* ---- several acks at once ---- */

static struct status
note_ack(struct settling *s, const struct store_rows *rows, size_t row, struct item *items, size_t count)
{
	struct held held = {.delivery_id = row_text(rows, row, 0),
	                    .number = (uint32_t)row_i64(rows, row, 1),
	                    .leased_at = row_i64(rows, row, 2),
	                    .has_order_key = !row_is_null(rows, row, 3),
	                    .order_key = row_i64(rows, row, 3),
	                    .tries = (uint32_t)row_i64(rows, row, 4),
	                    .event_id = row_text(rows, row, 5),
	                    .event_type = row_text(rows, row, 6)};

	for (size_t i = 0; i < count; i++)
		if (items[i].receipt.number == held.number &&
		    strcmp(items[i].receipt.delivery_id, held.delivery_id) == 0)
			items[i].result->outcome = CORBEL__V1__RECEIPT_OUTCOME__ACCEPTED;
	held_log_add(&s->log, s->queue, &held, s->what->now_ms, NULL, NULL);
	struct status st = held_tell(s->self, s->tx, s->arena, s->queue, &held, NULL, 0);
	return status_ok(&st) ? held_let_next(s->tx, s->queue, &held, s->what->now_ms) : st;
}

static struct status
ack_some(struct settling *s, struct item *items, size_t count)
{
	struct store_value *sets = ARENA_ARRAY(s->arena, struct store_value, count * 3 + 1);
	struct store_rows *rows;

	for (size_t i = 0; i < count; i++) {
		sets[i * 3] = store_text(items[i].receipt.delivery_id);
		sets[i * 3 + 1] = store_i64(items[i].receipt.number);
		sets[i * 3 + 2] = store_text(s->queue->id);
	}
	struct status st = store_query_each(s->tx, &HELD_ACK, sets, 3, count, count, s->arena, &rows);
	for (size_t r = 0; status_ok(&st) && r < rows_count(rows); r++)
		st = note_ack(s, rows, r, items, count);
	return st;
}

struct status
queue_settle(const struct webhookd *self, struct store_tx *tx, struct arena *arena, const struct queue *queue,
             const struct settlement *settlement, char *const *receipts, size_t count, ReceiptResult ***out)
{
	struct settling settling = {.self = self, .tx = tx, .arena = arena, .queue = queue, .what = settlement};
	struct item *items = ARENA_ARRAY(arena, struct item, count);
	struct status st = status_ok_value();
	size_t known = 0;

	held_log_init(&settling.log, arena, count);
	*out = ARENA_ARRAY(arena, ReceiptResult *, count);
	for (size_t i = 0; i < count; i++) {
		ReceiptResult *result = (*out)[i] = ARENA_NEW(arena, ReceiptResult);
		corbel__v1__receipt_result__init(result);
		result->receipt = receipts[i];
		result->has_outcome = true;
		result->outcome = CORBEL__V1__RECEIPT_OUTCOME__UNKNOWN;
		items[known].result = result;
		known += receipt_parse(receipts[i], strlen(receipts[i]), &items[known].receipt);
	}
	qsort(items, known, sizeof(*items), by_delivery);
	if (settlement->what == QUEUE_ACK)
		st = ack_some(&settling, items, known);
	for (size_t i = 0; i < known && status_ok(&st); i++)
		if (items[i].result->outcome != CORBEL__V1__RECEIPT_OUTCOME__ACCEPTED)
			st = settle_one(&settling, &items[i]);
	return status_ok(&st) ? held_log_insert(&settling.log, tx) : st;
}
