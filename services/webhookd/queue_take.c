/*
 * queue_take: leases for messages that were found due, several in a statement.
 */
#include <string.h>

#include "queue_internal.h"

#define TAKE_PARAMS 4

/* c3 is when the lease begins, c4 when it ends. */
static const struct store_sql QUEUE_TAKE = {
    "queue_take",
    "UPDATE waiting SET attempts = attempts + 1, tries = tries + 1, leased_at = given.c3, due_at = given.c4"
    " FROM @each@ WHERE id = given.c1 AND attempts = given.c2"
    " RETURNING id, attempts, (SELECT e.message FROM events e WHERE e.tenant_id = waiting.tenant_id"
    " AND e.sequence = waiting.sequence)"};

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

struct status
queue_take(struct store_tx *tx, struct arena *arena, const struct held *held, size_t count,
           const struct lease_request *request, QueueMessage **out)
{
	struct store_value *sets = ARENA_ARRAY(arena, struct store_value, count * TAKE_PARAMS + 1);
	struct store_rows *rows;

	for (size_t i = 0; i < count; i++) {
		struct store_value *set = &sets[i * TAKE_PARAMS];
		set[0] = store_text(held[i].delivery_id);
		set[1] = store_i64(held[i].number);
		set[2] = store_i64(request->now_ms);
		set[3] = store_i64(request->until_ms);
	}
	struct status st = store_query_each(tx, &QUEUE_TAKE, sets, TAKE_PARAMS, count, count, arena, &rows);
	for (size_t r = 0; status_ok(&st) && r < rows_count(rows); r++) {
		size_t at = place_of(held, count, row_text(rows, r, 0));
		if (at < count)
			st = message_from_row(arena, rows, r, request->until_ms, &out[at]);
	}
	return st;
}
