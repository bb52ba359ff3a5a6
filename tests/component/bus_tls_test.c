/*
 * The bus over TLS: with certificates of the same authority calls pass, without them nothing does.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/pool.h"
#include "bus/server.h"
#include "support/test_certificate.h"
#include "support/test_process.h"

static struct test_dir dir;
static struct test_certificate ours, theirs;

static void
echo(void *arg, struct server_call *calls[], size_t count)
{
	(void)arg;
	for (size_t i = 0; i < count; i++)
		server_call_end(calls[i]);
}

static struct bus *
make_bus(const char *node, const struct test_certificate *authority, const struct test_certificate *shown)
{
	struct bus *bus;
	struct status st = bus_new(&(struct bus_options){.node = node,
	                                                 .tls_ca = authority->certificate,
	                                                 .tls_cert = shown->certificate,
	                                                 .tls_key = shown->key,
	                                                 .resolve_ms = 100},
	                           &bus);
	ck_assert(status_ok(&st));
	return bus;
}

/* True when a caller with this certificate gets through within the time. */
static bool
gets_through(struct bus *bus, const char *address, uint64_t within_ms)
{
	struct pool *pool;
	struct arena arena;
	struct status st = pool_new(bus, &(struct pool_options){.service = "test", .address = address}, &pool);
	ck_assert(status_ok(&st));
	arena_init(&arena, 4096, 1u << 20);
	bool is_through = false;
	for (uint64_t end = test_now_ms() + within_ms; !is_through && test_now_ms() < end; test_pause()) {
		struct pool_call call = {.method = 1, .deadline_mono_ms = test_now_ms() + 1000};
		st = pool_call_wait(pool, &call, &arena);
		is_through = status_ok(&st);
	}
	arena_fini(&arena);
	pool_free(pool);
	return is_through;
}

START_TEST(only_callers_of_the_same_authority_get_through)
{
	char address[64];
	struct server *server;
	test_dir_make(&dir);
	test_certificate_make(&dir, "ours", &ours);
	test_certificate_make(&dir, "theirs", &theirs);
	struct bus *serving = make_bus("server", &ours, &ours);
	snprintf(address, sizeof(address), "tls+tcp://127.0.0.1:%u", (unsigned)test_free_port());
	struct status st =
	    server_new(serving, &(struct server_options){.address = address, .handle = echo}, &server);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	snprintf(address, sizeof(address), "tls+tcp://localhost%s", strrchr(server_url(server), ':'));

	struct bus *friend = make_bus("friend", &ours, &ours);
	struct bus *stranger = make_bus("stranger", &ours, &theirs);
	struct bus *doubter = make_bus("doubter", &theirs, &ours);
	ck_assert(gets_through(friend, address, 5000));
	ck_assert(!gets_through(stranger, address, 500));
	ck_assert(!gets_through(doubter, address, 500));
	ck_assert(gets_through(friend, address, 5000));
	/* The certificate says localhost, not the address. */
	ck_assert(!gets_through(friend, server_url(server), 500));

	bus_free(friend);
	bus_free(stranger);
	bus_free(doubter);
	server_free(server, 100);
	bus_free(serving);
	test_dir_remove(&dir);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("bus over TLS");
	TCase *tests = tcase_create("tls");
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, only_callers_of_the_same_authority_get_through);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
