/*
 * One of nng's two threads stands aside: calls whose handlers wait for each other still get their answers.
 */
#include <nng/nng.h>

#include <check.h>
#include <poll.h>
#include <stdatomic.h>

#include "bus/pool.h"
#include "bus/server.h"
#include "bus/standby.h"
#include "support/test_process.h"

#define WAITS   1u
#define LETS_GO 2u
#define SOON_MS 60000u
#define ADDRESS "inproc://standby"

struct world {
	struct bus *bus;
	struct server *server;
	struct pool *pool;
	struct port *port;
	_Atomic bool is_waiting, is_let_go;
};

/* A handler may not wait; this one does. */
static void
handle(void *arg, struct server_call *calls[], size_t count)
{
	struct world *world = arg;

	for (size_t i = 0; i < count; i++) {
		if (calls[i]->call->method == LETS_GO)
			atomic_store(&world->is_let_go, true);
		atomic_store(&world->is_waiting, calls[i]->call->method == WAITS);
		while (!atomic_load(&world->is_let_go))
			test_pause();
		server_call_end(calls[i]);
	}
}

static void
world_init(struct world *world, bool is_only_one)
{
	struct bus_options options = {.node = "here", .is_only_one = is_only_one};
	struct server_options served = {.address = ADDRESS, .handle = handle, .arg = world};
	struct pool_options called = {.service = "standby", .address = ADDRESS};

	struct status st = bus_new(&options, &world->bus);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	st = server_new(world->bus, &served, &world->server);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	st = pool_new(world->bus, &called, &world->pool);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	st = port_new(world->bus, &world->port);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	while (pool_healthy(world->pool) == 0)
		test_pause();
}

static void
world_fini(struct world *world)
{
	port_free(world->port);
	pool_free(world->pool);
	server_free(world->server, 100);
	bus_free(world->bus);
}

static void
count_answer(struct pool_call *call)
{
	size_t *answered = call->user;

	ck_assert_msg(call->code == STATUS_OK, "%s", call->message);
	++*answered;
}

static struct pool_call
make_call(uint32_t method, size_t *answered)
{
	return (struct pool_call){.method = method,
	                          .deadline_mono_ms = clock_mono_ms(clock_system()) + SOON_MS,
	                          .payload = "",
	                          .done = count_answer,
	                          .user = answered};
}

/* A call whose handler holds up its thread, then the one that it waits for. */
static void
wait_and_let_go(struct world *world)
{
	size_t answered = 0;
	struct pool_call waits = make_call(WAITS, &answered), lets_go = make_call(LETS_GO, &answered);

	atomic_store(&world->is_let_go, false);
	port_call(world->port, world->pool, &waits);
	port_flush(world->port);
	while (!atomic_load(&world->is_waiting))
		test_pause();
	port_call(world->port, world->pool, &lets_go);
	port_flush(world->port);
	while (answered < 2) {
		struct pollfd fd = {.fd = port_fd(world->port), .events = POLLIN};
		(void)poll(&fd, 1, port_timeout_ms(world->port));
		port_poll(world->port);
	}
}

static void
await_aside(struct world *world)
{
	while (world->bus->standby && !standby_is_aside(world->bus->standby))
		test_pause();
}

START_TEST(a_handler_that_waits_for_another_call_does_not_wait_for_ever)
{
	static struct world world;

	world_init(&world, true);
	for (int i = 0; i < 2; i++) {
		await_aside(&world);
		wait_and_let_go(&world);
	}
	world_fini(&world);
}
END_TEST

START_TEST(a_bus_ends_while_a_thread_stands_aside)
{
	static struct world world;

	world_init(&world, true);
	await_aside(&world);
	world_fini(&world);
}
END_TEST

START_TEST(nobody_stands_aside_unless_the_bus_is_the_only_one)
{
	static struct world world;

	world_init(&world, false);
	ck_assert_ptr_null(world.bus->standby);
	world_fini(&world);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("bus standby");
	TCase *tests = tcase_create("standby");
	tcase_set_timeout(tests, SOON_MS / 1000);
	tcase_add_test(tests, a_handler_that_waits_for_another_call_does_not_wait_for_ever);
	tcase_add_test(tests, a_bus_ends_while_a_thread_stands_aside);
	tcase_add_test(tests, nobody_stands_aside_unless_the_bus_is_the_only_one);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
