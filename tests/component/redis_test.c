/*
 * The Redis client against a real server that is killed, frozen, emptied and brought back.
 */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/redis.h"
#include "support/test_process.h"
#include "support/test_redis.h"

#define TIMEOUT_MS 200u

static const struct redis_script ADD = {"add", "return redis.call('INCRBY', KEYS[1], ARGV[1])"};
static const struct redis_script ECHO = {"echo", "return {ARGV[1], 7, {false, 'x'}}"};

struct fixture {
	struct test_redis *server;
	struct redis *redis;
	struct arena arena;
};

static void
must(struct status st)
{
	ck_assert_msg(status_ok(&st), "%s: %s", status_code_name(st.code), st.message);
}

#define EXPECT(expression, expected)                                                                         \
	do {                                                                                                     \
		struct status got_ = (expression);                                                                   \
		ck_assert_msg(got_.code == (expected), "%s: %s", status_code_name(got_.code), got_.message);         \
	} while (0)

static struct redis *
connect_to(const char *url)
{
	struct redis *redis;

	must(redis_new(&(struct redis_options){.url = url, .connections = 4, .command_timeout_ms = TIMEOUT_MS},
	               &redis));
	return redis;
}

static void
start(struct fixture *f)
{
	f->server = test_redis_start(NULL);
	f->redis = connect_to(f->server->url);
	arena_init(&f->arena, 4096, 64 << 20);
}

static void
stop(struct fixture *f)
{
	redis_free(f->redis);
	test_redis_stop(f->server);
	arena_fini(&f->arena);
}

static struct redis_arg
arg(const char *text)
{
	return (struct redis_arg){.data = text, .size = strlen(text)};
}

#define ARGS(...)                                                                                            \
	(const struct redis_arg[]){__VA_ARGS__},                                                                 \
	    sizeof((const struct redis_arg[]){__VA_ARGS__}) / sizeof(struct redis_arg)

static struct status
call(struct redis *redis, struct arena *arena, struct redis_reply *reply, const struct redis_arg *args,
     size_t count)
{
	struct redis_conn *conn;
	struct status st = redis_take(redis, 1000, &conn);

	if (!status_ok(&st))
		return st;
	st = redis_command(conn, args, count, arena, reply);
	redis_put(redis, conn);
	return st;
}

static struct status
ping(struct fixture *f)
{
	struct redis_reply reply;

	return call(f->redis, &f->arena, &reply, ARGS(arg("PING")));
}

static void
wait_until_up(struct fixture *f, uint64_t at_most_ms)
{
	uint64_t start_ms = test_calm_ms();

	while (!redis_is_up(f->redis)) {
		ck_assert_uint_lt(test_calm_ms() - start_ms, at_most_ms);
		test_pause();
	}
	must(ping(f));
}

/* ---------------------------------------------------------------- commands */

START_TEST(every_kind_of_reply_is_read)
{
	struct redis_reply reply;
	struct redis_conn *conn;
	struct fixture f;

	start(&f);
	must(redis_take(f.redis, 1000, &conn));
	must(redis_command(conn, ARGS(arg("SET"), arg("k"), {.data = "a\0b", .size = 3}), &f.arena, &reply));
	ck_assert_int_eq(reply.type, REDIS_STATUS);
	ck_assert_str_eq(reply.text, "OK");
	must(redis_command(conn, ARGS(arg("GET"), arg("k")), &f.arena, &reply));
	ck_assert_int_eq(reply.type, REDIS_TEXT);
	ck_assert_mem_eq(reply.text, "a\0b", 4);
	ck_assert_uint_eq(reply.size, 3);
	must(redis_command(conn, ARGS(arg("GET"), arg("absent")), &f.arena, &reply));
	ck_assert_int_eq(reply.type, REDIS_NIL);
	must(redis_command(conn, ARGS(arg("INCR"), arg("k")), &f.arena, &reply));
	ck_assert_int_eq(reply.type, REDIS_ERROR);
	must(redis_command(conn, ARGS(arg("STRLEN"), arg("k")), &f.arena, &reply));
	ck_assert_int_eq(reply.integer, 3);
	must(redis_eval(conn, &ECHO, NULL, 0, ARGS(arg("hello")), &f.arena, &reply));
	ck_assert_int_eq(reply.type, REDIS_ARRAY);
	ck_assert_uint_eq(reply.count, 3);
	ck_assert_str_eq(reply.elements[0].text, "hello");
	ck_assert_int_eq(reply.elements[1].integer, 7);
	ck_assert_int_eq(reply.elements[2].elements[0].type, REDIS_NIL);
	redis_put(f.redis, conn);
	stop(&f);
}
END_TEST

START_TEST(a_pipeline_answers_in_order_also_when_it_is_large)
{
	enum { COMMANDS = 1000 };
	struct redis_pipeline_item *items = mem_array(COMMANDS, sizeof(*items));
	struct redis_reply *replies = mem_array(COMMANDS, sizeof(*replies));
	char *text = mem_alloc(2000);
	struct redis_arg echo[2] = {arg("ECHO"), {.data = text, .size = 2000}};
	struct redis_arg incr[2] = {arg("INCR"), arg("n")};
	struct redis_conn *conn;
	struct fixture f;

	start(&f);
	memset(text, 'e', 2000);
	for (int i = 0; i < COMMANDS; i++)
		items[i] = (struct redis_pipeline_item){i % 2 ? echo : incr, 2};
	must(redis_take(f.redis, 1000, &conn));
	must(redis_pipeline(conn, items, COMMANDS, &f.arena, replies));
	for (int i = 0; i < COMMANDS; i++) {
		if (i % 2)
			ck_assert_uint_eq(replies[i].size, 2000);
		else
			ck_assert_int_eq(replies[i].integer, i / 2 + 1);
	}
	redis_put(f.redis, conn);
	mem_free(items);
	mem_free(replies);
	mem_free(text);
	stop(&f);
}
END_TEST

START_TEST(a_reply_beyond_the_arenas_ceiling_is_refused_and_harms_no_later_call)
{
	char *text = mem_alloc(100000);
	struct redis_reply reply;
	struct arena small;
	struct fixture f;

	start(&f);
	memset(text, 'e', 100000);
	arena_init(&small, 1024, 20000);
	EXPECT(call(f.redis, &small, &reply, ARGS(arg("ECHO"), {.data = text, .size = 100000})),
	       STATUS_RESOURCE_EXHAUSTED);
	ck_assert(redis_is_up(f.redis));
	must(ping(&f));
	arena_fini(&small);
	mem_free(text);
	stop(&f);
}
END_TEST

START_TEST(a_script_is_loaded_again_after_the_server_forgot_it)
{
	struct redis_reply reply, replies[8];
	struct redis_arg key = arg("sum"), one = arg("1");
	struct redis_eval_item items[8];
	struct redis_conn *conn;
	struct fixture f;

	start(&f);
	must(redis_take(f.redis, 1000, &conn));
	must(redis_eval(conn, &ADD, &key, 1, &one, 1, &f.arena, &reply));
	ck_assert_int_eq(reply.integer, 1);
	must(redis_command(conn, ARGS(arg("SCRIPT"), arg("FLUSH")), &f.arena, &reply));
	must(redis_eval(conn, &ADD, &key, 1, &one, 1, &f.arena, &reply));
	ck_assert_int_eq(reply.integer, 2);
	must(redis_command(conn, ARGS(arg("SCRIPT"), arg("FLUSH")), &f.arena, &reply));
	for (int i = 0; i < 8; i++)
		items[i] = (struct redis_eval_item){i % 2 ? &ECHO : &ADD, &key, 1, &one, 1};
	must(redis_eval_pipeline(conn, items, 8, &f.arena, replies));
	for (int i = 0; i < 8; i++) {
		if (i % 2)
			ck_assert_str_eq(replies[i].elements[0].text, "1");
		else
			ck_assert_int_eq(replies[i].integer, 3 + i / 2);
	}
	redis_put(f.redis, conn);
	stop(&f);
}
END_TEST

START_TEST(password_database_and_unix_socket_are_honoured)
{
	struct test_redis *server = test_redis_start("p@ss:word/%");
	struct redis_reply reply;
	struct arena arena;
	char url[256];

	arena_init(&arena, 4096, 1 << 20);
	snprintf(url, sizeof(url), "redis://:p%%40ss%%3Aword%%2F%%25@127.0.0.1:%u/3", server->port);
	struct redis *redis = connect_to(url);
	must(call(redis, &arena, &reply, ARGS(arg("SET"), arg("k"), arg("three"))));
	redis_free(redis);
	snprintf(url, sizeof(url), "unix://default:p%%40ss%%3Aword%%2F%%25@%s?db=3", server->socket);
	redis = connect_to(url);
	must(call(redis, &arena, &reply, ARGS(arg("GET"), arg("k"))));
	ck_assert_str_eq(reply.text, "three");
	redis_free(redis);
	redis = connect_to(server->url); /* without the password */
	EXPECT(call(redis, &arena, &reply, ARGS(arg("PING"))), STATUS_UNAVAILABLE);
	redis_free(redis);
	arena_fini(&arena);
	test_redis_stop(server);
}
END_TEST

START_TEST(malformed_addresses_are_refused)
{
	static const char *const urls[] = {"",
	                                   "http://h",
	                                   "redis://",
	                                   "redis://h:0",
	                                   "redis://h:65536",
	                                   "redis://h:x",
	                                   "redis://[::1",
	                                   "redis://[::1]x",
	                                   "redis://h/x",
	                                   "redis://h/-1",
	                                   "redis://u:%4@h",
	                                   "redis://u:%00@h",
	                                   "unix://",
	                                   "unix://relative",
	                                   "unix:///p?x=1",
	                                   "unix:///p?db=x"};
	struct redis *redis;

	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
		EXPECT(redis_new(&(struct redis_options){.url = urls[i]}, &redis), STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(the_pool_has_a_bound)
{
	struct redis_conn *conns[4], *more;
	struct fixture f;

	start(&f);
	for (int i = 0; i < 4; i++)
		must(redis_take(f.redis, 1000, &conns[i]));
	EXPECT(redis_take(f.redis, 10, &more), STATUS_RESOURCE_EXHAUSTED);
	for (int i = 0; i < 4; i++)
		redis_put(f.redis, conns[i]);
	must(ping(&f));
	stop(&f);
}
END_TEST

/* ---------------------------------------------------------------- a server that goes away */

START_TEST(a_killed_server_is_noticed_at_once_and_found_again_within_a_second)
{
	struct fixture f;

	start(&f);
	must(ping(&f));
	test_redis_kill(f.server);
	uint64_t start_ms = test_calm_ms();
	EXPECT(ping(&f), STATUS_UNAVAILABLE);
	ck_assert(!redis_is_up(f.redis));
	for (int i = 0; i < 1000; i++)
		EXPECT(ping(&f), STATUS_UNAVAILABLE);
	ck_assert_uint_lt(test_calm_ms() - start_ms, 100);
	test_redis_restart(f.server);
	wait_until_up(&f, 1000);
	stop(&f);
}
END_TEST

START_TEST(a_restart_between_two_calls_is_not_noticed)
{
	struct fixture f;

	start(&f);
	must(ping(&f));
	test_redis_kill(f.server);
	test_redis_restart(f.server);
	if (redis_is_up(f.redis)) /* unless the probe looked just then */
		must(ping(&f));
	stop(&f);
}
END_TEST

START_TEST(a_frozen_server_costs_one_call_its_time_out_and_later_ones_nothing)
{
	struct fixture f;

	start(&f);
	must(ping(&f));
	test_redis_freeze(f.server);
	uint64_t start_ms = test_calm_ms();
	EXPECT(ping(&f), STATUS_UNAVAILABLE);
	uint64_t first_ms = test_calm_ms() - start_ms;
	ck_assert_uint_le(first_ms, TIMEOUT_MS + 50);
	start_ms = test_calm_ms();
	for (int i = 0; i < 1000; i++)
		EXPECT(ping(&f), STATUS_UNAVAILABLE);
	ck_assert_uint_lt(test_calm_ms() - start_ms, TIMEOUT_MS);
	test_redis_thaw(f.server);
	wait_until_up(&f, 1100);
	stop(&f);
}
END_TEST

START_TEST(a_server_that_freezes_while_nobody_calls_is_noticed_before_the_next_call)
{
	struct fixture f;

	start(&f);
	must(ping(&f));
	test_redis_freeze(f.server);
	uint64_t start_ms = test_calm_ms();
	while (redis_is_up(f.redis)) {
		ck_assert_uint_lt(test_calm_ms() - start_ms, 2000);
		test_pause();
	}
	test_redis_thaw(f.server);
	wait_until_up(&f, 1100);
	stop(&f);
}
END_TEST

START_TEST(a_server_absent_at_start_is_found_when_it_comes)
{
	struct fixture f = {.server = test_redis_prepare(NULL)};

	f.redis = connect_to(f.server->url);
	arena_init(&f.arena, 4096, 1 << 20);
	uint64_t start_ms = test_calm_ms();
	EXPECT(ping(&f), STATUS_UNAVAILABLE);
	ck_assert_uint_lt(test_calm_ms() - start_ms, 50);
	test_redis_restart(f.server);
	wait_until_up(&f, 1000);
	stop(&f);
}
END_TEST

START_TEST(a_server_that_may_not_write_is_away_until_it_may)
{
	struct redis_reply reply;
	struct redis_conn *conn;
	struct fixture f;

	start(&f);
	must(redis_take(f.redis, 1000, &conn));
	must(redis_command(conn, ARGS(arg("CONFIG"), arg("SET"), arg("min-replicas-to-write"), arg("1")),
	                   &f.arena, &reply));
	EXPECT(redis_command(conn, ARGS(arg("SET"), arg("k"), arg("v")), &f.arena, &reply), STATUS_UNAVAILABLE);
	redis_put(f.redis, conn);
	EXPECT(ping(&f), STATUS_UNAVAILABLE);
	test_redis_kill(f.server);
	test_redis_restart(f.server); /* with its defaults */
	wait_until_up(&f, 1000);
	stop(&f);
}
END_TEST

static atomic_bool is_over;

static void *
count_calls(void *arg_)
{
	struct fixture *f = arg_;
	struct arena arena;
	struct redis_reply reply;
	uint64_t worst_ms = 0;

	arena_init(&arena, 4096, 1 << 20);
	while (!atomic_load(&is_over)) {
		uint64_t start_ms = test_calm_ms();
		struct status st = call(f->redis, &arena, &reply, ARGS(arg("INCR"), arg("n")));
		ck_assert_msg(status_ok(&st) || st.code == STATUS_UNAVAILABLE, "%s", st.message);
		uint64_t took_ms = test_calm_ms() - start_ms;
		worst_ms = took_ms > worst_ms ? took_ms : worst_ms;
		arena_reset(&arena);
	}
	arena_fini(&arena);
	return (void *)(uintptr_t)worst_ms;
}

START_TEST(no_call_of_many_threads_waits_longer_than_its_time_outs_while_the_server_comes_and_goes)
{
	pthread_t threads[6];
	struct fixture f;
	void *worst;

	start(&f);
	atomic_store(&is_over, false);
	for (int i = 0; i < 6; i++)
		pthread_create(&threads[i], NULL, count_calls, &f);
	for (int i = 0; i < 3; i++) {
		test_redis_kill(f.server);
		test_redis_restart(f.server);
		wait_until_up(&f, 1500);
		test_redis_freeze(f.server);
		while (redis_is_up(f.redis))
			test_pause();
		test_redis_thaw(f.server);
		wait_until_up(&f, 1500);
	}
	atomic_store(&is_over, true);
	for (int i = 0; i < 6; i++) {
		pthread_join(threads[i], &worst);
		ck_assert_uint_lt((uintptr_t)worst, 2 * TIMEOUT_MS + 150); /* its turn at the pool, then its own */
	}
	stop(&f);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("redis");
	TCase *commands = tcase_create("commands"), *away = tcase_create("away");
	SRunner *runner = srunner_create(suite);

	tcase_set_timeout(commands, 30);
	tcase_set_timeout(away, 60);
	tcase_add_test(commands, every_kind_of_reply_is_read);
	tcase_add_test(commands, a_pipeline_answers_in_order_also_when_it_is_large);
	tcase_add_test(commands, a_reply_beyond_the_arenas_ceiling_is_refused_and_harms_no_later_call);
	tcase_add_test(commands, a_script_is_loaded_again_after_the_server_forgot_it);
	tcase_add_test(commands, password_database_and_unix_socket_are_honoured);
	tcase_add_test(commands, malformed_addresses_are_refused);
	tcase_add_test(commands, the_pool_has_a_bound);
	tcase_add_test(away, a_killed_server_is_noticed_at_once_and_found_again_within_a_second);
	tcase_add_test(away, a_restart_between_two_calls_is_not_noticed);
	tcase_add_test(away, a_frozen_server_costs_one_call_its_time_out_and_later_ones_nothing);
	tcase_add_test(away, a_server_that_freezes_while_nobody_calls_is_noticed_before_the_next_call);
	tcase_add_test(away, a_server_absent_at_start_is_found_when_it_comes);
	tcase_add_test(away, a_server_that_may_not_write_is_away_until_it_may);
	tcase_add_test(away,
	               no_call_of_many_threads_waits_longer_than_its_time_outs_while_the_server_comes_and_goes);
	suite_add_tcase(suite, commands);
	suite_add_tcase(suite, away);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
