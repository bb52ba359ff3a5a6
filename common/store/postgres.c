/*
 * postgres: the store in a PostgreSQL schema of the service's name.
 *
 * libpq is used without blocking, so that a server that is frozen or cut off costs a statement its
 * time-out and not its thread: the server's statement_timeout comes first, and a grace later we give
 * the connection up.
 */
#include "store/postgres_internal.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define CONNECT_MS 3000u
#define GRACE_MS   1000u
#define IDLE_MS    10000u

/* ---------------------------------------------------------------- errors */

/* SQLSTATE: the two first characters are the class; PostgreSQL's appendix A. */
/* clang-format off */
static const struct {
	const char *state; /* a prefix; the first that fits counts */
	enum status_code code;
} CODES[] = {
    {"23505", STATUS_ALREADY_EXISTS},
    {"23502", STATUS_INTERNAL},
    {"23", STATUS_FAILED_PRECONDITION},
    {"40003", STATUS_UNAVAILABLE},
    {"40", STATUS_ABORTED},
    {"55P03", STATUS_ABORTED},
    {"57014", STATUS_DEADLINE_EXCEEDED},
    {"57", STATUS_UNAVAILABLE},
    {"08", STATUS_UNAVAILABLE},
    {"25006", STATUS_UNAVAILABLE}, /* a standby: the primary moved */
    {"25P03", STATUS_UNAVAILABLE},
    {"53", STATUS_UNAVAILABLE}, /* no room, no memory: not the caller's quota */
    {"54", STATUS_INVALID_ARGUMENT},
    {"58", STATUS_UNAVAILABLE},
    {"22", STATUS_INVALID_ARGUMENT},
    {"0A000", STATUS_ABORTED}, /* a cached plan whose table was changed by a migration */
    {"26000", STATUS_ABORTED}, /* a prepared statement that a proxy has forgotten */
    {"XX001", STATUS_DATA_LOSS},
    {"XX002", STATUS_DATA_LOSS},
};
/* clang-format on */

static enum status_code
code_of(const char *state)
{
	for (size_t i = 0; state && i < sizeof(CODES) / sizeof(CODES[0]); i++) {
		if (strncmp(state, CODES[i].state, strlen(CODES[i].state)) == 0)
			return CODES[i].code;
	}
	return STATUS_INTERNAL;
}

/* libpq's messages end in a newline and may have several lines. */
static struct status
make(enum status_code code, const char *message)
{
	size_t length = strcspn(message, "\n");

	return status_make(code, "%.*s", (int)length, length ? message : "the connection was lost");
}

struct status
postgres_failed(struct store_conn *conn, const PGresult *result)
{
	const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;

	if (PQstatus(conn->handle) == CONNECTION_BAD) {
		conn->is_lost = true;
		return make(STATUS_UNAVAILABLE, message ? message : PQerrorMessage(conn->handle));
	}
	enum status_code code = code_of(state);
	if (code == STATUS_UNAVAILABLE || (state && (strcmp(state, "0A000") == 0 || strcmp(state, "26000") == 0)))
		conn->is_lost = true;
	return make(code, message ? message : PQerrorMessage(conn->handle));
}

/* ---------------------------------------------------------------- waiting */

static int
until(const struct store_conn *conn)
{
	uint64_t now = store_now_ms(conn->store), end = conn->deadline_ms + GRACE_MS;

	return now >= end ? 0 : (int)(end - now);
}

/* False when the deadline has passed. */
static bool
wait_for(const struct store_conn *conn, short events)
{
	struct pollfd fd = {.fd = PQsocket(conn->handle), .events = events};
	int ready;

	do {
		int left_ms = until(conn);
		if (left_ms == 0)
			return false;
		ready = poll(&fd, 1, left_ms);
	} while (ready < 0 && errno == EINTR);
	return ready > 0;
}

/* What may still arrive would be taken for the answer to the next statement. */
static struct status
give_up(struct store_conn *conn)
{
	conn->is_lost = true;
	return status_make(STATUS_DEADLINE_EXCEEDED, "no answer within %u ms", conn->timeout_ms + GRACE_MS);
}

struct status
postgres_flush(struct store_conn *conn)
{
	int left;

	while ((left = PQflush(conn->handle)) == 1) {
		if (!wait_for(conn, POLLIN | POLLOUT))
			return give_up(conn);
		if (!PQconsumeInput(conn->handle))
			return postgres_failed(conn, NULL);
	}
	return left == 0 ? status_ok_value() : postgres_failed(conn, NULL);
}

struct status
postgres_await(struct store_conn *conn)
{
	struct status st = postgres_flush(conn);

	while (status_ok(&st) && PQisBusy(conn->handle)) {
		if (!wait_for(conn, POLLIN))
			return give_up(conn);
		if (!PQconsumeInput(conn->handle))
			return postgres_failed(conn, NULL);
	}
	return st;
}

/* ---------------------------------------------------------------- results */

/* The server stops sending what nobody wants; the transaction can only be rolled back then. */
static void
cancel(struct store_conn *conn)
{
	char ignored[256];
	PGcancel *cancel = PQgetCancel(conn->handle);

	if (cancel)
		PQcancel(cancel, ignored, sizeof(ignored));
	PQfreeCancel(cancel);
}

/* One row at a time where libpq was told so in time, else all of them. */
static bool
read_rows(const PGresult *result, struct rows_builder *rows)
{
	bool is_read = true;

	for (int r = 0; is_read && rows && r < PQntuples(result); r++)
		is_read = postgres_read_row(result, r, rows);
	return is_read;
}

struct status
postgres_take(struct store_conn *conn, const PGresult *result, struct rows_builder *rows, int64_t *changed)
{
	switch (PQresultStatus(result)) {
	case PGRES_COMMAND_OK:
	case PGRES_TUPLES_OK:
		*changed = strtoll(PQcmdTuples((PGresult *)(uintptr_t)result), NULL, 10);
		break;
	case PGRES_SINGLE_TUPLE:
		break;
	default:
		return postgres_failed(conn, result);
	}
	if (read_rows(result, rows))
		return status_ok_value();
	cancel(conn);
	return rows_overflow(rows);
}

struct status
postgres_results(struct store_conn *conn, struct rows_builder *rows, int64_t *changed)
{
	struct status st = status_ok_value(), waited;

	*changed = 0;
	for (;;) {
		waited = postgres_await(conn);
		if (!status_ok(&waited))
			return status_ok(&st) ? waited : st;
		PGresult *result = PQgetResult(conn->handle);
		if (!result)
			return st;
		if (status_ok(&st))
			st = postgres_take(conn, result, rows, changed);
		PQclear(result);
		if (conn->is_lost)
			return st;
	}
}

struct status
postgres_script(struct store_conn *conn, const char *sql)
{
	int64_t changed;

	if (!PQsendQuery(conn->handle, sql))
		return postgres_failed(conn, NULL);
	return postgres_results(conn, NULL, &changed);
}

/* ---------------------------------------------------------------- connecting */

static PGconn *
start_connect(const struct store *store)
{
	char *name = mem_printf("corbel %s", store->service);
	/* What comes before "dbname" are defaults that the URL may change; what follows is ours. */
	const char *const keys[] = {"fallback_application_name", "tcp_user_timeout",
	                            "keepalives_idle",           "dbname",
	                            "client_encoding",           NULL};
	const char *const values[] = {name, "10000", "10", store->url, "UTF8", NULL};
	PGconn *pg = PQconnectStartParams(keys, values, 1);

	mem_free(name);
	return pg;
}

static struct status
finish_connect(struct store_conn *conn)
{
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;

	while (state != PGRES_POLLING_OK) {
		if (state == PGRES_POLLING_FAILED || PQstatus(conn->handle) == CONNECTION_BAD)
			return make(STATUS_UNAVAILABLE, PQerrorMessage(conn->handle));
		if (!wait_for(conn, state == PGRES_POLLING_READING ? POLLIN : POLLOUT))
			return status_make(STATUS_UNAVAILABLE, "no connection within %u ms", CONNECT_MS);
		state = PQconnectPoll(conn->handle);
	}
	return status_ok_value();
}

static void
ignore_notice(void *arg, const PGresult *result)
{
	(void)arg;
	(void)result;
}

/* A process that stands still within a transaction would keep all others from what it has locked: the server
 * ends the transaction, since none of ours waits for anything but the server. */
static struct status
configure(struct store_conn *conn)
{
	char *sql = mem_printf("SET search_path TO \"%s\"; SET statement_timeout = %u;"
	                       " SET idle_in_transaction_session_timeout = %u; SET bytea_output = 'hex';"
	                       " SET extra_float_digits = 1",
	                       conn->store->service, conn->store->timeout_ms, IDLE_MS);

	PQsetNoticeReceiver(conn->handle, ignore_notice, NULL);
	PQsetnonblocking(conn->handle, 1);
	struct status st = postgres_script(conn, sql);
	mem_free(sql);
	return st;
}

static struct status
open_conn(struct store_conn *conn)
{
	conn->handle = start_connect(conn->store);
	if (!conn->handle)
		return status_make(STATUS_RESOURCE_EXHAUSTED, "out of memory");
	conn->deadline_ms = store_now_ms(conn->store) + CONNECT_MS - GRACE_MS;
	struct status st = finish_connect(conn);
	conn_start_timer(conn);
	return status_ok(&st) ? configure(conn) : st;
}

static void
close_conn(struct store_conn *conn)
{
	PQfinish(conn->handle);
}

static bool
is_alive(struct store_conn *conn)
{
	struct pollfd fd = {.fd = PQsocket(conn->handle), .events = POLLIN};

	/* Nothing is awaited, so what can be read is the end, or the server's word that it ends us. */
	return poll(&fd, 1, 0) == 0;
}

/* ---------------------------------------------------------------- statements */

/* What rows it will give. */
static struct status
describe(struct store_conn *conn, struct store_statement *statement)
{
	int64_t changed;

	if (!PQsendDescribePrepared(conn->handle, statement->name))
		return postgres_failed(conn, NULL);
	struct status st = postgres_await(conn);
	if (!status_ok(&st))
		return st;
	PGresult *result = PQgetResult(conn->handle);
	statement->is_binary = PQresultStatus(result) == PGRES_COMMAND_OK && postgres_is_binary(result);
	PQclear(result);
	return postgres_results(conn, NULL, &changed);
}

static struct status
prepare(struct store_conn *conn, struct store_statement *statement, const struct store_value *params,
        size_t count)
{
	struct postgres_params as;
	int64_t changed;
	struct status st = postgres_params(&as, params, count);

	if (!status_ok(&st))
		return st;
	if (statement->is_over_sets)
		postgres_array_types(&as, count);
	if (!PQsendPrepare(conn->handle, statement->name, statement->text, (int)count, as.types))
		return postgres_failed(conn, NULL);
	st = postgres_results(conn, NULL, &changed);
	if (status_ok(&st))
		st = describe(conn, statement);
	if (status_ok(&st))
		statement->prepared = statement;
	return st;
}

/* Statements end with their connection. */
static void
unprepare(struct store_conn *conn, struct store_statement *statement)
{
	(void)conn;
	statement->prepared = NULL;
}

static struct status
run(struct store_conn *conn, struct store_statement *statement, const struct store_value *params,
    size_t count, struct rows_builder *rows, int64_t *changed)
{
	struct postgres_params as;
	struct status st = postgres_params(&as, params, count);

	if (!status_ok(&st))
		return st;
	if (conn->owes_begin)
		return postgres_begin_with(conn, statement, &as, count, rows, changed);
	if (!PQsendQueryPrepared(conn->handle, statement->name, (int)count, as.values, as.lengths, as.formats,
	                         statement->is_binary))
		return postgres_failed(conn, NULL);
	(void)PQsetSingleRowMode(conn->handle); /* saves memory, no more */
	return postgres_results(conn, rows, changed);
}

/* Statements of a migration. */
static struct status
script(struct store_conn *conn, const char *sql)
{
	struct status st = postgres_begin_owed(conn);
	return status_ok(&st) ? postgres_script(conn, sql) : st;
}

/* The lock is the transaction's, so a replica that dies gives it up. */
static struct status
migrate_lock(struct store_conn *conn)
{
	const struct store *store = conn->store;
	int64_t key =
	    (int64_t)hash_stable64(store->service, strlen(store->service), 0x636f7262656cu); /* "corbel" */
	char *sql = mem_printf("SET LOCAL statement_timeout = %u; SET LOCAL client_min_messages = warning;"
	                       " SELECT pg_advisory_xact_lock(%lld); CREATE SCHEMA IF NOT EXISTS \"%s\"",
	                       conn->timeout_ms, (long long)key, store->service);

	conn_start_timer(conn);
	struct status st = script(conn, sql);
	mem_free(sql);
	return st;
}

const struct store_driver postgres_driver = {
    .open = open_conn,
    .close = close_conn,
    .is_alive = is_alive,
    .begin = postgres_begin,
    .commit = postgres_commit,
    .rollback = postgres_rollback,
    .prepare = prepare,
    .unprepare = unprepare,
    .run = run,
    .run_each = postgres_run_each,
    .run_sets = postgres_run_sets,
    .change_sets = postgres_change_sets,
    .change_table = postgres_change_table,
    .change_column = "given.c",
    .change_which = "RETURNING given.at",
    .clustered_clause = "",
    .script = script,
    .bulk = postgres_bulk,
    .migrate_lock = migrate_lock,
    .claim_clause = "FOR UPDATE SKIP LOCKED",
    .lock_clause = "FOR NO KEY UPDATE",
    .refer_clause = "FOR KEY SHARE",
    .each_table = postgres_each_table,
};
