/*
 * accountd: first start, and keys: what they may be, whether they are good, and how they change.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <accountd/accountd.h>
#include "auth/key_text.h"
#include "base/hash.h"
#include "support/test_accounts.h"
#include "support/test_process.h"

const struct service *const accounts_services[] = {&accountd_service, NULL};

/* ---------------------------------------------------------------- first start */

START_TEST(the_first_start_makes_the_operators_four_plans_and_one_key_and_the_second_nothing)
{
	static const struct {
		const char *name, *charts, *readings;
	} plans[] = {{"basic", "200", "50"},
	             {"free", "50", "10"},
	             {"premium", "1000", "500"},
	             {"unlimited", "10000", "10000"}};
	struct accounts rig;
	accounts_choose_store(_i);
	accounts_start(&rig);
	ck_assert_str_eq(accounts_verdict(rig.pool, host_announced(rig.self.host, "first admin key")), "ok");
	struct answer list = accounts_ask(rig.pool, &OPERATOR, PLANS_LIST, "{}");
	for (size_t i = 0; i < 4; i++) {
		ck_assert_str_eq(answer_good(list, arena_printf(accounts_arena, "plans.%zu.name", i)), plans[i].name);
		ck_assert_str_eq(answer_good(list, arena_printf(accounts_arena, "plans.%zu.limits.0.resource", i)),
		                 "charts");
		ck_assert_str_eq(answer_good(list, arena_printf(accounts_arena, "plans.%zu.limits.0.limit", i)),
		                 plans[i].charts);
		ck_assert_str_eq(answer_good(list, arena_printf(accounts_arena, "plans.%zu.limits.1.limit", i)),
		                 plans[i].readings);
		ck_assert_str_eq(answer_good(list, arena_printf(accounts_arena, "plans.%zu.limits.1.window_ms", i)),
		                 "86400000");
		ck_assert_str_eq(answer_good(list, arena_printf(accounts_arena, "plans.%zu.limits.0.strategy", i)),
		                 "FIXED_WINDOW");
	}
	ck_assert_ptr_null(answer_at(&list, "plans.4"));
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, PLANS_DELETE, "{\"name\":\"basic\"}"), STATUS_OK);
	accounts_stop(&rig);

	accounts_start(&rig);
	ck_assert_ptr_null(host_announced(rig.self.host, "first admin key"));
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, PLANS_GET, "{\"name\":\"basic\"}"), STATUS_NOT_FOUND);
	accounts_stop(&rig);
}
END_TEST

START_TEST(a_given_bootstrap_key_works_and_is_not_shown)
{
	char text[KEY_TEXT_MAX];
	struct key_text parts;
	struct accounts rig;
	accounts_choose_store(0);
	key_text_make("cb", "live", random_system(), text, &parts);
	accounts_start_with(&rig, PEPPER_1, arena_printf(accounts_arena, "--accountd.bootstrap_key=%s", text));
	ck_assert_str_eq(accounts_verdict(rig.pool, text), "ok");
	fflush(rig.out);
	ck_assert_ptr_null(strstr(rig.said, text));
	accounts_stop(&rig);
}
END_TEST

START_TEST(postgresql_without_peppers_is_refused_with_what_to_do)
{
	struct accounts rig;
	accounts_choose_store(1);
	struct status st = accounts_try(&rig, NULL, NULL);
	ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(st.message, "accountd.peppers must be set"));
	accounts_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- verification */

START_TEST(a_key_is_good_and_a_wrong_or_mistyped_one_is_not)
{
	struct accounts rig;
	accounts_choose_store(_i);
	accounts_start(&rig);
	const char *tenant = accounts_tenant(rig.pool, "Acme");
	struct accounts_made key = accounts_key(rig.pool, tenant, "");
	struct answer answer = accounts_ask(rig.pool, &INGRESS, KEYS_VERIFY, "{\"key\":\"%s\"}", key.secret);
	ck_assert_str_eq(answer_good(answer, "valid"), "true");
	ck_assert_str_eq(answer_good(answer, "key_id"), key.id);
	ck_assert_str_eq(answer_good(answer, "tenant_id"), tenant);
	ck_assert_str_eq(answer_good(answer, "plan"), "free");

	/* The public id of a key that exists, with another secret. */
	char forged[KEY_TEXT_MAX], own[KEY_TEXT_MAX];
	struct key_text parts, real;
	ck_assert(key_text_parse(key.secret, strlen(key.secret), &real));
	key_text_make("cb", "live", random_system(), own, &parts);
	size_t head = strlen(real.start), body = head + 1 + KEY_SECRET;
	snprintf(forged, sizeof(forged), "%s", own);
	memcpy(forged, real.start, head);
	uint32_t crc = hash_crc32(forged, body);
	for (size_t i = KEY_CHECKSUM; i-- > 0; crc /= 62)
		forged[body + i] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[crc % 62];
	ck_assert(key_text_parse(forged, strlen(forged), &parts));
	ck_assert_str_eq(parts.public_id, real.public_id);
	ck_assert_str_eq(accounts_verdict(rig.pool, forged), "unknown");
	ck_assert_str_eq(accounts_verdict(rig.pool, own), "unknown");
	own[10] = own[10] == 'a' ? 'b' : 'a';
	ck_assert_str_eq(accounts_verdict(rig.pool, own), "malformed");
	ck_assert_str_eq(accounts_verdict(rig.pool, "x"), "malformed");
	accounts_stop(&rig);
}
END_TEST

START_TEST(disabled_expired_revoked_keys_and_suspended_tenants_are_refused_with_their_reason)
{
	struct accounts rig;
	accounts_choose_store(_i);
	accounts_start(&rig);
	const char *tenant = accounts_tenant(rig.pool, "Acme");
	struct accounts_made key = accounts_key(rig.pool, tenant, "");

	ck_assert_str_eq(answer_good(accounts_patch(rig.pool, key.id, "\"disabled\":true"), "state"), "DISABLED");
	ck_assert_str_eq(accounts_verdict(rig.pool, key.secret), "disabled");
	ck_assert_str_eq(answer_good(accounts_patch(rig.pool, key.id, "\"disabled\":false"), "state"), "ACTIVE");
	ck_assert_str_eq(accounts_verdict(rig.pool, key.secret), "ok");

	ck_assert_code(
	    accounts_ask(rig.pool, &OPERATOR, TENANTS_UPDATE, "{\"id\":\"%s\",\"suspended\":true}", tenant),
	    STATUS_OK);
	ck_assert_str_eq(accounts_verdict(rig.pool, key.secret), "tenant_suspended");
	ck_assert_code(
	    accounts_ask(rig.pool, &OPERATOR, TENANTS_UPDATE, "{\"id\":\"%s\",\"suspended\":false}", tenant),
	    STATUS_OK);

	struct accounts_made brief = accounts_key(
	    rig.pool, tenant, arena_printf(accounts_arena, ",\"expires_at\":\"%s\"", accounts_time(300)));
	for (uint64_t end = test_now_ms() + 5000; strcmp(accounts_state(rig.pool, brief.id), "EXPIRED") != 0;) {
		ck_assert(test_now_ms() < end);
		test_pause();
	}
	ck_assert_str_eq(accounts_verdict(rig.pool, brief.secret), "expired");
	struct answer expired =
	    accounts_ask(rig.pool, &OPERATOR, KEYS_LIST, "{\"tenant_id\":\"%s\",\"state\":\"EXPIRED\"}", tenant);
	ck_assert_str_eq(answer_good(expired, "keys.0.id"), brief.id);
	ck_assert_ptr_null(answer_at(&expired, "keys.1"));
	struct answer active =
	    accounts_ask(rig.pool, &OPERATOR, KEYS_LIST, "{\"tenant_id\":\"%s\",\"state\":\"ACTIVE\"}", tenant);
	ck_assert_str_eq(answer_good(active, "keys.0.id"), key.id);
	ck_assert_ptr_null(answer_at(&active, "keys.1"));

	const char *first =
	    answer_good(accounts_ask(rig.pool, &OPERATOR, KEYS_REVOKE, "{\"id\":\"%s\"}", key.id), "revoked_at");
	ck_assert_str_eq(accounts_verdict(rig.pool, key.secret), "revoked");
	while (strcmp(accounts_time(0), first) <= 0) /* a second time would be another */
		test_pause();
	ck_assert_str_eq(
	    answer_good(accounts_ask(rig.pool, &OPERATOR, KEYS_REVOKE, "{\"id\":\"%s\"}", key.id), "revoked_at"),
	    first);
	ck_assert_code(accounts_patch(rig.pool, key.id, "\"disabled\":false"), STATUS_FAILED_PRECONDITION);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, KEYS_ROTATE, "{\"id\":\"%s\"}", key.id),
	               STATUS_FAILED_PRECONDITION);
	accounts_stop(&rig);
}
END_TEST

START_TEST(a_key_moves_to_the_current_pepper_when_it_is_verified)
{
	struct accounts rig;
	accounts_choose_store(_i);
	accounts_start(&rig);
	const char *tenant = accounts_tenant(rig.pool, "Acme");
	struct accounts_made used = accounts_key(rig.pool, tenant, ""), idle = accounts_key(rig.pool, tenant, "");
	accounts_stop(&rig);

	accounts_start_with(&rig, PEPPER_1 "," PEPPER_2, NULL);
	ck_assert_str_eq(accounts_verdict(rig.pool, used.secret), "ok");
	accounts_stop(&rig);

	accounts_start_with(&rig, PEPPER_2, NULL);
	ck_assert_str_eq(accounts_verdict(rig.pool, used.secret), "ok");
	ck_assert_str_eq(accounts_verdict(rig.pool, idle.secret), "unknown");
	accounts_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- rotation */

START_TEST(after_rotation_both_keys_work_until_the_grace_ends)
{
	struct accounts rig;
	accounts_choose_store(_i);
	accounts_start(&rig);
	const char *tenant = accounts_tenant(rig.pool, "Acme");
	struct accounts_made old = accounts_key(rig.pool, tenant, ",\"name\":\"web\",\"metadata\":{\"a\":\"b\"}");
	struct answer answer = accounts_ask(rig.pool, &OPERATOR, KEYS_ROTATE, "{\"id\":\"%s\"}", old.id);
	const char *new = answer_good(answer, "secret");
	ck_assert_str_eq(answer_good(answer, "key.name"), "web");
	ck_assert_str_eq(answer_good(answer, "key.metadata.a"), "b");
	ck_assert_str_eq(answer_good(answer, "key.scopes.0"), "keys.read");
	ck_assert_ptr_null(answer_at(&answer, "key.expires_at"));
	ck_assert_str_eq(accounts_verdict(rig.pool, old.secret), "ok");
	ck_assert_str_eq(accounts_verdict(rig.pool, new), "ok");
	ck_assert_str_eq(accounts_state(rig.pool, old.id), "ROTATED");
	/* Its end is settled. */
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, KEYS_ROTATE, "{\"id\":\"%s\"}", old.id),
	               STATUS_FAILED_PRECONDITION);
	ck_assert_code(accounts_patch(rig.pool, old.id, "\"expires_at\":null"), STATUS_FAILED_PRECONDITION);
	ck_assert_code(accounts_patch(rig.pool, old.id, "\"disabled\":false"), STATUS_FAILED_PRECONDITION);
	ck_assert_code(accounts_patch(rig.pool, old.id, "\"name\":\"old web\""), STATUS_OK);
	ck_assert_str_eq(accounts_state(rig.pool, old.id), "ROTATED");
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, KEYS_REVOKE, "{\"id\":\"%s\"}", old.id), STATUS_OK);
	ck_assert_str_eq(accounts_verdict(rig.pool, old.secret), "revoked");

	struct accounts_made other = accounts_key(rig.pool, tenant, "");
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, KEYS_ROTATE, "{\"id\":\"%s\",\"grace_ms\":0}", other.id),
	               STATUS_OK);
	ck_assert_str_eq(accounts_verdict(rig.pool, other.secret), "expired");
	accounts_stop(&rig);
}
END_TEST

START_TEST(a_grace_period_never_outlasts_the_keys_expiry)
{
	struct accounts rig;
	accounts_choose_store(0);
	accounts_start(&rig);
	struct accounts_made key =
	    accounts_key(rig.pool, accounts_tenant(rig.pool, "Acme"),
	                 arena_printf(accounts_arena, ",\"expires_at\":\"%s\"", accounts_time(60000)));
	const char *end =
	    answer_good(accounts_ask(rig.pool, &OPERATOR, KEYS_GET, "{\"id\":\"%s\"}", key.id), "expires_at");
	struct answer answer =
	    accounts_ask(rig.pool, &OPERATOR, KEYS_ROTATE, "{\"id\":\"%s\",\"grace_ms\":2592000000}", key.id);
	ck_assert_str_eq(answer_good(answer, "key.expires_at"), end);
	ck_assert_str_eq(
	    answer_good(accounts_ask(rig.pool, &OPERATOR, KEYS_GET, "{\"id\":\"%s\"}", key.id), "expires_at"),
	    end);
	accounts_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- what keys may be */

START_TEST(a_key_gives_away_no_more_than_it_holds)
{
	struct accounts rig;
	accounts_choose_store(_i);
	accounts_start(&rig);
	const char *tenant = accounts_tenant(rig.pool, "Acme");
	struct accounts_caller narrow = {tenant, "keys.*", false};
	struct answer answer =
	    accounts_ask(rig.pool, &narrow, KEYS_CREATE, "{\"scopes\":[\"keys.read\",\"users.read\"]}");
	ck_assert_int_eq(answer.code, STATUS_PERMISSION_DENIED);
	ck_assert_str_eq(answer_pointer(&answer), "/scopes/1");
	ck_assert_code(accounts_ask(rig.pool, &narrow, KEYS_CREATE, "{\"scopes\":[\"*\"]}"),
	               STATUS_PERMISSION_DENIED);
	ck_assert_code(accounts_ask(rig.pool, &narrow, KEYS_CREATE, "{}"), STATUS_PERMISSION_DENIED);
	const char *id =
	    answer_good(accounts_ask(rig.pool, &narrow, KEYS_CREATE, "{\"scopes\":[\"keys.write\"]}"), "key.id");
	ck_assert_code(accounts_ask(rig.pool, &narrow, KEYS_UPDATE, "{\"id\":\"%s\",\"scopes\":[\"*\"]}", id),
	               STATUS_PERMISSION_DENIED);
	/* Rotation shows a secret, so it is held to the same. */
	const char *broad = answer_good(
	    accounts_ask(rig.pool, &OPERATOR, KEYS_CREATE, "{\"tenant_id\":\"%s\",\"scopes\":[\"*\"]}", tenant),
	    "key.id");
	ck_assert_code(accounts_ask(rig.pool, &narrow, KEYS_ROTATE, "{\"id\":\"%s\"}", broad),
	               STATUS_PERMISSION_DENIED);
	accounts_stop(&rig);
}
END_TEST

START_TEST(a_past_expiry_and_two_limits_of_one_resource_are_refused_by_name)
{
	static const char twice[] = "\"limits\":[{\"resource\":\"charts\",\"limit\":1,\"window_ms\":1000},"
	                            "{\"resource\":\"charts\",\"limit\":2,\"window_ms\":1000}]";
	struct accounts rig;
	accounts_choose_store(0);
	accounts_start(&rig);
	struct answer answer =
	    accounts_ask(rig.pool, &OPERATOR, KEYS_CREATE, "{\"expires_at\":\"%s\"}", accounts_time(-1000));
	ck_assert_int_eq(answer.code, STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(answer_pointer(&answer), "/expires_at");
	answer = accounts_ask(rig.pool, &OPERATOR, KEYS_CREATE, "{%s}", twice);
	ck_assert_int_eq(answer.code, STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(answer_pointer(&answer), "/limits/1/resource");
	struct accounts_made key = accounts_key(rig.pool, "root", "");
	answer = accounts_patch(rig.pool, key.id, twice);
	ck_assert_int_eq(answer.code, STATUS_INVALID_ARGUMENT);
	answer = accounts_ask(rig.pool, &OPERATOR, PLANS_CREATE, "{\"name\":\"p\",%s}", twice);
	ck_assert_str_eq(answer_pointer(&answer), "/limits/1/resource");
	accounts_stop(&rig);
}
END_TEST

START_TEST(null_clears_and_absence_keeps)
{
	static const char *const fields[] = {"name", "expires_at", "limits", "metadata", NULL};
	struct accounts rig;
	accounts_choose_store(_i);
	accounts_start(&rig);
	struct accounts_made key =
	    accounts_key(rig.pool, accounts_tenant(rig.pool, "Acme"),
	                 arena_printf(accounts_arena,
	                              ",\"name\":\"n\",\"expires_at\":\"%s\",\"metadata\":{\"a\":\"b\"},"
	                              "\"limits\":[{\"resource\":\"charts\",\"limit\":1,\"window_ms\":1000}]",
	                              accounts_time(DAY_MS)));
	struct answer answer = accounts_patch(rig.pool, key.id, "\"disabled\":false");
	for (size_t i = 0; fields[i]; i++)
		(void)answer_good(answer, fields[i]);
	for (size_t i = 0; fields[i]; i++) {
		ck_assert_code(
		    accounts_patch(rig.pool, key.id, arena_printf(accounts_arena, "\"%s\":null", fields[i])),
		    STATUS_OK);
		answer = accounts_ask(rig.pool, &OPERATOR, KEYS_GET, "{\"id\":\"%s\"}", key.id);
		const char *left = answer_at(&answer, fields[i]);
		ck_assert_msg(!left || strcmp(left, "[]") == 0 || strcmp(left, "{}") == 0, "%s", answer.text);
		for (size_t j = i + 1; fields[j]; j++)
			(void)answer_good(answer, fields[j]);
	}
	accounts_stop(&rig);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("accountd");
	TCase *tcase = tcase_create("accountd");

	tcase_add_checked_fixture(tcase, accounts_setup, accounts_teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(
	    tcase, the_first_start_makes_the_operators_four_plans_and_one_key_and_the_second_nothing, 0, 2);
	tcase_add_test(tcase, a_given_bootstrap_key_works_and_is_not_shown);
	tcase_add_test(tcase, postgresql_without_peppers_is_refused_with_what_to_do);
	tcase_add_loop_test(tcase, a_key_is_good_and_a_wrong_or_mistyped_one_is_not, 0, 2);
	tcase_add_loop_test(
	    tcase, disabled_expired_revoked_keys_and_suspended_tenants_are_refused_with_their_reason, 0, 2);
	tcase_add_loop_test(tcase, a_key_moves_to_the_current_pepper_when_it_is_verified, 0, 2);
	tcase_add_loop_test(tcase, after_rotation_both_keys_work_until_the_grace_ends, 0, 2);
	tcase_add_test(tcase, a_grace_period_never_outlasts_the_keys_expiry);
	tcase_add_loop_test(tcase, a_key_gives_away_no_more_than_it_holds, 0, 2);
	tcase_add_test(tcase, a_past_expiry_and_two_limits_of_one_resource_are_refused_by_name);
	tcase_add_loop_test(tcase, null_clears_and_absence_keeps, 0, 2);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
