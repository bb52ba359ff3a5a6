/*
 * fleet_ask: the queue of what is asked of Redis, and the thread that asks.
 *
 * The thread takes whatever has been queued since its last turn: the busier it is, the larger the batches. A
 * round trip that takes longer than option cached.redis_patience opens the breaker of common/redis; from then
 * on until Redis answers again every replica decides by itself, at once.
 */
#include "fleet_internal.h"

#define RUNS_MAX    256u       /* of changes in one turn */
#define GETS_MAX    1024u      /* in one turn, and what the last reading has beyond it */
#define READS_MAX   64u        /* runs of read.lua in one round trip */
#define TURN_BYTES  (4u << 20) /* of values to write in one turn */
#define TRIP_BYTES  (4u << 20) /* of values to read in one round trip, unless a single one is larger */
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

	for (size_t gets = 0; *last && gets < GETS_MAX; last = &(*last)->next)
		gets += (*last)->count;
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

/* ---- round trips ---- */

/* Whose replies these are: an operation's, a look's, or a run's of read.lua. */
struct run {
	struct errand *errand;
	struct op *op;
	struct inquiry *looking;
	struct read_run read;
};

/* What a round trip asks, and what it takes to understand the answers. */
struct runs {
	struct redis_eval_item *items;
	struct run *whose;
	size_t item_count, count;
	struct inquiry *inquiries; /* of the turn */
	size_t bytes_max;          /* of an entry, in the first look */
};

static void
make_room(struct turn *turn, const struct work_list *work, struct runs *runs)
{
	size_t items = READS_MAX, whose = READS_MAX, gets = 0;

	for (const struct errand *errand = work->errands; errand; errand = errand->next) {
		items += errand->count;
		whose += errand->count;
	}
	for (const struct inquiry *inquiry = runs->inquiries; inquiry; inquiry = inquiry->next) {
		items += look_items(inquiry);
		whose++;
		gets += inquiry->count;
	}
	runs->items = ARENA_ARRAY(turn->arena, struct redis_eval_item, items);
	runs->whose = ARENA_ARRAY(turn->arena, struct run, whose);
	runs->bytes_max = TRIP_BYTES / (gets + 1);
}

static void
add_op(struct turn *turn, struct errand *errand, struct op *op, struct runs *runs)
{
	if (op_encode(turn, errand, op, &runs->items[runs->item_count])) {
		runs->whose[runs->count++] = (struct run){.errand = errand, .op = op};
		runs->item_count++;
	}
}

static void
add_look(struct turn *turn, struct inquiry *inquiry, struct runs *runs)
{
	if (inquiry->count == 0)
		return;
	look_encode(turn, inquiry, runs->bytes_max, &runs->items[runs->item_count]);
	runs->item_count += look_items(inquiry);
	runs->whose[runs->count++] = (struct run){.looking = inquiry};
}

/* Changes, and a first look at what is to be read. */
static void
begin(struct turn *turn, const struct work_list *work, struct runs *runs)
{
	*runs = (struct runs){.inquiries = inquiries_of(turn, work->readings)};
	make_room(turn, work, runs);
	for (struct errand *errand = work->errands; errand; errand = errand->next)
		for (size_t i = 0; i < errand->count && errand->space; i++)
			add_op(turn, errand, &errand->ops[i], runs);
	for (struct inquiry *inquiry = runs->inquiries; inquiry; inquiry = inquiry->next)
		add_look(turn, inquiry, runs);
}

static size_t
count_reads(const struct runs *runs)
{
	size_t count = 0;

	for (const struct inquiry *inquiry = runs->inquiries; inquiry && count < READS_MAX;
	     inquiry = inquiry->next)
		count += reads_left(inquiry);
	return count < READS_MAX ? count : READS_MAX;
}

/* What the first look left open. Each run returns its part of a trip's bytes at most, but the first, which is
 * of the reading that waits longest, one value in any case: so all come to their end. */
static void
add_reads(struct turn *turn, struct runs *runs)
{
	size_t count = count_reads(runs), bytes = count > 0 ? TRIP_BYTES / count : 0;
	struct inquiry *inquiry = runs->inquiries;

	for (size_t i = 0; i < count; i++) {
		struct run *run = &runs->whose[runs->count++];
		while (reads_left(inquiry) == 0)
			inquiry = inquiry->next;
		*run = (struct run){0};
		read_encode(turn, inquiry, &(struct read_bounds){bytes, i == 0}, &run->read,
		            &runs->items[runs->item_count++]);
	}
}

/* Operations that were judged meanwhile come once more, and readings move on. */
static void
go_on(struct turn *turn, struct runs *runs)
{
	size_t before = runs->count;

	runs->count = runs->item_count = 0;
	for (size_t i = 0; i < before; i++) {
		struct run run = runs->whose[i];
		if (!run.op || !run.op->is_again)
			continue;
		run.op->is_again = false;
		add_op(turn, run.errand, run.op, runs);
	}
	add_reads(turn, runs);
}

/* Takes the run's replies off. */
static struct status
decode(struct turn *turn, const struct runs *runs, struct run *run, const struct redis_reply **replies)
{
	const struct redis_reply *first = *replies;

	*replies += run->looking ? look_items(run->looking) : 1;
	if (run->op)
		return op_decode(turn, run->errand, run->op, first);
	if (run->looking)
		return look_decode(turn, run->looking, runs->bytes_max, first);
	return read_decode(turn, &run->read, first);
}

static struct status
exchange(struct turn *turn, struct runs *runs)
{
	struct redis_reply *replies = ARENA_ARRAY(turn->arena, struct redis_reply, runs->item_count);
	struct status st = redis_eval_pipeline(turn->conn, runs->items, runs->item_count, turn->arena, replies);
	const struct redis_reply *at = replies;

	for (size_t i = 0; i < runs->count && status_ok(&st); i++)
		st = decode(turn, runs, &runs->whose[i], &at);
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
	begin(&turn, work, &runs);
	while (status_ok(&st) && runs.count > 0) {
		st = exchange(&turn, &runs);
		if (status_ok(&st))
			go_on(&turn, &runs);
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

/* Without Redis, or without room for more, or with what is still open after many turns. */
static void
settle_alone(struct reading *reading)
{
	if (reading->room)
		value_room_enter(reading->room, reading->arena);
	for (size_t i = 0; i < reading->count; i++) {
		bool has_room = true;
		if (reading->gets[i].is_shared)
			engine_settle_alone(reading->space, &reading->gets[i], reading->arena, &has_room);
		reading->has_room = reading->has_room && has_room;
	}
	if (reading->room)
		value_room_leave(reading->room, reading->arena);
}

/* What has more to come goes before all that has come meanwhile. */
static void
read_on(struct fleet *fleet, struct reading *list, struct reading *last)
{
	if (!list)
		return;
	pthread_mutex_lock(&fleet->lock);
	last->next = fleet->readings;
	if (!fleet->readings)
		fleet->last_reading = &last->next;
	fleet->readings = list;
	pthread_mutex_unlock(&fleet->lock);
}

static bool
goes_on(struct reading *reading, bool is_done)
{
	return is_done && !is_settled(reading) && reading->has_room && reading->turns++ < TURNS_MAX;
}

static void
end_readings(struct fleet *fleet, struct reading *list, bool is_done)
{
	struct reading *first = NULL, *last = NULL;

	for (struct reading *reading = list, *next; reading; reading = next) {
		next = reading->next;
		reading->next = NULL;
		if (goes_on(reading, is_done)) {
			*(last ? &last->next : &first) = reading;
			last = reading;
			continue;
		}
		if (!is_settled(reading))
			settle_alone(reading);
		reading->done(reading);
	}
	read_on(fleet, first, last);
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
