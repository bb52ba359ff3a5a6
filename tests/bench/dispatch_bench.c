/*
 * dispatch: what the dispatcher costs a call beside unpacking, validating and packing, for batches of
 * 64 checks that a batch handler answers at once. The bus is left out: its two calls are ours.
 */
#include <stdio.h>
#include <stdlib.h>

#include "api/json.h"
#include "corbel/contract.gen.h"
#include "daemon/dispatch.h"

#define BATCH  64
#define ROUNDS 20000

void
server_call_end(struct server_call *call)
{
	call->user = NULL;
}

void
server_call_fail(struct server_call *call, const struct status *st)
{
	fprintf(stderr, "refused: %s\n", st->message);
	exit(1);
	(void)call;
}

static void
answer(struct call *call)
{
	Corbel__V1__CheckReply *reply = (Corbel__V1__CheckReply *)call_reply(call);
	reply->has_allowed = reply->allowed = true;
}

static void
answer_all(void *self, struct call *calls[], size_t count)
{
	(void)self;
	for (size_t i = 0; i < count; i++) {
		answer(calls[i]);
		call_end(calls[i], status_ok_value());
	}
}

static service_batch
batch_for(void *self, const struct api_method *method)
{
	(void)self;
	(void)method;
	return answer_all;
}

static size_t
pack_request(uint8_t *out)
{
	Corbel__V1__CheckRequest request = CORBEL__V1__CHECK_REQUEST__INIT;
	Corbel__V1__LimitCheck check = CORBEL__V1__LIMIT_CHECK__INIT, *checks[] = {&check};
	char limit[] = "charts", key[] = "user-42";

	check.limit = limit;
	check.key = key;
	check.has_cost = true;
	check.cost = 1;
	request.checks = checks;
	request.n_checks = 1;
	return corbel__v1__check_request__pack(&request, out);
}

static Corbel__Bus__Call wire_call;
static Corbel__Bus__Principal principal;
static char tenant[] = "ten_0192f0c1a2b37c4d8e9fa0b1c2d3e4f5";
static char *scopes[] = {(char[]){"ratelimits.*"}};
static uint8_t payload[256];

static void
make_wire_call(void)
{
	corbel__bus__call__init(&wire_call);
	corbel__bus__principal__init(&principal);
	principal.tenant = tenant;
	principal.scopes = scopes;
	principal.n_scopes = 1;
	wire_call.method = RATELIMITS_CHECK->id;
	wire_call.principal = &principal;
	wire_call.payload.data = payload;
	wire_call.payload.len = pack_request(payload);
}

static uint64_t
dispatch_ns(struct dispatcher *dispatcher)
{
	static const Corbel__Bus__Reply empty = CORBEL__BUS__REPLY__INIT;
	static struct server_call calls[BATCH];
	struct server_call *list[BATCH];
	struct arena arena;
	uint64_t start = clock_mono_ns(clock_system());

	arena_init(&arena, 1 << 16, 1 << 26);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < BATCH; i++) {
			calls[i] = (struct server_call){.call = &wire_call, .reply = empty, .arena = &arena};
			list[i] = &calls[i];
		}
		dispatcher_handle(dispatcher, list, BATCH);
		arena_reset(&arena);
	}
	arena_fini(&arena);
	return clock_mono_ns(clock_system()) - start;
}

/* The same messages without the dispatcher. */
static uint64_t
bare_ns(void)
{
	static struct violations found;
	struct arena arena;
	uint64_t start = clock_mono_ns(clock_system());

	arena_init(&arena, 1 << 16, 1 << 26);
	struct arena_allocator memory = arena_allocator(&arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	for (int i = 0; i < ROUNDS * BATCH; i++) {
		Corbel__V1__CheckReply reply = CORBEL__V1__CHECK_REPLY__INIT;
		ProtobufCMessage *request = protobuf_c_message_unpack(
		    RATELIMITS_CHECK->request->descriptor, &allocator, wire_call.payload.len, wire_call.payload.data);
		found.count = 0;
		api_validate(request, RATELIMITS_CHECK->request, &arena, &found);
		reply.has_allowed = reply.allowed = true;
		size_t size = corbel__v1__check_reply__get_packed_size(&reply);
		corbel__v1__check_reply__pack(&reply, arena_alloc_raw(&arena, size));
		if (i % BATCH == BATCH - 1)
			arena_reset(&arena);
	}
	arena_fini(&arena);
	return clock_mono_ns(clock_system()) - start;
}

static int
compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

int
main(void)
{
	static api_handler none[64];
	static const struct service_handlers handlers[] = {{&api_ratelimits, none}, {NULL, NULL}};
	static const struct service service = {.name = "ratelimitd", .handlers = handlers, .batch = batch_for};
	struct dispatcher_options options = {
	    .service = &service, .metrics = metrics_new(), .clock = clock_system(), .random = random_system()};
	struct dispatcher *dispatcher;
	uint64_t with[5], without[5];

	for (size_t i = 0; i < api_ratelimits.method_count; i++)
		none[i] = (api_handler)(void (*)(void))abort; /* slow methods need one; none is called */
	struct status st = dispatcher_new(&options, &dispatcher);
	if (!status_ok(&st)) {
		fprintf(stderr, "%s\n", st.message);
		return 1;
	}
	make_wire_call();
	for (int i = 0; i < 5; i++) {
		with[i] = dispatch_ns(dispatcher);
		without[i] = bare_ns();
	}
	qsort(with, 5, sizeof(with[0]), compare_u64);
	qsort(without, 5, sizeof(without[0]), compare_u64);
	double calls = (double)ROUNDS * BATCH;
	printf("dispatch: %.0f ns a check, of which unpack, validate, pack %.0f ns; dispatcher %.0f ns (ratio "
	       "%.2f)\n",
	       (double)with[2] / calls, (double)without[2] / calls, (double)(with[2] - without[2]) / calls,
	       (double)with[2] / (double)without[2]);
	dispatcher_free(dispatcher);
	metrics_free(options.metrics);
	return 0;
}
