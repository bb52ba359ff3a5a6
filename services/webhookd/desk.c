/*
 * desk: see desk.h.
 */
#include "base/monotonic.h"
#include "desk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "queue.h"

#define POLL_MS      500u
#define TURN_MAX     64u  /* calls looked at together */
#define MARGIN_MS    500u /* before a call's deadline */
#define TAKE_MS      1000u
#define LEASE_MS     30000
#define MESSAGES     10u
#define ARRIVALS_MAX 1024u /* beyond those that wait */

typedef Corbel__V1__ReceiveMessagesRequest ReceiveRequest;
typedef Corbel__V1__ReceiveMessagesReply ReceiveReply;

/* Lives in its call's arena. */
struct waiting {
	struct waiting *next;
	struct call *call;
	uint64_t until_mono, look_mono;
	char caller[72]; /* tenant */
	char tenant[72]; /* the queue's, once it has been looked at */
	/* of the present turn: */
	struct queue queue;
	struct status outcome;
	bool has_due;
};

struct desk {
	struct webhookd *self;
	size_t waiting_max;
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t wake;
	struct waiting *first, **last; /* who waits for another look */
	struct waiting *turn;          /* who is looked at now */
	size_t count;                  /* of both */
	uint64_t news;                 /* hints so far: what is being looked at may have missed one */
	bool is_draining, is_stopping;
	/* the thread's own: */
	struct arena arena; /* of a turn */
};

static uint64_t
now_mono(const struct desk *desk)
{
	return clock_mono_ms(desk->self->env.clock);
}

/* ---- the list ---- */

static void
append(struct desk *desk, struct waiting *waiting)
{
	waiting->next = NULL;
	*desk->last = waiting;
	desk->last = &waiting->next;
}

/* Takes those out that are to be looked at now; the rest stays in order. */
static struct waiting *
take_turn(struct desk *desk, uint64_t now)
{
	struct waiting *turn = NULL, **end = &turn, *rest = desk->first;
	size_t taken = 0;

	desk->first = NULL;
	desk->last = &desk->first;
	while (rest) {
		struct waiting *waiting = rest;
		rest = rest->next;
		if (taken == TURN_MAX ||
		    (!desk->is_draining && waiting->look_mono > now && waiting->until_mono > now)) {
			append(desk, waiting);
			continue;
		}
		waiting->next = NULL;
		*end = waiting;
		end = &waiting->next;
		taken++;
	}
	desk->turn = turn;
	return turn;
}

/* ---- one turn ---- */

static void
look(struct desk *desk, struct store_conn *conn, struct waiting *waiting, int64_t now_ms)
{
	const ReceiveRequest *request = (const void *)call_request(waiting->call);

	waiting->has_due = false;
	/* After a time of standing still: nobody would get what is leased. */
	if (call_has_expired(waiting->call)) {
		waiting->outcome = status_make(STATUS_DEADLINE_EXCEEDED, "the call's time is over");
		return;
	}
	struct status st = queue_read(conn, &desk->arena, request->id, &waiting->queue);
	if (status_ok(&st) && !scope_sees(waiting->call, waiting->queue.tenant))
		st = scope_not_found("queue");
	if (status_ok(&st) && waiting->queue.is_disabled)
		st = status_make(STATUS_FAILED_PRECONDITION, "the queue is disabled; enable it first");
	if (status_ok(&st))
		st = queue_has_due(conn, &desk->arena, &waiting->queue, now_ms, &waiting->has_due);
	if (status_ok(&st))
		snprintf(waiting->tenant, sizeof(waiting->tenant), "%s", waiting->queue.tenant);
	waiting->outcome = st;
}

static struct status
lease(struct desk *desk, struct store_tx *tx, struct waiting *waiting, int64_t now_ms)
{
	const ReceiveRequest *request = (const void *)call_request(waiting->call);
	ReceiveReply *reply = (void *)call_reply(waiting->call);
	struct lease_request wanted = {
	    .now_ms = now_ms,
	    .until_ms = now_ms + (request->has_lease_ms ? (int64_t)request->lease_ms : LEASE_MS),
	    .most = request->has_max ? request->max : MESSAGES};

	return queue_lease(desk->self, tx, call_arena(waiting->call), &waiting->queue, &wanted, &reply->messages,
	                   &reply->n_messages);
}

static int
by_queue(const void *a, const void *b)
{
	return strcmp((*(struct waiting *const *)a)->queue.id, (*(struct waiting *const *)b)->queue.id);
}

/* Those that have something to lease, in one transaction. Queues are locked in the order of their ids, so
 * that replicas wait for each other instead of deadlocking. */
static void
lease_all(struct desk *desk, struct store_conn *conn, struct waiting **list, size_t count, int64_t now_ms)
{
	struct store_tx tx;

	qsort(list, count, sizeof(struct waiting *), by_queue);
	struct status st = store_begin(conn, &tx);
	if (status_ok(&st)) {
		for (size_t i = 0; i < count && status_ok(&st); i++)
			st = lease(desk, &tx, list[i], now_ms);
		st = store_end(&tx, st);
	}
	for (size_t i = 0; i < count; i++) {
		ReceiveReply *reply = (void *)call_reply(list[i]->call);
		list[i]->outcome = st;
		if (status_ok(&st))
			queue_count_leased(desk->self->queue_metrics, reply->n_messages);
		else
			reply->n_messages = 0;
	}
}

static void
look_at_all(struct desk *desk, struct waiting *turn)
{
	int64_t now_ms = clock_wall_ms(desk->self->env.clock);
	struct waiting **due = ARENA_ARRAY(&desk->arena, struct waiting *, TURN_MAX);
	struct store_conn *conn;
	size_t count = 0;
	struct status st = store_take(desk->self->env.store, TAKE_MS, &conn);

	for (struct waiting *waiting = turn; waiting; waiting = waiting->next) {
		waiting->outcome = st;
		if (status_ok(&st))
			look(desk, conn, waiting, now_ms);
		if (status_ok(&waiting->outcome) && waiting->has_due)
			due[count++] = waiting;
	}
	if (count > 0)
		lease_all(desk, conn, due, count, now_ms);
	if (status_ok(&st))
		store_put(desk->self->env.store, conn);
}

static bool
is_over(const struct desk *desk, const struct waiting *waiting, uint64_t now)
{
	const ReceiveReply *reply = (const void *)call_reply(waiting->call);
	return !status_ok(&waiting->outcome) || reply->n_messages > 0 || waiting->until_mono <= now ||
	       desk->is_draining;
}

static void
end_call(struct waiting *waiting)
{
	struct status st = waiting->outcome;

	if (st.code == STATUS_UNAVAILABLE || st.code == STATUS_RESOURCE_EXHAUSTED)
		call_retry_after_ms(waiting->call, 1000);
	call_end(waiting->call, st);
}

static void
serve(struct desk *desk, struct waiting *turn, uint64_t news)
{
	struct waiting *ended = NULL;

	arena_reset(&desk->arena);
	look_at_all(desk, turn);
	pthread_mutex_lock(&desk->lock);
	uint64_t now = now_mono(desk);
	desk->turn = NULL;
	while (turn) {
		struct waiting *waiting = turn;
		turn = turn->next;
		waiting->look_mono = desk->news == news ? now + POLL_MS : now;
		if (is_over(desk, waiting, now)) {
			waiting->next = ended;
			ended = waiting;
			desk->count--;
		} else {
			append(desk, waiting);
		}
	}
	queue_count_waiting(desk->self->queue_metrics, desk->count);
	pthread_mutex_unlock(&desk->lock);
	while (ended) {
		struct waiting *waiting = ended;
		ended = ended->next;
		end_call(waiting);
	}
}

/* ---- the thread ---- */

static uint64_t
next_look(const struct desk *desk, uint64_t now)
{
	uint64_t next = now + POLL_MS;

	for (const struct waiting *waiting = desk->first; waiting; waiting = waiting->next) {
		next = waiting->look_mono < next ? waiting->look_mono : next;
		next = waiting->until_mono < next ? waiting->until_mono : next;
	}
	return next;
}

static void
wait_for_work(struct desk *desk)
{
	uint64_t now = now_mono(desk), next = next_look(desk, now);

	if (!desk->first) {
		pthread_cond_wait(&desk->wake, &desk->lock);
	} else if (next > now) {
		struct timespec until = monotonic_at_ms(next);
		(void)pthread_cond_timedwait(&desk->wake, &desk->lock, &until);
	}
}

static void *
desk_main(void *arg)
{
	struct desk *desk = arg;

	pthread_mutex_lock(&desk->lock);
	for (;;) {
		struct waiting *turn = take_turn(desk, now_mono(desk));
		uint64_t news = desk->news;
		if (turn) {
			pthread_mutex_unlock(&desk->lock);
			serve(desk, turn, news);
			pthread_mutex_lock(&desk->lock);
			continue;
		}
		if (desk->is_stopping && !desk->first)
			break;
		wait_for_work(desk);
	}
	pthread_mutex_unlock(&desk->lock);
	return NULL;
}

/* ---- what other threads say ---- */

static size_t
calls_of(const struct waiting *list, const char *tenant)
{
	size_t count = 0;

	for (; list; list = list->next)
		count += strcmp(list->caller, tenant) == 0;
	return count;
}

/* No tenant holds more of what may wait than is left for the others. */
static bool
may_wait(const struct desk *desk, const char *tenant)
{
	size_t theirs = calls_of(desk->first, tenant) + calls_of(desk->turn, tenant);
	return desk->count < desk->waiting_max && theirs < desk->waiting_max - desk->count;
}

/* True when it was taken. More than may wait are looked at once, and answered with what there is. */
static bool
submit(struct desk *desk, struct call *call)
{
	const ReceiveRequest *request = (const void *)call_request(call);
	uint64_t now = now_mono(desk), deadline = call_deadline_mono_ms(call);
	struct waiting *waiting = ARENA_NEW(call_arena(call), struct waiting);

	waiting->call = call;
	snprintf(waiting->caller, sizeof(waiting->caller), "%s", call_tenant(call));
	waiting->until_mono = now + (request->has_wait_ms ? request->wait_ms : 0);
	if (deadline > 0 && waiting->until_mono + MARGIN_MS > deadline)
		waiting->until_mono = deadline > MARGIN_MS ? deadline - MARGIN_MS : 0;
	pthread_mutex_lock(&desk->lock);
	bool is_taken = !desk->is_stopping && desk->count < desk->waiting_max + ARRIVALS_MAX;
	if (!may_wait(desk, waiting->caller))
		waiting->until_mono = now;
	if (is_taken) {
		append(desk, waiting);
		desk->count++;
		pthread_cond_signal(&desk->wake);
	}
	pthread_mutex_unlock(&desk->lock);
	return is_taken;
}

void
queues_receive_batch(void *arg, struct call *calls[], size_t count)
{
	struct webhookd *self = arg;

	for (size_t i = 0; i < count; i++) {
		if (submit(self->desk, calls[i]))
			continue;
		call_retry_after_ms(calls[i], 1000);
		call_problem(calls[i], "overloaded");
		call_end(calls[i], status_make(STATUS_RESOURCE_EXHAUSTED, "too many calls wait for messages"));
	}
}

void
desk_hint(struct desk *desk, const char *tenant)
{
	if (!desk)
		return;
	pthread_mutex_lock(&desk->lock);
	desk->news++;
	bool is_theirs = false;
	for (struct waiting *waiting = desk->first; waiting; waiting = waiting->next) {
		if (strcmp(waiting->tenant, tenant) != 0)
			continue;
		waiting->look_mono = 0;
		is_theirs = true;
	}
	if (is_theirs)
		pthread_cond_signal(&desk->wake);
	pthread_mutex_unlock(&desk->lock);
}

/* ---- life ---- */

struct status
desk_new(struct webhookd *self, struct desk **out)
{
	struct desk *desk = mem_alloc(sizeof(*desk));

	desk->self = self;
	desk->waiting_max = (size_t)config_integer(self->env.config, "webhookd.queue_waiting");
	desk->last = &desk->first;
	arena_init(&desk->arena, 4096, SIZE_MAX);
	pthread_mutex_init(&desk->lock, NULL);
	monotonic_cond_init(&desk->wake);
	*out = desk;
	desk->has_thread = pthread_create(&desk->thread, NULL, desk_main, desk) == 0;
	return desk->has_thread ? status_ok_value()
	                        : status_make(STATUS_RESOURCE_EXHAUSTED, "cannot start the queues' desk");
}

void
desk_drain(struct desk *desk)
{
	if (!desk)
		return;
	pthread_mutex_lock(&desk->lock);
	desk->is_draining = true;
	pthread_cond_signal(&desk->wake);
	pthread_mutex_unlock(&desk->lock);
}

void
desk_free(struct desk *desk)
{
	if (!desk)
		return;
	pthread_mutex_lock(&desk->lock);
	desk->is_draining = desk->is_stopping = true;
	pthread_cond_signal(&desk->wake);
	pthread_mutex_unlock(&desk->lock);
	if (desk->has_thread)
		pthread_join(desk->thread, NULL);
	pthread_cond_destroy(&desk->wake);
	pthread_mutex_destroy(&desk->lock);
	arena_fini(&desk->arena);
	mem_free(desk);
}
