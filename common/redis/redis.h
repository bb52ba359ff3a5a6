/*
 * redis: hiredis with a pool, pipelines, scripts and a circuit breaker.
 *
 * A `redis` is one server's pool. Calls block the calling thread, for at most the time-out; threads
 * that must not block do not call it. When the server is away the breaker opens: the first failures
 * take at most the time-out each, later calls fail at once with UNAVAILABLE until a probe in the
 * background (every 100 to 1000 ms, with jitter) succeeds.
 */
#ifndef CORBEL_REDIS_REDIS_H
#define CORBEL_REDIS_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/status.h"
#include "telemetry/log.h"
#include "telemetry/metric.h"

struct redis;
struct redis_conn;

struct redis_options {
	/* redis://[[user]:password@]host[:port][/db], the same with rediss:// for TLS, or
	 * unix://[[user]:password@]/path[?db=n]; user and password may be percent-encoded. */
	const char *url;
	/* Files in PEM, for rediss:// only, read once: the authorities that the server's certificate is checked
	 * by (NULL: the system's), and the certificate and its key that it is shown (both or NULL). */
	const char *tls_ca, *tls_cert, *tls_key;
	uint32_t connections;        /* bound; 0: 4 */
	uint32_t connect_timeout_ms; /* 0: 250 */
	uint32_t command_timeout_ms; /* 0: 100 */
	uint32_t breaker_failures;   /* consecutive; 0: 1 */
	struct log *log;
	struct metrics *metrics;
	const struct clock *clock;
};

/* Starts the probe; does not wait for the server. INVALID_ARGUMENT for a bad URL, or
 * a file of TLS that is of no use. */
struct status redis_new(const struct redis_options *options, struct redis **out);
void redis_free(struct redis *redis);
bool redis_is_up(const struct redis *redis); /* false while the breaker is open */

/* A connection for one thread. UNAVAILABLE at once while the breaker is open (until the first probe has
 * ended, after `wait_ms`); RESOURCE_EXHAUSTED when all are taken for longer than `wait_ms`. */
struct status redis_take(struct redis *redis, uint32_t wait_ms, struct redis_conn **out);
/* The same for a thread in a hurry: waits for nobody, and until it is put back, connecting and each round
 * trip take at most `patience_ms`. What was sent by then may still be done by the server. */
struct status redis_take_hurried(struct redis *redis, uint32_t patience_ms, struct redis_conn **out);
/* A connection that failed is closed and counted. */
void redis_put(struct redis *redis, struct redis_conn *conn);

struct redis_arg {
	const void *data;
	size_t size;
};

/* A reply copied into the arena: plain data. */
struct redis_reply {
	enum { REDIS_NIL, REDIS_INTEGER, REDIS_TEXT, REDIS_STATUS, REDIS_ERROR, REDIS_ARRAY } type;
	int64_t integer;
	const char *text; /* NUL-terminated */
	size_t size;
	const struct redis_reply *elements;
	size_t count;
};

/* One command and its reply, which takes at most the command time-out. An error reply of the server is the
 * call's success with type REDIS_ERROR, except LOADING, READONLY, MASTERDOWN and the like, which are
 * UNAVAILABLE. */
struct status redis_command(struct redis_conn *conn, const struct redis_arg *args, size_t count,
                            struct arena *arena, struct redis_reply *out);
/* Many commands in one round trip; replies in order. */
struct redis_pipeline_item {
	const struct redis_arg *args;
	size_t count;
};
struct status redis_pipeline(struct redis_conn *conn, const struct redis_pipeline_item *items, size_t count,
                             struct arena *arena, struct redis_reply *out);

/* A Lua script: sent once by SCRIPT LOAD, then by EVALSHA; NOSCRIPT loads it again. Keep as a static. */
struct redis_script {
	const char *name;
	const char *source;
};
struct status redis_eval(struct redis_conn *conn, const struct redis_script *script,
                         const struct redis_arg *keys, size_t key_count, const struct redis_arg *args,
                         size_t arg_count, struct arena *arena, struct redis_reply *out);
/* Many runs of scripts in one round trip (two when a script has to be loaded); replies in order. */
struct redis_eval_item {
	const struct redis_script *script; /* NULL: `args` is a command, and there are no keys */
	const struct redis_arg *keys;
	size_t key_count;
	const struct redis_arg *args;
	size_t arg_count;
};
struct status redis_eval_pipeline(struct redis_conn *conn, const struct redis_eval_item *items, size_t count,
                                  struct arena *arena, struct redis_reply *out);

#endif
