/*
 * delivery_rows: see delivery_rows.h.
 */
#include "delivery_rows.h"

#include <string.h>

#include "base/id.h"
#include "order.h"

#define COLS      10
#define WAIT_COLS 9

static const char *const COLUMNS[COLS] = {"id",       "tenant_id",  "endpoint_id", "sequence",
                                          "event_id", "event_type", "order_key",   "created_at",
                                          "state",    "finished_at"};
static const char *const WAIT_COLUMNS[WAIT_COLS] = {
    "id", "tenant_id", "endpoint_id", "sequence", "order_key", "created_at", "attempts", "tries", "due_at"};

void
delivery_rows_init(struct delivery_rows *rows, const struct service_env *env, struct arena *arena,
                   int64_t now_ms)
{
	*rows = (struct delivery_rows){.env = env, .arena = arena, .now_ms = now_ms};
}

static struct store_value *
next_row(struct arena *arena, struct row_list *list, size_t columns)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 64;
		struct store_value *values = ARENA_ARRAY(arena, struct store_value, capacity * columns);
		if (list->count > 0)
			memcpy(values, list->values, sizeof(*values) * list->count * columns);
		list->values = values;
		list->capacity = capacity;
	}
	return &list->values[list->count++ * columns];
}

static struct store_value
order_value(const struct subscription *subscription, const Event *event, struct filter_event *parsed)
{
	int64_t key;
	bool has_key = subscription->order_by && order_key(subscription->order_by, event->subject, parsed, &key);
	return has_key ? store_i64(key) : store_null();
}

void
delivery_rows_add(struct delivery_rows *rows, const char *tenant, const struct subscription *subscription,
                  const Event *event, struct filter_event *parsed)
{
	struct id id = id_make("dlv", rows->env->clock, rows->env->random);
	struct store_value *row = next_row(rows->arena, &rows->made, COLS);

	row[0] = store_text(arena_strdup(rows->arena, id.text));
	row[1] = store_text(tenant);
	row[2] = store_text(subscription->endpoint);
	row[3] = store_i64((int64_t)event->sequence);
	row[4] = store_text(event->id);
	row[5] = store_text(event->type);
	row[6] = order_value(subscription, event, parsed);
	row[7] = store_i64(rows->now_ms);
	row[8] = store_i64(subscription->is_disabled ? CORBEL__V1__DELIVERY_STATE__SKIPPED : 0);
	row[9] = subscription->is_disabled ? store_i64(rows->now_ms) : store_null();
	if (subscription->is_disabled)
		return;
	struct store_value *wait = next_row(rows->arena, &rows->waiting, WAIT_COLS);
	memcpy(wait, row, sizeof(*row) * 4);
	wait[4] = row[6];
	wait[5] = wait[8] = row[7];
	wait[6] = wait[7] = store_i64(0);
}

struct status
delivery_rows_insert(const struct delivery_rows *rows, struct store_tx *tx)
{
	struct status st =
	    store_bulk_insert(tx, "deliveries", COLUMNS, COLS, rows->made.values, rows->made.count);
	return status_ok(&st) ? store_bulk_insert(tx, "waiting", WAIT_COLUMNS, WAIT_COLS, rows->waiting.values,
	                                          rows->waiting.count)
	                      : st;
}
