/*
 * The Redis client over TLS, against a real server that shows its certificate and may ask for ours.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "redis/redis.h"
#include "support/test_certificate.h"
#include "support/test_process.h"
#include "support/test_redis.h"

#define TIMEOUT_MS 500u
#define LARGE      (3u << 20)

static struct test_dir dir;
static struct test_certificate ours, theirs;
static struct test_redis *server;
static struct arena arena;
static char tls_port[8], url[64];

static void
prepare(void)
{
	test_dir_make(&dir);
	test_certificate_make(&dir, "ours", &ours);
	test_certificate_make(&dir, "theirs", &theirs);
	arena_init(&arena, 4096, 64u << 20);
	snprintf(tls_port, sizeof(tls_port), "%u", test_free_port());
	snprintf(url, sizeof(url), "rediss://localhost:%s", tls_port);
	server = test_redis_prepare(NULL);
}

static void
clean_up(void)
{
	test_redis_stop(server);
	arena_fini(&arena);
	test_dir_remove(&dir);
}

/* "yes": it takes nobody without a certificate of `ours`. */
static void
start_server(const char *asks)
{
	static const char *arguments[12];
	const char *const words[] = {"--tls-port",         tls_port, "--tls-cert-file",    ours.certificate,
	                             "--tls-key-file",     ours.key, "--tls-ca-cert-file", ours.certificate,
	                             "--tls-auth-clients", asks};

	memcpy(arguments, words, sizeof(words));
	server->extra = arguments;
	test_redis_restart(server);
}

static struct redis *
client(const struct redis_options *options)
{
	struct redis_options all = *options;
	struct redis *redis;

	all.connect_timeout_ms = all.command_timeout_ms = TIMEOUT_MS;
	struct status st = redis_new(&all, &redis);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	return redis;
}

static struct status
call(struct redis *redis, const struct redis_arg *args, size_t count, struct redis_reply *reply)
{
	struct redis_conn *conn;
	struct status st = redis_take(redis, 5000, &conn);

	if (!status_ok(&st))
		return st;
	st = redis_command(conn, args, count, &arena, reply);
	redis_put(redis, conn);
	return st;
}

static struct status
ping(struct redis *redis)
{
	struct redis_reply reply;

	return call(redis, &(struct redis_arg){"PING", 4}, 1, &reply);
}

static void
wait_until_answered(struct redis *redis)
{
	struct status st = ping(redis);

	for (uint64_t end = test_now_ms() + 30000; !status_ok(&st) && test_now_ms() < end; st = ping(redis))
		test_pause();
	ck_assert_msg(status_ok(&st), "%s", st.message);
}

/* Its first probe has ended, so the verdict is known. */
static void
expect_away(const struct redis_options *options)
{
	struct redis *redis = client(options);
	struct status st = ping(redis);

	ck_assert_int_eq(st.code, STATUS_UNAVAILABLE);
	redis_free(redis);
}

START_TEST(what_does_not_fit_one_record_goes_there_and_back)
{
	char *large = arena_alloc(&arena, LARGE);
	struct redis_reply reply;

	start_server("no");
	struct redis *redis = client(&(struct redis_options){.url = url, .tls_ca = ours.certificate});
	wait_until_answered(redis);
	for (size_t i = 0; i < LARGE; i++)
		large[i] = (char)(i * 31 >> 3);
	struct status st = call(redis, (struct redis_arg[]){{"ECHO", 4}, {large, LARGE}}, 2, &reply);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	ck_assert_uint_eq(reply.size, LARGE);
	ck_assert_mem_eq(reply.text, large, LARGE);
	redis_free(redis);
}
END_TEST

START_TEST(a_connection_is_used_again)
{
	start_server("no");
	struct redis *redis = client(&(struct redis_options){.url = url, .tls_ca = ours.certificate});
	wait_until_answered(redis);
	struct redis_reply before, after;
	const struct redis_arg id[] = {{"CLIENT", 6}, {"ID", 2}};
	struct status st = call(redis, id, 2, &before);
	for (int i = 0; status_ok(&st) && i < 20; i++)
		st = call(redis, id, 2, &after);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	ck_assert_int_eq(before.integer, after.integer);
	redis_free(redis);
}
END_TEST

START_TEST(a_server_that_cannot_show_who_it_is_is_not_spoken_to)
{
	char by_address[64], plain[64];

	snprintf(by_address, sizeof(by_address), "rediss://127.0.0.1:%s", tls_port);
	snprintf(plain, sizeof(plain), "rediss://localhost:%u", server->port);
	start_server("no");
	expect_away(&(struct redis_options){.url = url});
	expect_away(&(struct redis_options){.url = url, .tls_ca = theirs.certificate});
	expect_away(&(struct redis_options){.url = by_address, .tls_ca = ours.certificate});
	expect_away(&(struct redis_options){.url = plain, .tls_ca = ours.certificate});
	ck_assert_uint_eq(test_redis_calls(server, "set"), 0);
}
END_TEST

START_TEST(a_server_that_asks_is_shown_a_certificate)
{
	start_server("yes");
	expect_away(&(struct redis_options){.url = url, .tls_ca = ours.certificate});
	struct redis *redis = client(&(struct redis_options){
	    .url = url, .tls_ca = ours.certificate, .tls_cert = ours.certificate, .tls_key = ours.key});
	wait_until_answered(redis);
	redis_free(redis);
}
END_TEST

START_TEST(a_server_that_was_killed_or_stands_still_is_reached_again)
{
	start_server("no");
	struct redis *redis = client(&(struct redis_options){.url = url, .tls_ca = ours.certificate});
	wait_until_answered(redis);
	test_redis_kill(server);
	struct status st = ping(redis);
	ck_assert_int_eq(st.code, STATUS_UNAVAILABLE);
	start_server("no");
	wait_until_answered(redis);
	test_redis_freeze(server);
	st = ping(redis);
	ck_assert_int_eq(st.code, STATUS_UNAVAILABLE);
	test_redis_thaw(server);
	wait_until_answered(redis);
	redis_free(redis);
}
END_TEST

START_TEST(a_file_of_no_use_is_named)
{
	const struct redis_options bad[] = {
	    {.url = url, .tls_ca = "/nowhere/ca.pem"},
	    {.url = url, .tls_ca = ours.key},
	    {.url = url, .tls_ca = ours.certificate, .tls_cert = "/nowhere/c.pem", .tls_key = ours.key},
	    {.url = url, .tls_ca = ours.certificate, .tls_cert = ours.certificate, .tls_key = theirs.key},
	};
	const char *const names[] = {"redis.tls_ca: /nowhere/ca.pem", "redis.tls_ca",
	                             "redis.tls_cert: /nowhere/c.pem", "redis.tls_key"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct redis *redis;
		struct status st = redis_new(&bad[i], &redis);
		ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
		ck_assert_msg(strstr(st.message, names[i]) != NULL, "%s", st.message);
		ck_assert_ptr_null(redis);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("redis_tls");
	TCase *cases = tcase_create("redis_tls");
	SRunner *runner = srunner_create(suite);

	tcase_set_timeout(cases, 120);
	tcase_add_checked_fixture(cases, prepare, clean_up);
	tcase_add_test(cases, what_does_not_fit_one_record_goes_there_and_back);
	tcase_add_test(cases, a_connection_is_used_again);
	tcase_add_test(cases, a_server_that_cannot_show_who_it_is_is_not_spoken_to);
	tcase_add_test(cases, a_server_that_asks_is_shown_a_certificate);
	tcase_add_test(cases, a_server_that_was_killed_or_stands_still_is_reached_again);
	tcase_add_test(cases, a_file_of_no_use_is_named);
	suite_add_tcase(suite, cases);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
