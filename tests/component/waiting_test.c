/*
 * waiting: deliveries of a database that was made before there was a table of what waits, and what is given
 * up, skipped, sent again and deleted, on both databases.
 */
#include <check.h>
#include <stdlib.h>

#include "support/test_dir.h"
#include "support/test_postgres.h"
#include "webhookd/waiting.h"

extern const struct store_migration webhookd_migrations[];

enum { BEFORE = 5 }; /* migrations */

static const struct store_sql ADD_ENDPOINT = {
    "test_endpoint",
    "INSERT INTO endpoints (id, tenant_id, disabled, next_at, owner, owner_token, owner_until,"
    " secret, version, message) VALUES ('ep_1', 'ten_1', 0, 0, '', 0, 0, $1, 1, $1)"};
/* $1 of them, in state $2 after $3 attempts. */
static const struct store_sql ADD_OLD = {
    "test_old",
    "INSERT INTO deliveries (id, tenant_id, endpoint_id, sequence, event_id, event_type, state, attempts,"
    " tries, due_at, created_at, finished_at, leased_at, order_key) VALUES ($1, 'ten_1', 'ep_1', $4, $1,"
    " 'a.b', $2, $3, $3, 500, 100, $5, NULL, 7)"};
static const struct store_sql ADD_ATTEMPT = {
    "test_attempt",
    "INSERT INTO attempts (delivery_id, number, endpoint_id, started_at, latency_ms, succeeded,"
    " message) VALUES ($1, $2, 'ep_1', 200, 34, 1, $3)"};
static const struct store_sql STATES = {
    "test_states",
    "SELECT id, state, attempts, tries, due_at, finished_at, order_key FROM delivery_states ORDER BY id"};
static const struct store_sql ATTEMPTS = {"test_attempts", "SELECT COUNT(*) FROM attempts"};

static struct test_dir dir;
static struct test_postgres *postgres;
static struct store *store;
static struct store_conn *conn;
static struct arena arena;
static struct store_tx tx;

static void
must(struct status st)
{
	ck_assert_msg(status_ok(&st), "%s: %s", status_code_name(st.code), st.message);
}

static void
open_with(const struct store_migration *migrations)
{
	const char *url = postgres ? postgres->url : arena_printf(&arena, "sqlite:%s", dir.path);
	must(store_new(&(struct store_options){.service = "webhookd", .url = url, .migrations = migrations},
	               &store));
	must(store_migrate(store));
	must(store_take(store, 5000, &conn));
}

static void
close_store(void)
{
	store_put(store, conn);
	store_free(store);
}

static void
add(const char *id, int64_t state, int64_t attempts, int64_t sequence)
{
	must(store_exec(&tx, &ADD_OLD,
	                STORE_PARAMS(store_text(id), store_i64(state), store_i64(attempts), store_i64(sequence),
	                             state == 1 ? store_null() : store_i64(234)),
	                NULL));
	for (int64_t n = 1; n <= attempts; n++)
		must(store_exec(&tx, &ADD_ATTEMPT, STORE_PARAMS(store_text(id), store_i64(n), store_bytes("x", 1)),
		                NULL));
}

/* One delivery of each state, as they were kept before. */
static void
start(int backend)
{
	struct store_migration before[BEFORE + 1] = {{0}};

	test_dir_make(&dir);
	postgres = backend ? test_postgres_start() : NULL;
	arena_init(&arena, 65536, SIZE_MAX);
	for (int i = 0; i < BEFORE; i++)
		before[i] = webhookd_migrations[i];
	open_with(before);
	must(store_begin(conn, &tx));
	must(store_exec(&tx, &ADD_ENDPOINT, STORE_PARAMS(store_bytes("x", 1)), NULL));
	add("dlv_1", CORBEL__V1__DELIVERY_STATE__PENDING, 2, 1);
	add("dlv_2", CORBEL__V1__DELIVERY_STATE__DELIVERED, 3, 2);
	add("dlv_3", CORBEL__V1__DELIVERY_STATE__EXHAUSTED, 4, 3);
	add("dlv_4", CORBEL__V1__DELIVERY_STATE__SKIPPED, 0, 4);
	must(store_end(&tx, status_ok_value()));
	close_store();
	open_with(webhookd_migrations);
}

static void
stop(void)
{
	close_store();
	arena_fini(&arena);
	if (postgres)
		test_postgres_stop(postgres);
	test_dir_remove(&dir);
}

static const struct store_rows *
states(void)
{
	struct store_rows *rows;
	must(store_read(conn, &STATES, NULL, 0, 10, &arena, &rows));
	return rows;
}

static int64_t
attempts(void)
{
	struct store_rows *rows;
	must(store_read(conn, &ATTEMPTS, NULL, 0, 1, &arena, &rows));
	return row_i64(rows, 0, 0);
}

START_TEST(deliveries_of_an_older_database_are_what_they_were)
{
	static const int64_t TRIED[] = {2, 3, 4, 0};

	start(_i);
	const struct store_rows *rows = states();
	ck_assert_uint_eq(rows_count(rows), 4);
	for (size_t r = 0; r < 4; r++) {
		ck_assert_int_eq(row_i64(rows, r, 1), (int64_t)r + 1);
		ck_assert_int_eq(row_i64(rows, r, 2), TRIED[r]);
		ck_assert_int_eq(row_i64(rows, r, 5), r == 0 ? 0 : 234);
		ck_assert_int_eq(row_i64(rows, r, 6), 7);
	}
	ck_assert_int_eq(row_i64(rows, 0, 3), 2);
	ck_assert_int_eq(row_i64(rows, 0, 4), 500);
	ck_assert_int_eq(attempts(), 9);
	stop();
}
END_TEST

START_TEST(what_does_not_wait_is_sent_again_with_all_its_tries_and_its_attempts_go_on)
{
	static const char *const ALL[] = {"dlv_1", "dlv_2", "dlv_3", "dlv_4", "dlv_none"};
	static const int64_t TRIED[] = {2, 3, 4, 0};
	size_t made;

	start(_i);
	must(store_begin(conn, &tx));
	must(waiting_again(&tx, &arena, ALL, 5, 900, &made));
	must(store_end(&tx, status_ok_value()));
	ck_assert_uint_eq(made, 3);
	const struct store_rows *rows = states();
	for (size_t r = 0; r < 4; r++) {
		ck_assert_int_eq(row_i64(rows, r, 1), CORBEL__V1__DELIVERY_STATE__PENDING);
		ck_assert_int_eq(row_i64(rows, r, 2), TRIED[r]);
		ck_assert_int_eq(row_i64(rows, r, 3), r == 0 ? 2 : 0);
		ck_assert_int_eq(row_i64(rows, r, 4), r == 0 ? 500 : 900);
		ck_assert(row_is_null(rows, r, 5));
	}
	must(store_begin(conn, &tx));
	must(waiting_now(&tx, &arena, ALL, 1, 950));
	must(store_end(&tx, status_ok_value()));
	ck_assert_int_eq(row_i64(states(), 0, 3), 0);
	ck_assert_int_eq(row_i64(states(), 0, 4), 950);
	stop();
}
END_TEST

START_TEST(what_waits_for_a_disabled_endpoint_is_skipped_and_keeps_its_attempts)
{
	bool is_over = false;

	start(_i);
	must(store_begin(conn, &tx));
	must(waiting_skip(&tx, &arena, "ep_1", 1, 777, &is_over));
	ck_assert(!is_over); /* as many as were asked for: there may be more */
	must(waiting_skip(&tx, &arena, "ep_1", 1, 778, &is_over));
	ck_assert(is_over);
	must(store_end(&tx, status_ok_value()));
	const struct store_rows *rows = states();
	ck_assert_int_eq(row_i64(rows, 0, 1), CORBEL__V1__DELIVERY_STATE__SKIPPED);
	ck_assert_int_eq(row_i64(rows, 0, 2), 2);
	ck_assert_int_eq(row_i64(rows, 0, 5), 777);
	ck_assert_int_eq(row_i64(rows, 2, 1), CORBEL__V1__DELIVERY_STATE__EXHAUSTED);
	ck_assert_int_eq(row_i64(rows, 3, 5), 234);
	stop();
}
END_TEST

START_TEST(an_endpoint_that_is_gone_leaves_no_deliveries_and_no_attempts)
{
	bool is_over = false;
	unsigned steps = 0;

	start(_i);
	for (; !is_over; steps++) {
		must(store_begin(conn, &tx));
		must(waiting_forget(&tx, &arena, "ep_1", 1, &is_over));
		must(store_end(&tx, status_ok_value()));
	}
	ck_assert_uint_gt(steps, 2); /* one of each kind at a time */
	ck_assert_uint_eq(rows_count(states()), 0);
	ck_assert_int_eq(attempts(), 0);
	stop();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("waiting");
	TCase *tests = tcase_create("both");

	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, deliveries_of_an_older_database_are_what_they_were, 0, 2);
	tcase_add_loop_test(tests, what_does_not_wait_is_sent_again_with_all_its_tries_and_its_attempts_go_on, 0,
	                    2);
	tcase_add_loop_test(tests, what_waits_for_a_disabled_endpoint_is_skipped_and_keeps_its_attempts, 0, 2);
	tcase_add_loop_test(tests, an_endpoint_that_is_gone_leaves_no_deliveries_and_no_attempts, 0, 2);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
