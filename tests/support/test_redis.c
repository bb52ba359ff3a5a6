/*
 * test_redis: a private redis-server.
 */
#include "support/test_redis.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "support/test_process.h"

#define START_MS      10000u
#define ARGUMENTS_MAX 48

/* NOAUTH is an answer, too. */
static bool
answers(const struct test_redis *redis)
{
	struct timeval patience = {.tv_usec = 200000};
	redisContext *context = redisConnectWithTimeout("127.0.0.1", redis->port, patience);
	bool is_there = false;

	if (context && !context->err && redisSetTimeout(context, patience) == REDIS_OK) {
		redisReply *reply = redisCommand(context, "PING");
		is_there = reply != NULL;
		if (reply)
			freeReplyObject(reply);
	}
	if (context)
		redisFree(context);
	return is_there;
}

struct test_redis *
test_redis_prepare(const char *password)
{
	struct test_redis *redis = mem_alloc(sizeof(*redis));

	test_dir_make(&redis->dir);
	redis->password = password;
	redis->port = test_free_port();
	snprintf(redis->url, sizeof(redis->url), "redis://127.0.0.1:%u/0", redis->port);
	snprintf(redis->socket, sizeof(redis->socket), "%s/redis.sock", redis->dir.path);
	snprintf(redis->log, sizeof(redis->log), "%s/log", redis->dir.path);
	return redis;
}

static void
run(struct test_redis *redis, const char *key_delay_us)
{
	char port[8];
	const char *program =
	    access("/usr/bin/redis-server", X_OK) == 0 ? "/usr/bin/redis-server" : "/usr/local/bin/redis-server";
	const char *argv[ARGUMENTS_MAX] = {program,
	                                   "--port",
	                                   port,
	                                   "--bind",
	                                   "127.0.0.1",
	                                   "--dir",
	                                   redis->dir.path,
	                                   "--unixsocket",
	                                   redis->socket,
	                                   "--save",
	                                   "",
	                                   "--appendonly",
	                                   "no",
	                                   "--key-load-delay",
	                                   key_delay_us,
	                                   "--loading-process-events-interval-bytes",
	                                   "1024",
	                                   "--rdbcompression",
	                                   "no",
	                                   redis->password ? "--requirepass" : NULL,
	                                   redis->password,
	                                   NULL};

	size_t count = 0;

	while (argv[count])
		count++;
	for (const char *const *extra = redis->extra; extra && *extra && count + 1 < ARGUMENTS_MAX; extra++)
		argv[count++] = *extra;
	snprintf(port, sizeof(port), "%u", redis->port);
	redis->pid = test_process_start(
	    &(struct test_process_options){.argv = argv, .log_path = redis->log, .death_signal = SIGKILL});
	for (uint64_t deadline = test_now_ms() + START_MS; !answers(redis); test_pause()) {
		if (test_now_ms() > deadline || !test_process_is_alive(redis->pid)) {
			test_process_print_log(redis->log);
			abort();
		}
	}
}

void
test_redis_restart(struct test_redis *redis)
{
	run(redis, "0");
}

void
test_redis_restart_slowly(struct test_redis *redis, const char *key_delay_us)
{
	run(redis, key_delay_us);
}

struct test_redis *
test_redis_start(const char *password)
{
	struct test_redis *redis = test_redis_prepare(password);

	test_redis_restart(redis);
	return redis;
}

void
test_redis_tell(const struct test_redis *redis, const char *command)
{
	redisContext *context = redisConnect("127.0.0.1", redis->port);
	const char *words[8];
	char *copy = mem_strdup(command), *rest = copy, *word;
	int count = 0;

	while (count < 8 && (word = strsep(&rest, " ")) != NULL)
		words[count++] = word;
	redisReply *reply = context && !context->err ? redisCommandArgv(context, count, words, NULL) : NULL;
	if (!reply || reply->type == REDIS_REPLY_ERROR) {
		fprintf(stderr, "%s: %s\n", command, reply ? reply->str : "no answer");
		abort();
	}
	freeReplyObject(reply);
	redisFree(context);
	mem_free(copy);
}

/* The number behind `name` in a section of INFO; 0 when it is not there. */
static uint64_t
info(const struct test_redis *redis, const char *section, const char *name)
{
	redisContext *context = redisConnect("127.0.0.1", redis->port);
	redisReply *reply = context && !context->err ? redisCommand(context, "INFO %s", section) : NULL;
	const char *found = reply && reply->str ? strstr(reply->str, name) : NULL;
	uint64_t value = found ? strtoull(found + strlen(name), NULL, 10) : 0;

	if (reply)
		freeReplyObject(reply);
	if (context)
		redisFree(context);
	return value;
}

uint64_t
test_redis_calls(const struct test_redis *redis, const char *command)
{
	char name[64];

	snprintf(name, sizeof(name), "cmdstat_%s:calls=", command);
	return info(redis, "commandstats", name);
}

bool
test_redis_is_loading(const struct test_redis *redis)
{
	return info(redis, "persistence", "\nloading:") == 1;
}

void
test_redis_kill(struct test_redis *redis)
{
	if (redis->pid)
		test_process_end(redis->pid, SIGKILL);
	redis->pid = 0;
}

void
test_redis_freeze(struct test_redis *redis)
{
	test_process_freeze(redis->pid);
}

void
test_redis_thaw(struct test_redis *redis)
{
	kill(redis->pid, SIGCONT);
}

void
test_redis_stop(struct test_redis *redis)
{
	test_redis_kill(redis);
	test_dir_remove(&redis->dir);
	mem_free(redis);
}
