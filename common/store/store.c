/*
 * store: one service's database: options, transactions, statements.
 *
 * After a statement of a transaction has failed, the transaction can only be rolled back: PostgreSQL
 * demands it, and SQLite is held to the same here, so that code behaves alike on both.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/monotonic.h"
#include "store/store_internal.h"

#define DEFAULT_CONNECTIONS 4u
#define DEFAULT_TIMEOUT_MS  10000u
#define PING_WAIT_MS        1000u

/* ---------------------------------------------------------------- life */

static bool
begins_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static struct status
choose_driver(struct store *store, const char *url)
{
	if (begins_with(url, "sqlite:") && url[strlen("sqlite:")]) {
		store->driver = &sqlite_driver;
		store->url = mem_strdup(url + strlen("sqlite:"));
	} else if (begins_with(url, "postgresql://") || begins_with(url, "postgres://")) {
		store->driver = &postgres_driver;
		store->url = mem_strdup(url);
	} else {
		return status_make(STATUS_INVALID_ARGUMENT,
		                   "store.url: expected sqlite:/directory or postgresql://…");
	}
	return status_ok_value();
}

static void
make_metrics(struct store *store)
{
	static const char *const labels[] = {"service", NULL};
	static const struct metric_spec taken = {
	    .name = "corbel_store_connections_taken", .help = "Store connections in use.", .labels = labels};
	static const struct metric_spec connects = {
	    .name = "corbel_store_connects", .help = "Connections made to the store.", .labels = labels};
	static const struct metric_spec failures = {.name = "corbel_store_connect_failures",
	                                            .help = "Connections to the store that failed.",
	                                            .labels = labels};
	const char *const values[] = {store->service};

	if (!store->metrics)
		return;
	store->taken_gauge = metrics_gauge(store->metrics, &taken, values);
	store->connects = metrics_counter(store->metrics, &connects, values);
	store->connect_failures = metrics_counter(store->metrics, &failures, values);
}

struct status
store_new(const struct store_options *options, struct store **out)
{
	struct store *store = mem_alloc(sizeof(*store));

	*out = NULL;
	struct status st = choose_driver(store, options->url);
	if (!status_ok(&st)) {
		mem_free(store);
		return st;
	}
	assert(text_is_name(options->service, strlen(options->service)));
	store->service = mem_strdup(options->service);
	store->limit = options->connections ? options->connections : DEFAULT_CONNECTIONS;
	store->timeout_ms = options->statement_timeout_ms ? options->statement_timeout_ms : DEFAULT_TIMEOUT_MS;
	store->migrations = options->migrations;
	store->log = options->log;
	store->metrics = options->metrics;
	store->clock = options->clock ? options->clock : clock_system();
	pthread_mutex_init(&store->lock, NULL);
	monotonic_cond_init(&store->freed);
	monotonic_cond_init(&store->write_done);
	make_metrics(store);
	*out = store;
	return status_ok_value();
}

void
store_free(struct store *store)
{
	if (!store)
		return;
	assert(store->taken == 0);
	while (store->idle) {
		struct store_conn *conn = store->idle;
		store->idle = conn->next_idle;
		conn_close(conn);
		mem_free(conn);
	}
	pthread_cond_destroy(&store->write_done);
	pthread_cond_destroy(&store->freed);
	pthread_mutex_destroy(&store->lock);
	mem_free(store->service);
	mem_free(store->url);
	mem_free(store);
}

bool
store_is_postgres(const struct store *store)
{
	return store->driver == &postgres_driver;
}

struct status
store_ping(struct store *store)
{
	static const struct store_sql ping = {"store_ping", "SELECT 1"};
	struct store_conn *conn;
	struct store_rows *rows;
	struct arena arena;
	struct status st = store_take(store, PING_WAIT_MS, &conn);

	if (!status_ok(&st))
		return st;
	arena_init(&arena, 1024, 65536);
	st = store_read(conn, &ping, NULL, 0, 1, &arena, &rows);
	arena_fini(&arena);
	store_put(store, conn);
	return st;
}

/* ---------------------------------------------------------------- transactions */

struct status
store_begin(struct store_conn *conn, struct store_tx *tx)
{
	assert(!conn->tx);
	*tx = (struct store_tx){.conn = conn};
	struct status st = conn_ensure(conn);
	if (!status_ok(&st))
		return st;
	conn_start_timer(conn);
	st = conn->store->driver->begin(conn);
	if (!status_ok(&st))
		return status_wrap(st, "begin");
	tx->is_open = true;
	conn->tx = tx;
	conn->failure = status_ok_value();
	return st;
}

static struct status
commit(struct store_conn *conn)
{
	conn_start_timer(conn);
	struct status st = conn->store->driver->commit(conn);
	return status_wrap(st, "commit");
}

struct status
store_end(struct store_tx *tx, struct status st)
{
	struct store_conn *conn = tx->conn;

	if (!tx->is_open) /* its begin failed */
		return st;
	if (status_ok(&st) && conn->hook)
		st = conn->hook(conn->hook_arg, tx);
	if (status_ok(&st))
		st = conn->failure;
	if (status_ok(&st))
		st = commit(conn);
	else
		conn->store->driver->rollback(conn);
	tx->is_open = false;
	conn->tx = NULL;
	return st;
}

void
store_on_commit(struct store_conn *conn, struct status (*hook)(void *arg, struct store_tx *tx), void *arg)
{
	conn->hook = hook;
	conn->hook_arg = arg;
}

/* ---------------------------------------------------------------- statements */

static void
note_failure(const struct store *store, const struct store_sql *sql, const struct status *st)
{
	static const char *const labels[] = {"service", "code", NULL};
	static const struct metric_spec spec = {
	    .name = "corbel_store_failures", .help = "Statements that failed.", .labels = labels};

	log_debug(store->log, "statement failed", LOG_TEXT("statement", sql->name), LOG_STATUS(st));
	if (store->metrics)
		counter_add(metrics_counter(store->metrics, &spec,
		                            (const char *[]){store->service, status_code_name(st->code)}),
		            1);
}

/* What every statement's end has in common. */
static struct status
ended(struct store_conn *conn, const struct store_sql *sql, const struct store_statement *statement,
      uint64_t start_ns, struct status st)
{
	const struct store *store = conn->store;

	histogram_observe(statement->duration, (double)(clock_mono_ns(store->clock) - start_ns) / 1e9);
	if (!status_ok(&st))
		note_failure(store, sql, &st);
	return status_wrap(st, "statement %s", sql->name);
}

static struct status
run(struct store_conn *conn, const struct store_sql *sql, const struct store_value *params, size_t count,
    struct rows_builder *rows, int64_t *changed)
{
	const struct store *store = conn->store;
	struct store_statement *statement;
	uint64_t start_ns = clock_mono_ns(store->clock);

	conn_start_timer(conn);
	struct status st = statement_get(conn, sql, params, count, &statement);
	if (status_ok(&st))
		st = store->driver->run(conn, statement, params, count, rows, changed);
	return ended(conn, sql, statement, start_ns, st);
}

static struct status
run_in(struct store_tx *tx, const struct store_sql *sql, const struct store_value *params, size_t count,
       struct rows_builder *rows, int64_t *changed)
{
	struct store_conn *conn = tx->conn;

	assert(tx->is_open && conn->tx == tx);
	if (!status_ok(&conn->failure))
		return conn->failure;
	conn->failure = run(conn, sql, params, count, rows, changed);
	return conn->failure;
}

struct status
store_exec(struct store_tx *tx, const struct store_sql *sql, const struct store_value *params, size_t count,
           int64_t *changed)
{
	int64_t ignored;

	return run_in(tx, sql, params, count, NULL, changed ? changed : &ignored);
}

struct status
store_exec_each(struct store_tx *tx, const struct store_sql *sql, const struct store_value *params,
                size_t count, size_t rows, int64_t *changed)
{
	struct store_conn *conn = tx->conn;
	const struct store *store = conn->store;
	struct store_statement *statement;
	uint64_t start_ns = clock_mono_ns(store->clock);

	assert(tx->is_open && conn->tx == tx);
	if (!status_ok(&conn->failure) || rows == 0)
		return conn->failure;
	conn_start_timer(conn);
	struct status st = statement_get(conn, sql, params, count, &statement);
	if (status_ok(&st))
		st = store->driver->run_each(conn, statement, params, count, rows, changed);
	return conn->failure = ended(conn, sql, statement, start_ns, st);
}

struct status
store_query(struct store_tx *tx, const struct store_sql *sql, const struct store_value *params, size_t count,
            size_t max_rows, struct arena *arena, struct store_rows **out)
{
	struct rows_builder rows = rows_begin(arena, sql->name, max_rows);
	int64_t changed;

	*out = rows.rows;
	return run_in(tx, sql, params, count, &rows, &changed);
}

static struct status
run_sets(struct store_conn *conn, const struct store_sql *sql, const struct store_value *params, size_t count,
         size_t sets, struct rows_builder *rows)
{
	const struct store *store = conn->store;
	struct store_statement *statement;
	uint64_t start_ns = clock_mono_ns(store->clock);

	conn_start_timer(conn);
	struct status st = statement_get(conn, sql, params, count, &statement);
	if (status_ok(&st))
		st = store->driver->run_sets(conn, statement, params, count, sets, rows);
	return ended(conn, sql, statement, start_ns, st);
}

struct status
store_query_each(struct store_tx *tx, const struct store_sql *sql, const struct store_value *params,
                 size_t count, size_t sets, size_t max_rows, struct arena *arena, struct store_rows **out)
{
	struct store_conn *conn = tx->conn;
	struct rows_builder rows = rows_begin(arena, sql->name, max_rows);

	assert(tx->is_open && conn->tx == tx);
	*out = rows.rows;
	if (status_ok(&conn->failure) && sets > 0)
		conn->failure = run_sets(conn, sql, params, count, sets, &rows);
	return conn->failure;
}

struct status
store_read_each(struct store_conn *conn, const struct store_sql *sql, const struct store_value *params,
                size_t count, size_t sets, size_t max_rows, struct arena *arena, struct store_rows **out)
{
	struct rows_builder rows = rows_begin(arena, sql->name, max_rows);

	assert(!conn->tx);
	*out = rows.rows;
	struct status st = conn_ensure(conn);
	return status_ok(&st) && sets > 0 ? run_sets(conn, sql, params, count, sets, &rows) : st;
}

struct status
store_change_each(struct store_tx *tx, const struct store_sql *sql, const struct store_value *params,
                  size_t count, size_t sets, bool *changed)
{
	struct store_conn *conn = tx->conn;
	const struct store *store = conn->store;
	struct store_statement *statement;
	uint64_t start_ns = clock_mono_ns(store->clock);

	assert(tx->is_open && conn->tx == tx);
	if (!status_ok(&conn->failure) || sets == 0)
		return conn->failure;
	conn_start_timer(conn);
	struct status st = statement_get(conn, sql, params, count, &statement);
	if (status_ok(&st))
		st = store->driver->change_sets(conn, statement, params, count, sets, changed);
	return conn->failure = ended(conn, sql, statement, start_ns, st);
}

struct status
store_read(struct store_conn *conn, const struct store_sql *sql, const struct store_value *params,
           size_t count, size_t max_rows, struct arena *arena, struct store_rows **out)
{
	struct rows_builder rows = rows_begin(arena, sql->name, max_rows);
	int64_t changed;

	assert(!conn->tx);
	*out = rows.rows;
	struct status st = conn_ensure(conn);
	return status_ok(&st) ? run(conn, sql, params, count, &rows, &changed) : st;
}

struct status
store_bulk_insert(struct store_tx *tx, const char *table, const char *const *columns, size_t column_count,
                  const struct store_value *values, size_t rows)
{
	struct store_conn *conn = tx->conn;

	assert(tx->is_open && conn->tx == tx && column_count > 0 && column_count <= STORE_PARAMS_MAX);
	if (!status_ok(&conn->failure) || rows == 0)
		return conn->failure;
	conn_start_timer(conn);
	conn->failure = status_wrap(conn->store->driver->bulk(conn, table, columns, column_count, values, rows),
	                            "bulk insert into %s", table);
	return conn->failure;
}
