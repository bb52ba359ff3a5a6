/*
 * settler: see settler.h.
 */
#include "settler.h"

#include <string.h>

#include "courier_internal.h"

#define TAKE_MS 1000u

struct settler {
	struct webhookd *self;
	struct courier *courier;
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock; /* guards `state` and `is_stopping`; a leaf */
	pthread_cond_t wake;
	enum { SETTLER_IDLE, SETTLER_BUSY, SETTLER_DONE } state;
	bool is_stopping;
	/* The thread's while busy, else the courier's: */
	struct batch batch;
	struct arena arena;
};

/* The store's own troubles pass; others are those of a row. */
bool
settler_blames_row(const struct status *st)
{
	return !status_ok(st) && st->code != STATUS_UNAVAILABLE && st->code != STATUS_DEADLINE_EXCEEDED &&
	       st->code != STATUS_ABORTED && st->code != STATUS_RESOURCE_EXHAUSTED;
}

/* ---- what follows from an attempt ---- */

static struct status
tell(const struct settler *settler, struct store_tx *tx, struct arena *arena, const struct parcel *parcel,
     const struct verdict *verdict)
{
	const char *type = news_of_try(parcel->event->type, parcel->tries + 1, verdict->is_success,
	                               verdict->state == CORBEL__V1__DELIVERY_STATE__EXHAUSTED);

	if (!type)
		return status_ok_value();
	return tell_attempt(settler->self, tx, arena, type,
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

/* Since when the endpoint has failed. */
static struct status
note_health(struct store_tx *tx, struct tally *tally, bool is_success, int64_t now)
{
	if (is_success != tally->is_failing)
		return status_ok_value();
	tally->is_failing = !is_success;
	tally->failing_since = now;
	return ledger_set_failing(tx, tally->lane->endpoint_id, tally->token, is_success ? NULL : &now);
}

/* Whether that is too long, too. */
static struct status
follow_up(const struct settler *settler, struct store_tx *tx, struct arena *arena,
          const struct parcel *parcel, const struct verdict *verdict, struct tally *tally)
{
	int64_t now = clock_wall_ms(settler->self->env.clock);

	if (!verdict->is_recorded)
		return status_ok_value();
	struct status st = note_health(tx, tally, verdict->is_success, now);
	if (status_ok(&st))
		st = tell(settler, tx, arena, parcel, verdict);
	if (verdict->attempt->has_status && verdict->attempt->status == 410)
		tally->disable_for = CORBEL__V1__DISABLED_REASON__GONE;
	else if (tally->is_failing && tally->patience_ms > 0 &&
	         now - tally->failing_since >= tally->patience_ms && !tally->disable_for)
		tally->disable_for = CORBEL__V1__DISABLED_REASON__FAILING;
	return st;
}

/* ---- the transaction ---- */

static struct status
hold(struct store_tx *tx, struct batch *batch)
{
	struct ownership *held = ARENA_ARRAY(batch->arena, struct ownership, batch->tally_count);

	for (size_t i = 0; i < batch->tally_count; i++)
		held[i] = (struct ownership){.endpoint_id = batch->tallies[i]->lane->endpoint_id,
		                             .token = batch->tallies[i]->token};
	struct status st = ledger_hold(tx, batch->arena, held, batch->tally_count);
	for (size_t i = 0; i < batch->tally_count; i++)
		batch->tallies[i]->is_held = held[i].is_ours;
	for (size_t i = 0; i < batch->count; i++)
		batch->verdicts[i].is_stale = !batch->tally_of[i]->is_held;
	return st;
}

static struct status
write_down(const struct settler *settler, struct store_tx *tx, struct batch *batch)
{
	struct status st = hold(tx, batch);

	if (status_ok(&st))
		st = ledger_record(tx, batch->arena, batch->verdicts, batch->count);
	if (status_ok(&st))
		st = ledger_add_attempts(tx, batch->arena, batch->verdicts, batch->count);
	for (size_t i = 0; i < batch->count && status_ok(&st); i++)
		st = follow_up(settler, tx, batch->arena, batch->parcels[i], &batch->verdicts[i], batch->tally_of[i]);
	return st;
}

/* What was not committed was not learned. */
static struct status
record(const struct settler *settler, struct store_conn *conn, struct batch *batch)
{
	struct tally *before = ARENA_ARRAY(batch->arena, struct tally, batch->tally_count);
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	for (size_t i = 0; i < batch->tally_count; i++)
		before[i] = *batch->tallies[i];
	st = store_end(&tx, write_down(settler, &tx, batch));
	for (size_t i = 0; i < batch->tally_count && !status_ok(&st); i++)
		*batch->tallies[i] = before[i];
	return st;
}

/* One attempt that the store does not take must not keep all others from being recorded. Its endpoint is left
 * alone until its lease is over; then it is tried again. */
static struct status
record_each(const struct settler *settler, struct store_conn *conn, struct batch *all)
{
	struct status st = status_ok_value();

	for (size_t i = 0; i < all->count && status_ok(&st); i++) {
		struct batch one = {.arena = all->arena,
		                    .verdicts = &all->verdicts[i],
		                    .parcels = &all->parcels[i],
		                    .tally_of = &all->tally_of[i],
		                    .count = 1,
		                    .tallies = &all->tally_of[i],
		                    .tally_count = 1};
		st = record(settler, conn, &one);
		if (!settler_blames_row(&st))
			continue;
		log_error(settler->self->env.log, "attempt cannot be recorded",
		          LOG_TEXT("delivery", all->verdicts[i].delivery_id),
		          LOG_TEXT("endpoint", all->verdicts[i].endpoint_id), LOG_STATUS(&st));
		all->verdicts[i].is_recorded = false;
		all->tally_of[i]->is_broken = true;
		st = status_ok_value();
	}
	return st;
}

static struct status
run(struct settler *settler, struct batch *batch)
{
	struct store *store = settler->self->env.store;
	struct store_conn *conn;

	if (batch->count == 0)
		return status_ok_value();
	struct status st = store_take(store, TAKE_MS, &conn);
	if (!status_ok(&st))
		return st;
	st = record(settler, conn, batch);
	if (settler_blames_row(&st))
		st = record_each(settler, conn, batch);
	store_put(store, conn);
	return st;
}

/* ---- the thread ---- */

static void *
settler_main(void *arg)
{
	struct settler *settler = arg;

	pthread_mutex_lock(&settler->lock);
	for (;;) {
		while (settler->state != SETTLER_BUSY && !settler->is_stopping)
			pthread_cond_wait(&settler->wake, &settler->lock);
		if (settler->state != SETTLER_BUSY)
			break;
		pthread_mutex_unlock(&settler->lock);
		settler->batch.outcome = run(settler, &settler->batch);
		pthread_mutex_lock(&settler->lock);
		settler->state = SETTLER_DONE;
		pthread_mutex_unlock(&settler->lock);
		courier_settled(settler->courier);
		pthread_mutex_lock(&settler->lock);
	}
	pthread_mutex_unlock(&settler->lock);
	return NULL;
}

struct batch *
settler_batch(struct settler *settler)
{
	struct batch *batch = &settler->batch;

	arena_reset(&settler->arena);
	*batch = (struct batch){.arena = &settler->arena, .last = &batch->first};
	return batch;
}

void
settler_begin(struct settler *settler)
{
	pthread_mutex_lock(&settler->lock);
	settler->state = SETTLER_BUSY;
	pthread_cond_signal(&settler->wake);
	pthread_mutex_unlock(&settler->lock);
}

struct batch *
settler_take(struct settler *settler)
{
	pthread_mutex_lock(&settler->lock);
	bool is_done = settler->state == SETTLER_DONE;
	if (is_done)
		settler->state = SETTLER_IDLE;
	pthread_mutex_unlock(&settler->lock);
	return is_done ? &settler->batch : NULL;
}

/* ---- life ---- */

struct status
settler_new(struct webhookd *self, struct courier *courier, struct settler **out)
{
	struct settler *settler = mem_alloc(sizeof(*settler));

	settler->self = self;
	settler->courier = courier;
	arena_init(&settler->arena, 256u << 10, SIZE_MAX);
	pthread_mutex_init(&settler->lock, NULL);
	pthread_cond_init(&settler->wake, NULL);
	*out = settler;
	settler->has_thread = pthread_create(&settler->thread, NULL, settler_main, settler) == 0;
	if (!settler->has_thread)
		return status_make(STATUS_RESOURCE_EXHAUSTED, "cannot start the settler");
	pthread_setname_np(settler->thread, "settler");
	return status_ok_value();
}

void
settler_stop(struct settler *settler)
{
	if (!settler || !settler->has_thread)
		return;
	pthread_mutex_lock(&settler->lock);
	settler->is_stopping = true;
	pthread_cond_signal(&settler->wake);
	pthread_mutex_unlock(&settler->lock);
	pthread_join(settler->thread, NULL);
	settler->has_thread = false;
}

void
settler_free(struct settler *settler)
{
	if (!settler)
		return;
	settler_stop(settler);
	arena_fini(&settler->arena);
	pthread_cond_destroy(&settler->wake);
	pthread_mutex_destroy(&settler->lock);
	mem_free(settler);
}
