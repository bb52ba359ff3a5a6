/*
 * courier: which endpoints are this replica's, and what is due to them.
 */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "courier_internal.h"

#define POLL_MS    500u
#define LANES_MAX  4096u
#define CLAIMS_MAX 64u
#define IDLE_MS    1000u
#define TAKE_MS    1000u
#define LONG_QUEUE 32u

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

void
courier_drop_lane(struct courier *courier, struct lane **slot)
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

	/* In a backlog it goes on behind what is loaded, else it looks at all, with what is loaded: what became
	 * due with an earlier time is found when the backlog ends, and when the lease is renewed. */
	const struct due_query query = {.endpoint_id = lane->endpoint_id,
	                                .is_ordered = is_ordered,
	                                .now_ms = now_ms,
	                                .after = lane->cursor,
	                                .most = appetite - lane->queued +
	                                        (lane->cursor.due_at > 0 ? 0 : lane->loaded_count)};

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
		parcel->ended = courier_parcel_ended;
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

static void
wake_retries(const struct courier *courier)
{
	int64_t now_ms = clock_wall_ms(courier->self->env.clock);

	for (struct lane *lane = courier->lanes; lane; lane = lane->next) {
		if (lane->retry_at == 0 || lane->retry_at > now_ms)
			continue;
		lane->retry_at = 0;
		lane->is_dirty = true;
	}
}

/* Each lane gets what it needs from the store; those without work are given back. */
static struct status
tend_lanes(struct courier *courier, struct store_conn *conn)
{
	uint64_t now = clock_mono_ms(courier->self->env.clock);

	wake_retries(courier);
	struct status st = courier->is_draining ? status_ok_value() : courier_look(courier, conn);
	for (struct lane **slot = &courier->lanes; *slot && status_ok(&st);) {
		struct lane *lane = *slot;
		if (courier->is_draining)
			lane_clear(lane); /* it stays due, for whoever owns the endpoint next */
		if (lane->disable_for && !lane->is_lost)
			st = lane_disable(courier, conn, lane);
		if (status_ok(&st) && needs_renewal(courier, lane, now))
			st = renew_lane(courier, conn, lane);
		if (status_ok(&st) && lane->is_dirty && !lane->is_lost && !courier->is_draining &&
		    lane->queued * 2 < lane_appetite(lane))
			st = refill_lane(courier, conn, lane);
		if (lane->queued >= LONG_QUEUE)
			courier_keep_sending(courier);
		if (!is_idle(lane))
			lane->idle_since_mono = now;
		bool is_over = is_idle(lane) && (lane->is_lost || courier->is_draining ||
		                                 (!lane->is_dirty && now - lane->idle_since_mono >= IDLE_MS));
		bool is_gone = is_over && lane->is_lost;
		if (status_ok(&st) && is_over && !lane->is_lost)
			st = release_lane(courier, conn, lane, &is_gone);
		if (status_ok(&st) && is_gone)
			courier_drop_lane(courier, slot);
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

void
courier_use_store(struct courier *courier)
{
	struct store *store = courier->self->env.store;
	uint64_t now = clock_mono_ms(courier->self->env.clock);
	struct store_conn *conn;
	struct status st = settle_end(courier);

	if (status_ok(&st) && is_settling_due(courier))
		settle_begin(courier);
	if (status_ok(&st))
		st = store_take(store, TAKE_MS, &conn);
	if (status_ok(&st)) {
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
