/*
 * redis: one server's pool of connections, behind the breaker of redis_probe.c.
 *
 * Connections are made by the thread that needs one, kept while the server is up, and closed all
 * together when the breaker opens.
 */
#include "base/monotonic.h"
#include "redis/redis_internal.h"

#include <assert.h>
#include <openssl/ssl.h>
#include <string.h>
#include <time.h>

static uint32_t
or_default(uint32_t value, uint32_t def)
{
	return value ? value : def;
}

static void
make_metrics(struct redis *redis, struct metrics *metrics)
{
	static const struct metric_spec up = {.name = "corbel_redis_up", .help = "1 while Redis is reached."};
	static const struct metric_spec opened = {.name = "corbel_redis_breaker_opened",
	                                          .help = "Times that Redis was given up."};
	static const struct metric_spec duration = {.name = "corbel_redis_roundtrip_seconds",
	                                            .help = "Time of a round trip to Redis.",
	                                            .unit = "seconds"};

	if (!metrics)
		return;
	redis->up_gauge = metrics_gauge(metrics, &up, NULL);
	redis->opened = metrics_counter(metrics, &opened, NULL);
	redis->duration = metrics_histogram(metrics, &duration, NULL);
}

static void
destroy(struct redis *redis)
{
	pthread_cond_destroy(&redis->wake);
	pthread_cond_destroy(&redis->freed);
	pthread_mutex_destroy(&redis->lock);
	SSL_CTX_free(redis->tls);
	redis_url_fini(&redis->url);
	mem_free(redis);
}

struct status
redis_new(const struct redis_options *options, struct redis **out)
{
	struct redis *redis = mem_alloc(sizeof(*redis));

	*out = NULL;
	struct status st = redis_url_parse(options->url, &redis->url);
	redis->limit = or_default(options->connections, 4);
	redis->connect_timeout_ms = or_default(options->connect_timeout_ms, 250);
	redis->command_timeout_ms = or_default(options->command_timeout_ms, 100);
	redis->breaker_failures = or_default(options->breaker_failures, 1);
	redis->log = options->log;
	redis->clock = options->clock ? options->clock : clock_system();
	pthread_mutex_init(&redis->lock, NULL);
	monotonic_cond_init(&redis->freed);
	monotonic_cond_init(&redis->wake);
	make_metrics(redis, options->metrics);
	if (status_ok(&st) && redis->url.is_tls)
		st = redis_tls_new(options, &redis->tls);
	if (status_ok(&st))
		st = redis_probe_start(redis);
	if (status_ok(&st))
		*out = redis;
	else
		destroy(redis);
	return st;
}

void
redis_free(struct redis *redis)
{
	if (!redis)
		return;
	redis_probe_stop(redis);
	assert(redis->open == 0); /* all were put back */
	destroy(redis);
}

bool
redis_is_up(const struct redis *redis)
{
	return atomic_load_explicit(&redis->is_up, memory_order_acquire);
}

/* ---------------------------------------------------------------- the pool */

/* Under the lock: is there something to wait for? */
static bool
must_wait(const struct redis *redis)
{
	if (!redis->is_known)
		return true;
	return redis_is_up(redis) && !redis->idle && redis->open == redis->limit;
}

/* A connection, perhaps not connected yet, or NULL: the breaker is open (*is_up false) or the wait was
 * in vain. */
static struct redis_conn *
wait_for_one(struct redis *redis, uint32_t wait_ms, bool *is_up)
{
	struct timespec until = monotonic_in_ms(wait_ms);
	struct redis_conn *conn = NULL;

	pthread_mutex_lock(&redis->lock);
	bool had_its_turn = redis->waiting++ == 0; /* who comes later does not overtake those who wait */
	while (must_wait(redis) || (!had_its_turn && redis_is_up(redis))) {
		if (wait_ms == 0 || pthread_cond_timedwait(&redis->freed, &redis->lock, &until) != 0)
			break;
		had_its_turn = true;
	}
	redis->waiting--;
	*is_up = redis_is_up(redis);
	if (*is_up && redis->idle) {
		conn = redis->idle;
		redis->idle = conn->next_idle;
	} else if (*is_up && redis->open < redis->limit) {
		conn = mem_alloc(sizeof(*conn));
		*conn = (struct redis_conn){.redis = redis, .fd = -1};
		strbuf_init(&conn->out, NULL);
		redis->open++;
	}
	if (redis->waiting > 0 && !must_wait(redis))
		pthread_cond_signal(&redis->freed);
	pthread_mutex_unlock(&redis->lock);
	return conn;
}

static struct status
take(struct redis *redis, uint32_t wait_ms, uint32_t patience_ms, struct redis_conn **out)
{
	bool is_up;
	struct redis_conn *conn = wait_for_one(redis, wait_ms, &is_up);
	struct status st = status_ok_value();

	*out = NULL;
	if (!conn && !is_up)
		return status_make(STATUS_UNAVAILABLE, "redis is away");
	if (!conn)
		return status_make(STATUS_RESOURCE_EXHAUSTED, "redis: all %u connections were in use for %u ms",
		                   redis->limit, wait_ms);
	conn->patience_ms = patience_ms;
	if (conn->fd >= 0 && !redis_conn_is_alive(conn))
		redis_conn_close(conn);
	if (conn->fd < 0) {
		st = redis_conn_open(conn);
		if (!status_ok(&st))
			redis_note_failure(conn, &st);
	}
	if (status_ok(&st))
		*out = conn;
	else
		redis_put(redis, conn);
	return st;
}

struct status
redis_take(struct redis *redis, uint32_t wait_ms, struct redis_conn **out)
{
	return take(redis, wait_ms, 0, out);
}

struct status
redis_take_hurried(struct redis *redis, uint32_t patience_ms, struct redis_conn **out)
{
	return take(redis, 0, patience_ms, out);
}

void
redis_put(struct redis *redis, struct redis_conn *conn)
{
	assert(conn->redis == redis);
	pthread_mutex_lock(&redis->lock);
	bool is_kept = conn->fd >= 0 && !conn->is_broken && conn->generation == redis->generation;
	if (is_kept) {
		conn->next_idle = redis->idle;
		redis->idle = conn;
	} else {
		redis->open--;
	}
	pthread_cond_signal(&redis->freed);
	pthread_mutex_unlock(&redis->lock);
	if (!is_kept) {
		redis_conn_close(conn);
		mem_free(conn);
	}
}

/* ---------------------------------------------------------------- commands */

static struct status
verdict_of_all(struct redis_conn *conn, const struct redis_reply *replies, size_t count)
{
	struct status st = status_ok_value();

	for (size_t i = 0; status_ok(&st) && i < count; i++)
		st = redis_reply_verdict(&replies[i]);
	if (!status_ok(&st))
		conn->is_broken = true; /* a failover may have given the name another address */
	return st;
}

struct status
redis_pipeline(struct redis_conn *conn, const struct redis_pipeline_item *items, size_t count,
               struct arena *arena, struct redis_reply *out)
{
	struct redis *redis = conn->redis;
	uint64_t start_ns = clock_mono_ns(redis->clock);

	if (conn->is_broken)
		return status_make(STATUS_UNAVAILABLE, "redis: the connection was lost");
	conn->deadline_ms = start_ns / 1000000u + or_default(conn->patience_ms, redis->command_timeout_ms);
	struct status st = redis_exchange(conn, items, count, arena, out);
	histogram_observe(redis->duration, (double)(clock_mono_ns(redis->clock) - start_ns) / 1e9);
	if (status_ok(&st))
		st = verdict_of_all(conn, out, count);
	if (status_ok(&st))
		redis_note_success(redis);
	else if (st.code == STATUS_UNAVAILABLE)
		redis_note_failure(conn, &st);
	return st;
}

struct status
redis_command(struct redis_conn *conn, const struct redis_arg *args, size_t count, struct arena *arena,
              struct redis_reply *out)
{
	struct redis_pipeline_item item = {.args = args, .count = count};

	return redis_pipeline(conn, &item, 1, arena, out);
}
