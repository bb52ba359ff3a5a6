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
 *
 * SQLite does not count its memory: it would take a lock of the whole process at each allocation, thousands a
 * commit. What is deleted is overwritten where that costs no page of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/monotonic.h"
#include "store/sqlite_internal.h"

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

struct status
sqlite_failed(struct store_conn *conn)
{
	int extended = sqlite3_extended_errcode(conn->handle);

	/* Another file that cannot be read or written is opened anew the next time. */
	if (code_of(extended) == STATUS_UNAVAILABLE && !is_want_of_room(extended))
		conn->is_lost = true;
	return status_make(code_of(extended), "%s", sqlite3_errmsg(conn->handle));
}

struct status
sqlite_checked(struct store_conn *conn, int rc)
{
	return rc == SQLITE_OK ? status_ok_value() : sqlite_failed(conn);
}

static struct status
script(struct store_conn *conn, const char *sql)
{
	return sqlite_checked(conn, sqlite3_exec(conn->handle, sql, NULL, NULL, NULL));
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
		st = script(conn,
		            "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY;"
		            " PRAGMA cache_size=-8192; PRAGMA wal_autocheckpoint=4000; PRAGMA secure_delete=FAST");
	sqlite3_progress_handler(conn->handle, PROGRESS_STEPS, is_overdue, conn);
	return st;
}

/* Before the first connection of the process; refused, and of no harm, when somebody else was earlier. */
static void
set_up_library(void)
{
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static struct status
open_conn(struct store_conn *conn)
{
	static pthread_once_t is_set_up = PTHREAD_ONCE_INIT;
	sqlite3 *db = NULL;

	pthread_once(&is_set_up, set_up_library);
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
	sqlite_forget_inserts(conn);
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
	struct timespec until = monotonic_in_ms(conn->timeout_ms);
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
    .prepare = sqlite_prepare,
    .unprepare = sqlite_unprepare,
    .run = sqlite_run,
    .run_each = sqlite_run_each,
    .run_sets = sqlite_run_sets,
    .script = script,
    .bulk = sqlite_bulk,
    .migrate_lock = migrate_lock,
    .claim_clause = "",
    .lock_clause = "",
    .refer_clause = "",
    .each_table = sqlite_each_table,
    .change_sets = sqlite_change_sets,
    .change_column = "$",
    .change_which = "",
    .clustered_clause = "WITHOUT ROWID",
};
