/*
 * The bus's calls over every transport: answers, batches, bounds and deadlines.
 */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bus/pool.h"
#include "bus/server.h"
#include "support/test_process.h"

#define ECHO   0x01020304u
#define HOLD   0x05060708u /* is kept until released */
#define FIELDS 0x090A0B0Cu /* checks every field, and fills the reply's */
#define LARGE  0x0D0E0F10u /* answers more than a message may hold */

struct world {
	struct bus *server_bus, *client_bus;
	struct server *server;
	struct pool *pool;
	pthread_mutex_t lock;
	struct server_call *held[8192];
	size_t held_count;
	_Atomic size_t batches, calls;
};

static uint8_t large[17 << 20];

static void check_fields(const Corbel__Bus__Call *call);

static void
fill_reply(struct server_call *call)
{
	static char pointer[] = "/name", detail[] = "too short";
	static Corbel__Bus__Violation violation;
	static Corbel__Bus__Violation *violations[] = {&violation};
	struct status st = status_make(STATUS_INVALID_ARGUMENT, "no good");

	check_fields(call->call);
	corbel__bus__violation__init(&violation);
	violation.pointer = pointer;
	violation.detail = detail;
	server_call_fail(call, &st);
	call->reply.n_violations = 1;
	call->reply.violations = violations;
	call->reply.has_retry_after_ms = true;
	call->reply.retry_after_ms = 250;
}

static void
handle(void *arg, struct server_call *calls[], size_t count)
{
	struct world *world = arg;
	atomic_fetch_add(&world->batches, 1);
	for (size_t i = 0; i < count; i++) {
		struct server_call *call = calls[i];
		if (call->call->method == HOLD) {
			pthread_mutex_lock(&world->lock);
			world->held[world->held_count++] = call;
			pthread_mutex_unlock(&world->lock);
			continue;
		}
		if (call->call->method == FIELDS) {
			fill_reply(call);
			server_call_end(call);
			continue;
		}
		call->reply.has_payload = true;
		call->reply.payload = call->call->payload;
		if (call->call->method == LARGE)
			call->reply.payload = (ProtobufCBinaryData){.len = sizeof(large), .data = large};
		server_call_end(call);
	}
	atomic_fetch_add(&world->calls, count);
}

static void
release_all(struct world *world)
{
	pthread_mutex_lock(&world->lock);
	size_t count = world->held_count;
	world->held_count = 0;
	pthread_mutex_unlock(&world->lock);
	for (size_t i = 0; i < count; i++)
		server_call_end(world->held[i]);
}

static void
pause_ms(long ms)
{
	struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	nanosleep(&pause, NULL);
}

static uint64_t
now_ms(void)
{
	return clock_mono_ms(clock_system());
}

static void
await_healthy(struct pool *pool, size_t count)
{
	for (uint64_t end = now_ms() + 20000; pool_healthy(pool) < count;) {
		ck_assert_msg(now_ms() < end, "replicas did not come up");
		pause_ms(2);
	}
}

static struct world *
world_new(const char *address, uint32_t max_in_flight)
{
	struct world *world = calloc(1, sizeof(*world));
	pthread_mutex_init(&world->lock, NULL);
	struct bus_options server_options = {.node = "server-1"}, client_options = {.node = "client-1"};
	struct status st = bus_new(&server_options, &world->server_bus);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	st = bus_new(&client_options, &world->client_bus);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	struct server_options options = {
	    .address = address, .handle = handle, .arg = world, .max_calls_in_flight = max_in_flight};
	st = server_new(world->server_bus, &options, &world->server);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	struct pool_options pool = {.service = "echo", .address = server_url(world->server), .ping_ms = 100};
	st = pool_new(world->client_bus, &pool, &world->pool);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	await_healthy(world->pool, 1);
	return world;
}

static void
world_free(struct world *world)
{
	release_all(world);
	pool_free(world->pool);
	server_free(world->server, 100);
	bus_free(world->client_bus);
	bus_free(world->server_bus);
	free(world);
}

static struct pool_call
make_call(uint32_t method, const char *text, uint64_t timeout_ms)
{
	return (struct pool_call){.method = method,
	                          .is_fast = method == ECHO,
	                          .deadline_mono_ms = now_ms() + timeout_ms,
	                          .request_id = "req_1",
	                          .payload = text,
	                          .payload_size = strlen(text)};
}

static const char *const ADDRESSES[] = {"inproc://bus-test", "ipc:///tmp/corbel-bus-test.%d",
                                        "tcp://127.0.0.1:0"};

static void
address_at(int index, char out[128])
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(out, 128, ADDRESSES[index], getpid());
#pragma GCC diagnostic pop
}

START_TEST(a_call_gets_the_answer_of_its_own_request)
{
	char address[128];
	address_at(_i, address);
	struct world *world = world_new(address, 0);
	struct arena arena;
	arena_init(&arena, 4096, 1u << 20);
	for (int i = 0; i < 50; i++) {
		char text[16];
		snprintf(text, sizeof(text), "hello %d", i);
		struct pool_call call = make_call(i % 2 ? ECHO : ECHO + 1, text, 2000);
		struct status st = pool_call_wait(world->pool, &call, &arena);
		ck_assert_msg(status_ok(&st), "%s", st.message);
		ck_assert_uint_eq(call.reply->payload.len, strlen(text));
		ck_assert(memcmp(call.reply->payload.data, text, strlen(text)) == 0);
	}
	arena_fini(&arena);
	world_free(world);
}
END_TEST

struct many {
	size_t done, ok, expired, refused, unavailable;
};

static void
count_done(struct pool_call *call)
{
	struct many *many = call->user;
	many->done++;
	many->ok += call->code == STATUS_OK && call->reply->code == 0;
	many->expired += call->code == STATUS_DEADLINE_EXCEEDED;
	many->unavailable += call->code == STATUS_UNAVAILABLE;
	many->refused += call->code == STATUS_RESOURCE_EXHAUSTED ||
	                 (call->code == STATUS_OK && call->reply->code == STATUS_RESOURCE_EXHAUSTED);
}

static void
poll_until(struct port *port, const struct many *many, size_t count)
{
	uint64_t end = now_ms() + 30000;
	while (many->done < count) {
		struct pollfd fd = {.fd = port_fd(port), .events = POLLIN};
		ck_assert_msg(now_ms() < end, "%zu of %zu calls ended", many->done, count);
		int timeout = port_timeout_ms(port);
		(void)poll(&fd, 1, timeout < 0 || timeout > 100 ? 100 : timeout);
		port_poll(port);
		port_flush(port);
	}
}

static void
send_many(struct world *world, struct port *port, struct pool_call *calls, size_t count, uint32_t method,
          uint64_t timeout_ms, struct many *many)
{
	for (size_t i = 0; i < count; i++) {
		calls[i] = make_call(method, "x", timeout_ms);
		calls[i].done = count_done;
		calls[i].user = many;
		port_call(port, world->pool, &calls[i]);
	}
	port_flush(port);
}

START_TEST(fast_calls_travel_together)
{
	char address[128];
	address_at(_i, address);
	struct world *world = world_new(address, 0);
	struct many many = {0};
	struct port *port;
	struct pool_call *calls = calloc(1000, sizeof(*calls));
	struct status st = port_new(world->client_bus, &port);
	ck_assert(status_ok(&st));
	send_many(world, port, calls, 1000, ECHO, 5000, &many);
	poll_until(port, &many, 1000);
	ck_assert_uint_eq(many.ok, 1000);
	for (uint64_t end = now_ms() + 20000; world->calls < 1000 && now_ms() < end;)
		pause_ms(2);
	ck_assert_uint_eq(world->calls, 1000);
	ck_assert_uint_lt(world->batches, 100);
	port_free(port);
	free(calls);
	world_free(world);
}
END_TEST

START_TEST(a_lone_call_behind_a_message_that_is_long_out_is_sent_nevertheless)
{
	struct world *world = world_new("ipc:///tmp/corbel-bus-test-behind", 0);
	struct many held = {0}, many = {0};
	struct port *port;
	struct pool_call long_out = make_call(HOLD, "x", 60000), call;
	struct status st = port_new(world->client_bus, &port);
	ck_assert(status_ok(&st));
	long_out.is_fast = true;
	long_out.done = count_done;
	long_out.user = &held;
	port_call(port, world->pool, &long_out);
	port_flush(port);
	send_many(world, port, &call, 1, ECHO, 60000, &many);
	poll_until(port, &many, 1);
	ck_assert_uint_eq(many.ok, 1);
	ck_assert_uint_eq(held.done, 0);
	release_all(world);
	poll_until(port, &held, 1);
	ck_assert_uint_eq(held.ok, 1);
	port_free(port);
	world_free(world);
}
END_TEST

START_TEST(a_call_past_its_deadline_ends_and_its_late_answer_is_ignored)
{
	struct world *world = world_new("inproc://bus-late", 0);
	struct many many = {0};
	struct port *port;
	struct pool_call call[1];
	struct status st = port_new(world->client_bus, &port);
	ck_assert(status_ok(&st));
	uint64_t start = test_calm_ms();
	send_many(world, port, call, 1, HOLD, 80, &many);
	poll_until(port, &many, 1);
	ck_assert_uint_eq(many.expired, 1);
	ck_assert(call[0].was_sent);
	ck_assert_uint_lt(test_calm_ms() - start, 1000);
	memset(call, 0xA5, sizeof(call)); /* the caller's memory is his again */
	release_all(world);
	for (int i = 0; i < 20; i++) {
		pause_ms(2);
		port_poll(port);
	}
	ck_assert_uint_eq(many.done, 1);
	port_free(port);
	world_free(world);
}
END_TEST

START_TEST(calls_beyond_the_servers_bound_are_refused_at_once)
{
	struct world *world = world_new("inproc://bus-bound", 4);
	struct many many = {0};
	struct port *port;
	struct pool_call calls[10];
	struct status st = port_new(world->client_bus, &port);
	ck_assert(status_ok(&st));
	send_many(world, port, calls, 10, HOLD, 5000, &many);
	poll_until(port, &many, 6);
	ck_assert_uint_eq(many.refused, 6);
	release_all(world);
	poll_until(port, &many, 10);
	ck_assert_uint_eq(many.ok, 4);
	port_free(port);
	world_free(world);
}
END_TEST

START_TEST(a_service_that_nobody_listens_for_is_unavailable_at_once)
{
	struct bus *bus;
	struct pool *pool;
	struct arena arena;
	struct status st = bus_new(&(struct bus_options){.node = "lonely"}, &bus);
	ck_assert(status_ok(&st));
	st = pool_new(bus, &(struct pool_options){.service = "none", .address = "inproc://nobody"}, &pool);
	ck_assert(status_ok(&st));
	arena_init(&arena, 4096, 1u << 20);
	struct pool_call call = make_call(ECHO, "x", 5000);
	uint64_t start = test_calm_ms();
	st = pool_call_wait(pool, &call, &arena);
	ck_assert_int_eq(st.code, STATUS_UNAVAILABLE);
	ck_assert(!call.was_sent);
	ck_assert_uint_lt(test_calm_ms() - start, 500);
	arena_fini(&arena);
	pool_free(pool);
	bus_free(bus);
}
END_TEST

START_TEST(a_listener_that_comes_later_is_dialled)
{
	struct bus *callers, *servers;
	struct pool *pool;
	struct server *server;
	char address[128];
	address_at(_i, address);
	struct status st = bus_new(&(struct bus_options){.node = "early"}, &callers);
	ck_assert(status_ok(&st));
	st = bus_new(&(struct bus_options){.node = "late"}, &servers);
	ck_assert(status_ok(&st));
	st = pool_new(callers, &(struct pool_options){.service = "late", .address = address}, &pool);
	ck_assert(status_ok(&st));
	pause_ms(200); /* a few looks of the timer find nobody; it counts only what comes after */
	ck_assert_uint_eq(pool_healthy(pool), 0);
	st = server_new(servers, &(struct server_options){.address = address, .handle = handle}, &server);
	ck_assert(status_ok(&st));
	await_healthy(pool, 1);
	pool_free(pool);
	server_free(server, 0);
	bus_free(callers);
	bus_free(servers);
}
END_TEST

START_TEST(a_server_that_goes_ends_its_calls_and_one_that_comes_back_is_used_again)
{
	char address[128];
	address_at(1, address);
	struct world *world = world_new(address, 0);
	struct many many = {0};
	struct port *port;
	struct pool_call calls[5];
	struct status st = port_new(world->client_bus, &port);
	ck_assert(status_ok(&st));
	send_many(world, port, calls, 5, HOLD, 5000, &many);
	for (uint64_t end = now_ms() + 20000; world->calls < 5 && now_ms() < end;)
		pause_ms(2);
	uint64_t start = test_calm_ms();
	server_free(world->server, 0);
	release_all(world);
	poll_until(port, &many, 5);
	ck_assert_uint_eq(many.unavailable, 5);
	ck_assert(calls[0].was_sent);
	ck_assert_uint_lt(test_calm_ms() - start, 2000);

	struct server_options options = {.address = address, .handle = handle, .arg = world};
	st = server_new(world->server_bus, &options, &world->server);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	start = test_calm_ms();
	await_healthy(world->pool, 1);
	ck_assert_uint_lt(test_calm_ms() - start, 1000);
	many = (struct many){0};
	send_many(world, port, calls, 5, ECHO, 5000, &many);
	poll_until(port, &many, 5);
	ck_assert_uint_eq(many.ok, 5);
	port_free(port);
	world_free(world);
}
END_TEST

/* 64 slow calls are as many as a replica is given at once. */
START_TEST(calls_that_wait_hold_up_no_others)
{
	struct world *world = world_new("inproc://bus-waiting", 0);
	struct many waiting = {0}, slow = {0};
	static struct pool_call calls[200];
	struct pool_call quick;
	struct port *port;
	struct status st = port_new(world->client_bus, &port);

	ck_assert(status_ok(&st));
	for (size_t i = 0; i < 200; i++) {
		calls[i] = make_call(HOLD, "x", 20000);
		calls[i].is_waiting = true;
		calls[i].done = count_done;
		calls[i].user = &waiting;
		port_call(port, world->pool, &calls[i]);
	}
	port_flush(port);
	for (uint64_t end = now_ms() + 20000; world->calls < 200 && now_ms() < end;)
		pause_ms(2);
	ck_assert_uint_eq(world->calls, 200);
	send_many(world, port, &quick, 1, ECHO + 1, 10000, &slow);
	poll_until(port, &slow, 1);
	ck_assert_uint_eq(slow.ok, 1);
	ck_assert_uint_eq(waiting.done, 0);
	release_all(world);
	poll_until(port, &waiting, 200);
	ck_assert_uint_eq(waiting.ok, 200);
	port_free(port);
	world_free(world);
}
END_TEST

/* The caller packs its envelope by hand; the server reads it with protobuf-c. */
static void
check_fields(const Corbel__Bus__Call *call)
{
	ck_assert_uint_eq(call->method, FIELDS);
	ck_assert_str_eq(call->request_id, "req_1");
	ck_assert_str_eq(call->traceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
	ck_assert_str_eq(call->idempotency_key, "key-1");
	ck_assert_str_eq(call->principal->tenant, "ten_1");
	ck_assert_uint_eq(call->principal->n_scopes, 2);
	ck_assert_str_eq(call->principal->scopes[1], "keys:write");
	ck_assert(call->principal->has_internal && call->principal->internal);
	ck_assert_uint_eq(call->payload.len, 300);
	ck_assert_uint_gt(call->budget_ms, 1000);
	ck_assert_uint_le(call->budget_ms, 3000);
}

START_TEST(every_field_of_a_call_and_of_its_reply_arrives)
{
	static char scopes[2][16] = {"keys:read", "keys:write"}, tenant[] = "ten_1", payload[300];
	char *list[] = {scopes[0], scopes[1]};
	Corbel__Bus__Principal principal = CORBEL__BUS__PRINCIPAL__INIT;
	principal.tenant = tenant;
	principal.n_scopes = 2;
	principal.scopes = list;
	principal.has_internal = principal.internal = true;
	struct world *world = world_new("inproc://bus-fields", 0);
	struct arena arena;
	arena_init(&arena, 4096, 1u << 20);
	struct pool_call call = make_call(FIELDS, "", 3000);
	call.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
	call.idempotency_key = "key-1";
	call.principal = &principal;
	call.payload = payload;
	call.payload_size = sizeof(payload);
	call.is_fast = _i == 0;
	struct status st = pool_call_wait(world->pool, &call, &arena);
	ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(st.message, "no good");
	ck_assert_uint_eq(call.reply->n_violations, 1);
	ck_assert_str_eq(call.reply->violations[0]->pointer, "/name");
	ck_assert_uint_eq(call.reply->retry_after_ms, 250);
	arena_fini(&arena);
	world_free(world);
}
END_TEST

START_TEST(a_reply_too_large_for_a_message_fails_its_own_call_only)
{
	char address[128];
	address_at(1, address);
	struct world *world = world_new(address, 0);
	struct arena arena;
	arena_init(&arena, 4096, 1u << 20);
	struct pool_call call = make_call(LARGE, "x", 3000);
	struct status st = pool_call_wait(world->pool, &call, &arena);
	ck_assert_int_eq(st.code, STATUS_RESOURCE_EXHAUSTED);
	call = make_call(ECHO, "x", 3000);
	st = pool_call_wait(world->pool, &call, &arena);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	static char big[17 << 20];
	call = make_call(ECHO, "", 3000);
	call.payload = big;
	call.payload_size = sizeof(big);
	st = pool_call_wait(world->pool, &call, &arena);
	ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
	arena_fini(&arena);
	world_free(world);
}
END_TEST

START_TEST(a_call_held_beyond_its_servers_end_may_still_be_ended)
{
	struct world *world = world_new("inproc://bus-held", 0);
	struct many many = {0};
	struct port *port;
	struct pool_call calls[3];
	struct status st = port_new(world->client_bus, &port);
	ck_assert(status_ok(&st));
	send_many(world, port, calls, 3, HOLD, 5000, &many);
	for (uint64_t end = now_ms() + 20000; world->calls < 3 && now_ms() < end;)
		pause_ms(2);
	server_free(world->server, 10);
	poll_until(port, &many, 3);
	ck_assert_uint_eq(many.unavailable, 3);
	release_all(world);
	port_free(port);
	pool_free(world->pool);
	bus_free(world->client_bus);
	bus_free(world->server_bus);
	free(world);
}
END_TEST

START_TEST(a_port_may_go_while_its_calls_are_out)
{
	struct world *world = world_new("inproc://bus-gone", 0);
	struct many many = {0};
	struct port *port;
	struct pool_call calls[3];
	struct status st = port_new(world->client_bus, &port);
	ck_assert(status_ok(&st));
	send_many(world, port, calls, 3, HOLD, 5000, &many);
	for (uint64_t end = now_ms() + 20000; world->calls < 3 && now_ms() < end;)
		pause_ms(2);
	port_free(port);
	ck_assert_uint_eq(many.done, 3);
	ck_assert_int_eq(calls[0].code, STATUS_CANCELLED);
	world_free(world);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("bus calls");
	TCase *tests = tcase_create("calls");
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, a_call_gets_the_answer_of_its_own_request, 0, 3);
	tcase_add_loop_test(tests, fast_calls_travel_together, 0, 3);
	tcase_add_test(tests, a_lone_call_behind_a_message_that_is_long_out_is_sent_nevertheless);
	tcase_add_test(tests, a_call_past_its_deadline_ends_and_its_late_answer_is_ignored);
	tcase_add_test(tests, calls_beyond_the_servers_bound_are_refused_at_once);
	tcase_add_test(tests, a_service_that_nobody_listens_for_is_unavailable_at_once);
	tcase_add_loop_test(tests, a_listener_that_comes_later_is_dialled, 0, 2);
	tcase_add_test(tests, a_server_that_goes_ends_its_calls_and_one_that_comes_back_is_used_again);
	tcase_add_test(tests, calls_that_wait_hold_up_no_others);
	tcase_add_loop_test(tests, every_field_of_a_call_and_of_its_reply_arrives, 0, 2);
	tcase_add_test(tests, a_reply_too_large_for_a_message_fails_its_own_call_only);
	tcase_add_test(tests, a_call_held_beyond_its_servers_end_may_still_be_ended);
	tcase_add_test(tests, a_port_may_go_while_its_calls_are_out);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
