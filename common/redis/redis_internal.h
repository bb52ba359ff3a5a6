/*
 * redis_internal: what the parts of the Redis client share.
 */
#ifndef CORBEL_REDIS_REDIS_INTERNAL_H
#define CORBEL_REDIS_REDIS_INTERNAL_H

#include <hiredis/read.h>
#include <openssl/types.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "base/text.h"
#include "redis/redis.h"

#define REDIS_ADDRESSES_MAX 8u
#define REDIS_SCRIPTS_MAX   32u
#define REDIS_SHA_MAX       41 /* SHA-1 in hexadecimal, with the NUL */

struct redis_url {
	char *host; /* NULL: `path` of a Unix socket */
	char *path;
	char *user;     /* NULL: none */
	char *password; /* NULL: none */
	uint16_t port;
	uint32_t database;
	bool is_tls; /* rediss:// */
};
struct status redis_url_parse(const char *text, struct redis_url *out);
void redis_url_fini(struct redis_url *url);

struct redis_address {
	struct sockaddr_storage socket;
	socklen_t size;
};

struct redis_conn {
	struct redis *redis;
	struct redis_conn *next_idle; /* under the pool's lock */
	int fd;                       /* -1: not connected */
	SSL *tls;                     /* NULL: none */
	redisReader *reader;
	struct strbuf out;    /* commands that are being sent */
	bool is_broken;       /* of no use any more */
	uint64_t generation;  /* of the pool when it was connected */
	uint64_t deadline_ms; /* of the round trip that runs */
	uint32_t patience_ms; /* of whoever took it; 0: the pool's time-outs */
};

struct redis_sha {
	const struct redis_script *script;
	char text[REDIS_SHA_MAX];
};

struct redis {
	struct redis_url url;
	uint32_t limit;
	uint32_t connect_timeout_ms;
	uint32_t command_timeout_ms;
	uint32_t breaker_failures;
	struct log *log;
	const struct clock *clock;
	struct metric_gauge *up_gauge;
	struct metric_counter *opened;
	struct metric_histogram *duration;
	SSL_CTX *tls; /* NULL: none */

	pthread_t probe;
	atomic_bool is_up; /* written under the lock */

	pthread_mutex_t lock; /* guards the rest; a leaf */
	pthread_cond_t freed; /* a connection came back, or the first probe ended */
	pthread_cond_t wake;  /* the probe has something to do */
	bool is_stopping;
	bool is_known;       /* the first probe has ended */
	uint32_t failures;   /* in a row */
	uint64_t generation; /* grows when the breaker opens: older connections are closed */
	struct redis_conn *idle;
	uint32_t open;
	uint32_t waiting;                                    /* threads in redis_take() that wait */
	struct redis_address addresses[REDIS_ADDRESSES_MAX]; /* by the probe, the last that resolved */
	size_t address_count;
	struct redis_sha shas[REDIS_SCRIPTS_MAX];
	size_t sha_count;
};

/* Resolves the name; blocks as long as the resolver does. The probe's thread only. */
struct status redis_resolve(struct redis *redis);
/* Connects and says AUTH and SELECT, all within the connect time-out. */
struct status redis_conn_open(struct redis_conn *conn);
void redis_conn_close(struct redis_conn *conn);
/* Looks without waiting whether an idle connection was closed meanwhile. */
bool redis_conn_is_alive(const struct redis_conn *conn);
/* A round trip until conn->deadline_ms; does not touch the breaker. */
struct status redis_exchange(struct redis_conn *conn, const struct redis_pipeline_item *items, size_t count,
                             struct arena *arena, struct redis_reply *out);
/* UNAVAILABLE when the reply says that the server cannot serve now: LOADING, READONLY … */
struct status redis_reply_verdict(const struct redis_reply *reply);

/* Why the server is not reached: UNAVAILABLE, with its address. */
struct status redis_away(const struct redis_conn *conn, const char *what, const char *why);
/* Waits for what poll(2) calls `events`. False when the deadline has passed and there is nothing: a thread
 * that slept too long takes what has arrived meanwhile. */
bool redis_wait(const struct redis_conn *conn, short events);

/* redis_tls. INVALID_ARGUMENT names the option whose file is of no use. SSL_CTX_free() by the caller. */
struct status redis_tls_new(const struct redis_options *options, SSL_CTX **out);
/* Shakes hands until the deadline; redis_tls_close() in any case. */
struct status redis_tls_open(struct redis_conn *conn);
void redis_tls_close(struct redis_conn *conn);
/* Like send() and recv(), but 0 says to wait for `*wanted` and call again, and -1 that the connection is
 * lost. */
ssize_t redis_tls_send(struct redis_conn *conn, const void *data, size_t size, short *wanted);
ssize_t redis_tls_receive(struct redis_conn *conn, void *buffer, size_t size, short *wanted);
/* Whether there is something to receive that the socket does not show any more. */
bool redis_tls_has_received(const struct redis_conn *conn);
/* Whether what can be read is TLS's own (a session's ticket), and neither an answer nor the end. */
bool redis_tls_is_quiet(const struct redis_conn *conn);

/* Counts towards the breaker. */
void redis_note_failure(struct redis_conn *conn, const struct status *st);
void redis_note_success(struct redis *redis);
struct status redis_probe_start(struct redis *redis);
void redis_probe_stop(struct redis *redis);

#endif
