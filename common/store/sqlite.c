/*
 * sqlite: the store in one file, DIRECTORY/SERVICE.db, for the one-process size.
 *
 * WAL lets readers go on beside the one writer; synchronous=FULL makes a commit durable before it is
 * acknowledged. Writers of this process wait for their turn at a condition, in order to be woken at
 * once: SQLite itself polls with growing pauses. Between processes its busy handler decides.
 *
 * A statement that overruns its time is interrupted from the progress handler.
 *
 * 8 MiB of pages are kept by a connection, and up to 16 MiB in the WAL before they move to the file: pages at
 * the end of indexes are written thousands of times a second by a busy service, and move once for all of
 * these.
 */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store_internal.h"

#define PROGRESS_STEPS 20000 /* about a millisecond of work */
#define BUSY_MS_MAX    3600000u

/* ---------------------------------------------------------------- errors */

static enum status_code
constraint_code(int extended)
{
	switch (extended) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
		return STATUS_ALREADY_EXISTS;
	case SQLITE_CONSTRAINT_NOTNULL:
		return STATUS_INTERNAL;
	default:
		return STATUS_FAILED_PRECONDITION;
	}
}

static enum status_code
code_of(int extended)
{
	switch (extended & 0xff) {
	case SQLITE_CONSTRAINT:
		return constraint_code(extended);
	case SQLITE_BUSY:
		return extended == SQLITE_BUSY_SNAPSHOT ? STATUS_ABORTED : STATUS_DEADLINE_EXCEEDED;
	case SQLITE_LOCKED:
		return STATUS_ABORTED;
	case SQLITE_INTERRUPT:
		return STATUS_DEADLINE_EXCEEDED;
	case SQLITE_FULL: /* not the caller's quota: it may try again once there is room */
	case SQLITE_NOMEM:
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
	case SQLITE_PROTOCOL:
		return STATUS_UNAVAILABLE;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return STATUS_DATA_LOSS;
	case SQLITE_TOOBIG:
	case SQLITE_MISMATCH:
	case SQLITE_RANGE:
		return STATUS_INVALID_ARGUMENT;
	default:
		return STATUS_INTERNAL;
	}
}

/* What was not written is rolled back, and the connection is as good as before. A new one could not be opened
 * while there is no room, and reading has to go on. */
static bool
is_want_of_room(int extended)
{
	return (extended & 0xff) == SQLITE_FULL || extended == SQLITE_IOERR_WRITE;
}

static struct status
failed(struct store_conn *conn)
{
	int extended = sqlite3_extended_errcode(conn->handle);

	/* Another file that cannot be read or written is opened anew the next time. */
	if (code_of(extended) == STATUS_UNAVAILABLE && !is_want_of_room(extended))
		conn->is_lost = true;
	return status_make(code_of(extended), "%s", sqlite3_errmsg(conn->handle));
}

static struct status
checked(struct store_conn *conn, int rc)
{
	return rc == SQLITE_OK ? status_ok_value() : failed(conn);
}

static struct status
script(struct store_conn *conn, const char *sql)
{
	return checked(conn, sqlite3_exec(conn->handle, sql, NULL, NULL, NULL));
}

/* ---------------------------------------------------------------- opening */

static int
is_overdue(void *arg)
{
	const struct store_conn *conn = arg;
	return store_now_ms(conn->store) > conn->deadline_ms;
}

/* Made by us, so that it and the files beside it, which take its mode, are for nobody else to read. */
static struct status
make_file(const struct store *store, const char *path)
{
	int fd;

	if (mkdir(store->url, 0700) != 0 && errno != EEXIST)
		return status_make(STATUS_UNAVAILABLE, "%s: %s", store->url, strerror(errno));
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return status_make(STATUS_UNAVAILABLE, "%s: %s", path, strerror(errno));
	close(fd);
	return status_ok_value();
}

/* Several processes may turn a new file to WAL at the same time; that step knows no busy handler. */
static struct status
enter_wal(struct store_conn *conn)
{
	struct status st;

	for (;;) {
		st = script(conn, "PRAGMA journal_mode=WAL");
		if (st.code != STATUS_DEADLINE_EXCEEDED || is_overdue(conn))
			return st;
		sqlite3_sleep(2);
	}
}

static struct status
configure(struct store_conn *conn)
{
	sqlite3_extended_result_codes(conn->handle, 1);
	sqlite3_busy_timeout(conn->handle, (int)conn->timeout_ms);
	struct status st = enter_wal(conn);
	if (status_ok(&st))
		st = script(conn, "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY;"
		                  " PRAGMA cache_size=-8192; PRAGMA wal_autocheckpoint=4000");
	sqlite3_progress_handler(conn->handle, PROGRESS_STEPS, is_overdue, conn);
	return st;
}

static struct status
open_conn(struct store_conn *conn)
{
	sqlite3 *db = NULL;
	char *path = mem_printf("%s/%s.db", conn->store->url, conn->store->service);
	struct status st = make_file(conn->store, path);

	if (status_ok(&st)) {
		int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
		conn->handle = db;
		conn_start_timer(conn);
		st = rc == SQLITE_OK
		         ? configure(conn)
		         : status_make(STATUS_UNAVAILABLE, "%s", db ? sqlite3_errmsg(db) : "out of memory");
		st = status_wrap(st, "%s", path);
	}
	mem_free(path);
	return st;
}

static void
close_conn(struct store_conn *conn)
{
	sqlite3_close_v2(conn->handle);
}

static bool
is_alive(struct store_conn *conn)
{
	(void)conn;
	return true;
}

/* ---------------------------------------------------------------- transactions */

static bool
writer_enter(struct store_conn *conn)
{
	struct store *store = conn->store;
	struct timespec until = store_in_ms(conn->timeout_ms);
	bool is_entered;

	pthread_mutex_lock(&store->lock);
	while (store->is_writing) {
		if (pthread_cond_timedwait(&store->write_done, &store->lock, &until) != 0)
			break;
	}
	is_entered = !store->is_writing;
	store->is_writing = true;
	pthread_mutex_unlock(&store->lock);
	return is_entered;
}

static void
writer_leave(struct store_conn *conn)
{
	struct store *store = conn->store;

	pthread_mutex_lock(&store->lock);
	store->is_writing = false;
	pthread_cond_signal(&store->write_done);
	pthread_mutex_unlock(&store->lock);
}

static struct status
begin(struct store_conn *conn)
{
	if (!writer_enter(conn))
		return status_make(STATUS_DEADLINE_EXCEEDED, "another transaction writes for more than %u ms",
		                   conn->timeout_ms);
	sqlite3_busy_timeout(conn->handle,
	                     (int)(conn->timeout_ms < BUSY_MS_MAX ? conn->timeout_ms : BUSY_MS_MAX));
	struct status st = script(conn, "BEGIN IMMEDIATE");
	if (!status_ok(&st))
		writer_leave(conn);
	return st;
}

static void
rollback(struct store_conn *conn)
{
	conn_start_timer(conn);
	/* Some failures (a full disk) have rolled back by themselves. */
	if (!sqlite3_get_autocommit(conn->handle) &&
	    sqlite3_exec(conn->handle, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
		conn->is_lost = true;
	if (conn->is_lost)
		conn_close(conn); /* gives up the lock on the file before another writer's turn */
	writer_leave(conn);
}

static struct status
commit(struct store_conn *conn)
{
	struct status st = script(conn, "COMMIT");

	if (status_ok(&st)) {
		writer_leave(conn);
		return st;
	}
	/* The commit record may have reached the disk although its flush failed. */
	if (st.code == STATUS_UNAVAILABLE)
		st = status_wrap(st, "outcome unknown");
	rollback(conn);
	return st;
}

/* ---------------------------------------------------------------- statements */

static struct status
prepare_text(struct store_conn *conn, const char *text, sqlite3_stmt **out)
{
	return checked(conn, sqlite3_prepare_v3(conn->handle, text, -1, SQLITE_PREPARE_PERSISTENT, out, NULL));
}

static struct status
prepare(struct store_conn *conn, struct store_statement *statement, const struct store_value *params,
        size_t count)
{
	sqlite3_stmt *prepared = NULL;

	(void)params;
	(void)count;
	struct status st = prepare_text(conn, statement->text, &prepared);
	statement->prepared = prepared;
	return st;
}

static void
unprepare(struct store_conn *conn, struct store_statement *statement)
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
			return failed(conn);
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
	return rc == SQLITE_DONE ? status_ok_value() : failed(conn);
}

static struct status
run(struct store_conn *conn, struct store_statement *statement, const struct store_value *params,
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

static struct status
run_each(struct store_conn *conn, struct store_statement *statement, const struct store_value *params,
         size_t count, size_t times, int64_t *changed)
{
	struct status st = status_ok_value();

	for (size_t i = 0; i < times && status_ok(&st); i++)
		st = run(conn, statement, params + i * count, count, NULL, &changed[i]);
	return st;
}

static struct status
run_sets(struct store_conn *conn, struct store_statement *statement, const struct store_value *params,
         size_t count, size_t sets, struct rows_builder *rows)
{
	struct status st = status_ok_value();
	int64_t changed;

	for (size_t i = 0; i < sets && status_ok(&st); i++)
		st = run(conn, statement, params + i * count, count, rows, &changed);
	return st;
}

static void
each_table(struct strbuf *out, size_t count)
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

static struct status
bulk(struct store_conn *conn, const char *table, const char *const *columns, size_t column_count,
     const struct store_value *values, size_t rows)
{
	sqlite3_stmt *stmt = NULL;
	char *text = insert_text(table, columns, column_count);
	struct status st = prepare_text(conn, text, &stmt);

	for (size_t i = 0; status_ok(&st) && i < rows; i++) {
		for (size_t c = 0; c < column_count && status_ok(&st); c++)
			st = checked(conn, bind_one(stmt, (int)c + 1, &values[i * column_count + c]));
		if (status_ok(&st))
			st = step_through(conn, stmt, NULL);
		sqlite3_reset(stmt);
	}
	sqlite3_finalize(stmt);
	mem_free(text);
	return st;
}

/* BEGIN IMMEDIATE has locked the file already. */
static struct status
migrate_lock(struct store_conn *conn)
{
	(void)conn;
	return status_ok_value();
}

const struct store_driver sqlite_driver = {
    .open = open_conn,
    .close = close_conn,
    .is_alive = is_alive,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .prepare = prepare,
    .unprepare = unprepare,
    .run = run,
    .run_each = run_each,
    .run_sets = run_sets,
    .script = script,
    .bulk = bulk,
    .migrate_lock = migrate_lock,
    .claim_clause = "",
    .lock_clause = "",
    .refer_clause = "",
    .each_table = each_table,
};
