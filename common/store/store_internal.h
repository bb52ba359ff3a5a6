/*
 * store_internal: what the halves of the store share: the connection, its statement cache, and the
 * table of functions that a database stands behind.
 */
#ifndef CORBEL_STORE_STORE_INTERNAL_H
#define CORBEL_STORE_STORE_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/text.h"
#include "store/store.h"

#define STORE_PARAMS_MAX 64u
#define STORE_NAME_MAX   60u /* PostgreSQL cuts names of prepared statements at 63 bytes */

struct rows_builder;
struct sqlite_insert;
struct store_driver;

/* A statement prepared on one connection. */
struct store_statement {
	const char *name;   /* of the struct store_sql: constants, so borrowed */
	const char *source; /* its text */
	char *text;         /* with its tokens replaced */
	bool is_over_sets;  /* it has the token @each@ */
	bool is_binary;     /* PostgreSQL: its rows come in binary */
	void *prepared;     /* SQLite: struct sqlite_plan; PostgreSQL: any pointer once it is prepared */
	struct metric_histogram *duration;
};

struct store_conn {
	struct store *store;
	struct store_conn *next_idle; /* under the pool's lock */
	void *handle;                 /* PGconn or sqlite3; NULL: not connected */
	bool is_lost;                 /* the handle is of no use any more */
	bool owes_begin;              /* PostgreSQL: the open transaction's BEGIN has not been sent */
	struct store_tx *tx;          /* the open transaction */
	struct status failure;        /* the first failed statement of the transaction */
	uint32_t timeout_ms;          /* of a statement */
	uint64_t deadline_ms;         /* of the statement that runs */
	struct status (*hook)(void *arg, struct store_tx *tx);
	void *hook_arg;
	struct store_statement *statements; /* open addressing by name */
	size_t statement_count;
	size_t statement_slots;        /* a power of two, or 0 */
	struct sqlite_insert *inserts; /* SQLite: of many rows, by their texts */
	size_t insert_count;
};

struct store {
	const struct store_driver *driver;
	char *service;
	char *url; /* PostgreSQL: as given; SQLite: the directory */
	uint32_t limit;
	uint32_t timeout_ms;
	const struct store_migration *migrations;
	struct log *log;
	struct metrics *metrics;
	const struct clock *clock;
	struct metric_gauge *taken_gauge;
	struct metric_counter *connects;
	struct metric_counter *connect_failures;

	pthread_mutex_t lock; /* guards the rest; a leaf */
	pthread_cond_t freed; /* a connection came back */
	struct store_conn *idle;
	uint32_t open; /* idle and taken ones */
	uint32_t taken;
	uint32_t waiting;     /* threads in store_take() that wait */
	uint32_t failures;    /* connects that failed in a row */
	uint64_t retry_at_ms; /* no connect before, while failures > 0 */
	struct status last_failure;
	pthread_cond_t write_done; /* SQLite: the one writer of this process ended */
	bool is_writing;
};

/* A database. Functions return a mapped status; they set conn->is_lost when the connection is gone. */
struct store_driver {
	struct status (*open)(struct store_conn *conn);
	void (*close)(struct store_conn *conn);
	/* Looks without waiting whether an idle connection was lost meanwhile. */
	bool (*is_alive)(struct store_conn *conn);
	struct status (*begin)(struct store_conn *conn);
	struct status (*commit)(struct store_conn *conn);
	void (*rollback)(struct store_conn *conn);
	struct status (*prepare)(struct store_conn *conn, struct store_statement *statement,
	                         const struct store_value *params, size_t count);
	void (*unprepare)(struct store_conn *conn, struct store_statement *statement);
	/* `rows` is NULL for a statement whose rows nobody wants. */
	struct status (*run)(struct store_conn *conn, struct store_statement *statement,
	                     const struct store_value *params, size_t count, struct rows_builder *rows,
	                     int64_t *changed);
	/* Once for each of `times` sets of parameters, at least one; stops at the first that fails. */
	struct status (*run_each)(struct store_conn *conn, struct store_statement *statement,
	                          const struct store_value *params, size_t count, size_t times, int64_t *changed);
	/* Over all sets of parameters, at least one, of a statement with the token @each@. */
	struct status (*run_sets)(struct store_conn *conn, struct store_statement *statement,
	                          const struct store_value *params, size_t count, size_t sets,
	                          struct rows_builder *rows);
	/* Over all sets, at least one, of a statement that ends in "@which@". */
	struct status (*change_sets)(struct store_conn *conn, struct store_statement *statement,
	                             const struct store_value *params, size_t count, size_t sets, bool *changed);
	/* Several statements without parameters, in the open transaction. */
	struct status (*script)(struct store_conn *conn, const char *sql);
	struct status (*bulk)(struct store_conn *conn, const char *table, const char *const *columns,
	                      size_t column_count, const struct store_value *values, size_t rows);
	/* In a transaction: makes one replica migrate at a time, and the service's schema exist. */
	struct status (*migrate_lock)(struct store_conn *conn);
	const char *claim_clause, *lock_clause, *refer_clause;
	void (*each_table)(struct strbuf *out, size_t count); /* what "@each@" stands for */
	/* What "@from@" and "@using@" stand for; NULL: nothing. Then what precedes the number of a set's
	 * parameter, and what "@which@" stands for. */
	void (*change_table)(struct strbuf *out, const char *keyword, size_t count);
	const char *change_column, *change_which;
	const char *clustered_clause; /* what "@clustered@" behind a table of a migration stands for */
};

extern const struct store_driver sqlite_driver;
extern const struct store_driver postgres_driver;

/* Connects when it is not connected, with back-off. */
struct status conn_ensure(struct store_conn *conn);
/* Closes the handle and forgets its statements. */
void conn_close(struct store_conn *conn);
/* Sets the deadline of what runs next. */
void conn_start_timer(struct store_conn *conn);
uint64_t store_now_ms(const struct store *store);

/* Finds the statement in the cache of the connection, or prepares it. */
struct status statement_get(struct store_conn *conn, const struct store_sql *sql,
                            const struct store_value *params, size_t count, struct store_statement **out);
void statements_forget(struct store_conn *conn);
/* The text with its tokens replaced; mem_free() it. `count` parameters. */
char *statement_text(const struct store_driver *driver, const char *text, size_t count);
/* That of a migration. */
char *migration_text(const struct store_driver *driver, const char *text);

/* ---------------------------------------------------------------- results */

struct store_cell {
	enum { CELL_NULL, CELL_I64, CELL_DOUBLE, CELL_TEXT, CELL_BYTES } type;
	union {
		int64_t i64;
		double number;
		struct {
			char *data; /* NUL-terminated */
			size_t size;
		} bytes;
	} value;
};

/* Collects rows in an arena, within its ceiling and `max_rows`. */
struct rows_builder {
	struct arena *arena;
	const char *name; /* of the statement, for messages */
	size_t max_rows;
	size_t slots; /* cells allocated */
	struct store_rows *rows;
};

struct rows_builder rows_begin(struct arena *arena, const char *name, size_t max_rows);
/* The cells of a new row, to be filled in; NULL when that is too much: return rows_overflow(). */
struct store_cell *rows_add(struct rows_builder *builder, size_t columns);
/* Memory for a text or bytes, with a NUL after it; NULL when that is too much. */
char *rows_bytes(struct rows_builder *builder, const void *bytes, size_t size);
struct status rows_overflow(const struct rows_builder *builder);

#endif
