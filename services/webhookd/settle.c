/*
 * settle: what follows from attempts, made durable.
 *
 * A delivery whose attempt was cut off by our own end is not counted: it is due as before.
 */
#include <stdlib.h>
#include <string.h>

#include "courier_internal.h"
#include "mailer.h"
#include "schedule.h"

#define DISABLE_AFTER_MS INT64_C(432000000)

void
courier_register_metrics(struct courier *courier)
{
	static const double SECONDS[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};
	struct metrics *m = courier->self->env.metrics;

	courier->delivered =
	    metrics_counter(m,
	                    &(struct metric_spec){.name = "corbel_webhook_delivered",
	                                          .help = "Deliveries that were answered with 2xx"},
	                    NULL);
	courier->failed = metrics_counter(
	    m, &(struct metric_spec){.name = "corbel_webhook_failed_attempts", .help = "Attempts that failed"},
	    NULL);
	courier->exhausted = metrics_counter(
	    m, &(struct metric_spec){.name = "corbel_webhook_exhausted", .help = "Deliveries given up"}, NULL);
	courier->fenced = metrics_counter(
	    m,
	    &(struct metric_spec){.name = "corbel_webhook_fenced",
	                          .help =
	                              "Attempts not recorded, because the endpoint had become another replica's"},
	    NULL);
	courier->latency =
	    metrics_histogram(m,
	                      &(struct metric_spec){.name = "corbel_webhook_attempt_seconds",
	                                            .help = "Time of an attempt",
	                                            .buckets = SECONDS,
	                                            .bucket_count = sizeof(SECONDS) / sizeof(SECONDS[0])},
	                      NULL);
}

static void
judge(const struct courier *courier, const struct parcel *parcel, struct verdict *out)
{
	const struct lane *lane = parcel->lane;
	struct schedule schedule;
	uint64_t wait_ms;

	*out = (struct verdict){.delivery_id = parcel->delivery_id,
	                        .endpoint_id = lane->endpoint_id,
	                        .number = parcel->attempts + 1,
	                        .attempt = parcel->attempt,
	                        .has_order_key = parcel->has_order_key,
	                        .order_key = parcel->order_key,
	                        .is_success = parcel->end == PARCEL_DELIVERED};
	if (out->is_success) {
		out->state = CORBEL__V1__DELIVERY_STATE__DELIVERED;
		return;
	}
	schedule_init(&schedule, lane->endpoint->retry_ms, lane->endpoint->n_retry_ms);
	if (schedule_next(&schedule, parcel->tries + 1, parcel->retry_after_ms, courier->self->env.random,
	                  &wait_ms)) {
		out->state = CORBEL__V1__DELIVERY_STATE__PENDING;
		out->due_at = clock_wall_ms(courier->self->env.clock) + (int64_t)wait_ms;
	} else {
		out->state = CORBEL__V1__DELIVERY_STATE__EXHAUSTED;
	}
}

/* The store's own troubles pass; others are those of a row. */
static bool
is_of_a_row(const struct status *st)
{
	return !status_ok(st) && st->code != STATUS_UNAVAILABLE && st->code != STATUS_DEADLINE_EXCEEDED &&
	       st->code != STATUS_ABORTED && st->code != STATUS_RESOURCE_EXHAUSTED;
}

static bool
was_cut_off(const struct parcel *parcel)
{
	return parcel->end == PARCEL_CUT_OFF;
}

static struct status
tell(struct courier *courier, struct store_tx *tx, const struct parcel *parcel, const struct verdict *verdict)
{
	const char *type = news_of_try(parcel->event->type, parcel->tries + 1, verdict->is_success,
	                               verdict->state == CORBEL__V1__DELIVERY_STATE__EXHAUSTED);

	if (!type)
		return status_ok_value();
	return tell_attempt(courier->self, tx, &courier->arena, type,
	                    &(struct tried){.tenant = parcel->lane->share->tenant_id,
	                                    .delivery_id = parcel->delivery_id,
	                                    .endpoint_id = parcel->lane->endpoint_id,
	                                    .event_id = parcel->event->id,
	                                    .event_type = parcel->event->type,
	                                    .error = parcel->attempt->error,
	                                    .status = verdict->is_success ? 0 : parcel->attempt->status,
	                                    .attempts = parcel->attempts + 1,
	                                    .next_at = verdict->due_at});
}

/* Since when the endpoint has failed, and whether that is too long. */
static struct status
follow_up(struct courier *courier, struct store_tx *tx, const struct parcel *parcel,
          const struct verdict *verdict)
{
	struct lane *lane = parcel->lane;
	int64_t now = clock_wall_ms(courier->self->env.clock);
	int64_t patience =
	    lane->endpoint->has_disable_after_ms ? (int64_t)lane->endpoint->disable_after_ms : DISABLE_AFTER_MS;
	struct status st = status_ok_value();

	if (!verdict->is_recorded)
		return st;
	if (verdict->is_success && lane->is_failing) {
		lane->is_failing = false;
		st = ledger_set_failing(tx, lane->endpoint_id, lane->token, NULL);
	} else if (!verdict->is_success && !lane->is_failing) {
		lane->is_failing = true;
		lane->failing_since = now;
		st = ledger_set_failing(tx, lane->endpoint_id, lane->token, &now);
	}
	if (status_ok(&st))
		st = tell(courier, tx, parcel, verdict);
	if (verdict->attempt->has_status && verdict->attempt->status == 410)
		lane->disable_for = CORBEL__V1__DISABLED_REASON__GONE;
	else if (lane->is_failing && patience > 0 && now - lane->failing_since >= patience && !lane->disable_for)
		lane->disable_for = CORBEL__V1__DISABLED_REASON__FAILING;
	return st;
}

/* In a transaction of its own, since the log is locked before its endpoints everywhere. */
struct status
lane_disable(struct courier *courier, struct store_conn *conn, struct lane *lane)
{
	bool is_gone = lane->disable_for == CORBEL__V1__DISABLED_REASON__GONE;
	struct ownership held = {.endpoint_id = lane->endpoint_id, .token = lane->token};
	struct log_state log;
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	st = log_lock(&tx, &courier->arena, lane->share->tenant_id, &log);
	if (status_ok(&st))
		st = ledger_hold(&tx, &courier->arena, &held, 1);
	if (status_ok(&st) && held.is_ours)
		st = endpoint_disable(courier->self, &tx, &courier->arena, lane->endpoint_id, lane->disable_for,
		                      lane->failing_since, clock_wall_ms(courier->self->env.clock));
	st = store_end(&tx, st);
	if (status_ok(&st))
		mailer_hint(courier->self->mailer);
	if (status_ok(&st) && held.is_ours)
		log_warn(courier->self->env.log, "endpoint disabled", LOG_TEXT("endpoint", lane->endpoint_id),
		         LOG_TEXT("tenant", lane->share->tenant_id),
		         LOG_TEXT("why", is_gone ? "410 Gone" : "failing"));
	if (is_of_a_row(&st)) {
		log_error(courier->self->env.log, "endpoint cannot be disabled",
		          LOG_TEXT("endpoint", lane->endpoint_id), LOG_STATUS(&st));
		st = status_ok_value();
	}
	if (status_ok(&st))
		lane->disable_for = CORBEL__V1__DISABLED_REASON__DISABLED_REASON_UNSET;
	return st;
}

static void
count(struct courier *courier, const struct parcel *parcel, const struct verdict *verdict)
{
	if (!verdict->is_recorded)
		counter_add(courier->fenced, 1);
	else if (verdict->is_success)
		counter_add(courier->delivered, 1);
	else
		counter_add(courier->failed, 1);
	if (verdict->is_recorded && verdict->state == CORBEL__V1__DELIVERY_STATE__EXHAUSTED)
		counter_add(courier->exhausted, 1);
	histogram_observe(courier->latency, (double)parcel->attempt->latency_ms / 1000);
}

/* What a transaction is about. */
struct batch {
	struct parcel *first, **last; /* with those that were cut off */
	size_t taken;
	struct verdict *verdicts;
	struct parcel **parcels; /* of the verdicts */
	size_t count;
	struct lane **lanes; /* of the parcels, each once, by their endpoints' ids */
	size_t lane_count;
};

static int
by_endpoint(const void *a, const void *b)
{
	return strcmp((*(struct lane *const *)a)->endpoint_id, (*(struct lane *const *)b)->endpoint_id);
}

static void
list_lanes(struct courier *courier, struct batch *batch)
{
	batch->lanes = ARENA_ARRAY(&courier->arena, struct lane *, batch->count);
	for (size_t i = 0; i < batch->count; i++)
		batch->parcels[i]->lane->is_listed = false;
	for (size_t i = 0; i < batch->count; i++) {
		struct lane *lane = batch->parcels[i]->lane;
		if (!lane->is_listed)
			batch->lanes[batch->lane_count++] = lane;
		lane->is_listed = true;
	}
	qsort(batch->lanes, batch->lane_count, sizeof(struct lane *), by_endpoint);
}

static struct status
hold(struct courier *courier, struct store_tx *tx, struct batch *batch)
{
	struct ownership *held = ARENA_ARRAY(&courier->arena, struct ownership, batch->lane_count);

	for (size_t i = 0; i < batch->lane_count; i++)
		held[i] =
		    (struct ownership){.endpoint_id = batch->lanes[i]->endpoint_id, .token = batch->lanes[i]->token};
	struct status st = ledger_hold(tx, &courier->arena, held, batch->lane_count);
	for (size_t i = 0; i < batch->lane_count; i++)
		batch->lanes[i]->is_held = held[i].is_ours;
	for (size_t i = 0; i < batch->count; i++)
		batch->verdicts[i].is_stale = !batch->parcels[i]->lane->is_held;
	return st;
}

static struct status
record(struct courier *courier, struct store_conn *conn, struct batch *batch)
{
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	for (size_t i = 0; i < batch->lane_count; i++)
		batch->lanes[i]->was_failing = batch->lanes[i]->is_failing;
	st = hold(courier, &tx, batch);
	courier_keep_sending(courier);
	if (status_ok(&st))
		st = ledger_record(&tx, &courier->arena, batch->verdicts, batch->count);
	courier_keep_sending(courier);
	if (status_ok(&st))
		st = ledger_add_attempts(&tx, &courier->arena, batch->verdicts, batch->count);
	courier_keep_sending(courier);
	for (size_t i = 0; i < batch->count && status_ok(&st); i++)
		st = follow_up(courier, &tx, batch->parcels[i], &batch->verdicts[i]);
	st = store_end(&tx, st);
	for (size_t i = 0; i < batch->lane_count && !status_ok(&st); i++)
		batch->lanes[i]->is_failing = batch->lanes[i]->was_failing;
	return st;
}

/* What came back until now. */
static void
take_unsettled(struct courier *courier, struct batch *batch)
{
	*batch = (struct batch){
	    .first = courier->unsettled, .last = courier->last_unsettled, .taken = courier->unsettled_count};
	courier->unsettled = NULL;
	courier->last_unsettled = &courier->unsettled;
	courier->unsettled_count = 0;
}

/* Before what came back since. */
static void
put_back(struct courier *courier, struct batch *batch)
{
	if (!batch->first)
		return;
	*batch->last = courier->unsettled;
	if (!courier->unsettled)
		courier->last_unsettled = batch->last;
	courier->unsettled = batch->first;
	courier->unsettled_count += batch->taken;
}

/* All of it, but what was cut off. */
static void
collect(struct courier *courier, struct batch *batch)
{
	batch->verdicts = ARENA_ARRAY(&courier->arena, struct verdict, batch->taken + 1);
	batch->parcels = ARENA_ARRAY(&courier->arena, struct parcel *, batch->taken + 1);
	for (struct parcel *parcel = batch->first; parcel; parcel = parcel->next) {
		if (was_cut_off(parcel))
			continue;
		batch->parcels[batch->count] = parcel;
		judge(courier, parcel, &batch->verdicts[batch->count++]);
	}
	list_lanes(courier, batch);
}

/* One attempt that the store does not take must not keep all others from being recorded. Its endpoint is left
 * alone until its lease is over; then it is tried again. */
static struct status
record_each(struct courier *courier, struct store_conn *conn, const struct batch *all)
{
	struct status st = status_ok_value();

	for (size_t i = 0; i < all->count && status_ok(&st); i++) {
		struct lane *lane = all->parcels[i]->lane;
		struct batch one = {.verdicts = &all->verdicts[i], .parcels = &all->parcels[i], .count = 1};
		list_lanes(courier, &one);
		st = record(courier, conn, &one);
		if (!is_of_a_row(&st))
			continue;
		log_error(courier->self->env.log, "attempt cannot be recorded",
		          LOG_TEXT("delivery", all->parcels[i]->delivery_id), LOG_TEXT("endpoint", lane->endpoint_id),
		          LOG_STATUS(&st));
		all->verdicts[i].is_recorded = false;
		lane->is_lost = true;
		lane_clear(lane);
		st = status_ok_value();
	}
	return st;
}

/* One that others wait for, or whose endpoint has nothing else to do, is recorded at once. */
bool
is_settling_due(const struct courier *courier)
{
	uint64_t now = clock_mono_ms(courier->self->env.clock);

	if (!courier->unsettled)
		return false;
	if (courier->is_draining || courier->unsettled_count >= SETTLE_MAX ||
	    now - courier->unsettled_mono >= SETTLE_WAIT_MS)
		return true;
	for (const struct parcel *parcel = courier->unsettled; parcel; parcel = parcel->next)
		if (parcel->has_order_key || parcel->lane->queued + parcel->lane->in_flight == 0)
			return true;
	return false;
}

/* What is recorded is over. */
static void
finish(struct courier *courier, struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct lane *lane = batch->parcels[i]->lane;
		int64_t due_at = batch->verdicts[i].due_at;
		count(courier, batch->parcels[i], &batch->verdicts[i]);
		if (due_at > 0 && (lane->retry_at == 0 || due_at < lane->retry_at))
			lane->retry_at = due_at;
	}
	while (batch->first) {
		struct parcel *parcel = batch->first;
		batch->first = parcel->next;
		parcel->lane->unsettled--;
		parcel->lane->is_dirty = true;
		lane_forget(parcel->lane, parcel->sequence);
		parcel_free(parcel);
	}
}

struct status
settle(struct courier *courier, struct store_conn *conn)
{
	struct batch batch;
	struct status st = status_ok_value();

	take_unsettled(courier, &batch);
	collect(courier, &batch);
	if (batch.count > 0)
		st = record(courier, conn, &batch);
	if (is_of_a_row(&st))
		st = record_each(courier, conn, &batch);
	if (status_ok(&st))
		finish(courier, &batch);
	else
		put_back(courier, &batch);
	return st;
}
