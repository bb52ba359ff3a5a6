/*
 * The servers that tests start: they start, die and come back as the other tests rely on.
 */
#include <check.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/test_postgres.h"
#include "support/test_process.h"
#include "support/test_redis.h"

START_TEST(postgres_is_killed_and_comes_back_with_what_was_committed)
{
	struct test_postgres *pg = test_postgres_start();
	PGconn *conn = PQconnectdb(pg->url);
	PGresult *result = PQexec(conn, "CREATE TABLE t (a BIGINT); INSERT INTO t VALUES (7)");

	ck_assert_int_eq(PQresultStatus(result), PGRES_COMMAND_OK);
	PQclear(result);
	test_postgres_kill(pg);
	ck_assert_int_eq(PQping(pg->url), PQPING_NO_RESPONSE);
	test_postgres_restart(pg);
	PQreset(conn);
	result = PQexec(conn, "SELECT a FROM t");
	ck_assert_int_eq(PQntuples(result), 1);
	PQclear(result);
	PQfinish(conn);
	test_postgres_stop(pg);
}
END_TEST

START_TEST(a_server_does_not_outlive_a_test_that_is_killed)
{
	struct test_dir dir;
	int pipe_fds[2];
	pid_t server;

	test_dir_make(&dir);
	ck_assert_int_eq(pipe(pipe_fds), 0);
	pid_t tester = fork();
	if (tester == 0) {
		setenv("TMPDIR", dir.path, 1);
		struct test_redis *redis = test_redis_start(NULL);
		if (write(pipe_fds[1], &redis->pid, sizeof(redis->pid)) > 0)
			pause();
		_exit(1);
	}
	ck_assert_int_eq(read(pipe_fds[0], &server, sizeof(server)), (int)sizeof(server));
	kill(tester, SIGKILL);
	waitpid(tester, NULL, 0);
	uint64_t deadline = test_now_ms() + 5000;
	while (kill(server, 0) == 0 && test_now_ms() < deadline)
		test_pause();
	ck_assert_int_ne(kill(server, 0), 0);
	test_dir_remove(&dir);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("support");
	TCase *tests = tcase_create("servers");
	SRunner *runner = srunner_create(suite);

	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, postgres_is_killed_and_comes_back_with_what_was_committed);
	tcase_add_test(tests, a_server_does_not_outlive_a_test_that_is_killed);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
