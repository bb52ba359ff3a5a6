/*
 * store: SQL over PostgreSQL (libpq) or SQLite, behind one interface.
 *
 * A service owns a schema: in PostgreSQL a schema of its name, in SQLite a file of its name. SQL is
 * written once, in the dialect that both share: $1 parameters, ON CONFLICT, RETURNING, CTEs; types
 * BIGINT, TEXT, BYTEA (BLOB affinity in SQLite), DOUBLE PRECISION, BOOLEAN as BIGINT 0/1. Where they
 * must differ there is a token or a function.
 *
 * Statements are named and listed in a table by the service; they are prepared once a connection. A
 * connection belongs to one thread at a time. What is acknowledged is durable: SQLite runs in WAL
 * mode with synchronous=FULL, PostgreSQL with its default synchronous_commit.
 */
#ifndef CORBEL_STORE_STORE_H
#define CORBEL_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/status.h"
#include "telemetry/log.h"
#include "telemetry/metric.h"

struct store;      /* configuration and connections of one service; any thread */
struct store_conn; /* one connection; one thread at a time */
struct store_tx;   /* one transaction on a connection */
struct store_rows; /* a result */

/* A statement: declare as constants, `static const struct store_sql KEY_INSERT = {"key_insert",
 * "INSERT …"}`. The name is unique in the service and appears in errors and metrics. */
struct store_sql {
	const char *name;
	const char *text;
};

struct store_migration {
	int version; /* 1, 2, 3 … without holes */
	const char *name;
	const char *sql; /* statements separated by ";" and a newline; the build embeds schema/NNN_name.sql */
	int oldest;      /* programs that know fewer versions cannot use the schema from here on; 0: all can.
	                  * The build reads it from a line "-- oldest: N" */
};

struct store_options {
	const char *service;                      /* schema or file name */
	const char *url;                          /* "sqlite:/path/dir" or "postgresql://…" */
	uint32_t connections;                     /* bound; 0: 4 */
	uint32_t statement_timeout_ms;            /* 0: 10000 */
	const struct store_migration *migrations; /* `version` 0 ends */
	struct log *log;
	struct metrics *metrics;
	const struct clock *clock;
};

/* Opens and checks nothing but the options: a database that is away is found out by the first use,
 * and by store_ping(). */
struct status store_new(const struct store_options *options, struct store **out);
void store_free(struct store *store);
/* Applies what is missing, once, however many replicas start at the same time. A schema newer than ours is
 * used as it is, unless one of its migrations said that it is too new for us: FAILED_PRECONDITION.
 * UNAVAILABLE when the database is away. */
struct status store_migrate(struct store *store);
/* Runs statements that make what is not there ("CREATE TABLE IF NOT EXISTS ..."), in one transaction and in
 * turns with store_migrate() and with other replicas: PostgreSQL's IF NOT EXISTS alone lets two that come at
 * the same moment collide. For tables that common/ keeps in a service's schema. */
struct status store_create(struct store *store, const char *sql);
struct status store_ping(struct store *store);
bool store_is_postgres(const struct store *store);

/* Takes a connection, reconnecting with back-off when it was lost; waits at most `wait_ms` for a free
 * one, then RESOURCE_EXHAUSTED. */
struct status store_take(struct store *store, uint32_t wait_ms, struct store_conn **out);
void store_put(struct store *store, struct store_conn *conn);

/* Plain data on the caller's stack; members are private. A transaction is read-write and serialised
 * against others where it matters: PostgreSQL READ COMMITTED, SQLite BEGIN IMMEDIATE. */
struct store_tx {
	struct store_conn *conn;
	bool is_open;
};
/* A database that went away meanwhile may be found out by the first statement only. */
struct status store_begin(struct store_conn *conn, struct store_tx *tx);
/* Commits when `st` is ok, else rolls back and returns `st`. After an ok return the change is
 * durable. When the connection is lost during COMMIT the outcome is unknown: UNAVAILABLE with
 * "outcome unknown" in the message. */
struct status store_end(struct store_tx *tx, struct status st);
/* Runs inside store_end() before COMMIT, in the same transaction (the idempotency record); its
 * failure rolls back. One hook a connection; NULL clears, and so does store_put(). */
void store_on_commit(struct store_conn *conn, struct status (*hook)(void *arg, struct store_tx *tx),
                     void *arg);

/* Parameters. Texts and bytes are borrowed until the statement has run. */
struct store_value {
	enum { STORE_NULL, STORE_I64, STORE_DOUBLE, STORE_TEXT, STORE_BYTES } type;
	union {
		int64_t i64;
		double number;
		struct {
			const void *data;
			size_t size;
		} bytes;
	} value;
};
static inline struct store_value
store_null(void)
{
	return (struct store_value){.type = STORE_NULL};
}
static inline struct store_value
store_i64(int64_t v)
{
	return (struct store_value){.type = STORE_I64, .value.i64 = v};
}
static inline struct store_value
store_double(double v)
{
	return (struct store_value){.type = STORE_DOUBLE, .value.number = v};
}
struct store_value store_text(const char *text); /* NULL gives null */
struct store_value store_bytes(const void *data, size_t size);

#define STORE_PARAMS(...)                                                                                    \
	(const struct store_value[]){__VA_ARGS__},                                                               \
	    sizeof((const struct store_value[]){__VA_ARGS__}) / sizeof(struct store_value)

/* Once a statement of a transaction has failed, later ones and store_end() return that failure and
 * nothing is committed, on either database.
 *
 * Runs a statement that returns no rows; *changed (may be NULL) gets the number of rows changed. A
 * broken uniqueness gives ALREADY_EXISTS, a broken foreign key FAILED_PRECONDITION, a serialisation
 * failure or deadlock ABORTED, a lost connection UNAVAILABLE, a time-out DEADLINE_EXCEEDED. */
struct status store_exec(struct store_tx *tx, const struct store_sql *sql, const struct store_value *params,
                         size_t count, int64_t *changed);
/* Runs it once for each of `rows` sets of `count` parameters, in order; `changed` has room for one number
 * each. On PostgreSQL all of them cost one round trip. */
struct status store_exec_each(struct store_tx *tx, const struct store_sql *sql,
                              const struct store_value *params, size_t count, size_t rows, int64_t *changed);
/* Runs it over `sets` sets of `count` parameters together: its token "@each@" is a table `given` of them,
 * with the columns c1, c2 and so on, and its rows come in any order. A column is of one type, that of the
 * first set, where it is not null. On PostgreSQL it is one statement, so each set costs a fraction of one;
 * SQLite takes one set after the other. */
struct status store_query_each(struct store_tx *tx, const struct store_sql *sql,
                               const struct store_value *params, size_t count, size_t sets, size_t max_rows,
                               struct arena *arena, struct store_rows **out);
/* Runs an UPDATE or DELETE for each of `sets` sets of `count` parameters, all of one statement on PostgreSQL;
 * each set changes one row at most, one set of those that would change the same. Its text names a set's
 * parameters "@c1@", "@c2@" and so on, has "@from@" (UPDATE) or "@using@" (DELETE) before its WHERE, and ends
 * in "@which@". Types are as in store_query_each(). `changed` has room for one answer a set. */
struct status store_change_each(struct store_tx *tx, const struct store_sql *sql,
                                const struct store_value *params, size_t count, size_t sets, bool *changed);
/* Runs a statement that returns rows, all of them read into `arena` (bounded by `max_rows`, beyond
 * which RESOURCE_EXHAUSTED). */
struct status store_query(struct store_tx *tx, const struct store_sql *sql, const struct store_value *params,
                          size_t count, size_t max_rows, struct arena *arena, struct store_rows **out);
/* One read outside a transaction: the same on a connection. It may not write. */
struct status store_read(struct store_conn *conn, const struct store_sql *sql,
                         const struct store_value *params, size_t count, size_t max_rows, struct arena *arena,
                         struct store_rows **out);

/* One read over many sets of parameters, as in store_query_each(). */
struct status store_read_each(struct store_conn *conn, const struct store_sql *sql,
                              const struct store_value *params, size_t count, size_t sets, size_t max_rows,
                              struct arena *arena, struct store_rows **out);

size_t rows_count(const struct store_rows *rows);
bool row_is_null(const struct store_rows *rows, size_t row, size_t column);
int64_t row_i64(const struct store_rows *rows, size_t row, size_t column);   /* null: 0 */
double row_double(const struct store_rows *rows, size_t row, size_t column); /* null: 0 */
char *row_text(const struct store_rows *rows, size_t row, size_t column); /* null: NULL; lives in the arena */
const void *row_bytes(const struct store_rows *rows, size_t row, size_t column, size_t *size);

/* The two places where dialects differ. */
/* A SELECT that claims rows so that replicas do not claim the same ends in the token "@claim@", which
 * preparation replaces by "FOR UPDATE SKIP LOCKED" or by nothing (SQLite's write transaction excludes
 * others by itself). */
/* One that ends in "@lock@" waits for its rows and holds them until the transaction ends: "FOR NO KEY
 * UPDATE", which lets rows that refer to them come. With ORDER BY, two that hold the same ones wait instead
 * of deadlocking. */
/* One that ends in "@refer@" keeps its rows from being deleted or claimed until the transaction ends, as a
 * row that referred to them would: "FOR KEY SHARE". It waits for claims alone. */
/* Loads many rows: COPY or one prepared INSERT in the transaction. `column_count` values a row, each null or
 * of its column's type: numbers in BIGINT and DOUBLE PRECISION, texts in TEXT, bytes in BYTEA. */
struct status store_bulk_insert(struct store_tx *tx, const char *table, const char *const *columns,
                                size_t column_count, const struct store_value *values, size_t rows);

#endif
