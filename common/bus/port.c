/*
 * port: where one thread's calls end.
 *
 * Completions arrive from bus threads in a list under a short lock, with one write to the eventfd when
 * the list was empty. Deadlines are a binary heap that only the port's thread touches, so ending a call
 * by its deadline races with nothing: its completion is found ended and let go.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/text.h"
#include "flight.h"
#include "series.h"

#define POOLS_MAX 32 /* that one flush can touch */

struct port {
	struct bus *bus;
	_Atomic size_t holders; /* the owner and each flight */
	int fd;
	pthread_mutex_t lock;
	struct flight *completed, **last; /* guarded by `lock` */
	bool is_closed;                   /* guarded by `lock`: nobody will poll */
	/* the port's thread only: */
	struct flight **heap;
	size_t heap_count, heap_capacity;
	struct flight *failed;           /* refused before they were sent; end in the next poll */
	struct pool *touched[POOLS_MAX]; /* to pump at the next flush */
	size_t touched_count;
	size_t queued; /* calls since the last flush */
	struct hangar hangar;
	uint64_t now_ns;        /* when what ends now was looked for */
	struct port *next_idle; /* guarded by the bus's lock */
};

static void
port_release(struct port *port)
{
	if (atomic_fetch_sub(&port->holders, 1) != 1)
		return;
	hangar_fini(&port->hangar);
	close(port->fd);
	pthread_mutex_destroy(&port->lock);
	mem_free(port->heap);
	mem_free(port);
}

void
flight_release(struct flight *flight)
{
	if (!flight_let_go(flight))
		return;
	port_release(flight->port);
	mem_free(flight);
}

/* The same in the port's thread, which uses the memory again. */
static void
put_flight(struct port *port, struct flight *flight)
{
	if (!flight_let_go(flight))
		return;
	hangar_put(&port->hangar, flight);
	port_release(port);
}

struct status
port_new(struct bus *bus, struct port **out)
{
	struct port *port = mem_alloc(sizeof(*port));
	port->bus = bus;
	port->holders = 1;
	port->last = &port->completed;
	pthread_mutex_init(&port->lock, NULL);
	port->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (port->fd < 0) {
		struct status st =
		    status_make(STATUS_RESOURCE_EXHAUSTED, "cannot make an eventfd: %s", strerror(errno));
		port->fd = -1;
		port_release(port);
		return st;
	}
	*out = port;
	return status_ok_value();
}

int
port_fd(const struct port *port)
{
	return port->fd;
}

/* ---- deadlines: a binary heap by deadline_ms ---- */

static void
heap_put(struct port *port, size_t at, struct flight *flight)
{
	port->heap[at] = flight;
	flight->heap_index = at;
}

static void
heap_up(struct port *port, size_t at, struct flight *flight)
{
	while (at > 0 && port->heap[(at - 1) / 2]->deadline_ms > flight->deadline_ms) {
		heap_put(port, at, port->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	heap_put(port, at, flight);
}

static void
heap_down(struct port *port, size_t at, struct flight *flight)
{
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= port->heap_count)
			break;
		if (child + 1 < port->heap_count &&
		    port->heap[child + 1]->deadline_ms < port->heap[child]->deadline_ms)
			child++;
		if (port->heap[child]->deadline_ms >= flight->deadline_ms)
			break;
		heap_put(port, at, port->heap[child]);
		at = child;
	}
	heap_put(port, at, flight);
}

static void
heap_add(struct port *port, struct flight *flight)
{
	if (port->heap_count == port->heap_capacity) {
		port->heap_capacity = port->heap_capacity ? port->heap_capacity * 2 : 64;
		port->heap = mem_resize(port->heap, port->heap_capacity, sizeof(struct flight *));
	}
	heap_up(port, port->heap_count++, flight);
}

static void
heap_remove(struct port *port, struct flight *flight)
{
	size_t at = flight->heap_index;
	struct flight *moved = port->heap[--port->heap_count];
	if (moved == flight)
		return;
	heap_down(port, at, moved);
	heap_up(port, moved->heap_index, moved);
}

/* ---- sending ---- */

static struct flight *
take_off(struct port *port, struct pool *pool, struct pool_call *call)
{
	struct flight *flight = flight_new(&port->hangar, call);

	flight->holders = 2;
	flight->port = port;
	atomic_fetch_add(&port->holders, 1);
	flight->call = call;
	flight->pool = pool;
	flight->series = pool_series(pool);
	flight->started_ns = clock_mono_ns(port->bus->clock);
	return flight;
}

static void
fail_in_next_poll(struct port *port, struct flight *flight, enum status_code code, const char *message)
{
	flight->code = code;
	flight->message = message;
	flight->next = port->failed;
	port->failed = flight;
	uint64_t one = 1;
	(void)!write(port->fd, &one, sizeof(one));
}

static void
touch(struct port *port, struct pool *pool)
{
	for (size_t i = 0; i < port->touched_count; i++)
		if (port->touched[i] == pool)
			return;
	if (port->touched_count == POOLS_MAX)
		port_flush(port);
	port->touched[port->touched_count++] = pool;
}

void
port_call(struct port *port, struct pool *pool, struct pool_call *call)
{
	struct flight *flight = take_off(port, pool, call);

	call->code = STATUS_OK;
	call->reply = NULL;
	call->message = NULL;
	call->was_sent = false;
	call->internal[0] = flight;
	heap_add(port, flight);
	if (flight->size + 1024 > port->bus->message_max) {
		fail_in_next_poll(port, flight, STATUS_INVALID_ARGUMENT,
		                  "the request is larger than a message may be");
		return;
	}
	if (!pool_admit(pool)) {
		fail_in_next_poll(port, flight, STATUS_RESOURCE_EXHAUSTED,
		                  "too many calls are waiting for the service");
		return;
	}
	pool_submit(pool, flight);
	touch(port, pool);
	port->queued++;
}

void
port_flush(struct port *port)
{
	for (size_t i = 0; i < port->touched_count; i++)
		pool_pump(port->touched[i]);
	port->touched_count = 0;
	port->queued = 0;
}

size_t
port_queued(const struct port *port)
{
	return port->queued;
}

/* ---- completing ---- */

/* Takes flights of this port; false when nobody will poll for them. */
static bool
take_completed(struct port *port, struct flight *flights[], size_t count)
{
	uint64_t one = 1;

	for (size_t i = 0; i < count; i++)
		flights[i]->next = i + 1 < count ? flights[i + 1] : NULL;
	pthread_mutex_lock(&port->lock);
	bool is_open = !port->is_closed, was_empty = port->completed == NULL;
	if (is_open) {
		*port->last = flights[0];
		port->last = &flights[count - 1]->next;
		/* Under the lock: the port may go as soon as its last flight is let go. */
		if (was_empty)
			(void)!write(port->fd, &one, sizeof(one));
	}
	pthread_mutex_unlock(&port->lock);
	return is_open;
}

void
port_complete(struct flight *flights[], size_t count)
{
	for (size_t at = 0, end; at < count; at = end) {
		for (end = at + 1; end < count && flights[end]->port == flights[at]->port;)
			end++;
		if (take_completed(flights[at]->port, flights + at, end - at))
			continue;
		for (size_t i = at; i < end; i++)
			flight_release(flights[i]);
	}
}

/* What the call came to: a reply may carry a failure of its own. */
static enum status_code
outcome_of(const struct pool_call *call)
{
	bool is_refused = call->code == STATUS_OK && call->reply && call->reply->has_code;
	return is_refused ? status_code_from_wire(call->reply->code) : call->code;
}

/* The caller has its outcome in `call`; the port lets go of the flight. */
static void
end_call(struct port *port, struct flight *flight, struct pool_call *call)
{
	/* One that was made and refused since the clock was read took no time. */
	uint64_t lasted_ns = port->now_ns > flight->started_ns ? port->now_ns - flight->started_ns : 0;

	heap_remove(port, flight);
	flight->call = NULL;
	call->internal[0] = NULL;
	series_count(flight->series, outcome_of(call), lasted_ns);
	if (call->done)
		call->done(call);
	put_flight(port, flight);
}

/* Ends the caller's call with the flight's outcome. */
static void
finish(struct port *port, struct flight *flight)
{
	struct pool_call *call = flight->call;

	call->code = flight->code;
	call->reply = flight->reply;
	call->message = flight->message;
	call->was_sent = flight->was_sent;
	end_call(port, flight, call);
}

static size_t
end_failed(struct port *port)
{
	size_t count = 0;
	while (port->failed) {
		struct flight *flight = port->failed;
		port->failed = flight->next;
		if (flight->call) {
			finish(port, flight);
			count++;
		}
		put_flight(port, flight); /* the pool never had it */
	}
	return count;
}

static size_t
end_completed(struct port *port)
{
	struct flight *list;
	size_t count = 0;

	pthread_mutex_lock(&port->lock);
	list = port->completed;
	port->completed = NULL;
	port->last = &port->completed;
	pthread_mutex_unlock(&port->lock);
	while (list) {
		struct flight *flight = list;
		list = list->next;
		if (flight->call) {
			finish(port, flight);
			count++;
		}
		put_flight(port, flight);
	}
	return count;
}

/* Ends a call without an answer. The pool keeps its hold until the flight comes back. */
static void
abandon(struct port *port, struct flight *flight, enum status_code code, const char *message, bool was_sent)
{
	struct pool_call *call = flight->call;

	atomic_store(&flight->has_ended, true);
	call->code = code;
	call->reply = NULL;
	call->message = message;
	call->was_sent = was_sent;
	end_call(port, flight, call);
}

static size_t
end_expired(struct port *port)
{
	uint64_t now = port->now_ns / 1000000;
	size_t count = 0;

	while (port->heap_count > 0 && port->heap[0]->deadline_ms <= now) {
		struct flight *flight = port->heap[0];
		bool was_sent = pool_note_timeout(flight);
		abandon(port, flight, STATUS_DEADLINE_EXCEEDED, "the service did not answer in time", was_sent);
		count++;
	}
	return count;
}

size_t
port_poll(struct port *port)
{
	uint64_t ignored;
	(void)!read(port->fd, &ignored, sizeof(ignored));
	port->now_ns = clock_mono_ns(port->bus->clock);
	size_t count = end_completed(port);
	count += end_failed(port);
	return count + end_expired(port);
}

void
port_cancel(struct port *port, struct pool_call *call)
{
	struct flight *flight = call->internal[0];
	if (!flight)
		return;
	atomic_store(&flight->has_ended, true);
	/* Through port_poll(): the flight's own completion is then found without a caller. */
	struct flight *note = mem_alloc(sizeof(*note));
	*note = (struct flight){.holders = 2,
	                        .port = port,
	                        .call = call,
	                        .pool = flight->pool,
	                        .deadline_ms = flight->deadline_ms,
	                        .started_ns = flight->started_ns,
	                        .series = flight->series,
	                        .was_sent = flight->was_sent};
	atomic_fetch_add(&port->holders, 1);
	heap_put(port, flight->heap_index, note);
	call->internal[0] = note;
	flight->call = NULL;
	put_flight(port, flight);
	fail_in_next_poll(port, note, STATUS_CANCELLED, "the call was cancelled");
}

int
port_timeout_ms(const struct port *port)
{
	if (port->heap_count == 0)
		return -1;
	uint64_t now = bus_now_ms(port->bus), deadline = port->heap[0]->deadline_ms;
	if (deadline <= now)
		return 0;
	return deadline - now > 3600000 ? 3600000 : (int)(deadline - now);
}

void
port_free(struct port *port)
{
	if (!port)
		return;
	port_flush(port);
	port->now_ns = clock_mono_ns(port->bus->clock);
	end_completed(port);
	end_failed(port);
	while (port->heap_count > 0)
		abandon(port, port->heap[0], STATUS_CANCELLED, "the caller is closing", true);
	pthread_mutex_lock(&port->lock);
	port->is_closed = true;
	pthread_mutex_unlock(&port->lock);
	end_completed(port);
	port_release(port);
}

/* ---- calls that wait ---- */

static struct port *
idle_port(struct bus *bus)
{
	pthread_mutex_lock(&bus->lock);
	struct port *port = bus->idle_ports;
	if (port)
		bus->idle_ports = port->next_idle;
	pthread_mutex_unlock(&bus->lock);
	if (!port) {
		struct status st = port_new(bus, &port);
		if (!status_ok(&st))
			return NULL;
	}
	return port;
}

static void
give_back(struct bus *bus, struct port *port)
{
	pthread_mutex_lock(&bus->lock);
	port->next_idle = bus->idle_ports;
	bus->idle_ports = port;
	pthread_mutex_unlock(&bus->lock);
}

void
ports_free_idle(struct bus *bus)
{
	while (bus->idle_ports) {
		struct port *port = bus->idle_ports;
		bus->idle_ports = port->next_idle;
		port_free(port);
	}
}

struct waiting {
	struct arena *arena;
	const Corbel__Bus__Reply *reply;
	bool is_done;
};

/* The reply's memory ends with `done`: it is unpacked again into the waiter's arena. */
static void
waited(struct pool_call *call)
{
	struct waiting *waiting = call->user;
	waiting->is_done = true;
	if (!call->reply)
		return;
	struct arena_allocator allocator = arena_allocator(waiting->arena);
	ProtobufCAllocator protobuf = {
	    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};
	size_t size = corbel__bus__reply__get_packed_size(call->reply);
	uint8_t *bytes = arena_try(waiting->arena, size + 1, 1);
	if (bytes) {
		corbel__bus__reply__pack(call->reply, bytes);
		waiting->reply = corbel__bus__reply__unpack(&protobuf, size, bytes);
	}
	if (!waiting->reply) {
		call->code = STATUS_RESOURCE_EXHAUSTED;
		call->message = "the reply is larger than the caller can hold";
	}
}

struct status
pool_call_wait(struct pool *pool, struct pool_call *call, struct arena *arena)
{
	struct bus *bus = *(struct bus **)(void *)pool; /* the first member of a pool */
	struct port *port = idle_port(bus);
	struct waiting waiting = {.arena = arena};
	void *user = call->user;

	if (!port)
		return status_make(STATUS_RESOURCE_EXHAUSTED, "cannot make an eventfd for a call");
	call->user = &waiting;
	call->done = waited;
	port_call(port, pool, call);
	port_flush(port);
	while (!waiting.is_done) {
		struct pollfd fd = {.fd = port->fd, .events = POLLIN};
		(void)poll(&fd, 1, port_timeout_ms(port));
		port_poll(port);
	}
	call->reply = waiting.reply;
	call->user = user;
	give_back(bus, port);
	return pool_call_status(call);
}

struct status
pool_call_status(const struct pool_call *call)
{
	if (call->code != STATUS_OK)
		return status_make(call->code, "%s", call->message ? call->message : "the call failed");
	if (call->reply && call->reply->code != 0)
		return status_make(status_code_from_wire(call->reply->code), "%s",
		                   call->reply->message ? call->reply->message : "");
	return status_ok_value();
}
