/*
 * replica: one listener of the service, as a pool sees it.
 */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "pool_internal.h"
#include "standby.h"

struct replica *
replica_new(struct pool *pool, const char *url)
{
	struct replica *replica = mem_alloc(sizeof(*replica));

	replica->pool = pool;
	replica->holders = 1;
	snprintf(replica->url, sizeof(replica->url), "%s", url);
	replica->identity = hash_stable64(url, strlen(url), 0);
	for (size_t i = 0; i < LANE_KINDS; i++)
		queue_init(&replica->queues[i]);
	replica->lanes[LANE_SLOW].max = SLOW_LANES;
	replica->lanes[LANE_WAITING].max = WAITING_LANES;
	return replica;
}

void
replica_release(struct replica *replica)
{
	if (atomic_fetch_sub(&replica->holders, 1) != 1)
		return;
	for (size_t k = 0; k < LANE_KINDS; k++) {
		for (size_t i = 0; i < replica->lanes[k].count; i++)
			mem_free(replica->lanes[k].items[i]);
		mem_free(replica->lanes[k].items);
	}
	mem_free(replica);
}

static void
note_connection(struct replica *replica, bool has_come)
{
	struct pool *pool = replica->pool;

	pthread_mutex_lock(&pool->lock);
	if (has_come) {
		replica->pipes++;
		/* A new connection starts with a clean slate, and is asked for its name at once. */
		replica->is_aside = false;
		replica->is_draining = false;
		replica->failures = 0;
		replica->suspected_ms = 0;
		replica->pinged_ms = 0;
	} else {
		replica->pipes--;
		if (!replica_is_usable(replica))
			pool_evacuate(pool, replica);
	}
	pthread_mutex_unlock(&pool->lock);
	pool_pump(pool);
}

static void
on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	struct replica *replica = arg;
	struct standby *standby = replica->pool->bus->standby;

	(void)pipe;
	standby_enter(standby);
	note_connection(replica, event == NNG_PIPE_EV_ADD_POST);
	standby_leave(standby);
}

struct status
replica_open(struct replica *replica)
{
	const struct bus *bus = replica->pool->bus;
	int rv = nng_req0_open(&replica->socket);
	struct status st = status_from_nng(rv, "cannot open a REQ socket");

	replica->is_open = status_ok(&st);
	if (status_ok(&st))
		st = socket_configure(bus, replica->socket);
	if (status_ok(&st))
		/* A lost message is the caller's to send again: see the head of bus/pool.h. */
		st =
		    status_from_nng(nng_socket_set_ms(replica->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE),
		                    "cannot turn off resending");
	nng_pipe_notify(replica->socket, NNG_PIPE_EV_ADD_POST, on_pipe, replica);
	nng_pipe_notify(replica->socket, NNG_PIPE_EV_REM_POST, on_pipe, replica);
	for (size_t i = 0; i < FAST_LANES && status_ok(&st); i++)
		st = lane_open(&replica->fast_lanes[i], replica);
	if (status_ok(&st)) {
		replica->ping.is_ping = true;
		st = lane_open(&replica->ping, replica);
	}
	if (status_ok(&st))
		st = dial_start(bus, replica->socket, replica->url, &replica->dial);
	return st;
}

void
replica_close(struct replica *replica)
{
	for (size_t i = 0; i < FAST_LANES; i++)
		lane_close(&replica->fast_lanes[i]);
	for (size_t k = 0; k < LANE_KINDS; k++)
		for (size_t i = 0; i < replica->lanes[k].count; i++)
			lane_close(replica->lanes[k].items[i]);
	lane_close(&replica->ping);
	if (replica->is_open)
		socket_close(replica->pool->bus, replica->socket);
}

bool
replica_is_usable(const struct replica *replica)
{
	return replica->pipes > 0 && !replica->is_aside && !replica->is_draining && !replica->is_removed;
}

void
replica_set_aside(struct replica *replica, const char *why)
{
	struct pool *pool = replica->pool;
	if (replica->is_aside)
		return;
	replica->is_aside = true;
	counter_add(pool->set_aside, 1);
	log_warn(pool->bus->log, "replica set aside", LOG_TEXT("service", pool->service),
	         LOG_TEXT("url", replica->url), LOG_TEXT("why", why));
	pool_evacuate(pool, replica);
}

static struct lane *
idle_lane(struct replica *replica, enum lane_kind kind)
{
	struct lanes *lanes = &replica->lanes[kind];
	struct lane *lane = lanes->idle;

	if (lane) {
		lanes->idle = lane->next;
		return lane;
	}
	if (lanes->count == lanes->max)
		return NULL;
	lane = mem_alloc(sizeof(*lane));
	lane->kind = kind;
	struct status st = lane_open(lane, replica);
	if (!status_ok(&st)) {
		lane_close(lane);
		mem_free(lane);
		return NULL;
	}
	if (lanes->count == lanes->capacity) {
		lanes->capacity = lanes->capacity ? lanes->capacity * 2 : 16;
		lanes->items = mem_resize(lanes->items, lanes->capacity, sizeof(struct lane *));
	}
	lanes->items[lanes->count++] = lane;
	return lane;
}

/* Whether what waits may leave although a message is out. */
static bool
is_worth_a_message(const struct replica *replica, const struct lane *out)
{
	const struct queue *queue = &replica->queues[LANE_FAST];
	uint64_t started = atomic_load(&out->started_ms);

	return queue->count >= PORT_GATHER_CALLS || queue->bytes >= GATHER_BYTES ||
	       (started != 0 && bus_now_ms(replica->pool->bus) >= started + GATHER_MS);
}

struct lane *
replica_idle_lane(struct replica *replica, enum lane_kind kind)
{
	struct lane *idle = NULL, *out = NULL;

	if (kind != LANE_FAST)
		return idle_lane(replica, kind);
	for (size_t i = 0; i < FAST_LANES; i++) {
		struct lane *lane = &replica->fast_lanes[i];
		if (lane->state == LANE_IDLE)
			idle = lane;
		else
			out = lane;
	}
	return idle && out && !is_worth_a_message(replica, out) ? NULL : idle;
}
