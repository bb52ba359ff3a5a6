/*
 * pool: the connections of one store.
 *
 * Connections are made when they are first needed and kept. One that was lost is closed when it comes
 * back and made anew when it is next taken. While connecting fails, one thread tries at a time, with
 * back-off and jitter, and the others fail at once with the last reason.
 */
#include <assert.h>
#include <string.h>
#include <time.h>

#include "base/monotonic.h"
#include "base/random.h"
#include "store/store_internal.h"

#define BACKOFF_MIN_MS 50u
#define BACKOFF_MAX_MS 1000u

uint64_t
store_now_ms(const struct store *store)
{
	return clock_mono_ms(store->clock);
}

void
conn_start_timer(struct store_conn *conn)
{
	conn->deadline_ms = store_now_ms(conn->store) + conn->timeout_ms;
}

/* ---------------------------------------------------------------- connecting */

static uint64_t
backoff_ms(uint32_t failures)
{
	uint32_t shift = failures < 6 ? failures : 6;
	uint64_t full = (uint64_t)BACKOFF_MIN_MS << shift;

	if (full > BACKOFF_MAX_MS)
		full = BACKOFF_MAX_MS;
	return full / 2 + random_fast_u64() % (full / 2);
}

/* May this thread try? While connecting fails, the one that may also takes the turn from the others. */
static struct status
may_connect(struct store *store)
{
	struct status st = status_ok_value();

	pthread_mutex_lock(&store->lock);
	if (store->failures > 0) {
		if (store_now_ms(store) < store->retry_at_ms)
			st = store->last_failure;
		else
			store->retry_at_ms = store_now_ms(store) + backoff_ms(store->failures);
	}
	pthread_mutex_unlock(&store->lock);
	return st;
}

static void
note_connect(struct store *store, const struct status *st)
{
	bool is_first_failure = false, is_back = false;

	pthread_mutex_lock(&store->lock);
	if (status_ok(st)) {
		is_back = store->failures > 0;
		store->failures = 0;
	} else {
		is_first_failure = store->failures++ == 0;
		store->last_failure = *st;
		store->retry_at_ms = store_now_ms(store) + backoff_ms(store->failures);
	}
	pthread_mutex_unlock(&store->lock);
	counter_add(status_ok(st) ? store->connects : store->connect_failures, 1);
	if (is_first_failure)
		log_warn(store->log, "store cannot be reached", LOG_STATUS(st));
	if (is_back)
		log_info(store->log, "store is reached again");
}

void
conn_close(struct store_conn *conn)
{
	statements_forget(conn);
	if (conn->handle)
		conn->store->driver->close(conn);
	conn->handle = NULL;
	conn->is_lost = false;
}

struct status
conn_ensure(struct store_conn *conn)
{
	if (conn->handle && !conn->is_lost)
		return status_ok_value();
	conn_close(conn);
	struct status st = may_connect(conn->store);
	if (!status_ok(&st))
		return st;
	st = conn->store->driver->open(conn);
	note_connect(conn->store, &st);
	if (!status_ok(&st))
		conn_close(conn);
	return st;
}

/* ---------------------------------------------------------------- taking and giving back */

static struct store_conn *
conn_new(struct store *store)
{
	struct store_conn *conn = mem_alloc(sizeof(*conn));

	conn->store = store;
	conn->timeout_ms = store->timeout_ms;
	store->open++;
	return conn;
}

/* Under the lock. */
static bool
is_free(const struct store *store)
{
	return store->idle || store->open < store->limit;
}

/* A free connection, or NULL when none came back in time. */
static struct store_conn *
wait_for_one(struct store *store, uint32_t wait_ms)
{
	struct timespec until = monotonic_in_ms(wait_ms);
	struct store_conn *conn = NULL;

	pthread_mutex_lock(&store->lock);
	bool had_its_turn = store->waiting++ == 0; /* who comes later does not overtake those who wait */
	while (!is_free(store) || !had_its_turn) {
		if (wait_ms == 0 || pthread_cond_timedwait(&store->freed, &store->lock, &until) != 0)
			break;
		had_its_turn = true;
	}
	store->waiting--;
	if (store->idle) {
		conn = store->idle;
		store->idle = conn->next_idle;
	} else if (store->open < store->limit) {
		conn = conn_new(store);
	}
	if (conn)
		store->taken++;
	if (store->waiting > 0 && is_free(store))
		pthread_cond_signal(&store->freed);
	pthread_mutex_unlock(&store->lock);
	return conn;
}

struct status
store_take(struct store *store, uint32_t wait_ms, struct store_conn **out)
{
	struct store_conn *conn = wait_for_one(store, wait_ms);

	*out = NULL;
	if (!conn)
		return status_make(STATUS_RESOURCE_EXHAUSTED, "store: all %u connections were in use for %u ms",
		                   store->limit, wait_ms);
	gauge_add(store->taken_gauge, 1);
	if (conn->handle && !conn->is_lost && !store->driver->is_alive(conn))
		conn->is_lost = true;
	struct status st = conn_ensure(conn);
	if (status_ok(&st))
		*out = conn;
	else
		store_put(store, conn);
	return st;
}

void
store_put(struct store *store, struct store_conn *conn)
{
	assert(!conn->tx && conn->store == store);
	store_on_commit(conn, NULL, NULL);
	conn->timeout_ms = store->timeout_ms;
	if (conn->is_lost)
		conn_close(conn);
	pthread_mutex_lock(&store->lock);
	conn->next_idle = store->idle;
	store->idle = conn;
	store->taken--;
	pthread_cond_signal(&store->freed);
	pthread_mutex_unlock(&store->lock);
	gauge_add(store->taken_gauge, -1);
}
