/*
 * courier: see courier.h.
 */
#include "courier.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "courier_internal.h"

#define POLL_MS    500u
#define LANES_MAX  4096u
#define CLAIMS_MAX 64u
#define IDLE_MS    1000u
#define SWEEP_MS   60000u
#define TAKE_MS    1000u

/* ---- what other threads say ---- */

void
courier_hint(struct courier *courier, const char *tenant)
{
	if (!courier)
		return;
	pthread_mutex_lock(&courier->lock);
	if (courier->hint_count < HINTS_MAX)
		snprintf(courier->hints[courier->hint_count++], sizeof(courier->hints[0]), "%s", tenant);
	else
		courier->has_more_hints = true;
	pthread_cond_signal(&courier->wake);
	pthread_mutex_unlock(&courier->lock);
}

/* On a sink's thread. */
static void
on_ended(struct parcel *parcel)
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

/* ---- lanes ---- */

static struct tenant_share *
share_of(struct courier *courier, const char *tenant)
{
	struct tenant_share **slot = &courier->shares[hash_table64(tenant, strlen(tenant)) % BUCKETS];

	for (; *slot; slot = &(*slot)->next)
		if (strcmp((*slot)->tenant_id, tenant) == 0)
			return *slot;
	struct tenant_share *share = mem_alloc(sizeof(*share));
	snprintf(share->tenant_id, sizeof(share->tenant_id), "%s", tenant);
	*slot = share;
	return share;
}

static void
drop_share(struct courier *courier, const struct tenant_share *share)
{
	const char *tenant = share->tenant_id;
	struct tenant_share **slot = &courier->shares[hash_table64(tenant, strlen(tenant)) % BUCKETS];

	while (*slot != share)
		slot = &(*slot)->next;
	struct tenant_share *gone = *slot;
	*slot = gone->next;
	mem_free(gone);
}

static void
drop_lane(struct courier *courier, struct lane **slot)
{
	struct lane *lane = *slot;
	struct tenant_share *share = lane->share;

	*slot = lane->next;
	lane_free(lane);
	courier->lane_count--;
	if (share->lanes == 0)
		drop_share(courier, share);
}

/* `since_mono` is from before the store was asked: whoever stands still meanwhile has gained nothing. The
 * last fifth of a lease is for attempts to begin before another may own the endpoint. */
static void
extend(const struct courier *courier, struct lane *lane, uint64_t since_mono)
{
	lane->valid_until_mono = since_mono + courier->lease_ms - courier->lease_ms / 5;
	lane->renew_at_mono = since_mono + courier->lease_ms * 3 / 10;
}

static void
take_lane(struct courier *courier, const struct claim *claim, int64_t now_ms, uint64_t since_mono)
{
	struct lane *lane = lane_new(claim, share_of(courier, claim->tenant_id));

	lane_configure(lane, claim, now_ms);
	extend(courier, lane, since_mono);
	lane->idle_since_mono = clock_mono_ms(courier->self->env.clock);
	lane->next = courier->lanes;
	courier->lanes = lane;
	courier->lane_count++;
}

/* ---- the store's side of a turn ---- */

static struct status
claim_lanes(struct courier *courier, struct store_conn *conn)
{
	struct webhookd *self = courier->self;
	uint64_t since_mono = clock_mono_ms(self->env.clock);
	int64_t now_ms = clock_wall_ms(self->env.clock);
	size_t most = LANES_MAX - courier->lane_count < CLAIMS_MAX ? LANES_MAX - courier->lane_count : CLAIMS_MAX;
	struct claim *claims = NULL;
	size_t count = 0;
	bool is_any = false;
	struct store_tx tx;

	courier->is_claim_due = false;
	/* A look costs no lock; only what is there is worth a writing transaction. */
	struct status st = ledger_has_claims(conn, &courier->arena, now_ms, &is_any);
	if (!status_ok(&st) || !is_any || most == 0)
		return st;
	st = store_begin(conn, &tx);
	if (!status_ok(&st))
		return st;
	st = store_end(&tx, ledger_claim(self, &tx, &courier->arena, bus_node(self->env.bus), now_ms,
	                                 now_ms + (int64_t)courier->lease_ms, most, &claims, &count));
	for (size_t i = 0; status_ok(&st) && i < count; i++)
		take_lane(courier, &claims[i], now_ms, since_mono);
	/* There may be more than one look takes. */
	courier->is_claim_due = status_ok(&st) && count == most;
	return st;
}

static struct status
renew_lane(struct courier *courier, struct store_conn *conn, struct lane *lane)
{
	uint64_t since_mono = clock_mono_ms(courier->self->env.clock);
	int64_t now_ms = clock_wall_ms(courier->self->env.clock);
	struct claim claim;
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	st = store_end(&tx, ledger_renew(courier->self, &tx, &courier->arena, lane->endpoint_id, lane->token,
	                                 now_ms + (int64_t)courier->lease_ms, &claim));
	if (status_ok(&st)) {
		lane_configure(lane, &claim, now_ms);
		extend(courier, lane, since_mono);
		/* What nobody told us of is found now, also by a lane that only waits for answers. */
		lane->is_dirty = true;
		lane->cursor = (struct due_place){0};
	} else if (st.code == STATUS_NOT_FOUND) {
		lane->is_lost = true;
		lane_clear(lane);
		st = status_ok_value();
	}
	return st;
}

static bool
needs_renewal(const struct courier *courier, const struct lane *lane, uint64_t now_mono)
{
	bool is_rotation_over =
	    lane->previous_until > 0 && lane->previous_until <= clock_wall_ms(courier->self->env.clock);
	return !lane->is_lost && (now_mono >= lane->renew_at_mono || is_rotation_over);
}

/* After a time without the store, or stood still: what nobody has claimed meanwhile goes on as ours, instead
 * of being claimed anew and sent twice. */
static struct status
renew_lapsed(struct courier *courier, struct store_conn *conn)
{
	uint64_t now = clock_mono_ms(courier->self->env.clock);
	struct status st = status_ok_value();

	for (struct lane *lane = courier->lanes; lane && status_ok(&st); lane = lane->next)
		if (!lane->is_lost && now >= lane->valid_until_mono)
			st = renew_lane(courier, conn, lane);
	return st;
}

static struct status
park(struct courier *courier, struct store_conn *conn, const struct lane *lane, int64_t now_ms)
{
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	return store_end(&tx, ledger_park(&tx, &courier->arena, lane->endpoint_id, lane->token, now_ms));
}

static struct status
refill_lane(struct courier *courier, struct store_conn *conn, struct lane *lane)
{
	bool is_ordered = lane->endpoint->has_ordered && lane->endpoint->ordered;
	size_t appetite = lane_appetite(lane);
	int64_t now_ms = clock_wall_ms(courier->self->env.clock);
	struct due_list due;

	/* In a backlog it goes on behind what is loaded, else it looks at all: what became due with an earlier
	 * time is found when the backlog ends, and when the lease is renewed. */
	const struct due_query query = {.endpoint_id = lane->endpoint_id,
	                                .is_ordered = is_ordered,
	                                .now_ms = now_ms,
	                                .after = lane->cursor,
	                                .most =
	                                    lane->cursor.due_at > 0 ? appetite : appetite + lane->loaded_count};

	lane->is_dirty = false;
	struct status st = ledger_due(conn, &courier->arena, &query, &due);
	if (!status_ok(&st)) {
		lane->is_dirty = true;
		return st;
	}
	lane->not_before = due.next_at;
	lane->cursor = (struct due_place){0};
	if (due.token != lane->token || due.version != lane->version) {
		/* Changed, disabled, deleted, or another's: what is loaded was made for what it was. */
		lane->is_dirty = due.token == lane->token;
		return renew_lane(courier, conn, lane);
	}
	size_t i = 0;
	for (; i < due.count && lane->queued < appetite; i++) {
		struct parcel *parcel =
		    lane_has(lane, due.items[i].sequence) ? NULL : parcel_new(lane, &due.items[i]);
		if (!parcel)
			continue;
		parcel->courier = courier;
		parcel->ended = on_ended;
		lane_add(lane, parcel);
	}
	/* As many as were asked for: there are more, to be loaded when these are gone. */
	lane->is_full = due.seen >= query.most || i < due.count;
	if (lane->is_full && i > 0 && !is_ordered && !due.has_blocked)
		lane->cursor = (struct due_place){due.items[i - 1].due_at, due.items[i - 1].sequence};
	if (due.has_blocked) {
		lane->is_dirty = true; /* others may stand behind those */
		st = park(courier, conn, lane, now_ms);
	}
	return st;
}

static bool
is_idle(const struct lane *lane)
{
	return lane->queued == 0 && lane->in_flight == 0 && lane->unsettled == 0;
}

/* Gone, unless it turns out that there is work. */
static struct status
release_lane(struct courier *courier, struct store_conn *conn, struct lane *lane, bool *is_gone)
{
	uint64_t now_mono = clock_mono_ms(courier->self->env.clock);
	int64_t now_ms = clock_wall_ms(courier->self->env.clock), not_before = lane->not_before;
	struct store_tx tx;

	if (lane->paused_until_mono > now_mono &&
	    now_ms + (int64_t)(lane->paused_until_mono - now_mono) > not_before)
		not_before = now_ms + (int64_t)(lane->paused_until_mono - now_mono);
	struct status st = store_begin(conn, &tx);
	if (!status_ok(&st))
		return st;
	st = store_end(&tx,
	               ledger_release(&tx, &courier->arena, lane->endpoint_id, lane->token, not_before, is_gone));
	if (!status_ok(&st) || *is_gone)
		return st;
	lane->idle_since_mono = now_mono;
	st = renew_lane(courier, conn, lane);
	*is_gone = lane->is_lost;
	return st;
}

/* Each lane gets what it needs from the store; those without work are given back. */
static struct status
tend_lanes(struct courier *courier, struct store_conn *conn)
{
	uint64_t now = clock_mono_ms(courier->self->env.clock);
	struct status st = status_ok_value();

	for (struct lane **slot = &courier->lanes; *slot && status_ok(&st);) {
		struct lane *lane = *slot;
		if (courier->is_draining)
			lane_clear(lane); /* it stays due, for whoever owns the endpoint next */
		if (lane->retry_at > 0 && lane->retry_at <= clock_wall_ms(courier->self->env.clock)) {
			lane->retry_at = 0;
			lane->is_dirty = true;
		}
		if (lane->disable_for && !lane->is_lost)
			st = lane_disable(courier, conn, lane);
		if (status_ok(&st) && needs_renewal(courier, lane, now))
			st = renew_lane(courier, conn, lane);
		if (status_ok(&st) && lane->is_dirty && !lane->is_lost && !courier->is_draining &&
		    lane->queued * 2 < lane_appetite(lane))
			st = refill_lane(courier, conn, lane);
		if (!is_idle(lane))
			lane->idle_since_mono = now;
		bool is_over = is_idle(lane) && (lane->is_lost || courier->is_draining ||
		                                 (!lane->is_dirty && now - lane->idle_since_mono >= IDLE_MS));
		bool is_gone = is_over && lane->is_lost;
		if (status_ok(&st) && is_over && !lane->is_lost)
			st = release_lane(courier, conn, lane, &is_gone);
		if (status_ok(&st) && is_gone)
			drop_lane(courier, slot);
		else
			slot = &lane->next;
	}
	return st;
}

static struct status
sweep(struct courier *courier, struct store_conn *conn)
{
	uint64_t now = clock_mono_ms(courier->self->env.clock);
	struct store_tx tx;

	if (now - courier->swept_mono < courier->sweep_ms)
		return status_ok_value();
	courier->swept_mono = now;
	struct status st = store_begin(conn, &tx);
	if (!status_ok(&st))
		return st;
	return store_end(&tx, ledger_sweep(&tx, clock_wall_ms(courier->self->env.clock), courier->sweep_ms));
}

static void
use_store(struct courier *courier)
{
	struct store *store = courier->self->env.store;
	uint64_t now = clock_mono_ms(courier->self->env.clock);
	struct store_conn *conn;
	struct status st = store_take(store, TAKE_MS, &conn);

	if (status_ok(&st)) {
		if (courier->unsettled)
			st = settle(courier, conn);
		if (status_ok(&st))
			st = renew_lapsed(courier, conn);
		if (status_ok(&st) && !courier->is_draining &&
		    (courier->is_claim_due || now - courier->claimed_mono >= POLL_MS)) {
			courier->claimed_mono = now;
			st = claim_lanes(courier, conn);
		}
		if (status_ok(&st))
			st = tend_lanes(courier, conn);
		if (status_ok(&st) && !courier->is_draining)
			st = sweep(courier, conn);
		store_put(store, conn);
	}
	courier->has_trouble = !status_ok(&st);
	if (!status_ok(&st) && now - courier->complained_mono > 5000) {
		courier->complained_mono = now;
		log_warn(courier->self->env.log, "deliveries wait for the store", LOG_STATUS(&st));
	}
}

/* ---- sending ---- */

/* No tenant holds more of what may be under way than is left for the others. */
static bool
has_room(const struct courier *courier, const struct tenant_share *share)
{
	return courier->in_flight < courier->in_flight_max &&
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
	courier->has_more_hints = false;
	courier->is_draining = courier->is_asked_to_drain;
	pthread_mutex_unlock(&courier->lock);
	while (finished) {
		struct parcel *parcel = finished;
		finished = parcel->next;
		/* Under way no more, but what it says is not durable yet. */
		courier->in_flight--;
		lane_settle(parcel->lane, parcel, clock_mono_ms(courier->self->env.clock));
		parcel->lane->unsettled++;
		*courier->last_unsettled = parcel;
		courier->last_unsettled = &parcel->next;
		parcel->next = NULL;
	}
}

static bool
has_urgent_work(const struct courier *courier)
{
	if (courier->has_trouble)
		return false;
	if (courier->is_claim_due || courier->unsettled)
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
	struct timespec until;
	uint64_t pause = has_urgent_work(courier) ? 0 : pause_ms(courier);

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(pause / 1000);
	until.tv_nsec += (long)(pause % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_mutex_lock(&courier->lock);
	while (pause > 0 && !courier->finished && courier->hint_count == 0 && !courier->has_more_hints &&
	       !courier->is_stopping && courier->is_asked_to_drain == courier->is_draining)
		if (pthread_cond_timedwait(&courier->wake, &courier->lock, &until) != 0)
			break;
	pthread_mutex_unlock(&courier->lock);
}

static bool
is_over(struct courier *courier)
{
	pthread_mutex_lock(&courier->lock);
	bool is_over = courier->is_stopping;
	bool is_empty = courier->is_draining && !courier->finished && !courier->lanes && !courier->unsettled;
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
		/* What is loaded leaves before what came back is written down: a commit takes as long as many
		 * answers. */
		send_all(courier);
		use_store(courier);
		send_all(courier);
	}
	return NULL;
}

/* ---- life ---- */

struct status
courier_new(struct webhookd *self, const struct outbound_options *http, struct courier **out)
{
	struct courier *courier = mem_alloc(sizeof(*courier));
	pthread_condattr_t monotonic;

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
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&courier->wake, &monotonic);
	pthread_cond_init(&courier->emptied, &monotonic);
	pthread_condattr_destroy(&monotonic);
	courier_register_metrics(courier);
	*out = courier;
	struct status st = sinks_new(self, http, &courier->sinks);
	if (status_ok(&st) && pthread_create(&courier->thread, NULL, courier_main, courier) != 0)
		st = status_make(STATUS_RESOURCE_EXHAUSTED, "cannot start the courier");
	courier->has_thread = status_ok(&st);
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
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += grace_ms / 1000 + 1;
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
	take_news(courier);
	while (courier->unsettled) {
		struct parcel *parcel = courier->unsettled;
		courier->unsettled = parcel->next;
		parcel_free(parcel);
	}
	while (courier->lanes)
		drop_lane(courier, &courier->lanes);
	arena_fini(&courier->arena);
	pthread_cond_destroy(&courier->wake);
	pthread_cond_destroy(&courier->emptied);
	pthread_mutex_destroy(&courier->lock);
	mem_free(courier);
}
