/*
 * redeliver: see redeliver.h.
 */
#include "redeliver.h"

#include "waiting.h"

/* Held, so that nobody gives it back or disables it before what is added is there. */
static const struct store_sql TARGET = {
    "redeliver_target", "SELECT tenant_id, disabled, pulled, message FROM endpoints WHERE id = $1 @lock@"};
static const struct store_sql FIND = {"redeliver_find",
                                      "SELECT id, state FROM delivery_states WHERE tenant_id = $1 AND "
                                      "event_id = $2 AND endpoint_id = $3 LIMIT 1"};

struct status
target_read(struct store_tx *tx, struct arena *arena, const char *id, struct target *out)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &TARGET, STORE_PARAMS(store_text(id)), 1, arena, &rows);

	if (!status_ok(&st))
		return st;
	if (rows_count(rows) == 0)
		return scope_not_found("endpoint");
	*out = (struct target){
	    .id = id,
	    .tenant = row_text(rows, 0, 0),
	    .is_disabled = row_i64(rows, 0, 1) != 0,
	    .is_pulled = row_i64(rows, 0, 2) != 0,
	    .endpoint = (Endpoint *)unpacked(arena, &corbel__v1__endpoint__descriptor, rows, 0, 3),
	};
	return out->endpoint ? st : status_make(STATUS_DATA_LOSS, "a stored endpoint cannot be read");
}

struct status
redelivery_begin(const struct webhookd *self, struct store_tx *tx, struct arena *arena,
                 const struct target *target, int64_t now_ms, struct redelivery *out)
{
	*out = (struct redelivery){.tx = tx, .arena = arena, .target = target};
	delivery_rows_init(&out->rows, &self->env, arena, now_ms);
	return subscription_init(target->endpoint, target->id, target->is_disabled, target->is_pulled,
	                         &out->subscription);
}

/* A delivery that there was. */
static struct status
again(struct redelivery *redelivery, const char *delivery_id, int64_t state)
{
	size_t made;

	if (state == CORBEL__V1__DELIVERY_STATE__DELIVERED && redelivery->skips_delivered)
		return status_ok_value();
	/* What waits, is under way, or is leased, is left alone: it ends as it ends. */
	struct status st =
	    waiting_again(redelivery->tx, redelivery->arena, &delivery_id, 1, redelivery->rows.now_ms, &made);
	redelivery->count += made;
	return st;
}

static struct status
deliver(struct redelivery *redelivery, const Event *event, struct filter_event *parsed)
{
	const struct target *target = redelivery->target;
	struct store_rows *rows;
	struct status st =
	    store_query(redelivery->tx, &FIND,
	                STORE_PARAMS(store_text(target->tenant), store_text(event->id), store_text(target->id)),
	                1, redelivery->arena, &rows);

	if (!status_ok(&st))
		return st;
	if (rows_count(rows) > 0)
		return again(redelivery, row_text(rows, 0, 0), row_i64(rows, 0, 1));
	delivery_rows_add(&redelivery->rows, target->tenant, &redelivery->subscription, event, parsed);
	redelivery->count++;
	return st;
}

struct status
redelivery_add(struct redelivery *redelivery, const Event *event, bool is_forced)
{
	struct status st = status_ok_value();
	struct filter_event parsed;

	filter_event_init(&parsed, event->type, (const char *)event->data.data, event->data.len);
	if (is_forced || subscription_wants(&redelivery->subscription, event, &parsed))
		st = deliver(redelivery, event, &parsed);
	filter_event_fini(&parsed);
	return st;
}

struct status
redelivery_end(struct redelivery *redelivery, struct status st)
{
	if (status_ok(&st))
		st = delivery_rows_insert(&redelivery->rows, redelivery->tx);
	if (status_ok(&st) && redelivery->count > 0)
		st = waiting_due(redelivery->tx, redelivery->target->id, redelivery->rows.now_ms);
	subscription_fini(&redelivery->subscription);
	return st;
}
