/*
 * Closing a connection while nng's reaper stands: it calls back about connections that are gone, one after
 * the other, and here about one of the test's own, which keeps it for as long as the test wants.
 */
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>

#include <check.h>
#include <malloc.h>
#include <stdatomic.h>

#include "bus/pool.h"
#include "bus/server.h"
#include "support/test_process.h"

struct holdup {
	nng_socket ends[2];
	_Atomic uint32_t pipe; /* 0: there is no connection yet */
	_Atomic bool is_held, is_over;
};

static void
on_connection(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	struct holdup *holdup = arg;

	if (event == NNG_PIPE_EV_ADD_POST) {
		atomic_store(&holdup->pipe, pipe.id);
		return;
	}
	atomic_store(&holdup->is_held, true);
	while (!atomic_load(&holdup->is_over))
		test_pause();
}

static void
holdup_begin(struct holdup *holdup)
{
	ck_assert_int_eq(nng_pair0_open(&holdup->ends[0]), 0);
	ck_assert_int_eq(nng_pair0_open(&holdup->ends[1]), 0);
	nng_pipe_notify(holdup->ends[0], NNG_PIPE_EV_ADD_POST, on_connection, holdup);
	nng_pipe_notify(holdup->ends[0], NNG_PIPE_EV_REM_POST, on_connection, holdup);
	ck_assert_int_eq(nng_listen(holdup->ends[0], "inproc://holdup", NULL, 0), 0);
	ck_assert_int_eq(nng_dial(holdup->ends[1], "inproc://holdup", NULL, 0), 0);
	while (atomic_load(&holdup->pipe) == 0)
		test_pause();
	nng_pipe_close((nng_pipe){.id = atomic_load(&holdup->pipe)});
	while (!atomic_load(&holdup->is_held))
		test_pause();
}

/* Returns when everything that was to be reaped meanwhile is: closing waits for the reaper. */
static void
holdup_end(struct holdup *holdup)
{
	atomic_store(&holdup->is_over, true);
	nng_close(holdup->ends[1]);
	nng_close(holdup->ends[0]);
}

static void
answer(void *arg, struct server_call *calls[], size_t count)
{
	(void)arg;
	for (size_t i = 0; i < count; i++)
		server_call_end(calls[i]);
}

START_TEST(a_connection_that_is_closed_late_calls_nobody_back)
{
	static struct holdup holdup;
	struct bus *bus;
	struct server *server;
	struct pool *pool;
	struct status st;

	st = bus_new(&(struct bus_options){.node = "here"}, &bus);
	ck_assert(status_ok(&st));
	struct server_options served = {.address = "inproc://served", .handle = answer};
	st = server_new(bus, &served, &server);
	ck_assert(status_ok(&st));
	struct pool_options called = {.service = "served", .address = "inproc://served"};
	st = pool_new(bus, &called, &pool);
	ck_assert(status_ok(&st));
	while (pool_healthy(pool) == 0)
		test_pause();
	holdup_begin(&holdup);
	pool_free(pool); /* gives up waiting for the connection to be closed */
	holdup_end(&holdup);
	server_free(server, 0);
	bus_free(bus);
}
END_TEST

int
main(void)
{
	mallopt(M_PERTURB, 0xa5); /* what was freed cannot be taken for what is there */
	Suite *suite = suite_create("bus closing");
	TCase *tests = tcase_create("closing");
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_connection_that_is_closed_late_calls_nobody_back);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
