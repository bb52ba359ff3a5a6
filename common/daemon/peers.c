/*
 * peers: how services of this process reach others. One pool a service, made on first use, shared by
 * the process.
 */
#include <string.h>
#include <time.h>

#include "daemon/host_internal.h"
#include "daemon/options.h"

static bool
is_hosted(const struct host *self, const char *service)
{
	for (size_t i = 0; i < self->count; i++) {
		if (strcmp(self->hosted[i].service->name, service) == 0)
			return true;
	}
	return false;
}

/* Services of one process meet inside it; the others where the template says, or in the data directory of the
 * machine. */
char *
host_address(const struct host *self, const char *kind, const char *service)
{
	bool is_bus = strcmp(kind, "bus") == 0;
	char name[80];

	snprintf(name, sizeof(name), "%s.%s", kind, service);
	const char *said = config_text(self->options.config, name);
	if (said)
		return mem_strdup(said);
	if (self->count > 1 && is_hosted(self, service))
		return mem_printf("inproc://%s%s", service, is_bus ? "" : ".pub");
	const char *pattern = config_text(self->options.config, is_bus ? "bus.template" : "pub.template");
	if (pattern)
		return options_fill_template(pattern, service);
	return mem_printf("ipc://%s/run/%s.%s", host_data_dir(self), service, is_bus ? "rep" : "pub");
}

static struct host_pool *
find_pool(struct host *self, const char *service)
{
	for (struct host_pool *one = self->pools; one; one = one->next) {
		if (strcmp(one->service, service) == 0)
			return one;
	}
	return NULL;
}

/* Called with the lock held. A pool whose address is well-formed is always made: its replicas may
 * come later. */
static struct host_pool *
make_pool(struct host *self, const char *service)
{
	char *address = host_address(self, "bus", service);
	struct host_pool *one = mem_alloc(sizeof(*one) + strlen(service) + 1);
	char *name = (char *)(one + 1);

	memcpy(name, service, strlen(service) + 1);
	one->service = name;
	struct pool_options options = {.service = name, .address = address};
	struct status st = pool_new(self->bus, &options, &one->pool);
	mem_free(address);
	if (!status_ok(&st)) {
		log_error(self->log, "no pool", LOG_TEXT("target", service), LOG_STATUS(&st));
		mem_free(one);
		return NULL;
	}
	one->next = self->pools;
	self->pools = one;
	return one;
}

struct pool *
host_pool(struct host *self, const char *service)
{
	pthread_mutex_lock(&self->lock);
	struct host_pool *one = find_pool(self, service);
	if (!one)
		one = make_pool(self, service);
	pthread_mutex_unlock(&self->lock);
	return one ? one->pool : NULL;
}

/* The text lives as long as the host; two threads that ask first at the same time keep two, alike. */
const char *
host_publisher_address(struct host *self, const char *service)
{
	char *key = mem_printf("pub.%s", service);
	const char *address = host_announced(self, key);

	if (!address) {
		char *made = host_address(self, "pub", service);
		host_remember(self, key, made);
		mem_free(made);
		address = host_announced(self, key);
	}
	mem_free(key);
	return address;
}

static struct status
unpack_reply(const struct api_method *method, const struct pool_call *call, struct arena *arena,
             ProtobufCMessage **reply)
{
	struct arena_allocator memory = arena_allocator(arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	const ProtobufCBinaryData *payload = &call->reply->payload;

	*reply = protobuf_c_message_unpack(method->reply->descriptor, &allocator, payload->len, payload->data);
	return *reply ? status_ok_value()
	              : status_make(STATUS_INTERNAL, "%s: the reply cannot be read", method->name);
}

/* A pool that was just made is not connected yet, and a service that restarts will be back: a call that
 * may wait does so, as long as it has not been sent. */
static void
wait_for_replica(const struct host *self, const struct pool *pool, uint64_t deadline_ms)
{
	static const struct timespec pause = {.tv_nsec = 5000000};

	while (pool_healthy(pool) == 0 && clock_mono_ms(self->clock) + 10 < deadline_ms)
		nanosleep(&pause, NULL);
}

struct status
host_call(struct host *self, const struct api_method *method, const ProtobufCMessage *request,
          uint32_t timeout_ms, struct arena *arena, ProtobufCMessage **reply)
{
	struct pool *pool = host_pool(self, method->daemon);
	Corbel__Bus__Principal principal = CORBEL__BUS__PRINCIPAL__INIT;
	size_t size = protobuf_c_message_get_packed_size(request);
	uint8_t *bytes = arena_alloc_raw(arena, size + 1);

	*reply = NULL;
	if (!pool)
		return status_make(STATUS_UNAVAILABLE, "%s has no usable address", method->daemon);
	principal.has_internal = principal.internal = true;
	struct pool_call call = {.method = method->id,
	                         .is_fast = method->is_fast,
	                         .deadline_mono_ms = clock_mono_ms(self->clock) + timeout_ms,
	                         .principal = &principal,
	                         .payload = bytes,
	                         .payload_size = protobuf_c_message_pack(request, bytes)};
	wait_for_replica(self, pool, call.deadline_mono_ms);
	struct status st = pool_call_wait(pool, &call, arena);
	if (status_ok(&st))
		st = unpack_reply(method, &call, arena, reply);
	return st;
}
