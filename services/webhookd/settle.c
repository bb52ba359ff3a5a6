/*
 * settle: what came back is judged and handed to the settler, and what it has recorded is over.
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

static bool
was_cut_off(const struct parcel *parcel)
{
	return parcel->end == PARCEL_CUT_OFF;
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
	if (settler_blames_row(&st)) {
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

/* ---- into a batch ---- */

/* What came back until now. */
static void
take_unsettled(struct courier *courier, struct batch *batch)
{
	batch->first = courier->unsettled;
	batch->last = courier->last_unsettled;
	batch->taken = courier->unsettled_count;
	courier->unsettled = NULL;
	courier->last_unsettled = &courier->unsettled;
	courier->unsettled_count = 0;
	courier->is_hurried = false;
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

static int
by_endpoint(const void *a, const void *b)
{
	return strcmp((*(struct tally *const *)a)->lane->endpoint_id,
	              (*(struct tally *const *)b)->lane->endpoint_id);
}

static int64_t
patience_of(const struct lane *lane)
{
	return lane->endpoint->has_disable_after_ms ? (int64_t)lane->endpoint->disable_after_ms
	                                            : DISABLE_AFTER_MS;
}

static struct tally *
tally_new(struct batch *batch, struct lane *lane)
{
	struct tally *tally = ARENA_NEW(batch->arena, struct tally);

	*tally = (struct tally){.lane = lane,
	                        .token = lane->token,
	                        .patience_ms = patience_of(lane),
	                        .is_failing = lane->is_failing,
	                        .failing_since = lane->failing_since};
	return tally;
}

/* All of it, but what was cut off. */
static void
collect(struct courier *courier, struct batch *batch)
{
	batch->verdicts = ARENA_ARRAY(batch->arena, struct verdict, batch->taken + 1);
	batch->parcels = ARENA_ARRAY(batch->arena, struct parcel *, batch->taken + 1);
	batch->tally_of = ARENA_ARRAY(batch->arena, struct tally *, batch->taken + 1);
	batch->tallies = ARENA_ARRAY(batch->arena, struct tally *, batch->taken + 1);
	for (struct parcel *parcel = batch->first; parcel; parcel = parcel->next)
		parcel->lane->tally = NULL;
	for (struct parcel *parcel = batch->first; parcel; parcel = parcel->next) {
		struct lane *lane = parcel->lane;
		if (was_cut_off(parcel))
			continue;
		if (!lane->tally)
			lane->tally = batch->tallies[batch->tally_count++] = tally_new(batch, lane);
		batch->parcels[batch->count] = parcel;
		batch->tally_of[batch->count] = lane->tally;
		judge(courier, parcel, &batch->verdicts[batch->count++]);
	}
	qsort(batch->tallies, batch->tally_count, sizeof(struct tally *), by_endpoint);
}

/* One that others wait for, or whose endpoint has nothing else to do, is recorded at once. */
bool
is_settling_due(const struct courier *courier)
{
	uint64_t now = clock_mono_ms(courier->self->env.clock);

	if (!courier->unsettled || courier->is_settling)
		return false;
	if (courier->is_draining || courier->is_hurried || courier->unsettled_count >= SETTLE_MIN ||
	    now - courier->unsettled_mono >= SETTLE_WAIT_MS)
		return true;
	for (const struct lane *lane = courier->lanes; lane; lane = lane->next)
		if (lane->unsettled > 0 && lane->queued + lane->in_flight == 0)
			return true;
	return false;
}

void
settle_begin(struct courier *courier)
{
	struct batch *batch = settler_batch(courier->settler);

	take_unsettled(courier, batch);
	collect(courier, batch);
	courier->is_settling = true;
	settler_begin(courier->settler);
}

/* ---- out of it ---- */

/* What is recorded is over. */
static void
finish_parcels(struct courier *courier, struct batch *batch)
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

/* What was learned of endpoints, unless they were lost meanwhile. */
static void
finish_lanes(const struct batch *batch)
{
	for (size_t i = 0; i < batch->tally_count; i++) {
		const struct tally *tally = batch->tallies[i];
		struct lane *lane = tally->lane;
		if (tally->is_broken) {
			lane->is_lost = true;
			lane_clear(lane);
		}
		if (lane->is_lost || lane->token != tally->token)
			continue;
		lane->is_failing = tally->is_failing;
		lane->failing_since = tally->failing_since;
		if (tally->disable_for)
			lane->disable_for = tally->disable_for;
	}
}

struct status
settle_end(struct courier *courier)
{
	struct batch *batch = settler_take(courier->settler);

	if (!batch)
		return status_ok_value();
	courier->is_settling = false;
	finish_lanes(batch); /* also of a batch that failed: of one recorded in parts, some were committed */
	if (status_ok(&batch->outcome))
		finish_parcels(courier, batch);
	else
		put_back(courier, batch);
	return batch->outcome;
}
