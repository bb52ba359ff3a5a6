/*
 * replay: see replay.h.
 *
 * Replicas work side by side: a step reads again how far the replay is under the tenant's log.
 */
#include "replay.h"

#include <stdatomic.h>

#include "events/pattern.h"
#include "redeliver.h"

#define IDLE_MS     1000u /* between looks while nothing moves */
#define RUNNING_MAX 100
#define STEPS       4    /* of one replay in a turn */
#define EVENTS      100  /* of a step at most */
#define RANGE       5000 /* of sequences that a step looks at */
#define WAITING_MAX 256  /* deliveries that wait for the endpoint, live ones among them */

static const struct store_sql RUNNING = {
    "replay_running", "SELECT id, tenant_id FROM replays WHERE state = 1 ORDER BY id LIMIT $1"};
static const struct store_sql READ = {"replay_read",
                                      "SELECT " REPLAY_COLUMNS " FROM replays WHERE id = $1 AND state = 1"};
static const struct store_sql WAITING = {
    "replay_waiting", "SELECT COUNT(*) FROM (SELECT 1 FROM waiting WHERE endpoint_id = $1 LIMIT $2) AS w"};
static const struct store_sql EVENTS_OF = {
    "replay_events", "SELECT message FROM events WHERE tenant_id = $1 AND sequence > $2 AND sequence <= $3"
                     " AND recorded_at >= $4 AND recorded_at < $5 ORDER BY sequence LIMIT $6"};
static const struct store_sql ADVANCE = {
    "replay_advance", "UPDATE replays SET at_sequence = $2, deliveries = deliveries + $3, state = $4,"
                      " finished_at = $5 WHERE id = $1"};

struct status
replay_from_row(struct arena *arena, const struct store_rows *rows, size_t row, Replay *out)
{
	const Replay *stored = (Replay *)unpacked(arena, &corbel__v1__replay__descriptor, rows, row, 8);

	if (!stored)
		return status_make(STATUS_DATA_LOSS, "a stored replay cannot be read");
	*out = *stored;
	out->id = row_text(rows, row, 0);
	out->tenant_id = row_text(rows, row, 1);
	out->endpoint_id = row_text(rows, row, 2);
	out->has_state = out->has_at_sequence = out->has_last_sequence = out->has_deliveries = true;
	out->state = (Corbel__V1__ReplayState)row_i64(rows, row, 3);
	out->at_sequence = (uint64_t)row_i64(rows, row, 4);
	out->last_sequence = (uint64_t)row_i64(rows, row, 5);
	out->deliveries = (uint64_t)row_i64(rows, row, 6);
	out->has_finished_at = !row_is_null(rows, row, 7);
	out->finished_at = row_i64(rows, row, 7);
	return status_ok_value();
}

/* ---- a step ---- */

struct step {
	const struct webhookd *self;
	struct store_tx *tx;
	struct arena *arena;
	Replay replay;
	struct target target;
	size_t room, made;
	uint64_t at; /* looked at up to here */
};

static struct status
find_room(struct step *step)
{
	struct store_rows *rows;
	struct status st =
	    store_query(step->tx, &WAITING, STORE_PARAMS(store_text(step->target.id), store_i64(WAITING_MAX)), 1,
	                step->arena, &rows);

	if (!status_ok(&st))
		return st;
	size_t room = WAITING_MAX - (size_t)row_i64(rows, 0, 0);
	step->room = step->target.is_disabled ? 0 : room < EVENTS ? room : EVENTS;
	return st;
}

static struct status
read_events(struct step *step, struct store_rows **rows)
{
	const Replay *replay = &step->replay;
	uint64_t end = replay->at_sequence + RANGE;

	step->at = end < replay->last_sequence ? end : replay->last_sequence;
	return store_query(
	    step->tx, &EVENTS_OF,
	    STORE_PARAMS(store_text(replay->tenant_id), store_i64((int64_t)replay->at_sequence),
	                 store_i64((int64_t)step->at), store_i64(replay->has_since ? replay->since : 0),
	                 store_i64(replay->has_until ? replay->until : NEVER_MS), store_i64((int64_t)step->room)),
	    step->room, step->arena, rows);
}

static struct status
deliver(struct step *step, const struct store_rows *rows, struct redelivery *redelivery)
{
	struct status st = status_ok_value();

	redelivery->skips_delivered = step->replay.skip_delivered;
	for (size_t r = 0; r < rows_count(rows) && status_ok(&st); r++) {
		const Event *event = (Event *)unpacked(step->arena, &corbel__v1__event__descriptor, rows, r, 0);
		if (!event)
			return status_make(STATUS_DATA_LOSS, "a stored event cannot be read");
		if (rows_count(rows) == step->room)
			step->at = event->sequence; /* there may be more behind the last one */
		if (!step->replay.type || pattern_matches(step->replay.type, event->type))
			st = redelivery_add(redelivery, event, false);
	}
	step->made = redelivery->count;
	return st;
}

static struct status
advance(const struct step *step, int64_t now_ms)
{
	bool is_over = step->at >= step->replay.last_sequence;
	int64_t state = is_over ? CORBEL__V1__REPLAY_STATE__REPLAYED : CORBEL__V1__REPLAY_STATE__REPLAYING;

	return store_exec(step->tx, &ADVANCE,
	                  STORE_PARAMS(store_text(step->replay.id), store_i64((int64_t)step->at),
	                               store_i64((int64_t)step->made), store_i64(state),
	                               is_over ? store_i64(now_ms) : store_null()),
	                  NULL);
}

/* False in *has_moved: it is over, or the endpoint has no room. */
static struct status
take_step(struct step *step, const char *id, const char *tenant, bool *has_moved)
{
	int64_t now_ms = clock_wall_ms(step->self->env.clock);
	struct redelivery redelivery;
	struct log_state log;
	struct store_rows *rows;
	struct status st = log_lock(step->tx, step->arena, tenant, &log);

	*has_moved = false;
	if (status_ok(&st))
		st = store_query(step->tx, &READ, STORE_PARAMS(store_text(id)), 1, step->arena, &rows);
	if (!status_ok(&st) || rows_count(rows) == 0)
		return st;
	st = replay_from_row(step->arena, rows, 0, &step->replay);
	if (status_ok(&st))
		st = target_read(step->tx, step->arena, step->replay.endpoint_id, &step->target);
	if (status_ok(&st))
		st = find_room(step);
	if (!status_ok(&st) || step->room == 0)
		return st;
	st = read_events(step, &rows);
	if (status_ok(&st))
		st = redelivery_begin(step->self, step->tx, step->arena, &step->target, now_ms, &redelivery);
	if (!status_ok(&st))
		return st;
	st = redelivery_end(&redelivery, deliver(step, rows, &redelivery));
	*has_moved = status_ok(&st);
	return status_ok(&st) ? advance(step, now_ms) : st;
}

/* ---- the task ---- */

static struct status
go_on(struct webhookd *self, struct store_conn *conn, struct arena *arena, const char *id, const char *tenant,
      bool *has_moved)
{
	struct store_tx tx;
	struct step step = {.self = self, .tx = &tx, .arena = arena};
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	st = store_end(&tx, take_step(&step, id, tenant, has_moved));
	*has_moved = *has_moved && status_ok(&st);
	if (*has_moved && step.made > 0)
		webhookd_hint(self, tenant);
	return st;
}

static struct status
run_all(struct webhookd *self, struct store_conn *conn, struct arena *arena, bool *has_moved)
{
	struct arena step_arena;
	struct store_rows *rows;
	struct status st =
	    store_read(conn, &RUNNING, STORE_PARAMS(store_i64(RUNNING_MAX)), RUNNING_MAX, arena, &rows);

	arena_init(&step_arena, 64u << 10, SIZE_MAX);
	for (size_t r = 0; status_ok(&st) && r < rows_count(rows); r++) {
		bool is_moving = true;
		for (int step = 0; step < STEPS && is_moving && status_ok(&st); step++) {
			arena_reset(&step_arena);
			st = go_on(self, conn, &step_arena, row_text(rows, r, 0), row_text(rows, r, 1), &is_moving);
			*has_moved = *has_moved || is_moving;
		}
	}
	arena_fini(&step_arena);
	return st;
}

void
replay_task(void *arg, struct store_conn *conn)
{
	struct webhookd *self = arg;
	uint64_t now = clock_mono_ms(self->env.clock);
	bool has_moved = false;
	struct arena arena;

	if (!atomic_exchange(&self->is_replaying, false) && now - atomic_load(&self->replay_looked) < IDLE_MS)
		return;
	atomic_store(&self->replay_looked, now);
	arena_init(&arena, 16u << 10, 16u << 20);
	struct status st = run_all(self, conn, &arena, &has_moved);
	arena_fini(&arena);
	if (has_moved)
		atomic_store(&self->is_replaying, true);
	if (!status_ok(&st))
		log_warn(self->env.log, "a replay waits", LOG_STATUS(&st));
}
