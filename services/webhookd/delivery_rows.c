/*
 * delivery_rows: see delivery_rows.h.
 */
#include "delivery_rows.h"

#include <string.h>

#include "base/id.h"
#include "order.h"

#define COLS 13

static const char *const COLUMNS[COLS] = {"id",         "tenant_id",   "endpoint_id", "sequence", "event_id",
                                          "event_type", "state",       "attempts",    "tries",    "due_at",
                                          "created_at", "finished_at", "order_key"};

void
delivery_rows_init(struct delivery_rows *rows, const struct service_env *env, struct arena *arena,
                   int64_t now_ms)
{
	*rows = (struct delivery_rows){.env = env, .arena = arena, .now_ms = now_ms};
}

static struct store_value *
next_row(struct delivery_rows *rows)
{
	if (rows->count == rows->capacity) {
		size_t capacity = rows->capacity ? rows->capacity * 2 : 64;
		struct store_value *values = ARENA_ARRAY(rows->arena, struct store_value, capacity * COLS);
		if (rows->count > 0)
			memcpy(values, rows->values, sizeof(*values) * rows->count * COLS);
		rows->values = values;
		rows->capacity = capacity;
	}
	return &rows->values[rows->count++ * COLS];
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
	int64_t state =
	    subscription->is_disabled ? CORBEL__V1__DELIVERY_STATE__SKIPPED : CORBEL__V1__DELIVERY_STATE__PENDING;
	struct store_value *row = next_row(rows);

	row[0] = store_text(arena_strdup(rows->arena, id.text));
	row[1] = store_text(tenant);
	row[2] = store_text(subscription->endpoint);
	row[3] = store_i64((int64_t)event->sequence);
	row[4] = store_text(event->id);
	row[5] = store_text(event->type);
	row[6] = store_i64(state);
	row[7] = row[8] = store_i64(0);
	row[9] = row[10] = store_i64(rows->now_ms);
	row[11] = subscription->is_disabled ? store_i64(rows->now_ms) : store_null();
	row[12] = order_value(subscription, event, parsed);
}

struct status
delivery_rows_insert(const struct delivery_rows *rows, struct store_tx *tx)
{
	return rows->count > 0 ? store_bulk_insert(tx, "deliveries", COLUMNS, COLS, rows->values, rows->count)
	                       : status_ok_value();
}
