/*
 * The store on both databases: each test runs once on SQLite and once on PostgreSQL.
 */
#include <check.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store.h"
#include "support/test_dir.h"
#include "support/test_postgres.h"
#include "support/test_process.h"

enum { ON_SQLITE, ON_POSTGRES, BACKENDS };

static const struct store_migration MIGRATIONS[] = {
    {1, "items",
     "CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT UNIQUE, data BYTEA, score DOUBLE PRECISION);\n"
     "CREATE TABLE parts (id BIGINT PRIMARY KEY, item BIGINT NOT NULL REFERENCES items (id));\n",
     0},
    {2, "jobs",
     "CREATE TABLE jobs (id BIGINT PRIMARY KEY, owner BIGINT);\n"
     "CREATE INDEX jobs_owner ON jobs (owner);\n",
     0},
    {0, NULL, NULL, 0},
};

static const struct store_sql INSERT = {"item_insert",
                                        "INSERT INTO items (id, name, data, score) VALUES ($1, $2, $3, $4)"};
static const struct store_sql GET = {"item_get", "SELECT id, name, data, score FROM items WHERE id = $1"};
static const struct store_sql COUNT = {"item_count", "SELECT count(*), sum(id) FROM items"};
static const struct store_sql RENAME = {"item_rename", "UPDATE items SET name = $2 WHERE id >= $1"};
static const struct store_sql ALL = {"item_all", "SELECT id FROM items ORDER BY id"};
static const struct store_sql INSERT_PART = {"part_insert", "INSERT INTO parts (id, item) VALUES ($1, $2)"};
static const struct store_sql CLAIM = {"job_claim", "UPDATE jobs SET owner = $1 WHERE id IN (SELECT id FROM "
                                                    "jobs WHERE owner IS NULL ORDER BY id LIMIT $2 @claim@)"
                                                    " RETURNING id"};
static const struct store_sql SLOW_SQLITE = {"slow", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + "
                                                     "1 FROM n WHERE i < 1000000000) SELECT max(i) FROM n"};
static const struct store_sql SLOW_POSTGRES = {"slow", "SELECT count(*) FROM pg_sleep(60)"};

/* ---------------------------------------------------------------- fixture */

static struct test_postgres *server; /* shared: started once, before the tests fork */

struct fixture {
	struct test_dir dir;
	struct test_postgres *pg; /* this test's own, when it harms it */
	char url[160];
	char service[32];
	struct store *store;
	struct store_conn *conn;
	struct arena arena;
};

static struct store *
open_store(const struct fixture *f, const struct store_migration *migrations, uint32_t timeout_ms)
{
	struct store *store;
	struct status st = store_new(&(struct store_options){.service = f->service,
	                                                     .url = f->url,
	                                                     .connections = 6,
	                                                     .statement_timeout_ms = timeout_ms,
	                                                     .migrations = migrations},
	                             &store);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	return store;
}

static void
must(struct status st)
{
	ck_assert_msg(status_ok(&st), "%s: %s", status_code_name(st.code), st.message);
}

#define EXPECT(expression, expected)                                                                         \
	do {                                                                                                     \
		struct status got_ = (expression);                                                                   \
		ck_assert_msg(got_.code == (expected), "%s: %s", status_code_name(got_.code), got_.message);         \
	} while (0)

/* A service of its own for each test isolates tests that share the server. */
static void
prepare(struct fixture *f, int backend, bool has_own_server)
{
	*f = (struct fixture){0};
	test_dir_make(&f->dir);
	arena_init(&f->arena, 4096, 64 << 20);
	snprintf(f->service, sizeof(f->service), "test%d", getpid());
	if (backend == ON_SQLITE) {
		snprintf(f->url, sizeof(f->url), "sqlite:%s/data", f->dir.path);
	} else {
		f->pg = has_own_server ? test_postgres_start() : NULL;
		snprintf(f->url, sizeof(f->url), "%s", f->pg ? f->pg->url : server->url);
	}
}

static void
start(struct fixture *f, int backend, bool has_own_server)
{
	prepare(f, backend, has_own_server);
	f->store = open_store(f, MIGRATIONS, 1000);
	must(store_migrate(f->store));
	must(store_take(f->store, 1000, &f->conn));
}

static void
stop(struct fixture *f)
{
	if (f->conn)
		store_put(f->store, f->conn);
	store_free(f->store);
	arena_fini(&f->arena);
	if (f->pg)
		test_postgres_stop(f->pg);
	test_dir_remove(&f->dir);
}

static struct status
insert_in(struct store_tx *tx, int64_t id, const char *name)
{
	return store_exec(
	    tx, &INSERT,
	    STORE_PARAMS(store_i64(id), store_text(name), store_null(), store_double((double)id / 2)), NULL);
}

static struct status
insert(struct store_conn *conn, int64_t id, const char *name)
{
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (status_ok(&st))
		st = insert_in(&tx, id, name);
	return store_end(&tx, st);
}

static int64_t
count(struct fixture *f)
{
	struct store_rows *rows;

	must(store_read(f->conn, &COUNT, NULL, 0, 1, &f->arena, &rows));
	return row_i64(rows, 0, 0);
}

/* ---------------------------------------------------------------- statements */

START_TEST(values_come_back_as_they_were_written)
{
	static const uint8_t bytes[] = {0, 1, 0xff, '\\', 'x', 0};
	struct store_rows *rows;
	struct store_tx tx;
	struct fixture f;
	size_t size;

	start(&f, _i, false);
	must(store_begin(f.conn, &tx));
	must(store_exec(&tx, &INSERT,
	                STORE_PARAMS(store_i64(INT64_MIN), store_text("Zürich's \"10 €\"\\\t\n"),
	                             store_bytes(bytes, sizeof(bytes)), store_double(0.1)),
	                NULL));
	must(store_exec(
	    &tx, &INSERT,
	    STORE_PARAMS(store_i64(INT64_MAX), store_null(), store_bytes("", 0), store_double(-1e300)), NULL));
	must(store_end(&tx, status_ok_value()));
	must(store_read(f.conn, &GET, STORE_PARAMS(store_i64(INT64_MIN)), 5, &f.arena, &rows));
	ck_assert_uint_eq(rows_count(rows), 1);
	ck_assert(row_i64(rows, 0, 0) == INT64_MIN);
	ck_assert_str_eq(row_text(rows, 0, 1), "Zürich's \"10 €\"\\\t\n");
	ck_assert_mem_eq(row_bytes(rows, 0, 2, &size), bytes, sizeof(bytes));
	ck_assert_uint_eq(size, sizeof(bytes));
	ck_assert(row_double(rows, 0, 3) == 0.1);
	must(store_read(f.conn, &GET, STORE_PARAMS(store_i64(INT64_MAX)), 5, &f.arena, &rows));
	ck_assert(row_is_null(rows, 0, 1));
	ck_assert_ptr_null(row_text(rows, 0, 1));
	ck_assert(!row_is_null(rows, 0, 2));
	ck_assert_ptr_nonnull(row_bytes(rows, 0, 2, &size));
	ck_assert_uint_eq(size, 0);
	ck_assert(row_double(rows, 0, 3) == -1e300);
	stop(&f);
}
END_TEST

START_TEST(arithmetic_on_parameters_has_64_bits)
{
	static const struct store_sql add = {"add", "SELECT $1 + 1000"};
	struct store_rows *rows;
	struct fixture f;

	start(&f, _i, false);
	must(store_read(f.conn, &add, STORE_PARAMS(store_i64(1LL << 40)), 1, &f.arena, &rows));
	ck_assert(row_i64(rows, 0, 0) == (1LL << 40) + 1000);
	stop(&f);
}
END_TEST

START_TEST(a_sum_is_read_as_a_number)
{
	struct store_rows *rows;
	struct fixture f;

	start(&f, _i, false);
	must(insert(f.conn, 1LL << 40, NULL));
	must(insert(f.conn, 2, NULL));
	must(store_read(f.conn, &COUNT, NULL, 0, 1, &f.arena, &rows));
	ck_assert(row_i64(rows, 0, 1) == (1LL << 40) + 2);
	stop(&f);
}
END_TEST

START_TEST(changed_rows_are_counted)
{
	struct store_tx tx;
	struct fixture f;
	int64_t changed;

	start(&f, _i, false);
	for (int64_t i = 0; i < 5; i++)
		must(insert(f.conn, i, NULL));
	must(store_begin(f.conn, &tx));
	must(store_exec(&tx, &RENAME, STORE_PARAMS(store_i64(2), store_null()), &changed));
	ck_assert_int_eq(changed, 3);
	must(store_exec(&tx, &RENAME, STORE_PARAMS(store_i64(100), store_null()), &changed));
	ck_assert_int_eq(changed, 0);
	must(store_end(&tx, status_ok_value()));
	stop(&f);
}
END_TEST

START_TEST(more_rows_than_the_bound_are_refused_and_the_connection_stays_usable)
{
	struct store_rows *rows;
	struct fixture f;

	start(&f, _i, false);
	for (int64_t i = 0; i < 11; i++)
		must(insert(f.conn, i, NULL));
	EXPECT(store_read(f.conn, &ALL, NULL, 0, 10, &f.arena, &rows), STATUS_RESOURCE_EXHAUSTED);
	must(store_read(f.conn, &ALL, NULL, 0, 11, &f.arena, &rows));
	ck_assert_uint_eq(rows_count(rows), 11);
	for (size_t i = 0; i < 11; i++)
		ck_assert_int_eq(row_i64(rows, i, 0), (int64_t)i);
	stop(&f);
}
END_TEST

START_TEST(a_result_beyond_the_arenas_ceiling_is_refused)
{
	char *text = mem_alloc(200001);
	struct store_rows *rows;
	struct arena small;
	struct fixture f;

	start(&f, _i, false);
	memset(text, 'a', 200000);
	must(insert(f.conn, 1, text));
	arena_init(&small, 4096, 100000);
	EXPECT(store_read(f.conn, &GET, STORE_PARAMS(store_i64(1)), 1, &small, &rows), STATUS_RESOURCE_EXHAUSTED);
	arena_fini(&small);
	must(store_read(f.conn, &GET, STORE_PARAMS(store_i64(1)), 1, &f.arena, &rows));
	ck_assert_str_eq(row_text(rows, 0, 1), text);
	mem_free(text);
	stop(&f);
}
END_TEST

START_TEST(a_statement_beyond_its_time_is_stopped)
{
	const struct store_sql *slow = _i == ON_SQLITE ? &SLOW_SQLITE : &SLOW_POSTGRES;
	struct store_rows *rows;
	struct fixture f;

	start(&f, _i, false);
	uint64_t before = test_calm_ms();
	EXPECT(store_read(f.conn, slow, NULL, 0, 1, &f.arena, &rows), STATUS_DEADLINE_EXCEEDED);
	ck_assert_uint_lt(test_calm_ms() - before, 3000);
	ck_assert_int_eq(count(&f), 0);
	stop(&f);
}
END_TEST

/* ---------------------------------------------------------------- failures and transactions */

START_TEST(broken_constraints_have_their_own_codes)
{
	struct store_tx tx;
	struct fixture f;

	start(&f, _i, false);
	must(insert(f.conn, 1, "one"));
	EXPECT(insert(f.conn, 1, "other"), STATUS_ALREADY_EXISTS);
	EXPECT(insert(f.conn, 2, "one"), STATUS_ALREADY_EXISTS);
	must(store_begin(f.conn, &tx));
	struct status st = store_exec(&tx, &INSERT_PART, STORE_PARAMS(store_i64(1), store_i64(99)), NULL);
	EXPECT(store_end(&tx, st), STATUS_FAILED_PRECONDITION);
	ck_assert_int_eq(count(&f), 1);
	stop(&f);
}
END_TEST

START_TEST(a_failed_transaction_leaves_nothing_even_when_its_failure_is_overlooked)
{
	struct store_tx tx;
	struct fixture f;

	start(&f, _i, false);
	must(insert(f.conn, 1, NULL));
	must(store_begin(f.conn, &tx));
	must(insert_in(&tx, 2, NULL));
	EXPECT(insert_in(&tx, 1, NULL), STATUS_ALREADY_EXISTS);
	EXPECT(insert_in(&tx, 3, NULL), STATUS_ALREADY_EXISTS);
	EXPECT(store_end(&tx, status_ok_value()), STATUS_ALREADY_EXISTS);
	ck_assert_int_eq(count(&f), 1);
	stop(&f);
}
END_TEST

START_TEST(a_handlers_failure_rolls_back_and_is_returned)
{
	struct store_tx tx;
	struct fixture f;

	start(&f, _i, false);
	must(store_begin(f.conn, &tx));
	must(insert_in(&tx, 1, NULL));
	EXPECT(store_end(&tx, status_make(STATUS_NOT_FOUND, "no such plan")), STATUS_NOT_FOUND);
	ck_assert_int_eq(count(&f), 0);
	stop(&f);
}
END_TEST

/* ---- how a transaction begins ---- */

static struct status
begin_with_exec(struct store_tx *tx, struct arena *arena)
{
	(void)arena;
	return insert_in(tx, 2, NULL);
}

static struct status
begin_with_query(struct store_tx *tx, struct arena *arena)
{
	static const struct store_sql sql = {"begin_query",
	                                     "INSERT INTO items (id) SELECT id + 1 FROM items RETURNING id"};
	struct store_rows *rows;
	return store_query(tx, &sql, NULL, 0, 10, arena, &rows);
}

static struct status
begin_with_bulk(struct store_tx *tx, struct arena *arena)
{
	static const char *const columns[] = {"id"};
	(void)arena;
	return store_bulk_insert(tx, "items", columns, 1, STORE_PARAMS(store_i64(2)));
}

static struct status
begin_with_each(struct store_tx *tx, struct arena *arena)
{
	int64_t changed;
	(void)arena;
	return store_exec_each(tx, &RENAME, STORE_PARAMS(store_i64(1), store_text("renamed")), 1, &changed);
}

static struct status
begin_with_sets(struct store_tx *tx, struct arena *arena)
{
	static const struct store_sql sql = {
	    "begin_sets", "INSERT INTO items (id) SELECT c1 FROM @each@ WHERE c1 > 0 RETURNING id"};
	struct store_rows *rows;
	return store_query_each(tx, &sql, STORE_PARAMS(store_i64(2)), 1, 10, arena, &rows);
}

static struct status
begin_with_changes(struct store_tx *tx, struct arena *arena)
{
	static const struct store_sql sql = {"begin_changes",
	                                     "DELETE FROM items @using@ WHERE id = @c1@ @which@"};
	bool changed;
	(void)arena;
	return store_change_each(tx, &sql, STORE_PARAMS(store_i64(1)), 1, &changed);
}

START_TEST(a_transaction_is_one_whatever_it_begins_with)
{
	static struct status (*const kinds[])(struct store_tx * tx, struct arena * arena) = {
	    begin_with_exec, begin_with_query, begin_with_bulk,
	    begin_with_each, begin_with_sets,  begin_with_changes};
	struct store_rows *rows;
	struct store_tx tx;
	struct fixture f;

	start(&f, _i, false);
	must(insert(f.conn, 1, "first"));
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		must(store_begin(f.conn, &tx));
		must(kinds[i](&tx, &f.arena));
		EXPECT(store_end(&tx, status_make(STATUS_NOT_FOUND, "given up")), STATUS_NOT_FOUND);
		must(store_read(f.conn, &GET, STORE_PARAMS(store_i64(1)), 1, &f.arena, &rows));
		ck_assert_uint_eq(rows_count(rows), 1);
		ck_assert_str_eq(row_text(rows, 0, 1), "first");
		ck_assert_int_eq(count(&f), 1);
	}
	stop(&f);
}
END_TEST

START_TEST(a_transaction_without_statements_ends_either_way_and_leaves_the_connection_usable)
{
	struct store_tx tx;
	struct fixture f;

	start(&f, _i, false);
	must(store_begin(f.conn, &tx));
	must(store_end(&tx, status_ok_value()));
	must(store_begin(f.conn, &tx));
	EXPECT(store_end(&tx, status_make(STATUS_NOT_FOUND, "given up")), STATUS_NOT_FOUND);
	must(insert(f.conn, 1, NULL));
	must(store_begin(f.conn, &tx));
	EXPECT(insert_in(&tx, 1, NULL), STATUS_ALREADY_EXISTS);
	EXPECT(store_end(&tx, status_ok_value()), STATUS_ALREADY_EXISTS);
	must(insert(f.conn, 2, NULL));
	ck_assert_int_eq(count(&f), 2);
	stop(&f);
}
END_TEST

static struct status
add_row(void *arg, struct store_tx *tx)
{
	return insert_in(tx, *(const int64_t *)arg, NULL);
}

START_TEST(the_hook_runs_in_the_transaction_that_it_ends_with)
{
	int64_t id = 50;
	struct store_tx tx;
	struct fixture f;

	start(&f, _i, false);
	store_on_commit(f.conn, add_row, &id);
	must(insert(f.conn, 1, NULL));
	ck_assert_int_eq(count(&f), 2);
	EXPECT(insert(f.conn, 2, NULL), STATUS_ALREADY_EXISTS); /* by the hook */
	ck_assert_int_eq(count(&f), 2);
	must(store_begin(f.conn, &tx));
	EXPECT(store_end(&tx, status_make(STATUS_ABORTED, "no")), STATUS_ABORTED); /* without the hook */
	store_put(f.store, f.conn);
	must(store_take(f.store, 1000, &f.conn));
	must(insert(f.conn, 3, NULL)); /* the hook is forgotten with the connection's turn */
	ck_assert_int_eq(count(&f), 3);
	stop(&f);
}
END_TEST

START_TEST(a_pool_has_a_bound_and_waits_no_longer_than_asked)
{
	struct store_conn *conns[6], *more;
	struct fixture f;

	start(&f, _i, false);
	conns[0] = f.conn;
	for (int i = 1; i < 6; i++)
		must(store_take(f.store, 1000, &conns[i]));
	EXPECT(store_take(f.store, 0, &more), STATUS_RESOURCE_EXHAUSTED);
	EXPECT(store_take(f.store, 20, &more), STATUS_RESOURCE_EXHAUSTED);
	store_put(f.store, conns[5]);
	must(store_take(f.store, 0, &conns[5]));
	for (int i = 1; i < 6; i++)
		store_put(f.store, conns[i]);
	stop(&f);
}
END_TEST

START_TEST(a_statement_runs_for_each_set_of_parameters_and_tells_what_each_changed)
{
	enum { ROWS = 3000 };
	struct store_value *values = mem_array((size_t)ROWS * 4, sizeof(*values));
	int64_t changed[ROWS];
	struct store_tx tx;
	struct fixture f;

	start(&f, _i, false);
	for (size_t i = 0; i < ROWS; i++) {
		values[i * 4] = store_i64((int64_t)i);
		values[i * 4 + 1] = store_text(arena_printf(&f.arena, "name %zu", i));
		values[i * 4 + 2] = i % 2 ? store_null() : store_bytes("\0\\x\n", 4);
		values[i * 4 + 3] = i == 78 ? store_double(-(double)NAN) : store_null();
	}
	must(store_begin(f.conn, &tx));
	must(store_exec_each(&tx, &INSERT, values, 4, ROWS, changed));
	must(store_end(&tx, status_ok_value()));
	for (size_t i = 0; i < ROWS; i++)
		ck_assert_int_eq(changed[i], 1);
	ck_assert_int_eq(count(&f), ROWS);
	const struct store_value renames[] = {store_i64(ROWS - 1), store_text("last"), store_i64(ROWS + 5),
	                                      store_text("nobody")};
	must(store_begin(f.conn, &tx));
	must(store_exec_each(&tx, &RENAME, renames, 2, 2, changed));
	must(store_end(&tx, status_ok_value()));
	ck_assert_int_eq(changed[0], 1);
	ck_assert_int_eq(changed[1], 0);
	/* One that fails is the transaction's failure, and the connection is as good as before. */
	values[4 * 5] = store_i64(ROWS + 1);
	must(store_begin(f.conn, &tx));
	EXPECT(store_exec_each(&tx, &INSERT, values + 4 * 5, 4, 10, changed), STATUS_ALREADY_EXISTS);
	EXPECT(store_end(&tx, status_ok_value()), STATUS_ALREADY_EXISTS);
	ck_assert_int_eq(count(&f), ROWS);
	mem_free(values);
	stop(&f);
}
END_TEST

START_TEST(a_statement_runs_over_many_sets_of_parameters_at_once)
{
	static const struct store_sql over = {
	    "items_over", "UPDATE items SET score = 1 WHERE (id, name) IN (SELECT c1, c2 FROM @each@)"
	                  " RETURNING id, name"};
	enum { ROWS = 300 };
	static const char *const names[] = {"plain", "with \"quotes\"", "back\\slash", "{braces, comma}", ""};
	struct store_value values[ROWS * 2];
	struct store_rows *rows;
	struct store_tx tx;
	struct fixture f;

	start(&f, _i, false);
	must(store_begin(f.conn, &tx));
	for (int i = 0; i < ROWS; i++) {
		values[i * 2] = store_i64(i);
		values[i * 2 + 1] = store_text(arena_printf(&f.arena, "%s %d", names[i % 5], i));
		must(store_exec(&tx, &INSERT,
		                STORE_PARAMS(values[i * 2], values[i * 2 + 1], store_null(), store_null()), NULL));
	}
	values[1] = store_text("another");
	must(store_query_each(&tx, &over, values, 2, ROWS, ROWS, &f.arena, &rows));
	ck_assert_uint_eq(rows_count(rows), ROWS - 1);
	for (size_t r = 0; r < rows_count(rows); r++)
		ck_assert_str_eq(row_text(rows, r, 1), values[row_i64(rows, r, 0) * 2 + 1].value.bytes.data);
	must(store_query_each(&tx, &over, values, 2, 0, 1, &f.arena, &rows));
	ck_assert_uint_eq(rows_count(rows), 0);
	must(store_query_each(&tx, &over, values + 2, 2, 1, 1, &f.arena, &rows));
	ck_assert_uint_eq(rows_count(rows), 1);
	EXPECT(store_query_each(&tx, &over, values, 2, ROWS, ROWS / 2, &f.arena, &rows),
	       STATUS_RESOURCE_EXHAUSTED);
	EXPECT(store_end(&tx, status_ok_value()), STATUS_RESOURCE_EXHAUSTED);
	ck_assert_int_eq(count(&f), 0);
	stop(&f);
}
END_TEST

START_TEST(a_change_for_each_set_of_parameters_tells_which_rows_were_there)
{
	static const struct store_sql drop = {
	    "items_drop", "DELETE FROM items @using@ WHERE id = @c1@ AND name = @c2@ @which@"};
	static const struct store_sql score = {
	    "items_score",
	    "UPDATE items SET score = @c2@, name = name || @c3@ @from@ WHERE id = @c1@ + 0 @which@"};
	enum { ROWS = 300 };
	struct store_value values[ROWS * 2];
	bool changed[ROWS];
	struct store_tx tx;
	struct fixture f;

	start(&f, _i, false);
	must(store_begin(f.conn, &tx));
	for (int i = 0; i < ROWS; i++) {
		values[i * 2] = store_i64(i);
		values[i * 2 + 1] = store_text(arena_printf(&f.arena, "\"{%d}\\", i));
		must(store_exec(&tx, &INSERT,
		                STORE_PARAMS(values[i * 2], values[i * 2 + 1], store_null(), store_null()), NULL));
	}
	const struct store_value scores[] = {store_i64(7),   store_i64(2), store_text("!"),
	                                     store_i64(999), store_i64(2), store_text("!")};
	must(store_change_each(&tx, &score, scores, 3, 2, changed));
	ck_assert(changed[0] && !changed[1]);
	must(store_change_each(&tx, &drop, values, 2, ROWS, changed));
	for (int i = 0; i < ROWS; i++)
		ck_assert_int_eq(changed[i], i != 7);
	must(store_change_each(&tx, &drop, values, 2, 1, changed));
	ck_assert(!changed[0]);
	must(store_end(&tx, status_ok_value()));
	ck_assert_int_eq(count(&f), 1);
	stop(&f);
}
END_TEST

START_TEST(ten_thousand_rows_are_loaded_at_once)
{
	static const char *const columns[] = {"id", "name", "data", "score"};
	enum { ROWS = 10000 };
	struct store_value *values = mem_array((size_t)ROWS * 4, sizeof(*values));
	struct store_rows *rows;
	struct store_tx tx;
	struct fixture f;
	size_t size;

	start(&f, _i, false);
	for (size_t i = 0; i < ROWS; i++) {
		values[i * 4] = store_i64((int64_t)i);
		values[i * 4 + 1] = store_text(arena_printf(&f.arena, "tab\t back\\ line\n %zu", i));
		values[i * 4 + 2] = store_bytes("\0\\x\n", 4);
		values[i * 4 + 3] = i == 79 ? store_double(-39.5) : store_null();
	}
	must(store_begin(f.conn, &tx));
	must(store_bulk_insert(&tx, "items", columns, 4, values, ROWS));
	must(store_end(&tx, status_ok_value()));
	ck_assert_int_eq(count(&f), ROWS);
	must(store_read(f.conn, &GET, STORE_PARAMS(store_i64(77)), 1, &f.arena, &rows));
	ck_assert_str_eq(row_text(rows, 0, 1), "tab\t back\\ line\n 77");
	ck_assert_mem_eq(row_bytes(rows, 0, 2, &size), "\0\\x\n", 4);
	ck_assert(row_is_null(rows, 0, 3));
	must(store_read(f.conn, &GET, STORE_PARAMS(store_i64(78)), 1, &f.arena, &rows));
	ck_assert(isnan(row_double(rows, 0, 3)) || row_is_null(rows, 0, 3)); /* SQLite has no NaN */
	must(store_read(f.conn, &GET, STORE_PARAMS(store_i64(79)), 1, &f.arena, &rows));
	ck_assert_double_eq(row_double(rows, 0, 3), -39.5);
	must(store_begin(f.conn, &tx));
	EXPECT(store_end(&tx, store_bulk_insert(&tx, "items", columns, 4, values, ROWS)), STATUS_ALREADY_EXISTS);
	ck_assert_int_eq(count(&f), ROWS);
	mem_free(values);
	stop(&f);
}
END_TEST

/* ---------------------------------------------------------------- several at once */

struct claimer {
	pthread_t thread;
	struct store *store;
	int64_t number;
	int claimed[500];
};

static void *
claim_until_none(void *arg)
{
	struct claimer *self = arg;
	struct store_conn *conn;
	struct store_rows *rows;
	struct store_tx tx;
	struct arena arena;
	size_t got;

	arena_init(&arena, 4096, 1 << 20);
	must(store_take(self->store, 5000, &conn));
	do {
		must(store_begin(conn, &tx));
		must(store_query(&tx, &CLAIM, STORE_PARAMS(store_i64(self->number), store_i64(7)), 100, &arena,
		                 &rows));
		got = rows_count(rows);
		must(store_end(&tx, status_ok_value()));
		for (size_t i = 0; i < got; i++)
			self->claimed[row_i64(rows, i, 0)]++;
		arena_reset(&arena);
	} while (got > 0);
	store_put(self->store, conn);
	arena_fini(&arena);
	return NULL;
}

START_TEST(four_threads_claim_each_row_once)
{
	static const char *const columns[] = {"id"};
	struct store_value ids[500];
	struct claimer claimers[4];
	struct store_tx tx;
	struct fixture f;

	start(&f, _i, false);
	for (int i = 0; i < 500; i++)
		ids[i] = store_i64(i);
	must(store_begin(f.conn, &tx));
	must(store_bulk_insert(&tx, "jobs", columns, 1, ids, 500));
	must(store_end(&tx, status_ok_value()));
	for (int i = 0; i < 4; i++) {
		claimers[i] = (struct claimer){.store = f.store, .number = i};
		pthread_create(&claimers[i].thread, NULL, claim_until_none, &claimers[i]);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(claimers[i].thread, NULL);
	for (int row = 0; row < 500; row++) {
		int times = 0;
		for (int i = 0; i < 4; i++)
			times += claimers[i].claimed[row];
		ck_assert_int_eq(times, 1);
	}
	stop(&f);
}
END_TEST

START_TEST(eight_processes_that_start_together_migrate_once)
{
	struct fixture f;
	pid_t pids[8];
	int gate[2], status;

	prepare(&f, _i, false);
	ck_assert_int_eq(pipe(gate), 0);
	for (int i = 0; i < 8; i++) {
		pids[i] = fork();
		if (pids[i] != 0)
			continue;
		char go;
		close(gate[1]);
		ssize_t ended = read(gate[0], &go, 1); /* the end of the pipe opens the gate */
		struct store *store = open_store(&f, MIGRATIONS, 5000);
		struct status st = store_migrate(store);
		if (!status_ok(&st))
			fprintf(stderr, "%s\n", st.message);
		store_free(store);
		_exit(ended == 0 && status_ok(&st) ? 0 : 1);
	}
	close(gate[1]);
	close(gate[0]);
	for (int i = 0; i < 8; i++) {
		waitpid(pids[i], &status, 0);
		ck_assert_int_eq(status, 0);
	}
	f.store = open_store(&f, MIGRATIONS, 1000);
	must(store_take(f.store, 1000, &f.conn));
	must(insert(f.conn, 1, NULL));
	stop(&f);
}
END_TEST

START_TEST(a_migration_that_fails_leaves_nothing_and_names_itself)
{
	static const struct store_migration broken[] = {
	    {1, "items",
	     "CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT, data BYTEA, score DOUBLE PRECISION);\n", 0},
	    {2, "broken", "CREATE TABLE half (id BIGINT);\nCREATE TABLE items (id BIGINT);\n", 0},
	    {0, NULL, NULL, 0},
	};
	static const struct store_migration mended[] = {
	    {1, "items", "", 0}, {2, "mended", "CREATE TABLE half (id BIGINT);\n", 0}, {0, NULL, NULL, 0}};
	struct fixture f;

	prepare(&f, _i, false);
	f.store = open_store(&f, broken, 1000);
	struct status st = store_migrate(f.store);
	ck_assert_ptr_nonnull(strstr(st.message, "migration 2 broken"));
	store_free(f.store);
	f.store = open_store(&f, mended, 1000);
	must(store_migrate(f.store));
	stop(&f);
}
END_TEST

/* What a program that knows so many of the versions says to a schema at version 4, of which the third and the
 * fourth took something away that programs need. */
static struct status
migrated_by(const struct fixture *f, int known)
{
	static const struct store_migration all[] = {{1, "one", "CREATE TABLE one (id BIGINT);\n", 0},
	                                             {2, "two", "CREATE TABLE two (id BIGINT);\n", 0},
	                                             {3, "three", "DROP TABLE two;\n", 3},
	                                             {4, "four", "DROP TABLE one;\n", 2},
	                                             {0, NULL, NULL, 0}};
	struct store_migration migrations[5] = {{0}};

	for (int i = 0; i < known; i++)
		migrations[i] = all[i];
	struct store *store = open_store(f, migrations, 1000);
	struct status st = store_migrate(store);
	store_free(store);
	return st;
}

START_TEST(a_schema_newer_than_the_program_is_used_unless_it_needs_a_newer_one)
{
	struct fixture f;

	prepare(&f, _i, false);
	must(migrated_by(&f, 2));
	must(migrated_by(&f, 1));
	must(migrated_by(&f, 4));
	must(migrated_by(&f, 3));
	struct status st = migrated_by(&f, 2);
	ck_assert_int_eq(st.code, STATUS_FAILED_PRECONDITION);
	ck_assert_ptr_nonnull(strstr(st.message, "at version 4 and needs programs that know version 3"));
	stop(&f);
}
END_TEST

/* ---------------------------------------------------------------- what is killed */

/* Writes rows for ever and reports each that was acknowledged. */
static void
write_and_report(const struct fixture *f, int fd)
{
	struct store *store = open_store(f, MIGRATIONS, 5000);
	struct store_conn *conn;

	must(store_take(store, 1000, &conn));
	for (int64_t i = 0;; i++) {
		must(insert(conn, i, NULL));
		if (write(fd, &i, sizeof(i)) != (ssize_t)sizeof(i))
			_exit(1);
	}
}

START_TEST(a_writer_that_is_killed_loses_nothing_that_was_acknowledged)
{
	struct fixture f;
	int reports[2];
	int64_t last = -1;

	start(&f, _i, false);
	ck_assert_int_eq(pipe(reports), 0);
	pid_t writer = fork();
	if (writer == 0)
		write_and_report(&f, reports[1]);
	close(reports[1]);
	while (last < 100)
		ck_assert_int_eq(read(reports[0], &last, sizeof(last)), (int)sizeof(last));
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	while (read(reports[0], &last, sizeof(last)) == (int)sizeof(last))
		continue;
	int64_t there = count(&f);
	ck_assert_msg(there == last + 1 || there == last + 2, "%lld rows, %lld acknowledged", (long long)there,
	              (long long)last + 1);
	must(insert(f.conn, 1000000, NULL));
	stop(&f);
}
END_TEST

static void
wait_until_it_works(struct fixture *f, int64_t id)
{
	struct status st;
	uint64_t deadline = test_now_ms() + 5000;

	do {
		ck_assert_uint_lt(test_now_ms(), deadline);
		st = store_take(f->store, 100, &f->conn);
		if (status_ok(&st))
			st = insert(f->conn, id, NULL);
		if (!status_ok(&st) && f->conn) {
			store_put(f->store, f->conn);
			f->conn = NULL;
		}
		test_pause();
	} while (!status_ok(&st));
}

START_TEST(a_database_killed_in_a_transaction_is_used_again_when_it_is_back)
{
	struct store_tx tx;
	struct fixture f;

	start(&f, ON_POSTGRES, true);
	must(insert(f.conn, 1, NULL));
	must(store_begin(f.conn, &tx));
	must(insert_in(&tx, 2, NULL));
	test_postgres_kill(f.pg);
	EXPECT(insert_in(&tx, 3, NULL), STATUS_UNAVAILABLE);
	EXPECT(store_end(&tx, status_ok_value()), STATUS_UNAVAILABLE);
	EXPECT(insert(f.conn, 4, NULL), STATUS_UNAVAILABLE);
	EXPECT(store_ping(f.store), STATUS_UNAVAILABLE);
	store_put(f.store, f.conn);
	f.conn = NULL;
	test_postgres_restart(f.pg);
	wait_until_it_works(&f, 5);
	must(store_ping(f.store));
	ck_assert_int_eq(count(&f), 2);
	stop(&f);
}
END_TEST

START_TEST(a_commit_whose_answer_is_lost_has_an_unknown_outcome)
{
	struct store_tx tx;
	struct fixture f;

	start(&f, ON_POSTGRES, true);
	must(store_begin(f.conn, &tx));
	must(insert_in(&tx, 2, NULL));
	test_postgres_kill(f.pg);
	struct status st = store_end(&tx, status_ok_value());
	ck_assert_int_eq(st.code, STATUS_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(st.message, "outcome unknown"));
	stop(&f);
}
END_TEST

START_TEST(idle_connections_survive_a_restart_of_the_database_unnoticed)
{
	struct fixture f;

	start(&f, ON_POSTGRES, true);
	must(insert(f.conn, 1, NULL));
	store_put(f.store, f.conn);
	test_postgres_shut_down(f.pg);
	test_postgres_restart(f.pg);
	must(store_take(f.store, 100, &f.conn));
	must(insert(f.conn, 2, NULL));
	ck_assert_int_eq(count(&f), 2);
	stop(&f);
}
END_TEST

START_TEST(a_frozen_database_costs_a_statement_its_time_and_no_more)
{
	struct store_rows *rows;
	struct fixture f;

	start(&f, ON_POSTGRES, true);
	test_postgres_freeze(f.pg);
	uint64_t before = test_calm_ms();
	EXPECT(store_read(f.conn, &COUNT, NULL, 0, 1, &f.arena, &rows), STATUS_DEADLINE_EXCEEDED);
	ck_assert_uint_lt(test_calm_ms() - before, 3500);
	store_put(f.store, f.conn);
	f.conn = NULL;
	test_postgres_thaw(f.pg);
	wait_until_it_works(&f, 1);
	stop(&f);
}
END_TEST

START_TEST(a_database_that_is_absent_is_told_at_once_and_costs_no_waiting)
{
	struct store_conn *conn;
	struct fixture f;

	prepare(&f, ON_SQLITE, false);
	snprintf(f.url, sizeof(f.url), "postgresql://corbel@127.0.0.1:%u/postgres", test_free_port());
	f.store = open_store(&f, MIGRATIONS, 1000);
	uint64_t before = test_calm_ms();
	for (int i = 0; i < 100; i++)
		EXPECT(store_take(f.store, 1000, &conn), STATUS_UNAVAILABLE);
	EXPECT(store_migrate(f.store), STATUS_UNAVAILABLE);
	ck_assert_uint_lt(test_calm_ms() - before, 1000);
	stop(&f);
}
END_TEST

START_TEST(an_address_of_no_known_kind_is_refused)
{
	struct store *store;

	EXPECT(store_new(&(struct store_options){.service = "x", .url = "mysql://h/db"}, &store),
	       STATUS_INVALID_ARGUMENT);
	ck_assert_ptr_null(store);
}
END_TEST

static void
add_on_both(TCase *tests)
{
	tcase_add_loop_test(tests, values_come_back_as_they_were_written, 0, BACKENDS);
	tcase_add_loop_test(tests, arithmetic_on_parameters_has_64_bits, 0, BACKENDS);
	tcase_add_loop_test(tests, a_sum_is_read_as_a_number, 0, BACKENDS);
	tcase_add_loop_test(tests, changed_rows_are_counted, 0, BACKENDS);
	tcase_add_loop_test(tests, more_rows_than_the_bound_are_refused_and_the_connection_stays_usable, 0,
	                    BACKENDS);
	tcase_add_loop_test(tests, a_result_beyond_the_arenas_ceiling_is_refused, 0, BACKENDS);
	tcase_add_loop_test(tests, a_statement_beyond_its_time_is_stopped, 0, BACKENDS);
	tcase_add_loop_test(tests, broken_constraints_have_their_own_codes, 0, BACKENDS);
	tcase_add_loop_test(tests, a_failed_transaction_leaves_nothing_even_when_its_failure_is_overlooked, 0,
	                    BACKENDS);
	tcase_add_loop_test(tests, a_handlers_failure_rolls_back_and_is_returned, 0, BACKENDS);
	tcase_add_loop_test(tests, a_transaction_is_one_whatever_it_begins_with, 0, BACKENDS);
	tcase_add_loop_test(tests,
	                    a_transaction_without_statements_ends_either_way_and_leaves_the_connection_usable, 0,
	                    BACKENDS);
	tcase_add_loop_test(tests, the_hook_runs_in_the_transaction_that_it_ends_with, 0, BACKENDS);
	tcase_add_loop_test(tests, a_pool_has_a_bound_and_waits_no_longer_than_asked, 0, BACKENDS);
	tcase_add_loop_test(tests, a_statement_runs_for_each_set_of_parameters_and_tells_what_each_changed, 0,
	                    BACKENDS);
	tcase_add_loop_test(tests, a_statement_runs_over_many_sets_of_parameters_at_once, 0, BACKENDS);
	tcase_add_loop_test(tests, a_change_for_each_set_of_parameters_tells_which_rows_were_there, 0, BACKENDS);
	tcase_add_loop_test(tests, ten_thousand_rows_are_loaded_at_once, 0, BACKENDS);
	tcase_add_loop_test(tests, four_threads_claim_each_row_once, 0, BACKENDS);
	tcase_add_loop_test(tests, eight_processes_that_start_together_migrate_once, 0, BACKENDS);
	tcase_add_loop_test(tests, a_migration_that_fails_leaves_nothing_and_names_itself, 0, BACKENDS);
	tcase_add_loop_test(tests, a_schema_newer_than_the_program_is_used_unless_it_needs_a_newer_one, 0,
	                    BACKENDS);
	tcase_add_loop_test(tests, a_writer_that_is_killed_loses_nothing_that_was_acknowledged, 0, BACKENDS);
}

int
main(void)
{
	Suite *suite = suite_create("store");
	TCase *tests = tcase_create("both"), *away = tcase_create("away");
	SRunner *runner = srunner_create(suite);

	server = test_postgres_start();
	tcase_set_timeout(tests, 60);
	tcase_set_timeout(away, 60);
	add_on_both(tests);
	tcase_add_test(away, a_database_killed_in_a_transaction_is_used_again_when_it_is_back);
	tcase_add_test(away, a_commit_whose_answer_is_lost_has_an_unknown_outcome);
	tcase_add_test(away, idle_connections_survive_a_restart_of_the_database_unnoticed);
	tcase_add_test(away, a_frozen_database_costs_a_statement_its_time_and_no_more);
	tcase_add_test(away, a_database_that_is_absent_is_told_at_once_and_costs_no_waiting);
	tcase_add_test(away, an_address_of_no_known_kind_is_refused);
	suite_add_tcase(suite, tests);
	suite_add_tcase(suite, away);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	test_postgres_stop(server);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
