/*
 * lane: one message to a replica and its reply.
 *
 *   IDLE -> SENDING -> RECEIVING -> IDLE
 *
 * Receiving starts when the message has been sent, never before. A message is sent at once where a connection
 * has room for it, which costs no thread a callback; otherwise it waits for one and its callback goes on.
 *
 * A lane becomes idle before its flights are handed back: whoever is woken by them finds the slot free. nng's
 * own time-outs are never used, since this version keeps them by the wall clock, but for the one of zero; the
 * timer cancels what is overdue.
 */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "pool_internal.h"
#include "standby.h"
#include "wire.h"

#define HEAD_MAX       256u        /* bytes of a message before its calls */
#define CALL_MAX       24u         /* bytes of a call beside what its flight has packed */
#define PREPARED_BYTES (16u << 10) /* of a message: some 40 calls */

static void on_event(void *arg);

struct status
lane_open(struct lane *lane, struct replica *replica)
{
	lane->replica = replica;
	int rv = nng_ctx_open(&lane->ctx, replica->socket);
	if (rv == 0)
		rv = nng_aio_alloc(&lane->aio, on_event, lane);
	if (rv == 0)
		rv = nng_aio_alloc(&lane->prompt, NULL, NULL);
	if (rv == 0) {
		nng_aio_set_timeout(lane->aio, NNG_DURATION_INFINITE);
		nng_aio_set_timeout(lane->prompt, NNG_DURATION_ZERO);
	}
	lane->is_open = rv == 0;
	return status_from_nng(rv, "cannot open a REQ context");
}

void
lane_close(struct lane *lane)
{
	if (!lane->aio)
		return;
	nng_aio_stop(lane->aio);
	nng_aio_free(lane->aio);
	if (lane->prompt)
		nng_aio_free(lane->prompt);
	if (lane->next_message)
		nng_msg_free(lane->next_message);
	lane->aio = lane->prompt = NULL;
	lane->next_message = NULL;
	lane->is_open = false;
}

/* Appends a Call: its index, what was packed before, and the time it has left. */
static bool
append_call(nng_msg *message, const struct flight *flight, uint32_t index, uint32_t budget_ms)
{
	uint8_t head[CALL_MAX - 8], tail[8], *h = head, *t = tail;
	size_t size = 1 + varint_size(index) + flight->size + 1 + varint_size(budget_ms);

	*h++ = 5 << 3 | 2; /* Request.calls */
	h = put_varint(h, size);
	*h++ = 1 << 3; /* Call.index */
	h = put_varint(h, index);
	*t++ = 8 << 3; /* Call.budget_ms */
	t = put_varint(t, budget_ms);
	return nng_msg_append(message, head, (size_t)(h - head)) == 0 &&
	       nng_msg_append(message, flight->bytes, flight->size) == 0 &&
	       nng_msg_append(message, tail, (size_t)(t - tail)) == 0;
}

/* What the lane's flights take, and the head of the message. */
static size_t
size_of_message(const struct lane *lane)
{
	size_t size = HEAD_MAX;
	for (const struct flight *flight = lane->first; flight; flight = flight->next)
		size += flight->size + CALL_MAX;
	return size;
}

static bool
append_head(nng_msg *message, struct lane *lane)
{
	struct pool *pool = lane->replica->pool;
	Corbel__Bus__Request head = CORBEL__BUS__REQUEST__INIT;
	uint8_t bytes[HEAD_MAX];

	head.has_version = true;
	head.has_batch = true;
	head.batch = atomic_fetch_add(&pool->batch_number, 1);
	head.origin = pool->bus->node;
	head.has_epoch = true;
	head.epoch = pool->bus->epoch;
	head.has_ping = lane->is_ping;
	head.ping = lane->is_ping;
	size_t size = corbel__bus__request__get_packed_size(&head);
	if (size > sizeof(bytes))
		return false;
	corbel__bus__request__pack(&head, bytes);
	return nng_msg_append(message, bytes, size) == 0;
}

/* A large block that a thread allocates beside many small ones makes malloc put all of these in order each
 * time. Who makes calls has many, so a busy lane's next message is allocated where its reply came in, before
 * the lane is idle: from then on it is others'. */
static void
prepare_message(struct lane *lane)
{
	if (lane->kind != LANE_FAST || lane->is_ping || lane->next_message)
		return;
	if (nng_msg_alloc(&lane->next_message, 0) == 0)
		(void)nng_msg_reserve(lane->next_message, PREPARED_BYTES);
}

static nng_msg *
blank_message(struct lane *lane)
{
	nng_msg *message = lane->next_message;

	lane->next_message = NULL;
	if (!message && nng_msg_alloc(&message, 0) != 0)
		return NULL;
	return message;
}

/* Puts the lane's flights into a message; those whose time is over go back unsent. */
static nng_msg *
compose(struct lane *lane)
{
	struct pool *pool = lane->replica->pool;
	uint64_t now = bus_now_ms(pool->bus), latest = now;
	nng_msg *message = blank_message(lane);

	lane->count = 0;
	if (!message)
		return NULL;
	/* At once: nng grows a message in steps, and copies it in each. */
	if (nng_msg_reserve(message, size_of_message(lane)) != 0 || !append_head(message, lane)) {
		nng_msg_free(message);
		return NULL;
	}
	while (lane->first) {
		struct flight *flight = lane->first;
		lane->first = flight->next;
		/* Before the look at has_ended: a port that ends the call now sees that it may run. */
		atomic_store(&flight->was_sent, true);
		if (atomic_load(&flight->has_ended) || flight->deadline_ms <= now) {
			pool_fail(pool, flight, STATUS_DEADLINE_EXCEEDED, "the call's time was over before it was sent",
			          false);
			continue;
		}
		uint64_t budget = flight->deadline_ms - now;
		if (!append_call(message, flight, (uint32_t)lane->count,
		                 budget > UINT32_MAX ? UINT32_MAX : (uint32_t)budget)) {
			pool_fail(pool, flight, STATUS_RESOURCE_EXHAUSTED, "no memory for the message", false);
			continue;
		}
		lane->by_index[lane->count++] = flight;
		if (flight->deadline_ms > latest)
			latest = flight->deadline_ms;
	}
	if (lane->is_ping)
		latest = now + pool->ping_ms;
	atomic_store(&lane->deadline_ms, latest);
	atomic_store(&lane->started_ms, now ? now : 1);
	return message;
}

static void
become_idle(struct lane *lane)
{
	struct replica *replica = lane->replica;
	lane->state = LANE_IDLE;
	atomic_store(&lane->started_ms, 0);
	if (lane->is_ping) {
		replica->is_pinging = false;
	} else if (lane->kind != LANE_FAST) {
		lane->next = replica->lanes[lane->kind].idle;
		replica->lanes[lane->kind].idle = lane;
	}
}

/* The message had no flights left, or could not be made. */
static void
give_up(struct lane *lane)
{
	struct pool *pool = lane->replica->pool;
	for (size_t i = 0; i < lane->count; i++)
		pool_fail(pool, lane->by_index[i], STATUS_RESOURCE_EXHAUSTED, "no memory for the message", false);
	lane->count = 0;
	pthread_mutex_lock(&pool->lock);
	become_idle(lane);
	pthread_mutex_unlock(&pool->lock);
}

/* The lane may be over when this returns. */
static void
receive(struct lane *lane)
{
	lane->state = LANE_RECEIVING;
	nng_ctx_recv(lane->ctx, lane->aio);
}

/* False when no connection can take the message now: it is still the caller's then. */
static bool
send_at_once(struct lane *lane, nng_msg *message)
{
	nng_aio_set_msg(lane->prompt, message);
	nng_ctx_send(lane->ctx, lane->prompt);
	nng_aio_wait(lane->prompt);
	return nng_aio_result(lane->prompt) == 0;
}

void
lane_send(struct lane *lane)
{
	struct pool *pool = lane->replica->pool;
	nng_msg *message = compose(lane);

	if (!message || (lane->count == 0 && !lane->is_ping)) {
		if (message)
			nng_msg_free(message);
		give_up(lane);
		return;
	}
	if (!lane->is_ping)
		histogram_observe(pool->sizes, (double)lane->count);
	lane->state = LANE_SENDING;
	if (send_at_once(lane, message)) {
		receive(lane);
		return;
	}
	nng_aio_set_msg(lane->aio, message);
	nng_ctx_send(lane->ctx, lane->aio);
}

/* What a reply says of its replica. */
static void
learn(struct replica *replica, const Corbel__Bus__Response *response)
{
	if (response->node && strncmp(replica->node, response->node, sizeof(replica->node) - 1) != 0) {
		snprintf(replica->node, sizeof(replica->node), "%s", response->node);
		/* All callers agree on it, by whatever URL they came. */
		replica->identity = hash_stable64(replica->node, strlen(replica->node), 0);
	}
	replica->epoch = response->epoch;
	replica->is_draining = response->draining;
	replica->failures = 0;
	replica->answered_ms = bus_now_ms(replica->pool->bus);
	replica->is_aside = false;
	if (replica->is_draining)
		pool_evacuate(replica->pool, replica);
}

/* Takes the lane's flights out and makes it idle. */
static size_t
detach(struct lane *lane, const Corbel__Bus__Response *response, struct flight *flights[BATCH_CALLS],
       bool has_failed)
{
	struct replica *replica = lane->replica;
	struct pool *pool = replica->pool;
	size_t count = lane->count;

	for (size_t i = 0; i < count; i++)
		flights[i] = lane->by_index[i];
	pthread_mutex_lock(&pool->lock);
	lane->count = 0;
	become_idle(lane);
	if (response)
		learn(replica, response);
	else if (has_failed && ++replica->failures >= pool->breaker_failures)
		replica_set_aside(replica, "calls fail");
	pthread_mutex_unlock(&pool->lock);
	return count;
}

static void
fail_all(struct lane *lane, bool was_sent, bool is_cancelled)
{
	struct pool *pool = lane->replica->pool;
	struct flight *flights[BATCH_CALLS];
	size_t count = detach(lane, NULL, flights, true);

	for (size_t i = 0; i < count; i++) {
		if (pool->is_closing)
			pool_fail(pool, flights[i], STATUS_CANCELLED, "the caller is closing", was_sent);
		else if (is_cancelled && flights[i]->deadline_ms <= bus_now_ms(pool->bus))
			pool_fail(pool, flights[i], STATUS_DEADLINE_EXCEEDED, "the service did not answer in time",
			          was_sent);
		else
			pool_fail(pool, flights[i], STATUS_UNAVAILABLE, "the connection to the service broke", was_sent);
	}
	pool_pump(pool);
}

/* Pairs each reply with its flight. A flight without a reply fails; a reply without one is ignored. */
static void
deliver(struct pool *pool, struct replies *replies, const Corbel__Bus__Response *response,
        struct flight *flights[BATCH_CALLS], size_t count)
{
	for (size_t i = 0; i < response->n_replies; i++) {
		const Corbel__Bus__Reply *reply = response->replies[i];
		if (reply->index >= count || flights[reply->index]->replies)
			continue;
		struct flight *flight = flights[reply->index];
		flight->reply = reply;
		flight->replies = replies;
	}
	for (size_t i = 0; i < count; i++) {
		if (flights[i]->replies) {
			atomic_fetch_add(&replies->holders, 1);
			pool_settle(pool, flights[i], STATUS_OK, NULL, true);
		} else {
			pool_settle(pool, flights[i], STATUS_INTERNAL, "the service left the call without an answer",
			            true);
		}
	}
	port_complete(flights, count);
}

static void
take_reply(struct lane *lane)
{
	struct pool *pool = lane->replica->pool;
	nng_msg *message = nng_aio_get_msg(lane->aio);
	struct replies *replies = replies_take(pool->bus);
	struct flight *flights[BATCH_CALLS];

	struct arena_allocator allocator = arena_allocator(&replies->arena);
	ProtobufCAllocator protobuf = {
	    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};
	Corbel__Bus__Response *response =
	    corbel__bus__response__unpack(&protobuf, nng_msg_len(message), nng_msg_body(message));
	nng_msg_free(message);
	prepare_message(lane);
	if (!response) {
		replies_release(replies);
		fail_all(lane, true, false);
		return;
	}
	size_t count = detach(lane, response, flights, false);
	deliver(pool, replies, response, flights, count);
	replies_release(replies);
	pool_pump(pool);
}

static void
go_on(struct lane *lane)
{
	int rv = nng_aio_result(lane->aio);

	if (lane->state == LANE_SENDING && rv == 0) {
		receive(lane);
	} else if (lane->state == LANE_SENDING) {
		nng_msg *message = nng_aio_get_msg(lane->aio);
		if (message)
			nng_msg_free(message);
		nng_aio_set_msg(lane->aio, NULL);
		fail_all(lane, false, rv == NNG_ECANCELED);
	} else if (rv == 0) {
		take_reply(lane);
	} else {
		fail_all(lane, true, rv == NNG_ECANCELED);
	}
}

static void
on_event(void *arg)
{
	struct lane *lane = arg;
	struct standby *standby = lane->replica->pool->bus->standby;

	standby_enter(standby);
	go_on(lane);
	standby_leave(standby);
}
