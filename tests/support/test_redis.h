/*
 * test_redis: a private redis-server on a free port and a Unix socket, without persistence.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_REDIS_H
#define CORBEL_TESTS_SUPPORT_TEST_REDIS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "support/test_dir.h"

struct test_redis {
	struct test_dir dir;
	char url[64];     /* redis://127.0.0.1:port/0 */
	char socket[128]; /* path of the Unix socket */
	char log[128];
	const char *password;     /* NULL: none */
	const char *const *extra; /* arguments more, NULL at the end; borrowed; NULL: none */
	uint16_t port;
	pid_t pid; /* 0: not running */
};

/* Starts and waits until it answers. `password` may be NULL; it is borrowed. */
struct test_redis *test_redis_start(const char *password);
/* Chooses a port and a directory without starting, so that `extra` can be set; test_redis_restart() starts.
 */
struct test_redis *test_redis_prepare(const char *password);
/* Starts again on the same port, empty. */
void test_redis_restart(struct test_redis *redis);
/* The same; it takes so long for each key that was saved, and answers LOADING meanwhile. */
void test_redis_restart_slowly(struct test_redis *redis, const char *key_delay_us);
/* Says a command, its words with a space between them; aborts the test when the answer is an error. */
void test_redis_tell(const struct test_redis *redis, const char *command);
/* How often a command was called, "evalsha" for one. */
uint64_t test_redis_calls(const struct test_redis *redis, const char *command);
/* Whether it runs and still reads what was saved. */
bool test_redis_is_loading(const struct test_redis *redis);
void test_redis_kill(struct test_redis *redis);   /* kill -9 */
void test_redis_freeze(struct test_redis *redis); /* SIGSTOP: takes connections, answers nothing */
void test_redis_thaw(struct test_redis *redis);
/* Ends it and removes its directory. */
void test_redis_stop(struct test_redis *redis);

#endif
