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
#define TURN_BYTES  (4u << 20) /* of values to write in one turn */
#define TURNS_MAX   64u        /* that one reading takes */
#define ARENA_BLOCK (256u << 10)

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

/* Redis may be back, and others still have to be told what was changed here without it: what Redis has of
 * that is not read before. */
static void
take_turn(struct fleet *fleet, const struct work_list *work, struct arena *arena)
{
	bool may_read = !fleet_is_alone(fleet);
	const struct work_list asked = {.errands = work->errands, .readings = may_read ? work->readings : NULL};
	struct status st = status_ok_value();

	if (asked.errands || asked.readings) {
		st = trips_run(fleet, &asked, arena);
		note_state(fleet, &st);
	}
	if (!status_ok(&st))
		fleet_be_alone(fleet, true);
	end_errands(fleet, work->errands, status_ok(&st));
	end_readings(fleet, work->readings, status_ok(&st) && may_read);
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
