/*
 * postgres_internal: what the parts of the PostgreSQL driver share.
 */
#ifndef CORBEL_STORE_POSTGRES_INTERNAL_H
#define CORBEL_STORE_POSTGRES_INTERNAL_H

#include <libpq-fe.h>

#include "store/store_internal.h"

/* The status of a failed result or, when it is NULL, of the connection; marks the connection lost
 * when it is of no use any more. */
struct status postgres_failed(struct store_conn *conn, const PGresult *result);
/* Sends what is buffered, then waits until a result can be taken without blocking, until the deadline
 * of the connection and a grace (the server's own time-out comes first). */
struct status postgres_await(struct store_conn *conn);
/* Only sends what is buffered. */
struct status postgres_flush(struct store_conn *conn);
/* Takes every result of what was sent; the first failure counts. `*changed` gets the last number of
 * rows. `rows` may be NULL. */
struct status postgres_results(struct store_conn *conn, struct rows_builder *rows, int64_t *changed);

/* The types of columns and parameters, from PostgreSQL's catalog/pg_type.dat. */
enum {
	OID_BOOL = 16,
	OID_BYTEA = 17,
	OID_INT8 = 20,
	OID_INT2 = 21,
	OID_INT4 = 23,
	OID_TEXT = 25,
	OID_FLOAT4 = 700,
	OID_FLOAT8 = 701,
	OID_BYTEA_ARRAY = 1001,
	OID_TEXT_ARRAY = 1009,
	OID_INT8_ARRAY = 1016,
	OID_FLOAT8_ARRAY = 1022,
	OID_VARCHAR = 1043
};

/* What one result of a statement tells; its rows are added to `rows`, which may be NULL. */
struct status postgres_take(struct store_conn *conn, const PGresult *result, struct rows_builder *rows,
                            int64_t *changed);
/* One or more statements without parameters, by the simple protocol. */
struct status postgres_script(struct store_conn *conn, const char *sql);

#define POSTGRES_NUMBER_MAX 32

/* How values stand in a text that the server reads. */
struct postgres_notation {
	const char *null;
	const char *before_bytes, *after_bytes; /* around the hexadecimal digits */
	void (*add_text)(struct strbuf *out, const char *text, size_t size);
};
void postgres_write(struct strbuf *out, const struct store_value *value, const struct postgres_notation *as);

/* Parameters as libpq wants them. Texts of numbers live in `numbers`. */
struct postgres_params {
	Oid types[STORE_PARAMS_MAX];
	const char *values[STORE_PARAMS_MAX];
	int lengths[STORE_PARAMS_MAX];
	int formats[STORE_PARAMS_MAX];
	char numbers[STORE_PARAMS_MAX][POSTGRES_NUMBER_MAX];
};
struct status postgres_params(struct postgres_params *out, const struct store_value *params, size_t count);
/* postgres_tx: a transaction begins with its first statement. */
struct status postgres_begin(struct store_conn *conn);
/* Before anything but a plain statement: begins now, if that is still to be done. */
struct status postgres_begin_owed(struct store_conn *conn);
/* Begins and runs the first statement in one round trip; BEGIN is owed. */
struct status postgres_begin_with(struct store_conn *conn, const struct store_statement *statement,
                                  const struct postgres_params *as, size_t count, struct rows_builder *rows,
                                  int64_t *changed);
struct status postgres_commit(struct store_conn *conn);
void postgres_rollback(struct store_conn *conn);
/* Whether the rows that a described statement gives can be read in binary. */
bool postgres_is_binary(const PGresult *description);
/* Adds one row of a result. */
bool postgres_read_row(const PGresult *result, int row, struct rows_builder *rows);

struct status postgres_run_each(struct store_conn *conn, struct store_statement *statement,
                                const struct store_value *params, size_t count, size_t times,
                                int64_t *changed);
/* postgres_sets: arrays as parameters. */
void postgres_array_types(struct postgres_params *as, size_t count);
void postgres_each_table(struct strbuf *out, size_t count);
struct status postgres_run_sets(struct store_conn *conn, struct store_statement *statement,
                                const struct store_value *params, size_t count, size_t sets,
                                struct rows_builder *rows);
void postgres_change_table(struct strbuf *out, const char *keyword, size_t count);
struct status postgres_change_sets(struct store_conn *conn, struct store_statement *statement,
                                   const struct store_value *params, size_t count, size_t sets,
                                   bool *changed);
struct status postgres_bulk(struct store_conn *conn, const char *table, const char *const *columns,
                            size_t column_count, const struct store_value *values, size_t rows);

#endif
