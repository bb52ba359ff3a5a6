/*
 * test_cached: see test_cached.h.
 */
#include "support/test_cached.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test_process.h"

#define START_MS    60000u
#define OPTIONS_MAX 16u

static void
must(struct status st)
{
	ck_assert_msg(status_ok(&st), "%s", st.message);
}

static void
start_replica(struct test_cached *rig, unsigned number, const struct test_cached_options *options)
{
	struct test_replica *replica = &rig->replicas[number];
	const char *argv[OPTIONS_MAX] = {0}, *bin = getenv("CORBEL_BIN");
	struct arena arena;
	size_t count = 0;

	arena_init(&arena, 4096, SIZE_MAX);
	ck_assert_msg(bin != NULL, "CORBEL_BIN is where the programs are");
	snprintf(replica->log, sizeof(replica->log), "%s",
	         arena_printf(&arena, "%s/%u.log", rig->dir.path, number));
	argv[count++] = arena_printf(&arena, "%s/%s", bin, options->program ? options->program : "cached");
	argv[count++] = arena_printf(&arena, "--data=%s/%u", rig->dir.path, number);
	argv[count++] = arena_printf(&arena, "--bus.cached=ipc://%s/%u.rep", rig->dir.path, number);
	argv[count++] = arena_printf(&arena, "--pub.cached=ipc://%s/%u.pub", rig->dir.path, number);
	argv[count++] = "--admin.listen=";
	if (rig->redis) {
		replica->proxy = test_redis_proxy_start(rig->redis->port, number + 1);
		argv[count++] = arena_printf(&arena, "--redis.url=%s", test_redis_proxy_url(replica->proxy));
	}
	for (const char *const *option = options->options; option && *option; option++) {
		ck_assert_uint_lt(count, OPTIONS_MAX - 1);
		argv[count++] = *option;
	}
	replica->pid = test_process_start(
	    &(struct test_process_options){.argv = argv, .log_path = replica->log, .death_signal = SIGKILL});
	arena_fini(&arena);
}

static void
dial(struct test_cached *rig, struct test_replica *replica, unsigned number)
{
	char address[TEST_DIR_MAX + 32];

	snprintf(address, sizeof(address), "ipc://%s/%u.rep", rig->dir.path, number);
	/* One that is starved of the processor, or stopped on purpose, is waited for. */
	must(pool_new(rig->bus,
	              &(struct pool_options){
	                  .service = "cached", .address = address, .breaker_failures = 1000, .ping_ms = START_MS},
	              &replica->pool));
	for (uint64_t end = test_now_ms() + START_MS; pool_healthy(replica->pool) == 0; test_pause()) {
		if (test_now_ms() < end && test_process_is_alive(replica->pid))
			continue;
		test_process_print_log(replica->log);
		ck_abort_msg("replica %u does not answer", number);
	}
}

void
test_cached_start(struct test_cached *rig, const struct test_cached_options *options)
{
	*rig = (struct test_cached){.count = options->replicas};
	test_dir_make(&rig->dir);
	if (options->has_redis)
		rig->redis = test_redis_start(NULL);
	for (unsigned i = 0; i < rig->count; i++)
		start_replica(rig, i, options);
	/* nng begins its threads here, after which nothing may fork. */
	must(bus_new(&(struct bus_options){.node = "test", .clock = clock_system()}, &rig->bus));
	for (unsigned i = 0; i < rig->count; i++)
		dial(rig, &rig->replicas[i], i);
}

void
test_cached_stop(struct test_cached *rig)
{
	for (unsigned i = 0; i < rig->count; i++)
		pool_free(rig->replicas[i].pool);
	bus_free(rig->bus);
	for (unsigned i = 0; i < rig->count; i++) {
		test_process_end(rig->replicas[i].pid, SIGTERM);
		if (rig->replicas[i].proxy)
			test_redis_proxy_stop(rig->replicas[i].proxy);
	}
	if (rig->redis)
		test_redis_stop(rig->redis);
	test_dir_remove(&rig->dir);
}

void
test_cached_print_logs(const struct test_cached *rig)
{
	for (unsigned i = 0; i < rig->count; i++)
		test_process_print_log(rig->replicas[i].log);
}

struct status
test_cached_call(struct test_cached *rig, unsigned replica, const struct api_method *method,
                 const ProtobufCMessage *request, uint32_t timeout_ms, struct arena *arena,
                 ProtobufCMessage **reply)
{
	char tenant[] = "ten_1", scope[] = "cache.*", *scopes[] = {scope};
	Corbel__Bus__Principal principal = CORBEL__BUS__PRINCIPAL__INIT;
	size_t size = protobuf_c_message_get_packed_size(request);
	uint8_t *bytes = arena_alloc(arena, size + 1);

	protobuf_c_message_pack(request, bytes);
	principal.tenant = tenant;
	principal.scopes = scopes;
	principal.n_scopes = 1;
	struct pool_call call = {.method = method->id,
	                         .is_fast = method->is_fast,
	                         .is_waiting = method->is_waiting,
	                         .deadline_mono_ms = test_now_ms() + timeout_ms,
	                         .principal = &principal,
	                         .payload = bytes,
	                         .payload_size = size};
	struct status st = pool_call_wait(rig->replicas[replica].pool, &call, arena);
	*reply = NULL;
	if (!status_ok(&st))
		return st;
	struct arena_allocator allocator = arena_allocator(arena);
	*reply = protobuf_c_message_unpack(method->reply->descriptor, (ProtobufCAllocator *)&allocator,
	                                   call.reply->payload.len, call.reply->payload.data);
	return *reply ? st : status_make(STATUS_INTERNAL, "the reply cannot be read");
}
