/*
 * Which replica a call goes to: load, keys, drain, names with several addresses, and the bounds of waiting.
 */
#include <check.h>
#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "bus/pool.h"
#include "bus/server.h"
#include "support/test_process.h"

#define ECHO 1u
#define HOLD 2u

/* ---- a name server: replicas.test has as many loopback addresses as the test says, and hanging.test no
 * answer ---- */

static _Atomic int addresses_of_name = 2;
static _Atomic int hanging_lookups;
static _Atomic bool is_hanging;

typedef int (*getaddrinfo_fn)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static getaddrinfo_fn
real_getaddrinfo(void)
{
	getaddrinfo_fn function;
	void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
	memcpy(&function, &symbol, sizeof(function));
	return function;
}

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	getaddrinfo_fn real = real_getaddrinfo();
	if (name && strcmp(name, "hanging.test") == 0) {
		atomic_fetch_add(&hanging_lookups, 1);
		while (atomic_load(&is_hanging))
			test_pause();
		atomic_fetch_sub(&hanging_lookups, 1);
		return EAI_AGAIN;
	}
	if (!name || strcmp(name, "replicas.test") != 0)
		return real(name, service, hints, out);
	if (atomic_load(&addresses_of_name) == 0)
		return EAI_AGAIN;
	int rv = real("127.0.0.1", service, hints, out);
	/* glibc frees a list node by node, so that two answers may be joined. */
	if (rv == 0 && atomic_load(&addresses_of_name) == 2)
		rv = real("127.0.0.2", service, hints, &(*out)->ai_next);
	return rv;
}

/* ---- replicas in this process, each with a bus of its own ---- */

struct replica {
	struct bus *bus;
	struct server *server;
	_Atomic size_t calls;
	pthread_mutex_t lock;
	struct server_call *held[1024];
	size_t held_count;
};

static void
serve(void *arg, struct server_call *calls[], size_t count)
{
	struct replica *replica = arg;
	for (size_t i = 0; i < count; i++) {
		if (calls[i]->call->method == ECHO) {
			server_call_end(calls[i]);
			continue;
		}
		pthread_mutex_lock(&replica->lock);
		replica->held[replica->held_count++] = calls[i];
		pthread_mutex_unlock(&replica->lock);
	}
	atomic_fetch_add(&replica->calls, count); /* held calls that are counted can be released */
}

static void
replica_start(struct replica *replica, const char *node, const char *address)
{
	pthread_mutex_init(&replica->lock, NULL);
	struct status st = bus_new(&(struct bus_options){.node = node}, &replica->bus);
	ck_assert(status_ok(&st));
	st = server_new(replica->bus,
	                &(struct server_options){.address = address, .handle = serve, .arg = replica},
	                &replica->server);
	ck_assert_msg(status_ok(&st), "%s", st.message);
}

static void
replica_release_held(struct replica *replica)
{
	pthread_mutex_lock(&replica->lock);
	size_t count = replica->held_count;
	replica->held_count = 0;
	pthread_mutex_unlock(&replica->lock);
	for (size_t i = 0; i < count; i++)
		server_call_end(replica->held[i]);
}

static void
replica_stop(struct replica *replica)
{
	replica_release_held(replica);
	server_free(replica->server, 100);
	bus_free(replica->bus);
}

static struct bus *
caller_bus(void)
{
	struct bus *bus;
	struct status st = bus_new(&(struct bus_options){.node = "caller", .resolve_ms = 50}, &bus);
	ck_assert(status_ok(&st));
	return bus;
}

static struct pool *
make_pool(struct bus *bus, const char *address, uint32_t max_queued)
{
	struct pool *pool;
	struct status st =
	    pool_new(bus,
	             &(struct pool_options){
	                 .service = "test", .address = address, .ping_ms = 50, .max_queued = max_queued},
	             &pool);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	return pool;
}

/* Healthy and known by name. */
static size_t
known(struct pool *pool)
{
	struct pool_replica list[16];
	size_t count = pool_list(pool, list, 16), named = 0;
	for (size_t i = 0; i < count && i < 16; i++)
		named += list[i].is_healthy && list[i].node[0] != '\0';
	return named;
}

static void
await_known(struct pool *pool, size_t count)
{
	for (uint64_t end = test_now_ms() + 5000; known(pool) != count; test_pause())
		ck_assert_msg(test_now_ms() < end, "%zu replicas are known, not %zu", known(pool), count);
}

struct tally {
	size_t ended, ok, exhausted;
};

static void
count_end(struct pool_call *call)
{
	struct tally *tally = call->user;
	tally->ended++;
	tally->ok += call->code == STATUS_OK;
	tally->exhausted += call->code == STATUS_RESOURCE_EXHAUSTED;
}

static void
poll_until(struct port *port, const struct tally *tally, size_t count)
{
	for (uint64_t end = test_now_ms() + 5000; tally->ended < count;) {
		struct pollfd fd = {.fd = port_fd(port), .events = POLLIN};
		ck_assert_msg(test_now_ms() < end, "%zu of %zu calls ended", tally->ended, count);
		(void)poll(&fd, 1, 5);
		port_poll(port);
		port_flush(port);
	}
}

static void
send_call(struct port *port, struct pool *pool, struct pool_call *call, uint32_t method, struct tally *tally)
{
	*call = (struct pool_call){.method = method,
	                           .is_fast = method == ECHO,
	                           .done = count_end,
	                           .user = tally,
	                           .deadline_mono_ms = test_now_ms() + 30000};
	port_call(port, pool, call);
	port_flush(port);
}

#define NODES 5
#define KEYS  5000

static int
owner_of(struct pool *pool, size_t key)
{
	char node[64];
	uint64_t epoch;
	ck_assert(pool_owner(pool, hash_stable64(&key, sizeof(key), 0), node, &epoch));
	return node[5] - '0';
}

START_TEST(a_replica_that_goes_moves_only_its_own_keys)
{
	static struct replica replicas[NODES];
	static int owners[KEYS];
	size_t share[NODES] = {0};
	char address[256] = "";
	for (int i = 0; i < NODES; i++) {
		char node[16], url[32];
		snprintf(node, sizeof(node), "node-%d", i);
		snprintf(url, sizeof(url), "inproc://choice-%d", i);
		replica_start(&replicas[i], node, url);
		size_t used = strlen(address);
		snprintf(address + used, sizeof(address) - used, "%s%s", i ? "," : "", url);
	}
	struct bus *bus = caller_bus();
	struct pool *pool = make_pool(bus, address, 0);
	await_known(pool, NODES);
	for (size_t key = 0; key < KEYS; key++)
		share[owners[key] = owner_of(pool, key)]++;
	for (int i = 0; i < NODES; i++) {
		ck_assert_uint_gt(share[i], KEYS / NODES * 8 / 10);
		ck_assert_uint_lt(share[i], KEYS / NODES * 12 / 10);
	}
	replica_stop(&replicas[2]);
	await_known(pool, NODES - 1);
	for (size_t key = 0; key < KEYS; key++) {
		int owner = owner_of(pool, key);
		ck_assert_int_ne(owner, 2);
		if (owners[key] != 2)
			ck_assert_int_eq(owner, owners[key]);
	}
	pool_free(pool);
	bus_free(bus);
	for (int i = 0; i < NODES; i++)
		if (i != 2)
			replica_stop(&replicas[i]);
}
END_TEST

START_TEST(callers_that_reach_the_replicas_by_other_urls_agree_on_the_owner)
{
	static struct replica a, b;
	char listen[128], urls[128];
	uint16_t port = test_free_port();
	snprintf(listen, sizeof(listen), "inproc://agree-a,tcp://127.0.0.1:%u", (unsigned)port);
	snprintf(urls, sizeof(urls), "inproc://agree-b,tcp://127.0.0.1:%u", (unsigned)port);
	replica_start(&a, "node-0", listen);
	replica_start(&b, "node-1", "inproc://agree-b");
	struct bus *bus = caller_bus();
	struct pool *one = make_pool(bus, "inproc://agree-a,inproc://agree-b", 0),
	            *other = make_pool(bus, urls, 0);
	await_known(one, 2);
	await_known(other, 2);
	for (size_t key = 0; key < 500; key++)
		ck_assert_int_eq(owner_of(one, key), owner_of(other, key));
	pool_free(one);
	pool_free(other);
	bus_free(bus);
	replica_stop(&a);
	replica_stop(&b);
}
END_TEST

START_TEST(calls_avoid_a_replica_that_is_slow)
{
	static struct replica slow, quick;
	static struct pool_call calls[400];
	struct tally tally = {0};
	struct port *port;
	replica_start(&slow, "slow", "inproc://slow");
	replica_start(&quick, "quick", "inproc://quick");
	struct bus *bus = caller_bus();
	struct pool *pool = make_pool(bus, "inproc://slow,inproc://quick", 0);
	await_known(pool, 2);
	struct status st = port_new(bus, &port);
	ck_assert(status_ok(&st));
	/* The quick one answers every call before the next is sent; the slow one answers none. */
	for (size_t i = 0; i < 400; i++) {
		send_call(port, pool, &calls[i], HOLD, &tally);
		for (uint64_t end = test_now_ms() + 2000;
		     atomic_load(&slow.calls) + atomic_load(&quick.calls) < i + 1;)
			ck_assert_uint_lt(test_now_ms(), end);
		replica_release_held(&quick);
		poll_until(port, &tally, i + 1 - atomic_load(&slow.calls));
	}
	ck_assert_uint_le(atomic_load(&slow.calls), 10);
	replica_release_held(&slow);
	poll_until(port, &tally, 400);
	ck_assert_uint_eq(tally.ok, 400);
	port_free(port);
	pool_free(pool);
	bus_free(bus);
	replica_stop(&slow);
	replica_stop(&quick);
}
END_TEST

START_TEST(a_draining_replica_gets_no_new_calls_and_answers_those_it_has)
{
	static struct replica a, b;
	static struct pool_call calls[100];
	struct tally tally = {0};
	struct port *port;
	replica_start(&a, "a", "inproc://drain-a");
	replica_start(&b, "b", "inproc://drain-b");
	struct bus *bus = caller_bus();
	struct pool *pool = make_pool(bus, "inproc://drain-a,inproc://drain-b", 0);
	await_known(pool, 2);
	struct status st = port_new(bus, &port);
	ck_assert(status_ok(&st));
	for (size_t i = 0; i < 10; i++)
		send_call(port, pool, &calls[i], HOLD, &tally);
	for (uint64_t end = test_now_ms() + 2000; atomic_load(&a.calls) + atomic_load(&b.calls) < 10;
	     test_pause())
		ck_assert_uint_lt(test_now_ms(), end);
	size_t held = atomic_load(&a.calls);
	ck_assert_uint_gt(held, 0);
	server_drain(a.server);
	await_known(pool, 1);
	for (size_t i = 10; i < 100; i++)
		send_call(port, pool, &calls[i], ECHO, &tally);
	poll_until(port, &tally, 90);
	ck_assert_uint_eq(atomic_load(&a.calls), held);
	ck_assert_uint_eq(server_in_flight(a.server), held);
	replica_stop(&a); /* the held calls end, and their answers leave before it closes */
	replica_release_held(&b);
	poll_until(port, &tally, 100);
	ck_assert_uint_eq(tally.ok, 100);
	port_free(port);
	pool_free(pool);
	bus_free(bus);
	replica_stop(&b);
}
END_TEST

/* Who has called lately may call at any moment, and only an answer tells it not to: here that to a ping. */
START_TEST(a_replica_leaves_only_when_who_has_called_it_lately_knows)
{
	static struct replica a;
	static struct pool_call call;
	struct tally tally = {0};
	struct pool_replica seen;
	struct pool *pool;
	struct port *port;
	replica_start(&a, "a", "tcp://127.0.0.1:0");
	struct bus *bus = caller_bus();
	struct status st = pool_new(
	    bus, &(struct pool_options){.service = "test", .address = server_url(a.server), .ping_ms = 300},
	    &pool);
	ck_assert(status_ok(&st));
	await_known(pool, 1);
	st = port_new(bus, &port);
	ck_assert(status_ok(&st));
	send_call(port, pool, &call, ECHO, &tally);
	poll_until(port, &tally, 1);
	server_drain(a.server);
	server_free(a.server, 60000);
	for (uint64_t end = test_now_ms() + 5000; pool_healthy(pool) > 0; test_pause())
		ck_assert_uint_lt(test_now_ms(), end);
	ck_assert_uint_eq(pool_list(pool, &seen, 1), 1);
	ck_assert(seen.is_draining);
	port_free(port);
	pool_free(pool);
	bus_free(bus);
	bus_free(a.bus);
}
END_TEST

START_TEST(calls_beyond_the_callers_own_bound_are_refused_at_once)
{
	static struct replica replica;
	struct pool_call calls[12];
	struct tally tally = {0};
	struct port *port;
	replica_start(&replica, "a", "inproc://bound");
	struct bus *bus = caller_bus();
	struct pool *pool = make_pool(bus, "inproc://bound", 8);
	await_known(pool, 1);
	struct status st = port_new(bus, &port);
	ck_assert(status_ok(&st));
	for (size_t i = 0; i < 12; i++)
		send_call(port, pool, &calls[i], HOLD, &tally);
	port_poll(port);
	ck_assert_uint_eq(tally.exhausted, 4);
	for (uint64_t end = test_now_ms() + 2000; atomic_load(&replica.calls) < 8; test_pause())
		ck_assert_uint_lt(test_now_ms(), end);
	port_cancel(port, &calls[0]);
	port_poll(port);
	ck_assert_int_eq(calls[0].code, STATUS_CANCELLED);
	ck_assert(calls[0].was_sent);
	replica_release_held(&replica);
	poll_until(port, &tally, 12);
	ck_assert_uint_eq(tally.ok, 7);
	port_free(port);
	pool_free(pool);
	bus_free(bus);
	replica_stop(&replica);
}
END_TEST

START_TEST(a_call_for_one_replica_goes_to_it_or_nowhere)
{
	static struct replica a, b;
	replica_start(&a, "a", "inproc://named-a");
	replica_start(&b, "b", "inproc://named-b");
	struct bus *bus = caller_bus();
	struct pool *pool = make_pool(bus, "inproc://named-a,inproc://named-b", 0);
	struct arena arena;

	arena_init(&arena, 4096, SIZE_MAX);
	await_known(pool, 2);
	for (int i = 0; i < 20; i++) {
		struct pool_call call = {
		    .method = ECHO, .is_fast = true, .node = "b", .deadline_mono_ms = test_now_ms() + 5000};
		struct status st = pool_call_wait(pool, &call, &arena);
		ck_assert_msg(status_ok(&st), "%s", st.message);
	}
	ck_assert_uint_eq(atomic_load(&a.calls), 0);
	ck_assert_uint_eq(atomic_load(&b.calls), 20);
	struct pool_call call = {
	    .method = ECHO, .is_fast = true, .node = "c", .deadline_mono_ms = test_now_ms() + 5000};
	ck_assert_int_eq(pool_call_wait(pool, &call, &arena).code, STATUS_UNAVAILABLE);
	arena_fini(&arena);
	pool_free(pool);
	bus_free(bus);
	replica_stop(&a);
	replica_stop(&b);
}
END_TEST

START_TEST(a_name_stands_for_all_of_its_addresses_as_they_come_and_go)
{
	static struct replica a, b;
	char address[64];
	uint16_t port = test_free_port();
	snprintf(address, sizeof(address), "tcp://127.0.0.1:%u", (unsigned)port);
	replica_start(&a, "a", address);
	snprintf(address, sizeof(address), "tcp://127.0.0.2:%u", (unsigned)port);
	replica_start(&b, "b", address);
	struct bus *bus = caller_bus();
	snprintf(address, sizeof(address), "tcp://replicas.test:%u", (unsigned)port);
	struct pool *pool = make_pool(bus, address, 0);
	await_known(pool, 2);
	atomic_store(&addresses_of_name, 1);
	await_known(pool, 1);
	ck_assert_uint_eq(pool_replicas(pool), 1);
	atomic_store(&addresses_of_name, 2);
	await_known(pool, 2);
	/* A name server that is away takes no replica with it. */
	atomic_store(&addresses_of_name, 0);
	for (uint64_t end = test_now_ms() + 300; test_now_ms() < end; test_pause())
		ck_assert_uint_eq(pool_replicas(pool), 2);
	pool_free(pool);
	bus_free(bus);
	replica_stop(&a);
	replica_stop(&b);
}
END_TEST

/* What nobody answers for keeps its own thread only, until it is answered or given up. */
START_TEST(a_name_that_is_not_answered_delays_no_other_name_and_no_end)
{
	static struct replica only;
	uint16_t port = test_free_port();
	char address[64];

	atomic_store(&is_hanging, true);
	snprintf(address, sizeof(address), "tcp://127.0.0.1:%u", (unsigned)port);
	replica_start(&only, "only", address);
	struct bus *bus = caller_bus();
	struct pool *hanging = make_pool(bus, "tcp://hanging.test:1", 0);
	for (uint64_t end = test_now_ms() + 60000; atomic_load(&hanging_lookups) == 0; test_pause())
		ck_assert(test_now_ms() < end);
	atomic_store(&addresses_of_name, 1);
	snprintf(address, sizeof(address), "tcp://replicas.test:%u", (unsigned)port);
	struct pool *pool = make_pool(bus, address, 0);
	await_known(pool, 1);
	pool_free(pool);
	pool_free(hanging);
	bus_free(bus);
	ck_assert_int_eq(atomic_load(&hanging_lookups), 1);
	atomic_store(&is_hanging, false);
	for (uint64_t end = test_now_ms() + 60000; atomic_load(&hanging_lookups) > 0; test_pause())
		ck_assert(test_now_ms() < end);
	replica_stop(&only);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("bus choice");
	TCase *tests = tcase_create("choice");
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_replica_that_goes_moves_only_its_own_keys);
	tcase_add_test(tests, callers_that_reach_the_replicas_by_other_urls_agree_on_the_owner);
	tcase_add_test(tests, calls_avoid_a_replica_that_is_slow);
	tcase_add_test(tests, a_draining_replica_gets_no_new_calls_and_answers_those_it_has);
	tcase_add_test(tests, a_replica_leaves_only_when_who_has_called_it_lately_knows);
	tcase_add_test(tests, calls_beyond_the_callers_own_bound_are_refused_at_once);
	tcase_add_test(tests, a_call_for_one_replica_goes_to_it_or_nowhere);
	tcase_add_test(tests, a_name_stands_for_all_of_its_addresses_as_they_come_and_go);
	tcase_add_test(tests, a_name_that_is_not_answered_delays_no_other_name_and_no_end);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
