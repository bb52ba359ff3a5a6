/*
 * fleet_ask: the queue of what is asked of Redis, and the thread that asks.
 *
 * The thread takes whatever has been queued since its last turn: the busier it is, the larger the batches. A
 * round trip that takes longer than option cached.redis_patience opens the breaker of common/redis; from then
 * on until Redis answers again every replica decides by itself, at once.
 */
#include "fleet_internal.h"

#define RUNS_MAX    256u
#define TURN_BYTES  (4u << 20) /* of values to write in one turn */
#define TURNS_MAX   64u        /* that one reading takes */
#define ARENA_BLOCK (256u << 10)

/* What one turn does. */
struct work_list {
	struct errand *errands;
	struct reading *readings;
};

/* ---- the queues ---- */

void
fleet_change(struct fleet *fleet, struct errand *list)
{
	if (!list)
		return;
	struct errand *last = list;
	while (last->next)
		last = last->next;
	pthread_mutex_lock(&fleet->lock);
	*fleet->last_errand = list;
	fleet->last_errand = &last->next;
	pthread_cond_signal(&fleet->wake);
	pthread_mutex_unlock(&fleet->lock);
}

void
fleet_read(struct fleet *fleet, struct reading *list)
{
	if (!list)
		return;
	struct reading *last = list;
	while (last->next)
		last = last->next;
	pthread_mutex_lock(&fleet->lock);
	*fleet->last_reading = list;
	fleet->last_reading = &last->next;
	pthread_cond_signal(&fleet->wake);
	pthread_mutex_unlock(&fleet->lock);
}

static size_t
bytes_of(const struct errand *errand)
{
	size_t bytes = 0;

	for (size_t i = 0; i < errand->count; i++)
		bytes += errand->ops[i].kind == OP_SET ? errand->ops[i].set.value_length : 0;
	return bytes;
}

static struct errand *
take_errands(struct fleet *fleet)
{
	struct errand *first = fleet->errands, **last = &fleet->errands;
	size_t runs = 0, bytes = 0;

	while (*last && runs < RUNS_MAX && bytes < TURN_BYTES) {
		runs += (*last)->count;
		bytes += bytes_of(*last);
		last = &(*last)->next;
	}
	if (last == &fleet->errands)
		return NULL;
	fleet->errands = *last;
	*last = NULL;
	if (!fleet->errands)
		fleet->last_errand = &fleet->errands;
	return first;
}

static struct reading *
take_readings(struct fleet *fleet)
{
	struct reading *first = fleet->readings, **last = &fleet->readings;

	for (size_t runs = 0; *last && runs < RUNS_MAX; runs++)
		last = &(*last)->next;
	if (last == &fleet->readings)
		return NULL;
	fleet->readings = *last;
	*last = NULL;
	if (!fleet->readings)
		fleet->last_reading = &fleet->readings;
	return first;
}

/* False: there is nothing left, and nothing will come. */
static bool
take_work(struct fleet *fleet, struct work_list *work)
{
	pthread_mutex_lock(&fleet->lock);
	while (!fleet->errands && !fleet->readings && !fleet->is_stopping)
		pthread_cond_wait(&fleet->wake, &fleet->lock);
	work->errands = take_errands(fleet);
	work->readings = take_readings(fleet);
	pthread_mutex_unlock(&fleet->lock);
	return work->errands || work->readings;
}

/* ---- one round trip ---- */

/* Whose run it is: an operation's, or a reading's. */
struct run {
	struct errand *errand;
	struct op *op;
	struct reading *reading;
};

struct runs {
	struct redis_eval_item *items;
	struct run *whose;
	size_t count;
};

static size_t
count_runs(const struct work_list *work)
{
	size_t count = 0;

	for (const struct errand *errand = work->errands; errand; errand = errand->next)
		count += errand->count;
	for (const struct reading *reading = work->readings; reading; reading = reading->next)
		count++;
	return count;
}

static void
add_errand(struct turn *turn, struct errand *errand, struct runs *runs)
{
	for (size_t i = 0; i < errand->count && errand->space; i++) {
		struct op *op = &errand->ops[i];
		if (op_encode(turn, errand, op, &runs->items[runs->count]))
			runs->whose[runs->count++] = (struct run){.errand = errand, .op = op};
	}
}

static void
encode(struct turn *turn, const struct work_list *work, struct runs *runs)
{
	size_t most = count_runs(work);

	runs->items = ARENA_ARRAY(turn->arena, struct redis_eval_item, most + 1);
	runs->whose = ARENA_ARRAY(turn->arena, struct run, most + 1);
	runs->count = 0;
	for (struct errand *errand = work->errands; errand; errand = errand->next)
		add_errand(turn, errand, runs);
	for (struct reading *reading = work->readings; reading; reading = reading->next) {
		reading_encode(turn, reading, &runs->items[runs->count]);
		runs->whose[runs->count++] = (struct run){.reading = reading};
	}
}

static struct status
decode(struct turn *turn, const struct run *run, const struct redis_reply *reply)
{
	bool is_settled;

	if (run->op)
		return op_decode(turn, run->errand, run->op, reply);
	return reading_decode(turn, run->reading, reply, &is_settled);
}

/* Operations that were judged meanwhile come once more. */
static void
repeat(struct turn *turn, struct runs *runs)
{
	size_t count = 0;

	for (size_t i = 0; i < runs->count; i++) {
		struct run run = runs->whose[i];
		if (!run.op || !run.op->is_again)
			continue;
		run.op->is_again = false;
		if (op_encode(turn, run.errand, run.op, &runs->items[count]))
			runs->whose[count++] = run;
	}
	runs->count = count;
}

static struct status
exchange(struct turn *turn, struct runs *runs)
{
	struct redis_reply *replies = ARENA_ARRAY(turn->arena, struct redis_reply, runs->count + 1);
	struct status st = redis_eval_pipeline(turn->conn, runs->items, runs->count, turn->arena, replies);

	for (size_t i = 0; i < runs->count && status_ok(&st); i++)
		st = decode(turn, &runs->whose[i], &replies[i]);
	return st;
}

static struct status
run_all(struct fleet *fleet, const struct work_list *work, struct arena *arena)
{
	struct turn turn = {.fleet = fleet, .arena = arena};
	struct runs runs;
	struct status st = redis_take_hurried(fleet->options.redis, fleet->options.patience_ms, &turn.conn);

	if (!status_ok(&st))
		return st;
	encode(&turn, work, &runs);
	while (status_ok(&st) && runs.count > 0) {
		st = exchange(&turn, &runs);
		if (status_ok(&st))
			repeat(&turn, &runs);
	}
	redis_put(fleet->options.redis, turn.conn);
	return st;
}

/* ---- what came of it ---- */

/* Told once when it begins and once when it ends. */
static void
note_state(struct fleet *fleet, const struct status *st)
{
	struct log *log = fleet->options.log;

	if (!status_ok(st) && !fleet->is_degraded)
		log_warn(log, "going on without Redis", LOG_STATUS(st));
	else if (status_ok(st) && fleet->is_degraded)
		log_info(log, "asking Redis again");
	fleet->is_degraded = !status_ok(st);
}

static void
end_errands(struct fleet *fleet, struct errand *list, bool is_done)
{
	if (!is_done)
		pending_run(fleet->pending, list);
	for (struct errand *errand = list, *next; errand; errand = next) {
		next = errand->next;
		errand->next = NULL;
		errand->done(errand);
	}
}

static bool
is_settled(const struct reading *reading)
{
	for (size_t i = 0; i < reading->count; i++)
		if (reading->gets[i].is_shared)
			return false;
	return true;
}

/* Without Redis, or with what is still open after many turns. */
static void
settle_alone(struct reading *reading)
{
	for (size_t i = 0; i < reading->count; i++) {
		bool has_room = true;
		if (reading->gets[i].is_shared)
			engine_settle_alone(reading->space, &reading->gets[i], reading->arena, &has_room);
		reading->has_room = reading->has_room && has_room;
	}
}

static void
end_readings(struct fleet *fleet, struct reading *list, bool is_done)
{
	for (struct reading *reading = list, *next; reading; reading = next) {
		next = reading->next;
		reading->next = NULL;
		if (is_done && !is_settled(reading) && reading->turns++ < TURNS_MAX) {
			fleet_read(fleet, reading);
			continue;
		}
		if (!is_settled(reading))
			settle_alone(reading);
		reading->done(reading);
	}
}

static void
take_turn(struct fleet *fleet, const struct work_list *work, struct arena *arena)
{
	struct status st = run_all(fleet, work, arena);

	if (!status_ok(&st))
		fleet_be_alone(fleet, true);
	note_state(fleet, &st);
	end_errands(fleet, work->errands, status_ok(&st));
	end_readings(fleet, work->readings, status_ok(&st));
}

void *
fleet_ask_main(void *arg)
{
	struct fleet *fleet = arg;
	struct work_list work;
	struct arena arena;

	arena_init(&arena, ARENA_BLOCK, SIZE_MAX);
	while (take_work(fleet, &work)) {
		arena_reset(&arena);
		take_turn(fleet, &work, &arena);
	}
	arena_fini(&arena);
	return NULL;
}
