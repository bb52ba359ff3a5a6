/*
 * accountd: what tenants have: plans, users, lists and usage, also when several change them at once.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <accountd/accountd.h>
#include "support/test_accounts.h"

const struct service *const accounts_services[] = {&accountd_service, NULL};

/* ---------------------------------------------------------------- changes at once */

START_TEST(no_update_undoes_a_revocation)
{
	struct accounts rig;
	accounts_choose_store(_i);
	accounts_start(&rig);
	const char *tenant = accounts_tenant(rig.pool, "Acme");
	for (int round = 0; round < 20; round++) {
		struct accounts_made key = accounts_key(rig.pool, tenant, "");
		const char *update = arena_printf(accounts_arena, "{\"id\":\"%s\",\"name\":\"n\"}", key.id);
		const char *revoke = arena_printf(accounts_arena, "{\"id\":\"%s\"}", key.id);
		struct racer racers[] = {{.pool = rig.pool, .method = KEYS_UPDATE, .request = update, .times = 10},
		                         {.pool = rig.pool, .method = KEYS_UPDATE, .request = update, .times = 10},
		                         {.pool = rig.pool, .method = KEYS_REVOKE, .request = revoke, .times = 1}};
		accounts_race(racers, 3);
		ck_assert_int_eq(racers[2].ok, 1);
		ck_assert_str_eq(accounts_verdict(rig.pool, key.secret), "revoked");
	}
	accounts_stop(&rig);
}
END_TEST

START_TEST(of_rotations_at_once_one_succeeds)
{
	struct accounts rig;
	accounts_choose_store(_i);
	accounts_start(&rig);
	const char *tenant = accounts_tenant(rig.pool, "Acme");
	for (int round = 0; round < 10; round++) {
		struct accounts_made key = accounts_key(rig.pool, tenant, "");
		const char *rotate = arena_printf(accounts_arena, "{\"id\":\"%s\"}", key.id);
		struct racer racers[4];
		for (size_t i = 0; i < 4; i++)
			racers[i] =
			    (struct racer){.pool = rig.pool, .method = KEYS_ROTATE, .request = rotate, .times = 1};
		accounts_race(racers, 4);
		ck_assert_int_eq(racers[0].ok + racers[1].ok + racers[2].ok + racers[3].ok, 1);
	}
	accounts_stop(&rig);
}
END_TEST

START_TEST(no_plan_vanishes_under_a_new_subscription)
{
	struct accounts rig;
	accounts_choose_store(_i);
	accounts_start(&rig);
	for (int round = 0; round < 20; round++) {
		const char *tenant = accounts_tenant(rig.pool, "Acme");
		ck_assert_code(accounts_ask(rig.pool, &OPERATOR, PLANS_CREATE, "{\"name\":\"p%d\"}", round),
		               STATUS_OK);
		const char *set =
		    arena_printf(accounts_arena, "{\"tenant_id\":\"%s\",\"plan\":\"p%d\"}", tenant, round);
		const char *delete = arena_printf(accounts_arena, "{\"name\":\"p%d\"}", round);
		struct racer racers[] = {{.pool = rig.pool, .method = SUBSCRIPTIONS_SET, .request = set, .times = 1},
		                         {.pool = rig.pool, .method = PLANS_DELETE, .request = delete, .times = 1}};
		accounts_race(racers, 2);
		ck_assert_int_eq(racers[0].ok + racers[1].ok, 1);
	}
	accounts_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- plans, subscriptions, tenants */

START_TEST(a_plan_that_tenants_are_on_cannot_be_deleted)
{
	struct accounts rig;
	accounts_choose_store(_i);
	accounts_start(&rig);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, PLANS_CREATE, "{\"name\":\"gold\"}"), STATUS_OK);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, PLANS_CREATE, "{\"name\":\"gold\"}"),
	               STATUS_ALREADY_EXISTS);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, TENANTS_CREATE, "{\"name\":\"x\",\"plan\":\"none\"}"),
	               STATUS_INVALID_ARGUMENT);
	const char *tenant = accounts_tenant(rig.pool, "Acme");
	struct accounts_made key = accounts_key(rig.pool, tenant, "");
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, SUBSCRIPTIONS_SET,
	                            "{\"tenant_id\":\"%s\",\"plan\":\"none\"}", tenant),
	               STATUS_INVALID_ARGUMENT);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, SUBSCRIPTIONS_SET,
	                            "{\"tenant_id\":\"%s\",\"plan\":\"gold\"}", tenant),
	               STATUS_OK);
	ck_assert_str_eq(
	    answer_good(accounts_ask(rig.pool, &INGRESS, KEYS_VERIFY, "{\"key\":\"%s\"}", key.secret), "plan"),
	    "gold");
	struct answer answer = accounts_ask(rig.pool, &OPERATOR, PLANS_DELETE, "{\"name\":\"gold\"}");
	ck_assert_int_eq(answer.code, STATUS_FAILED_PRECONDITION);
	ck_assert_ptr_nonnull(strstr(answer.text, "1 "));
	ck_assert_str_eq(
	    answer_good(accounts_ask(rig.pool, &OPERATOR, PLANS_UPDATE, "{\"name\":\"gold\",\"title\":\"Gold\"}"),
	                "version"),
	    "2");
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, TENANTS_DELETE, "{\"id\":\"%s\"}", tenant), STATUS_OK);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, PLANS_DELETE, "{\"name\":\"gold\"}"), STATUS_OK);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, PLANS_DELETE, "{\"name\":\"gold\"}"), STATUS_NOT_FOUND);
	accounts_stop(&rig);
}
END_TEST

START_TEST(a_deleted_tenant_takes_its_users_keys_and_usage_along_and_root_stays)
{
	struct accounts rig;
	accounts_choose_store(_i);
	accounts_start(&rig);
	const char *tenant = accounts_tenant(rig.pool, "Acme");
	struct accounts_made key = accounts_key(rig.pool, tenant, "");
	const char *user = answer_good(accounts_ask(rig.pool, &OPERATOR, USERS_CREATE,
	                                            "{\"email\":\"a@b.example\",\"tenant_id\":\"%s\"}", tenant),
	                               "id");
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, USERS_CREATE,
	                            "{\"email\":\"a@b.example\",\"tenant_id\":\"%s\"}", tenant),
	               STATUS_ALREADY_EXISTS);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, TENANTS_DELETE, "{\"id\":\"%s\"}", tenant), STATUS_OK);
	ck_assert_str_eq(accounts_verdict(rig.pool, key.secret), "unknown");
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, USERS_GET, "{\"id\":\"%s\"}", user), STATUS_NOT_FOUND);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, KEYS_GET, "{\"id\":\"%s\"}", key.id), STATUS_NOT_FOUND);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, KEYS_CREATE, "{\"tenant_id\":\"%s\"}", tenant),
	               STATUS_NOT_FOUND);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, USERS_CREATE,
	                            "{\"email\":\"a@b.example\",\"tenant_id\":\"%s\"}", tenant),
	               STATUS_NOT_FOUND);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, TENANTS_DELETE, "{\"id\":\"%s\"}", tenant),
	               STATUS_NOT_FOUND);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, TENANTS_DELETE, "{\"id\":\"root\"}"),
	               STATUS_FAILED_PRECONDITION);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, TENANTS_UPDATE, "{\"id\":\"root\",\"suspended\":true}"),
	               STATUS_FAILED_PRECONDITION);
	accounts_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- pages */

START_TEST(pages_show_each_key_once_newest_first)
{
	enum { COUNT = 23 };
	const char *ids[COUNT], *token = "";
	struct accounts rig;
	int seen = 0;
	accounts_choose_store(_i);
	accounts_start(&rig);
	const char *tenant = accounts_tenant(rig.pool, "Acme");
	for (int i = 0; i < COUNT; i++)
		ids[i] = accounts_key(rig.pool, tenant, "").id;
	do {
		struct answer page =
		    accounts_ask(rig.pool, &OPERATOR, KEYS_LIST,
		                 "{\"tenant_id\":\"%s\",\"page_size\":5,\"page_token\":\"%s\"}", tenant, token);
		for (int i = 0; answer_at(&page, arena_printf(accounts_arena, "keys.%d", i)); i++, seen++) {
			ck_assert_int_lt(seen, COUNT);
			ck_assert_str_eq(answer_good(page, arena_printf(accounts_arena, "keys.%d.id", i)),
			                 ids[COUNT - 1 - seen]);
		}
		token = answer_at(&page, "next_page_token");
	} while (token);
	ck_assert_int_eq(seen, COUNT);
	accounts_stop(&rig);
}
END_TEST

START_TEST(a_page_token_that_was_never_given_out_is_refused)
{
	static const char *const tokens[] = {"x",           "key_", "%00", "' OR 1=1", "9999-99-99.x",
	                                     "2026-01-01.", "A B",  NULL};
	const struct api_method *const lists[] = {TENANTS_LIST, USERS_LIST, PLANS_LIST, KEYS_LIST,
	                                          USAGE_REPORTS_LIST};
	struct accounts rig;
	accounts_choose_store(0);
	accounts_start(&rig);
	for (size_t m = 0; m < sizeof(lists) / sizeof(lists[0]); m++)
		for (size_t i = 0; tokens[i]; i++) {
			/* "x" could be the name of a plan. */
			if (lists[m] == PLANS_LIST && (strcmp(tokens[i], "x") == 0 || strcmp(tokens[i], "key_") == 0))
				continue;
			struct answer answer =
			    accounts_ask(rig.pool, &OPERATOR, lists[m], "{\"page_token\":\"%s\"}", tokens[i]);
			if (lists[m] == PLANS_LIST && answer.code == STATUS_OK)
				continue; /* any name is a place in the order of names */
			ck_assert_msg(answer.code == STATUS_INVALID_ARGUMENT, "%s %s: %s", lists[m]->name, tokens[i],
			              answer.text);
			ck_assert_str_eq(answer_pointer(&answer), "/page_token");
		}
	accounts_stop(&rig);
}
END_TEST

/* As a disk or a hand in the database may leave them. */
static void
spoil_users(void)
{
	static const struct store_sql SPOIL = {"spoil", "UPDATE users SET message = $1"};
	struct store_options options = {.service = "accountd",
	                                .url = arena_printf(accounts_arena, "sqlite:%s", accounts_dir()),
	                                .clock = clock_system()};
	struct store *store;
	struct store_conn *conn;
	struct store_tx tx;
	struct status st = store_new(&options, &store);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	st = store_take(store, 5000, &conn);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	st = store_begin(conn, &tx);
	if (status_ok(&st))
		st = store_end(&tx, store_exec(&tx, &SPOIL, STORE_PARAMS(store_bytes("\xff", 1)), NULL));
	ck_assert_msg(status_ok(&st), "%s", st.message);
	store_put(store, conn);
	store_free(store);
}

START_TEST(a_page_of_rows_that_cannot_be_read_is_reported_as_lost)
{
	struct accounts rig;
	accounts_choose_store(0);
	accounts_start(&rig);
	for (int i = 0; i < 3; i++)
		answer_good(accounts_ask(rig.pool, &OPERATOR, USERS_CREATE,
		                         "{\"name\":\"n\",\"email\":\"n%d@example.com\"}", i),
		            "id");
	spoil_users();
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, USERS_LIST, "{\"page_size\":2}"), STATUS_DATA_LOSS);
	accounts_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- usage */

static struct answer
report(struct pool *pool, int epoch, int number, struct accounts_made key, const char *tenant, int calls,
       const char *used)
{
	return accounts_ask(
	    pool, &INGRESS, USAGE_REPORTS_REPORT,
	    "{\"node\":\"n\",\"epoch\":%d,\"number\":%d,\"items\":[{\"key_id\":\"%s\",\"tenant_id\":\"%s\","
	    "\"date\":\"%.10s\",\"calls\":%d,\"limited\":1,\"last_used_at\":\"%s\"}]}",
	    epoch, number, key.id, tenant, accounts_time(0), calls, used);
}

START_TEST(a_report_that_arrives_twice_counts_once)
{
	struct accounts rig;
	accounts_choose_store(_i);
	accounts_start(&rig);
	const char *tenant = accounts_tenant(rig.pool, "Acme");
	struct accounts_made key = accounts_key(rig.pool, tenant, "");
	ck_assert_code(report(rig.pool, 1, 1, key, tenant, 5, "2026-01-02T03:04:59Z"), STATUS_OK);
	ck_assert_code(report(rig.pool, 1, 1, key, tenant, 5, "2026-01-02T03:04:59Z"), STATUS_OK);
	ck_assert_code(report(rig.pool, 1, 2, key, tenant, 7, "2026-01-02T03:03:00Z"), STATUS_OK);
	ck_assert_code(report(rig.pool, 2, 1, key, tenant, 11, "2026-01-02T03:04:01Z"), STATUS_OK);
	struct answer usage =
	    accounts_ask(rig.pool, &OPERATOR, USAGE_REPORTS_LIST, "{\"tenant_id\":\"%s\"}", tenant);
	ck_assert_str_eq(answer_good(usage, "usage.0.calls"), "23");
	ck_assert_str_eq(answer_good(usage, "usage.0.limited"), "3");
	ck_assert_ptr_null(answer_at(&usage, "usage.1"));
	/* To the minute, and never backwards. */
	const char *used =
	    answer_good(accounts_ask(rig.pool, &OPERATOR, KEYS_GET, "{\"id\":\"%s\"}", key.id), "last_used_at");
	ck_assert_msg(strncmp(used, "2026-01-02T03:04:00", 19) == 0, "%s", used);
	accounts_stop(&rig);
}
END_TEST

/* A report of 20 keys, from the first to the last or the other way round. */
static const char *
report_of_many(const char *node, int number, bool is_backwards)
{
	const char *items = "";

	for (int i = 0; i < 20; i++)
		items = arena_printf(accounts_arena,
		                     "%s%s{\"key_id\":\"key-%02d\",\"tenant_id\":\"t\",\"date\":\"2026-01-02\","
		                     "\"calls\":1,\"last_used_at\":\"2026-01-02T03:04:05Z\"}",
		                     items, i ? "," : "", is_backwards ? 19 - i : i);
	return arena_printf(accounts_arena, "{\"node\":\"%s\",\"epoch\":1,\"number\":%d,\"items\":[%s]}", node,
	                    number, items);
}

START_TEST(reports_of_the_same_keys_at_once_are_all_taken)
{
	struct accounts rig;
	accounts_choose_store(_i);
	accounts_start(&rig);
	for (int round = 1; round <= 20; round++) {
		struct racer racers[4];
		for (size_t i = 0; i < 4; i++)
			racers[i] = (struct racer){
			    .pool = rig.pool,
			    .caller = &INGRESS,
			    .method = USAGE_REPORTS_REPORT,
			    .request = report_of_many(arena_printf(accounts_arena, "n%zu", i), round, i % 2),
			    .times = 1};
		accounts_race(racers, 4);
		ck_assert_int_eq(racers[0].ok + racers[1].ok + racers[2].ok + racers[3].ok, 4);
	}
	struct answer usage = accounts_ask(
	    rig.pool, &OPERATOR, USAGE_REPORTS_LIST,
	    "{\"tenant_id\":\"t\",\"key_id\":\"key-07\",\"from\":\"2026-01-01\",\"to\":\"2026-01-03\"}");
	ck_assert_str_eq(answer_good(usage, "usage.0.calls"), "80");
	accounts_stop(&rig);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("accountd_tenants");
	TCase *tcase = tcase_create("accountd_tenants");

	tcase_add_checked_fixture(tcase, accounts_setup, accounts_teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, no_update_undoes_a_revocation, 0, 2);
	tcase_add_loop_test(tcase, of_rotations_at_once_one_succeeds, 0, 2);
	tcase_add_loop_test(tcase, no_plan_vanishes_under_a_new_subscription, 0, 2);
	tcase_add_loop_test(tcase, a_plan_that_tenants_are_on_cannot_be_deleted, 0, 2);
	tcase_add_loop_test(tcase, a_deleted_tenant_takes_its_users_keys_and_usage_along_and_root_stays, 0, 2);
	tcase_add_loop_test(tcase, pages_show_each_key_once_newest_first, 0, 2);
	tcase_add_test(tcase, a_page_token_that_was_never_given_out_is_refused);
	tcase_add_test(tcase, a_page_of_rows_that_cannot_be_read_is_reported_as_lost);
	tcase_add_loop_test(tcase, a_report_that_arrives_twice_counts_once, 0, 2);
	tcase_add_loop_test(tcase, reports_of_the_same_keys_at_once_are_all_taken, 0, 2);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
