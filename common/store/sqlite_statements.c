/*
 * sqlite_statements: statements in SQLite, prepared once a connection.
 *
 * "$1" is a named parameter to SQLite: its place follows first use, not the digits. So a prepared statement
 * carries the number that stands at each place.
 */
#include <stdlib.h>
#include <string.h>

#include "store/sqlite_internal.h"

#define INSERTS_MAX 16u /* tables that one service loads many rows into */

struct sqlite_plan {
	sqlite3_stmt *stmt;
	size_t count; /* of parameters */
	unsigned char numbers[STORE_PARAMS_MAX];
};

/* An INSERT of sqlite_bulk(), kept by the connection. */
struct sqlite_insert {
	struct sqlite_insert *next;
	char *text;
	struct sqlite_plan *plan;
};

/* ---------------------------------------------------------------- preparing */

static void
plan_free(struct sqlite_plan *plan)
{
	if (!plan)
		return;
	sqlite3_finalize(plan->stmt);
	mem_free(plan);
}

static struct status
read_numbers(struct sqlite_plan *plan)
{
	plan->count = (size_t)sqlite3_bind_parameter_count(plan->stmt);
	if (plan->count > STORE_PARAMS_MAX)
		return status_make(STATUS_INTERNAL, "more than %u parameters", STORE_PARAMS_MAX);
	for (size_t i = 0; i < plan->count; i++) {
		const char *name = sqlite3_bind_parameter_name(plan->stmt, (int)i + 1);
		unsigned long number = name ? strtoul(name + 1, NULL, 10) : 0;
		if (number == 0 || number > plan->count)
			return status_make(STATUS_INTERNAL, "parameter %s is not one of %zu", name ? name : "?",
			                   plan->count);
		plan->numbers[i] = (unsigned char)number;
	}
	return status_ok_value();
}

static struct status
plan_new(struct store_conn *conn, const char *text, struct sqlite_plan **out)
{
	struct sqlite_plan *plan = mem_alloc(sizeof(*plan));
	struct status st = sqlite_checked(
	    conn, sqlite3_prepare_v3(conn->handle, text, -1, SQLITE_PREPARE_PERSISTENT, &plan->stmt, NULL));

	if (status_ok(&st))
		st = read_numbers(plan);
	if (!status_ok(&st)) {
		plan_free(plan);
		plan = NULL;
	}
	*out = plan;
	return st;
}

struct status
sqlite_prepare(struct store_conn *conn, struct store_statement *statement, const struct store_value *params,
               size_t count)
{
	struct sqlite_plan *plan;
	struct status st = plan_new(conn, statement->text, &plan);

	(void)params;
	(void)count;
	statement->prepared = plan;
	return st;
}

void
sqlite_unprepare(struct store_conn *conn, struct store_statement *statement)
{
	(void)conn;
	plan_free(statement->prepared);
	statement->prepared = NULL;
}

/* ---------------------------------------------------------------- parameters */

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

static struct status
bind_all(struct store_conn *conn, const struct sqlite_plan *plan, const struct store_value *params,
         size_t count)
{
	if (plan->count != count)
		return status_make(STATUS_INTERNAL, "%zu parameters given, %zu expected", count, plan->count);
	for (size_t i = 0; i < count; i++)
		if (bind_one(plan->stmt, (int)i + 1, &params[plan->numbers[i] - 1]) != SQLITE_OK)
			return sqlite_failed(conn);
	return status_ok_value();
}

/* ---------------------------------------------------------------- running */

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
	const struct sqlite_plan *plan = statement->prepared;
	sqlite3_int64 before = sqlite3_total_changes64(conn->handle);

	if (!conn->tx && !sqlite3_stmt_readonly(plan->stmt))
		return status_make(STATUS_INTERNAL, "writes outside a transaction");
	struct status st = bind_all(conn, plan, params, count);
	if (status_ok(&st))
		st = step_through(conn, plan->stmt, rows);
	*changed = sqlite3_total_changes64(conn->handle) == before ? 0 : sqlite3_changes64(conn->handle);
	sqlite3_reset(plan->stmt);
	sqlite3_clear_bindings(plan->stmt);
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

struct status
sqlite_change_sets(struct store_conn *conn, struct store_statement *statement,
                   const struct store_value *params, size_t count, size_t sets, bool *changed)
{
	struct status st = status_ok_value();
	int64_t rows = 0;

	for (size_t i = 0; i < sets && status_ok(&st); i++) {
		st = sqlite_run(conn, statement, params + i * count, count, NULL, &rows);
		changed[i] = rows > 0;
	}
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

void
sqlite_forget_inserts(struct store_conn *conn)
{
	while (conn->inserts) {
		struct sqlite_insert *insert = conn->inserts;
		conn->inserts = insert->next;
		plan_free(insert->plan);
		mem_free(insert->text);
		mem_free(insert);
	}
	conn->insert_count = 0;
}

/* Takes `text`. */
static struct status
add_insert(struct store_conn *conn, char *text, struct sqlite_plan **out)
{
	struct status st = plan_new(conn, text, out);

	if (!status_ok(&st)) {
		mem_free(text);
		return st;
	}
	if (conn->insert_count == INSERTS_MAX)
		sqlite_forget_inserts(conn);
	struct sqlite_insert *insert = mem_alloc(sizeof(*insert));
	*insert = (struct sqlite_insert){.next = conn->inserts, .text = text, .plan = *out};
	conn->inserts = insert;
	conn->insert_count++;
	return st;
}

/* The connection's prepared INSERT of these columns. */
static struct status
insert_plan(struct store_conn *conn, const char *table, const char *const *columns, size_t column_count,
            struct sqlite_plan **out)
{
	char *text = insert_text(table, columns, column_count);

	for (struct sqlite_insert *insert = conn->inserts; insert; insert = insert->next) {
		if (strcmp(insert->text, text) != 0)
			continue;
		mem_free(text);
		*out = insert->plan;
		return status_ok_value();
	}
	return add_insert(conn, text, out);
}

struct status
sqlite_bulk(struct store_conn *conn, const char *table, const char *const *columns, size_t column_count,
            const struct store_value *values, size_t rows)
{
	struct sqlite_plan *plan;
	struct status st = insert_plan(conn, table, columns, column_count, &plan);

	if (!status_ok(&st))
		return st;
	for (size_t i = 0; status_ok(&st) && i < rows; i++) {
		st = bind_all(conn, plan, &values[i * column_count], column_count);
		if (status_ok(&st))
			st = step_through(conn, plan->stmt, NULL);
		sqlite3_reset(plan->stmt);
	}
	sqlite3_clear_bindings(plan->stmt);
	return st;
}
