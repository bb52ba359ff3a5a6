/*
 * sqlite_statements: statements of the SQLite driver, their parameters and their rows.
 */
#include <stdlib.h>

#include "base/text.h"
#include "store/sqlite_internal.h"

static struct status
prepare_text(struct store_conn *conn, const char *text, sqlite3_stmt **out)
{
	return sqlite_checked(conn,
	                      sqlite3_prepare_v3(conn->handle, text, -1, SQLITE_PREPARE_PERSISTENT, out, NULL));
}

struct status
sqlite_prepare(struct store_conn *conn, struct store_statement *statement, const struct store_value *params,
               size_t count)
{
	sqlite3_stmt *prepared = NULL;

	(void)params;
	(void)count;
	struct status st = prepare_text(conn, statement->text, &prepared);
	statement->prepared = prepared;
	return st;
}

void
sqlite_unprepare(struct store_conn *conn, struct store_statement *statement)
{
	(void)conn;
	sqlite3_finalize(statement->prepared);
	statement->prepared = NULL;
}

static int
bind_one(sqlite3_stmt *stmt, int at, const struct store_value *value)
{
	switch (value->type) {
	case STORE_I64:
		return sqlite3_bind_int64(stmt, at, value->value.i64);
	case STORE_DOUBLE:
		return sqlite3_bind_double(stmt, at, value->value.number);
	case STORE_TEXT:
		return sqlite3_bind_text64(stmt, at, value->value.bytes.data, value->value.bytes.size, SQLITE_STATIC,
		                           SQLITE_UTF8);
	case STORE_BYTES:
		/* A NULL pointer would bind null: an empty value is not null. */
		if (value->value.bytes.size == 0)
			return sqlite3_bind_zeroblob(stmt, at, 0);
		return sqlite3_bind_blob64(stmt, at, value->value.bytes.data, value->value.bytes.size, SQLITE_STATIC);
	case STORE_NULL:
		break;
	}
	return sqlite3_bind_null(stmt, at);
}

/* "$1" is a named parameter to SQLite: its number follows first use, not the digits. */
static struct status
bind_all(struct store_conn *conn, sqlite3_stmt *stmt, const struct store_value *params, size_t count)
{
	if ((size_t)sqlite3_bind_parameter_count(stmt) != count)
		return status_make(STATUS_INTERNAL, "%zu parameters given, %d expected", count,
		                   sqlite3_bind_parameter_count(stmt));
	for (size_t i = 0; i < count; i++) {
		const char *name = sqlite3_bind_parameter_name(stmt, (int)i + 1);
		unsigned long number = name ? strtoul(name + 1, NULL, 10) : 0;
		if (number == 0 || number > count)
			return status_make(STATUS_INTERNAL, "parameter %s is not one of %zu", name ? name : "?", count);
		if (bind_one(stmt, (int)i + 1, &params[number - 1]) != SQLITE_OK)
			return sqlite_failed(conn);
	}
	return status_ok_value();
}

static bool
read_bytes(sqlite3_stmt *stmt, int column, struct rows_builder *rows, struct store_cell *cell)
{
	const void *bytes = cell->type == CELL_TEXT ? (const void *)sqlite3_column_text(stmt, column)
	                                            : sqlite3_column_blob(stmt, column);

	cell->value.bytes.size = (size_t)sqlite3_column_bytes(stmt, column);
	cell->value.bytes.data = rows_bytes(rows, bytes, cell->value.bytes.size);
	return cell->value.bytes.data != NULL;
}

static bool
read_cell(sqlite3_stmt *stmt, int column, struct rows_builder *rows, struct store_cell *cell)
{
	switch (sqlite3_column_type(stmt, column)) {
	case SQLITE_INTEGER:
		cell->type = CELL_I64;
		cell->value.i64 = sqlite3_column_int64(stmt, column);
		return true;
	case SQLITE_FLOAT:
		cell->type = CELL_DOUBLE;
		cell->value.number = sqlite3_column_double(stmt, column);
		return true;
	case SQLITE_TEXT:
		cell->type = CELL_TEXT;
		return read_bytes(stmt, column, rows, cell);
	case SQLITE_BLOB:
		cell->type = CELL_BYTES;
		return read_bytes(stmt, column, rows, cell);
	default:
		cell->type = CELL_NULL;
		return true;
	}
}

static bool
read_row(sqlite3_stmt *stmt, struct rows_builder *rows)
{
	int columns = sqlite3_column_count(stmt);
	struct store_cell *cells = rows_add(rows, (size_t)columns);
	bool is_read = cells != NULL;

	for (int i = 0; is_read && i < columns; i++)
		is_read = read_cell(stmt, i, rows, &cells[i]);
	return is_read;
}

static struct status
step_through(struct store_conn *conn, sqlite3_stmt *stmt, struct rows_builder *rows)
{
	int rc;

	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (rows && !read_row(stmt, rows))
			return rows_overflow(rows);
	}
	return rc == SQLITE_DONE ? status_ok_value() : sqlite_failed(conn);
}

struct status
sqlite_run(struct store_conn *conn, struct store_statement *statement, const struct store_value *params,
           size_t count, struct rows_builder *rows, int64_t *changed)
{
	sqlite3_stmt *stmt = statement->prepared;
	sqlite3_int64 before = sqlite3_total_changes64(conn->handle);

	if (!conn->tx && !sqlite3_stmt_readonly(stmt))
		return status_make(STATUS_INTERNAL, "writes outside a transaction");
	struct status st = bind_all(conn, stmt, params, count);
	if (status_ok(&st))
		st = step_through(conn, stmt, rows);
	*changed = sqlite3_total_changes64(conn->handle) == before ? 0 : sqlite3_changes64(conn->handle);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return st;
}

struct status
sqlite_run_each(struct store_conn *conn, struct store_statement *statement, const struct store_value *params,
                size_t count, size_t times, int64_t *changed)
{
	struct status st = status_ok_value();

	for (size_t i = 0; i < times && status_ok(&st); i++)
		st = sqlite_run(conn, statement, params + i * count, count, NULL, &changed[i]);
	return st;
}

struct status
sqlite_run_sets(struct store_conn *conn, struct store_statement *statement, const struct store_value *params,
                size_t count, size_t sets, struct rows_builder *rows)
{
	struct status st = status_ok_value();
	int64_t changed;

	for (size_t i = 0; i < sets && status_ok(&st); i++)
		st = sqlite_run(conn, statement, params + i * count, count, rows, &changed);
	return st;
}

void
sqlite_each_table(struct strbuf *out, size_t count)
{
	strbuf_puts(out, "(SELECT ");
	for (size_t i = 1; i <= count; i++)
		strbuf_printf(out, "%s$%zu AS c%zu", i > 1 ? ", " : "", i, i);
	strbuf_puts(out, ") AS given");
}

/* ---------------------------------------------------------------- many rows */

static char *
insert_text(const char *table, const char *const *columns, size_t count)
{
	struct strbuf text;

	strbuf_init(&text, NULL);
	strbuf_printf(&text, "INSERT INTO \"%s\" (", table);
	for (size_t i = 0; i < count; i++)
		strbuf_printf(&text, "%s\"%s\"", i ? ", " : "", columns[i]);
	strbuf_puts(&text, ") VALUES (");
	for (size_t i = 0; i < count; i++)
		strbuf_printf(&text, "%s$%zu", i ? ", " : "", i + 1);
	strbuf_putc(&text, ')');
	return text.data;
}

struct status
sqlite_bulk(struct store_conn *conn, const char *table, const char *const *columns, size_t column_count,
            const struct store_value *values, size_t rows)
{
	sqlite3_stmt *stmt = NULL;
	char *text = insert_text(table, columns, column_count);
	struct status st = prepare_text(conn, text, &stmt);

	for (size_t i = 0; status_ok(&st) && i < rows; i++) {
		for (size_t c = 0; c < column_count && status_ok(&st); c++)
			st = sqlite_checked(conn, bind_one(stmt, (int)c + 1, &values[i * column_count + c]));
		if (status_ok(&st))
			st = step_through(conn, stmt, NULL);
		sqlite3_reset(stmt);
	}
	sqlite3_finalize(stmt);
	mem_free(text);
	return st;
}
