/*
 * test_postgres: a private PostgreSQL on a free port of 127.0.0.1 and a Unix socket.
 *
 * The first start makes a template of a data directory beside the build's programs; later starts copy
 * it, which takes about half a second. fsync is off: the tests kill processes, not the machine.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_POSTGRES_H
#define CORBEL_TESTS_SUPPORT_TEST_POSTGRES_H

#include <stdint.h>
#include <sys/types.h>

#include "support/test_dir.h"

struct test_postgres {
	struct test_dir dir;
	char url[96]; /* postgresql://corbel@127.0.0.1:port/postgres */
	char data[128];
	char log[128];
	char program[192]; /* path of postgres */
	uint16_t port;
	pid_t pid; /* 0: not running */
};

/* Starts and waits until it answers. */
struct test_postgres *test_postgres_start(void);
/* Starts again on the same port and data. */
void test_postgres_restart(struct test_postgres *pg);
/* kill -9 of the server and of each of its processes. */
void test_postgres_kill(struct test_postgres *pg);
/* An orderly end at once: connections are closed. */
void test_postgres_shut_down(struct test_postgres *pg);
/* SIGSTOP and SIGCONT, of the server and of each of its processes. */
void test_postgres_freeze(struct test_postgres *pg);
void test_postgres_thaw(struct test_postgres *pg);
/* Ends it and removes its directory. */
void test_postgres_stop(struct test_postgres *pg);

#endif
