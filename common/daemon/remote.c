/*
 * remote: see remote.h.
 */
#include "daemon/remote.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CONNECT_MS 2000u /* a new remote's first calls wait so long for a connection */
#define LOOK_MS    20

struct remote {
	const struct clock *clock;
	struct host *host;
	const char *daemon; /* whose pool is taken at the first call; NULL: it has a pool of its own */
	struct pool *pool;
	struct port *port; /* the thread's */
	pthread_t thread;
	int wake_fd;
	uint64_t connect_until_mono;
	pthread_mutex_t lock; /* guards all below */
	struct remote_call *first, **last;
	bool is_stopping;
};

static Corbel__Bus__Principal *
internal_principal(struct arena *arena)
{
	Corbel__Bus__Principal *principal = ARENA_NEW(arena, Corbel__Bus__Principal);

	corbel__bus__principal__init(principal);
	principal->has_internal = principal->internal = true;
	return principal;
}

/* ---- the end of a call ---- */

static void
take_reply(struct remote_call *call)
{
	struct arena_allocator memory = arena_allocator(call->arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	const ProtobufCBinaryData *payload = &call->wire.reply->payload;

	call->reply =
	    protobuf_c_message_unpack(call->method->reply->descriptor, &allocator, payload->len, payload->data);
	if (!call->reply)
		call->outcome = status_make(STATUS_INTERNAL, "%s: the reply cannot be read", call->method->name);
}

static void
on_done(struct pool_call *wire)
{
	struct remote_call *call = wire->user;

	call->outcome = pool_call_status(wire);
	call->was_sent = wire->was_sent;
	call->latency_ms = (uint32_t)(clock_mono_ms(call->remote->clock) - call->started_mono);
	if (status_ok(&call->outcome))
		take_reply(call);
	else if (wire->reply)
		call->retry_after_ms = wire->reply->has_retry_after_ms ? wire->reply->retry_after_ms : 0;
	call->ended(call);
}

/* ---- the thread ---- */

static bool
has_calls(struct remote *remote)
{
	pthread_mutex_lock(&remote->lock);
	bool has_calls = remote->first != NULL;
	pthread_mutex_unlock(&remote->lock);
	return has_calls;
}

/* Ends what has not been sent. */
static void
end_all(struct remote *remote, struct status outcome)
{
	pthread_mutex_lock(&remote->lock);
	struct remote_call *calls = remote->first;
	remote->first = NULL;
	remote->last = &remote->first;
	pthread_mutex_unlock(&remote->lock);
	while (calls) {
		struct remote_call *call = calls;
		calls = call->next;
		call->outcome = outcome;
		call->ended(call);
	}
}

/* The process's pool for a daemon is made when it is first needed: one that is made while the daemon is still
 * starting beside us would find nobody, and look again only after a pause. */
static void
find_pool(struct remote *remote)
{
	if (remote->pool || !has_calls(remote))
		return;
	remote->pool = host_pool(remote->host, remote->daemon);
	if (!remote->pool)
		end_all(remote, status_make(STATUS_UNAVAILABLE, "%s has no usable address", remote->daemon));
	remote->connect_until_mono = clock_mono_ms(remote->clock) + CONNECT_MS;
}

/* A pool that was just made is not connected yet. */
static bool
is_connecting(const struct remote *remote)
{
	return remote->pool && pool_healthy(remote->pool) == 0 &&
	       clock_mono_ms(remote->clock) < remote->connect_until_mono;
}

static struct remote_call *
take_all(struct remote *remote)
{
	pthread_mutex_lock(&remote->lock);
	struct remote_call *calls = remote->is_stopping ? NULL : remote->first;
	if (calls) {
		remote->first = NULL;
		remote->last = &remote->first;
	}
	pthread_mutex_unlock(&remote->lock);
	return calls;
}

static bool
is_over(struct remote *remote)
{
	pthread_mutex_lock(&remote->lock);
	bool is_over = remote->is_stopping;
	pthread_mutex_unlock(&remote->lock);
	return is_over;
}

static void *
remote_main(void *arg)
{
	struct remote *remote = arg;
	struct pollfd fds[2] = {{.fd = port_fd(remote->port), .events = POLLIN},
	                        {.fd = remote->wake_fd, .events = POLLIN}};

	while (!is_over(remote)) {
		uint64_t count;
		find_pool(remote);
		bool has_to_wait = is_connecting(remote);
		for (struct remote_call *call = has_to_wait || !remote->pool ? NULL : take_all(remote), *next; call;
		     call = next) {
			next = call->next;
			port_call(remote->port, remote->pool, &call->wire);
		}
		port_flush(remote->port);
		(void)poll(fds, 2, has_to_wait ? LOOK_MS : port_timeout_ms(remote->port));
		if (fds[1].revents & POLLIN)
			(void)!read(remote->wake_fd, &count, sizeof(count));
		port_poll(remote->port);
	}
	return NULL;
}

static void
wake(struct remote *remote)
{
	uint64_t one = 1;
	(void)!write(remote->wake_fd, &one, sizeof(one));
}

void
remote_call(struct remote *remote, struct remote_call *call)
{
	size_t size = protobuf_c_message_get_packed_size(call->request);
	uint8_t *bytes = arena_alloc_raw(call->arena, size + 1);

	call->remote = remote;
	call->next = NULL;
	call->reply = NULL;
	call->retry_after_ms = 0;
	call->started_mono = clock_mono_ms(remote->clock);
	call->wire = (struct pool_call){.method = call->method->id,
	                                .is_fast = call->method->is_fast,
	                                .is_waiting = call->method->is_waiting,
	                                .deadline_mono_ms = call->started_mono + call->timeout_ms,
	                                .traceparent = call->traceparent,
	                                .principal = internal_principal(call->arena),
	                                .payload = bytes,
	                                .payload_size = protobuf_c_message_pack(call->request, bytes),
	                                .done = on_done,
	                                .user = call};
	pthread_mutex_lock(&remote->lock);
	*remote->last = call;
	remote->last = &call->next;
	pthread_mutex_unlock(&remote->lock);
	wake(remote);
}

/* ---- life ---- */

struct status
remote_check_address(const char *address)
{
	return bus_address_check(address);
}

static void
dispose(struct remote *remote)
{
	if (remote->port)
		port_free(remote->port);
	if (remote->pool && !remote->daemon)
		pool_free(remote->pool);
	if (remote->wake_fd >= 0)
		close(remote->wake_fd);
	pthread_mutex_destroy(&remote->lock);
	mem_free(remote);
}

static struct remote *
begin(const struct service_env *env)
{
	struct remote *remote = mem_alloc(sizeof(*remote));

	remote->clock = env->clock;
	remote->host = env->host;
	remote->connect_until_mono = clock_mono_ms(env->clock) + CONNECT_MS;
	remote->last = &remote->first;
	remote->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&remote->lock, NULL);
	return remote;
}

/* With a pool, if there is one. */
static struct status
finish(const struct service_env *env, const char *name, struct remote *remote, struct status st,
       struct remote **out)
{
	if (status_ok(&st) && remote->wake_fd < 0)
		st = status_make(STATUS_RESOURCE_EXHAUSTED, "no descriptor for calls to %s", name);
	if (status_ok(&st))
		st = port_new(env->bus, &remote->port);
	if (status_ok(&st) && pthread_create(&remote->thread, NULL, remote_main, remote) != 0)
		st = status_make(STATUS_RESOURCE_EXHAUSTED, "no thread for calls to %s", name);
	if (status_ok(&st))
		*out = remote;
	else
		dispose(remote);
	return st;
}

struct status
remote_new(const struct service_env *env, const char *name, const char *address, struct remote **out)
{
	struct remote *remote = begin(env);
	struct pool_options options = {.service = name, .address = address};

	return finish(env, name, remote, pool_new(env->bus, &options, &remote->pool), out);
}

struct status
remote_to_service(const struct service_env *env, const char *daemon, struct remote **out)
{
	struct remote *remote = begin(env);

	remote->daemon = daemon;
	return finish(env, daemon, remote, status_ok_value(), out);
}

void
remote_free(struct remote *remote)
{
	if (!remote)
		return;
	pthread_mutex_lock(&remote->lock);
	remote->is_stopping = true;
	pthread_mutex_unlock(&remote->lock);
	wake(remote);
	pthread_join(remote->thread, NULL);
	end_all(remote, status_make(STATUS_CANCELLED, "the caller is closing"));
	dispose(remote);
}
