/*
 * redis_probe: the breaker, and the thread that closes it again.
 *
 *   up ── failures in a row ──▶ down          every call fails at once
 *    ▲                            │
 *    └──── a probe succeeds ◀─────┘ 100, 200, 400, then 800 ms, less a quarter of jitter
 *
 * The probe writes a key that expires: a server that answers PING but loads its data, is a replica or
 * has no memory left is not up. While the server is up it is asked once a second, so that a server
 * that freezes while nobody calls is noticed before the next call.
 */
#include <string.h>
#include <time.h>

#include "base/monotonic.h"
#include "base/random.h"
#include "redis/redis_internal.h"

#define PROBE_MIN_MS 100u
#define PROBE_MAX_MS 800u
#define WATCH_MS     1000u
#define PATIENCE_MS  100u /* a probe while it is up is more patient than calls may be */

/* ---------------------------------------------------------------- the breaker */

static void
close_idle(struct redis *redis)
{
	while (redis->idle) {
		struct redis_conn *conn = redis->idle;
		redis->idle = conn->next_idle;
		redis->open--;
		redis_conn_close(conn);
		mem_free(conn);
	}
}

/* Under the lock. */
static void
go_down(struct redis *redis)
{
	atomic_store_explicit(&redis->is_up, false, memory_order_release);
	redis->generation++;
	close_idle(redis);
	pthread_cond_broadcast(&redis->freed);
	pthread_cond_signal(&redis->wake);
	gauge_set(redis->up_gauge, 0);
	counter_add(redis->opened, 1);
}

/* A connection from before the breaker opened has nothing new to tell. */
void
redis_note_failure(struct redis_conn *conn, const struct status *st)
{
	struct redis *redis = conn->redis;
	bool is_opening = false;

	pthread_mutex_lock(&redis->lock);
	if (conn->generation == redis->generation && atomic_load_explicit(&redis->is_up, memory_order_relaxed)) {
		is_opening = ++redis->failures >= redis->breaker_failures;
		if (is_opening)
			go_down(redis);
	}
	pthread_mutex_unlock(&redis->lock);
	if (is_opening)
		log_warn(redis->log, "redis is away", LOG_STATUS(st));
}

void
redis_note_success(struct redis *redis)
{
	if (redis->breaker_failures == 1)
		return; /* the first failure counts, so there is nothing to forget */
	pthread_mutex_lock(&redis->lock);
	redis->failures = 0;
	pthread_mutex_unlock(&redis->lock);
}

/* ---------------------------------------------------------------- the thread */

static struct status
write_key(struct redis_conn *conn)
{
	static const char *const words[] = {"SET", "corbel:probe", "1", "PX", "1000"};
	struct redis_arg args[5];
	struct redis_pipeline_item item = {.args = args, .count = 5};
	struct redis_reply reply;
	struct arena arena;
	uint32_t timeout_ms = conn->redis->command_timeout_ms;

	for (size_t i = 0; i < 5; i++)
		args[i] = (struct redis_arg){.data = words[i], .size = strlen(words[i])};
	arena_init(&arena, 1024, 65536);
	conn->deadline_ms =
	    clock_mono_ms(conn->redis->clock) + (timeout_ms > PATIENCE_MS ? timeout_ms : PATIENCE_MS);
	struct status st = redis_exchange(conn, &item, 1, &arena, &reply);
	if (status_ok(&st))
		st = redis_reply_verdict(&reply);
	arena_fini(&arena);
	return st;
}

static struct status
try_once(struct redis *redis, struct redis_conn *conn)
{
	struct status st = status_ok_value();

	if (conn->fd < 0 || conn->is_broken || !redis_conn_is_alive(conn)) {
		redis_conn_close(conn);
		st = redis_resolve(redis);
		if (status_ok(&st))
			st = redis_conn_open(conn);
	}
	if (status_ok(&st))
		st = write_key(conn);
	if (!status_ok(&st))
		redis_conn_close(conn);
	return st;
}

/* Under the lock; true when the state has changed. */
static bool
conclude(struct redis *redis, const struct status *st)
{
	bool was_up = atomic_load_explicit(&redis->is_up, memory_order_relaxed);
	bool is_changed = !redis->is_known || was_up != status_ok(st);

	redis->is_known = true;
	pthread_cond_broadcast(&redis->freed);
	if (!status_ok(st) && was_up) {
		go_down(redis);
	} else if (status_ok(st) && !was_up) {
		redis->failures = 0;
		gauge_set(redis->up_gauge, 1);
		atomic_store_explicit(&redis->is_up, true, memory_order_release);
	}
	return is_changed;
}

static void
tell(const struct redis *redis, const struct status *st)
{
	if (status_ok(st))
		log_info(redis->log, "redis is there");
	else
		log_warn(redis->log, "redis is away", LOG_STATUS(st));
}

static uint32_t
pause_ms(uint32_t tries)
{
	uint32_t full = tries < 3 ? PROBE_MIN_MS << tries : PROBE_MAX_MS;
	return full - (uint32_t)(random_fast_u64() % (full / 4));
}

/* Under the lock: until the next try, or until the breaker opens. */
static void
rest(struct redis *redis, uint32_t tries)
{
	bool was_up = atomic_load_explicit(&redis->is_up, memory_order_relaxed);
	struct timespec until = monotonic_in_ms(was_up ? WATCH_MS : pause_ms(tries));

	while (!redis->is_stopping && was_up == atomic_load_explicit(&redis->is_up, memory_order_relaxed)) {
		if (pthread_cond_timedwait(&redis->wake, &redis->lock, &until) != 0)
			return;
	}
}

static void *
probe(void *arg)
{
	struct redis *redis = arg;
	struct redis_conn conn = {.redis = redis, .fd = -1};
	uint32_t tries = 0;

	strbuf_init(&conn.out, NULL);
	pthread_mutex_lock(&redis->lock);
	while (!redis->is_stopping) {
		bool was_up = atomic_load_explicit(&redis->is_up, memory_order_relaxed);
		pthread_mutex_unlock(&redis->lock);
		struct status st = try_once(redis, &conn);
		pthread_mutex_lock(&redis->lock);
		bool is_changed = conclude(redis, &st);
		pthread_mutex_unlock(&redis->lock);
		if (is_changed)
			tell(redis, &st);
		pthread_mutex_lock(&redis->lock);
		tries = status_ok(&st) || was_up ? 0 : tries + 1;
		rest(redis, tries);
	}
	pthread_mutex_unlock(&redis->lock);
	redis_conn_close(&conn);
	strbuf_fini(&conn.out);
	return NULL;
}

struct status
redis_probe_start(struct redis *redis)
{
	int rc = pthread_create(&redis->probe, NULL, probe, redis);
	return rc == 0 ? status_ok_value() : status_make(STATUS_RESOURCE_EXHAUSTED, "redis: %s", strerror(rc));
}

void
redis_probe_stop(struct redis *redis)
{
	pthread_mutex_lock(&redis->lock);
	redis->is_stopping = true;
	pthread_cond_signal(&redis->wake);
	pthread_mutex_unlock(&redis->lock);
	pthread_join(redis->probe, NULL);
	pthread_mutex_lock(&redis->lock);
	close_idle(redis);
	pthread_mutex_unlock(&redis->lock);
}
