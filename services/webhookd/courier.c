/*
 * courier: see courier.h.
 */
#include "base/monotonic.h"
#include "courier.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "courier_internal.h"

#define POLL_MS 500u

/* ---- what other threads say ---- */

static bool
is_hinted(const struct courier *courier, const char *tenant)
{
	for (size_t i = 0; i < courier->hint_count; i++)
		if (strcmp(courier->hints[i], tenant) == 0)
			return true;
	return false;
}

/* A busy tenant is named once a turn, however many commits it has meanwhile: each name is compared with that
 * of every lane, and too many make all lanes ask the store. */
void
courier_hint(struct courier *courier, const char *tenant)
{
	if (!courier)
		return;
	pthread_mutex_lock(&courier->lock);
	if (!is_hinted(courier, tenant)) {
		if (courier->hint_count < HINTS_MAX)
			snprintf(courier->hints[courier->hint_count++], sizeof(courier->hints[0]), "%s", tenant);
		else
			courier->has_more_hints = true;
		pthread_cond_signal(&courier->wake);
	}
	pthread_mutex_unlock(&courier->lock);
}

/* On a sink's thread. */
void
courier_parcel_ended(struct parcel *parcel)
{
	struct courier *courier = parcel->courier;

	pthread_mutex_lock(&courier->lock);
	parcel->next = NULL;
	bool is_first = !courier->finished;
	*courier->last_finished = parcel;
	courier->last_finished = &parcel->next;
	if (is_first)
		pthread_cond_signal(&courier->wake);
	pthread_mutex_unlock(&courier->lock);
}

/* On the settler's thread. */
void
courier_settled(struct courier *courier)
{
	pthread_mutex_lock(&courier->lock);
	courier->has_settled = true;
	pthread_cond_signal(&courier->wake);
	pthread_mutex_unlock(&courier->lock);
}

/* ---- sending ---- */

/* No tenant holds more of what may be under way than is left for the others. */
static bool
has_room(const struct courier *courier, const struct tenant_share *share)
{
	return courier->in_flight < courier->in_flight_max && courier->unsettled_count < UNSETTLED_MAX &&
	       share->in_flight < courier->in_flight_max - courier->in_flight;
}

static bool
send_one(struct courier *courier, struct lane *lane)
{
	uint64_t now = clock_mono_ms(courier->self->env.clock);
	struct parcel *parcel = has_room(courier, lane->share) && lane->signer ? lane_take(lane, now) : NULL;

	if (!parcel)
		return false;
	courier->in_flight++;
	if (sinks_send(courier->sinks, parcel, lane->endpoint, lane->signer))
		return true;
	parcel_ended(parcel, &(struct parcel_outcome){.end = PARCEL_CUT_OFF});
	return false;
}

/* One from each lane in turn, until none may send. */
static void
send_all(struct courier *courier)
{
	bool has_sent = true;

	while (has_sent && !courier->is_draining) {
		has_sent = false;
		for (struct lane *lane = courier->lanes; lane; lane = lane->next) {
			has_sent = send_one(courier, lane) || has_sent;
			if (lane->is_full && lane->queued * 2 < lane_appetite(lane))
				lane->is_dirty = true;
		}
	}
}

/* ---- the loop ---- */

static void
take_news(struct courier *courier)
{
	pthread_mutex_lock(&courier->lock);
	struct parcel *finished = courier->finished;
	courier->finished = NULL;
	courier->last_finished = &courier->finished;
	for (struct lane *lane = courier->lanes; lane; lane = lane->next) {
		lane->is_dirty = lane->is_dirty || courier->has_more_hints;
		for (size_t i = 0; i < courier->hint_count && !lane->is_dirty; i++)
			lane->is_dirty = strcmp(courier->hints[i], lane->share->tenant_id) == 0;
	}
	courier->is_claim_due = courier->is_claim_due || courier->hint_count > 0 || courier->has_more_hints;
	courier->hint_count = 0;
	courier->has_more_hints = courier->has_settled = false;
	courier->is_draining = courier->is_asked_to_drain;
	pthread_mutex_unlock(&courier->lock);
	while (finished) {
		struct parcel *parcel = finished;
		finished = parcel->next;
		/* Under way no more, but what it says is not durable yet. */
		courier->in_flight--;
		lane_settle(parcel->lane, parcel, clock_mono_ms(courier->self->env.clock));
		parcel->lane->unsettled++;
		if (courier->unsettled_count++ == 0)
			courier->unsettled_mono = clock_mono_ms(courier->self->env.clock);
		courier->is_hurried = courier->is_hurried || parcel->has_order_key;
		*courier->last_unsettled = parcel;
		courier->last_unsettled = &parcel->next;
		parcel->next = NULL;
	}
}

void
courier_keep_sending(struct courier *courier)
{
	take_news(courier);
	send_all(courier);
}

static bool
has_urgent_work(const struct courier *courier)
{
	if (courier->has_trouble)
		return false;
	if (courier->is_claim_due || is_settling_due(courier))
		return true;
	for (const struct lane *lane = courier->lanes; lane && !courier->is_draining; lane = lane->next)
		if (lane->is_dirty && lane->queued * 2 < lane_appetite(lane) && !lane->is_lost)
			return true;
	return false;
}

/* The next turn that time alone asks for: a poll, or a lane that may go on. */
static uint64_t
pause_ms(const struct courier *courier)
{
	uint64_t now = clock_mono_ms(courier->self->env.clock), pause = courier->has_trouble ? 200 : POLL_MS;
	int64_t now_ms = clock_wall_ms(courier->self->env.clock);

	if (courier->unsettled && !courier->is_settling && !courier->has_trouble)
		pause = SETTLE_WAIT_MS;
	for (const struct lane *lane = courier->lanes; lane; lane = lane->next) {
		if (lane->retry_at > 0 && lane->retry_at < now_ms + (int64_t)pause)
			pause = lane->retry_at > now_ms ? (uint64_t)(lane->retry_at - now_ms) : 1;
		if (lane->queued == 0 || lane->in_flight >= lane->window)
			continue;
		uint64_t wait = lane->paused_until_mono > now ? lane->paused_until_mono - now : 20;
		pause = wait < pause ? wait : pause;
	}
	return pause > 0 ? pause : 1;
}

static void
wait_for_news(struct courier *courier)
{
	uint64_t pause = has_urgent_work(courier) ? 0 : pause_ms(courier);
	struct timespec until = monotonic_in_ms(pause);

	pthread_mutex_lock(&courier->lock);
	while (pause > 0 && !courier->finished && courier->hint_count == 0 && !courier->has_more_hints &&
	       !courier->has_settled && !courier->is_stopping &&
	       courier->is_asked_to_drain == courier->is_draining)
		if (pthread_cond_timedwait(&courier->wake, &courier->lock, &until) != 0)
			break;
	pthread_mutex_unlock(&courier->lock);
}

static bool
is_over(struct courier *courier)
{
	pthread_mutex_lock(&courier->lock);
	bool is_over = courier->is_stopping;
	bool is_empty = courier->is_draining && !courier->finished && !courier->lanes && !courier->unsettled &&
	                !courier->is_settling;
	if (is_empty && !courier->is_empty) {
		courier->is_empty = true;
		pthread_cond_broadcast(&courier->emptied);
	}
	pthread_mutex_unlock(&courier->lock);
	return is_over;
}

static void *
courier_main(void *arg)
{
	struct courier *courier = arg;

	while (!is_over(courier)) {
		wait_for_news(courier);
		take_news(courier);
		arena_reset(&courier->arena);
		/* What is loaded leaves before more is: loading takes as long as many answers. */
		send_all(courier);
		courier_use_store(courier);
		send_all(courier);
	}
	return NULL;
}

/* ---- life ---- */

struct status
courier_new(struct webhookd *self, const struct outbound_options *http, struct courier **out)
{
	struct courier *courier = mem_alloc(sizeof(*courier));

	courier->self = self;
	courier->in_flight_max = http->max_in_flight;
	courier->lease_ms = config_duration_ms(self->env.config, "webhookd.lease");
	courier->sweep_ms = config_duration_ms(self->env.config, "webhookd.sweep");
	courier->last_finished = &courier->finished;
	courier->last_unsettled = &courier->unsettled;
	courier->is_claim_due = true;
	courier->swept_mono = clock_mono_ms(self->env.clock);
	arena_init(&courier->arena, 256u << 10, SIZE_MAX);
	pthread_mutex_init(&courier->lock, NULL);
	monotonic_cond_init(&courier->wake);
	monotonic_cond_init(&courier->emptied);
	courier_register_metrics(courier);
	*out = courier;
	struct status st = settler_new(self, courier, &courier->settler);
	if (status_ok(&st))
		st = sinks_new(self, http, &courier->sinks);
	if (status_ok(&st) && pthread_create(&courier->thread, NULL, courier_main, courier) != 0)
		st = status_make(STATUS_RESOURCE_EXHAUSTED, "cannot start the courier");
	courier->has_thread = status_ok(&st);
	if (courier->has_thread)
		pthread_setname_np(courier->thread, "courier");
	return st;
}

struct sinks *
courier_sinks(struct courier *courier)
{
	return courier->sinks;
}

void
courier_drain(struct courier *courier, uint32_t grace_ms)
{
	struct timespec until = monotonic_in_ms((uint64_t)grace_ms + 1000);

	pthread_mutex_lock(&courier->lock);
	courier->is_asked_to_drain = true;
	pthread_cond_signal(&courier->wake);
	while (!courier->is_empty)
		if (pthread_cond_timedwait(&courier->emptied, &courier->lock, &until) != 0)
			break;
	pthread_mutex_unlock(&courier->lock);
}

void
courier_free(struct courier *courier)
{
	if (!courier)
		return;
	/* What they end is put among the finished, and is nobody's then but ours. */
	sinks_free(courier->sinks);
	if (courier->has_thread) {
		pthread_mutex_lock(&courier->lock);
		courier->is_stopping = true;
		pthread_cond_signal(&courier->wake);
		pthread_mutex_unlock(&courier->lock);
		pthread_join(courier->thread, NULL);
	}
	settler_stop(courier->settler);
	take_news(courier);
	(void)settle_end(courier);
	while (courier->unsettled) {
		struct parcel *parcel = courier->unsettled;
		courier->unsettled = parcel->next;
		parcel_free(parcel);
	}
	while (courier->lanes)
		courier_drop_lane(courier, &courier->lanes);
	settler_free(courier->settler);
	arena_fini(&courier->arena);
	pthread_cond_destroy(&courier->wake);
	pthread_cond_destroy(&courier->emptied);
	pthread_mutex_destroy(&courier->lock);
	mem_free(courier);
}
