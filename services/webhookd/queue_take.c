/*
 * queue_take: leases for messages that were found due, several in a statement.
 */
#include <string.h>

#include "queue_internal.h"
#include "queue_pairs.h"

/* $1 is when the lease begins, $2 when it ends. */
static const struct store_sql QUEUE_TAKE = {
    "queue_take",
    "UPDATE deliveries SET attempts = attempts + 1, tries = tries + 1, leased_at = $1, due_at = $2"
    " FROM " QUEUE_PAIRS " WHERE id = pair.column1 AND attempts = pair.column2 AND state = 1"
    " RETURNING id, attempts, (SELECT e.message FROM events e WHERE e.tenant_id = deliveries.tenant_id"
    " AND e.sequence = deliveries.sequence)"};

static struct status
message_from_row(struct arena *arena, const struct store_rows *rows, size_t row, int64_t until_ms,
                 QueueMessage **out)
{
	QueueMessage *message = ARENA_NEW(arena, QueueMessage);
	char receipt[RECEIPT_MAX];

	corbel__v1__queue_message__init(message);
	message->has_attempts = message->has_leased_until = true;
	message->attempts = (uint32_t)row_i64(rows, row, 1);
	message->leased_until = until_ms;
	message->event = (Event *)unpacked(arena, &corbel__v1__event__descriptor, rows, row, 2);
	receipt_format(row_text(rows, row, 0), message->attempts, receipt);
	message->receipt = arena_strdup(arena, receipt);
	*out = message;
	return message->event ? status_ok_value()
	                      : status_make(STATUS_DATA_LOSS, "a stored event cannot be read");
}

static size_t
place_of(const struct held *held, size_t count, const char *delivery_id)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(held[i].delivery_id, delivery_id) == 0)
			return i;
	return count;
}

static struct status
take_some(struct store_tx *tx, struct arena *arena, const struct held *held, size_t count,
          const struct lease_request *request, QueueMessage **out)
{
	struct store_value params[QUEUE_PARAMS] = {store_i64(request->now_ms), store_i64(request->until_ms)};
	struct store_rows *rows;

	for (size_t i = 0; i < QUEUE_WIDTH; i++) {
		const struct held *one = &held[i < count ? i : count - 1];
		params[2 + 2 * i] = store_text(one->delivery_id);
		params[3 + 2 * i] = store_i64(one->number);
	}
	struct status st = store_query(tx, &QUEUE_TAKE, params, QUEUE_PARAMS, QUEUE_WIDTH, arena, &rows);
	for (size_t r = 0; status_ok(&st) && r < rows_count(rows); r++) {
		size_t at = place_of(held, count, row_text(rows, r, 0));
		if (at < count)
			st = message_from_row(arena, rows, r, request->until_ms, &out[at]);
	}
	return st;
}

struct status
queue_take(struct store_tx *tx, struct arena *arena, const struct held *held, size_t count,
           const struct lease_request *request, QueueMessage **out)
{
	struct status st = status_ok_value();

	for (size_t at = 0; at < count && status_ok(&st); at += QUEUE_WIDTH)
		st = take_some(tx, arena, held + at, count - at < QUEUE_WIDTH ? count - at : QUEUE_WIDTH, request,
		               out + at);
	return st;
}
