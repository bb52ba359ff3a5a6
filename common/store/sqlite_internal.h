/*
 * What the files for SQLite share: sqlite.c opens files and has transactions, sqlite_statements.c runs
 * statements in them.
 */
#ifndef CORBEL_STORE_SQLITE_INTERNAL_H
#define CORBEL_STORE_SQLITE_INTERNAL_H

#include <sqlite3.h>

#include "store/store_internal.h"

/* sqlite.c: what the connection's last call came to. */
struct status sqlite_failed(struct store_conn *conn);
struct status sqlite_checked(struct store_conn *conn, int rc);

/* sqlite_statements.c: parts of the driver. */
struct status sqlite_prepare(struct store_conn *conn, struct store_statement *statement,
                             const struct store_value *params, size_t count);
void sqlite_unprepare(struct store_conn *conn, struct store_statement *statement);
struct status sqlite_run(struct store_conn *conn, struct store_statement *statement,
                         const struct store_value *params, size_t count, struct rows_builder *rows,
                         int64_t *changed);
struct status sqlite_run_each(struct store_conn *conn, struct store_statement *statement,
                              const struct store_value *params, size_t count, size_t times, int64_t *changed);
struct status sqlite_run_sets(struct store_conn *conn, struct store_statement *statement,
                              const struct store_value *params, size_t count, size_t sets,
                              struct rows_builder *rows);
struct status sqlite_change_sets(struct store_conn *conn, struct store_statement *statement,
                                 const struct store_value *params, size_t count, size_t sets, bool *changed);
void sqlite_each_table(struct strbuf *out, size_t count);
struct status sqlite_bulk(struct store_conn *conn, const char *table, const char *const *columns,
                          size_t column_count, const struct store_value *values, size_t rows);
/* Before the connection is closed. */
void sqlite_forget_inserts(struct store_conn *conn);

#endif
