/*
 * insert_load: rows a second into the table of events by bare INSERT, for events_bench.sh.
 *
 *   insert_load FILE.db|postgresql://... GROUP ROWS
 *
 * Takes rows that webhookd has recorded there and inserts them into an empty table with the same columns and
 * indexes beside it, GROUP rows a commit, each commit awaited: SQLite with the pragmas of common/store,
 * PostgreSQL by libpq's pipeline. Prints rows a second and its own processor time for a row in microseconds.
 */
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

#define COLUMNS 8

static void
must(bool is_so, const char *what, const char *why)
{
	if (is_so)
		return;
	fprintf(stderr, "insert_load: %s: %s\n", what, why);
	exit(1);
}

static double
cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

struct stopwatch {
	uint64_t wall_ns;
	double cpu_us;
};

static struct stopwatch
look(void)
{
	return (struct stopwatch){clock_mono_ns(clock_system()), cpu_us()};
}

static void
report(size_t rows, struct stopwatch start)
{
	struct stopwatch end = look();
	printf("%.0f %.1f\n", (double)rows * 1e9 / (double)(end.wall_ns - start.wall_ns),
	       (end.cpu_us - start.cpu_us) / (double)rows);
}

/* ---- SQLite ---- */

static void
run(sqlite3 *db, const char *sql)
{
	must(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sql, sqlite3_errmsg(db));
}

static sqlite3_stmt *
prepared(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement;
	must(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK, sql, sqlite3_errmsg(db));
	return statement;
}

static sqlite3 *
open_like(const char *path, sqlite3 *source)
{
	sqlite3 *db;

	must(sqlite3_open(path, &db) == SQLITE_OK, path, "cannot be opened");
	run(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;"
	        " PRAGMA cache_size=-8192; PRAGMA wal_autocheckpoint=4000");
	sqlite3_stmt *parts = prepared(
	    source,
	    "SELECT sql FROM sqlite_master WHERE tbl_name = 'events' AND sql IS NOT NULL ORDER BY rootpage");
	while (sqlite3_step(parts) == SQLITE_ROW)
		run(db, (const char *)sqlite3_column_text(parts, 0));
	sqlite3_finalize(parts);
	return db;
}

static void
insert_sqlite(const char *path, size_t group, size_t most)
{
	char *bare = sqlite3_mprintf("%s.bare", path), *shared = sqlite3_mprintf("%s-wal", bare);
	sqlite3 *source;
	size_t count = 0;

	(void)unlink(bare);
	(void)unlink(shared);
	must(sqlite3_open_v2(path, &source, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK, path, "cannot be opened");
	sqlite3 *db = open_like(bare, source);
	sqlite3_value **rows = calloc(most * COLUMNS, sizeof(sqlite3_value *));
	sqlite3_stmt *all = prepared(source, "SELECT * FROM events ORDER BY tenant_id, sequence LIMIT ?1");
	sqlite3_bind_int64(all, 1, (sqlite3_int64)most);
	for (; count < most && sqlite3_step(all) == SQLITE_ROW; count++)
		for (int c = 0; c < COLUMNS; c++)
			rows[count * COLUMNS + (size_t)c] = sqlite3_value_dup(sqlite3_column_value(all, c));
	sqlite3_finalize(all);
	sqlite3_stmt *insert = prepared(db, "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
	sqlite3_stmt *begin = prepared(db, "BEGIN IMMEDIATE"), *commit = prepared(db, "COMMIT");
	struct stopwatch start = look();
	for (size_t i = 0; i < count; i++) {
		if (i % group == 0) {
			must(sqlite3_step(begin) == SQLITE_DONE, "BEGIN", sqlite3_errmsg(db));
			sqlite3_reset(begin);
		}
		for (int c = 0; c < COLUMNS; c++)
			sqlite3_bind_value(insert, c + 1, rows[i * COLUMNS + (size_t)c]);
		must(sqlite3_step(insert) == SQLITE_DONE, "INSERT", sqlite3_errmsg(db));
		sqlite3_reset(insert);
		if ((i + 1) % group == 0 || i + 1 == count) {
			must(sqlite3_step(commit) == SQLITE_DONE, "COMMIT", sqlite3_errmsg(db));
			sqlite3_reset(commit);
		}
	}
	report(count, start);
	for (size_t i = 0; i < count * COLUMNS; i++)
		sqlite3_value_free(rows[i]);
	free(rows);
}

/* ---- PostgreSQL ---- */

static PGresult *
result_of(PGconn *db, PGresult *result, ExecStatusType expected)
{
	must(PQresultStatus(result) == expected, "PostgreSQL", PQerrorMessage(db));
	return result;
}

static void
script(PGconn *db, const char *sql)
{
	PQclear(result_of(db, PQexec(db, sql), PGRES_COMMAND_OK));
}

static void
send_row(PGconn *db, const PGresult *rows, int row)
{
	const char *values[COLUMNS];
	int lengths[COLUMNS], formats[COLUMNS];

	for (int c = 0; c < COLUMNS; c++) {
		values[c] = PQgetisnull(rows, row, c) ? NULL : PQgetvalue(rows, row, c);
		lengths[c] = PQgetlength(rows, row, c);
		formats[c] = 1;
	}
	must(PQsendQueryPrepared(db, "insert", COLUMNS, values, lengths, formats, 0) == 1, "INSERT",
	     PQerrorMessage(db));
}

/* Everything up to the synchronisation behind the commit. */
static void
take_results(PGconn *db)
{
	for (;;) {
		PGresult *result = PQgetResult(db);
		if (!result)
			continue;
		ExecStatusType status = PQresultStatus(result);
		PQclear(result);
		if (status == PGRES_PIPELINE_SYNC)
			return;
		must(status == PGRES_COMMAND_OK, "pipeline", PQerrorMessage(db));
	}
}

static void
insert_postgres(const char *url, size_t group, size_t most)
{
	PGconn *db = PQconnectdb(url);
	char limit[32];
	const char *const params[] = {limit};

	must(PQstatus(db) == CONNECTION_OK, url, PQerrorMessage(db));
	script(db, "DROP SCHEMA IF EXISTS bare CASCADE");
	script(db, "CREATE SCHEMA bare");
	script(db, "CREATE TABLE bare.events (LIKE webhookd.events INCLUDING ALL)");
	snprintf(limit, sizeof(limit), "%zu", most);
	PGresult *rows = result_of(db,
	                           PQexecParams(db,
	                                        "SELECT * FROM webhookd.events ORDER BY tenant_id, sequence"
	                                        " LIMIT $1::bigint",
	                                        1, NULL, params, NULL, NULL, 1),
	                           PGRES_TUPLES_OK);
	PQclear(result_of(
	    db,
	    PQprepare(db, "insert", "INSERT INTO bare.events VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", 0, NULL),
	    PGRES_COMMAND_OK));
	PQclear(result_of(db, PQprepare(db, "begin", "BEGIN", 0, NULL), PGRES_COMMAND_OK));
	PQclear(result_of(db, PQprepare(db, "commit", "COMMIT", 0, NULL), PGRES_COMMAND_OK));
	must(PQenterPipelineMode(db) == 1, "pipeline", PQerrorMessage(db));
	int count = PQntuples(rows);
	struct stopwatch start = look();
	for (int i = 0; i < count; i++) {
		if ((size_t)i % group == 0)
			PQsendQueryPrepared(db, "begin", 0, NULL, NULL, NULL, 0);
		send_row(db, rows, i);
		if (((size_t)i + 1) % group == 0 || i + 1 == count) {
			PQsendQueryPrepared(db, "commit", 0, NULL, NULL, NULL, 0);
			PQpipelineSync(db);
			take_results(db);
		}
	}
	report((size_t)count, start);
}

int
main(int argc, char **argv)
{
	uint64_t group, rows;

	must(argc == 4 && text_to_u64(argv[2], strlen(argv[2]), &group) && group > 0 &&
	         text_to_u64(argv[3], strlen(argv[3]), &rows),
	     "usage", "insert_load FILE.db|URL GROUP ROWS");
	if (strncmp(argv[1], "postgresql:", 11) == 0)
		insert_postgres(argv[1], group, rows);
	else
		insert_sqlite(argv[1], group, rows);
	return 0;
}
