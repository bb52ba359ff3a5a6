/*
 * accountd: no tenant sees or changes what another one has.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <accountd/accountd.h>
#include "support/test_accounts.h"

const struct service *const accounts_services[] = {&accountd_service, NULL};

/* ---------------------------------------------------------------- isolation */

struct attempt {
	const struct api_method *method;
	const char *request; /* %T, %U, %K, %S: the other tenant's id, user, key, secret */
	enum status_code code;
};

static const char *
filled(const char *request, const char *tenant, const char *user, struct accounts_made key)
{
	struct strbuf out;
	strbuf_init(&out, accounts_arena);
	for (; *request; request++) {
		const char *part = NULL;
		if (*request == '%')
			part = *++request == 'T' ? tenant
			       : *request == 'U' ? user
			       : *request == 'K' ? key.id
			                         : key.secret;
		if (part)
			strbuf_add(&out, part, strlen(part));
		else
			strbuf_add(&out, request, 1);
	}
	return out.data;
}

/* Everything a tenant has, as its operators see it. */
static const char *
everything_of(struct pool *pool, const char *tenant)
{
	return arena_printf(
	    accounts_arena, "%s\n%s\n%s\n%s\n%s",
	    accounts_ask(pool, &OPERATOR, TENANTS_GET, "{\"id\":\"%s\"}", tenant).text,
	    accounts_ask(pool, &OPERATOR, USERS_LIST, "{\"tenant_id\":\"%s\"}", tenant).text,
	    accounts_ask(pool, &OPERATOR, KEYS_LIST, "{\"tenant_id\":\"%s\"}", tenant).text,
	    accounts_ask(pool, &OPERATOR, SUBSCRIPTIONS_GET, "{\"tenant_id\":\"%s\"}", tenant).text,
	    accounts_ask(pool, &OPERATOR, USAGE_REPORTS_LIST, "{\"tenant_id\":\"%s\"}", tenant).text);
}

START_TEST(no_method_shows_or_changes_what_another_tenant_owns)
{
	const struct attempt attempts[] = {
	    {TENANTS_CREATE, "{\"name\":\"x\"}", STATUS_PERMISSION_DENIED},
	    {TENANTS_GET, "{\"id\":\"%T\"}", STATUS_NOT_FOUND},
	    {TENANTS_GET, "{\"id\":\"root\"}", STATUS_NOT_FOUND},
	    {TENANTS_LIST, "{}", STATUS_PERMISSION_DENIED},
	    {TENANTS_UPDATE, "{\"id\":\"%T\",\"suspended\":true}", STATUS_PERMISSION_DENIED},
	    {TENANTS_DELETE, "{\"id\":\"%T\"}", STATUS_PERMISSION_DENIED},
	    {USERS_CREATE, "{\"email\":\"x@example.com\",\"tenant_id\":\"%T\"}", STATUS_PERMISSION_DENIED},
	    {USERS_GET, "{\"id\":\"%U\"}", STATUS_NOT_FOUND},
	    {USERS_LIST, "{\"tenant_id\":\"%T\"}", STATUS_PERMISSION_DENIED},
	    {USERS_LIST, "{\"email\":\"ada@example.com\"}", STATUS_OK},
	    {USERS_UPDATE, "{\"id\":\"%U\",\"name\":\"x\"}", STATUS_NOT_FOUND},
	    {USERS_DELETE, "{\"id\":\"%U\"}", STATUS_NOT_FOUND},
	    {PLANS_CREATE, "{\"name\":\"x\"}", STATUS_PERMISSION_DENIED},
	    {PLANS_GET, "{\"name\":\"free\"}", STATUS_OK},
	    {PLANS_LIST, "{}", STATUS_OK},
	    {PLANS_UPDATE, "{\"name\":\"free\",\"title\":\"x\"}", STATUS_PERMISSION_DENIED},
	    {PLANS_DELETE, "{\"name\":\"free\"}", STATUS_PERMISSION_DENIED},
	    {SUBSCRIPTIONS_GET, "{\"tenant_id\":\"%T\"}", STATUS_NOT_FOUND},
	    {SUBSCRIPTIONS_SET, "{\"tenant_id\":\"%T\",\"plan\":\"unlimited\"}", STATUS_PERMISSION_DENIED},
	    {KEYS_CREATE, "{\"tenant_id\":\"%T\"}", STATUS_PERMISSION_DENIED},
	    {KEYS_CREATE, "{\"user_id\":\"%U\"}", STATUS_INVALID_ARGUMENT},
	    {KEYS_GET, "{\"id\":\"%K\"}", STATUS_NOT_FOUND},
	    {KEYS_LIST, "{\"tenant_id\":\"%T\"}", STATUS_PERMISSION_DENIED},
	    {KEYS_LIST, "{\"user_id\":\"%U\"}", STATUS_OK},
	    {KEYS_UPDATE, "{\"id\":\"%K\",\"name\":\"x\"}", STATUS_NOT_FOUND},
	    {KEYS_REVOKE, "{\"id\":\"%K\"}", STATUS_NOT_FOUND},
	    {KEYS_ROTATE, "{\"id\":\"%K\"}", STATUS_NOT_FOUND},
	    {KEYS_VERIFY, "{\"key\":\"%S\"}", STATUS_OK},
	    {KEYS_CHECK, "{\"key_id\":\"%K\"}", STATUS_PERMISSION_DENIED},
	    {STREAM_TOKENS_CREATE, "{}", STATUS_FAILED_PRECONDITION}, /* it is nobody's key */
	    {STREAM_TOKENS_VERIFY, "{\"token\":\"%S\"}", STATUS_PERMISSION_DENIED},
	    {USAGE_REPORTS_LIST, "{\"tenant_id\":\"%T\"}", STATUS_PERMISSION_DENIED},
	    {USAGE_REPORTS_LIST, "{\"key_id\":\"%K\"}", STATUS_OK},
	    {USAGE_REPORTS_REPORT, "{\"node\":\"x\",\"number\":1,\"items\":[]}", STATUS_PERMISSION_DENIED}};
	const size_t count = sizeof(attempts) / sizeof(attempts[0]);
	struct accounts rig;
	accounts_choose_store(_i);
	accounts_start(&rig);
	struct accounts_caller mallory = {accounts_tenant(rig.pool, "Mallory"), "*", false};
	const char *tenant = accounts_tenant(rig.pool, "Acme");
	const char *user =
	    answer_good(accounts_ask(rig.pool, &OPERATOR, USERS_CREATE,
	                             "{\"email\":\"ada@example.com\",\"tenant_id\":\"%s\"}", tenant),
	                "id");
	struct accounts_made key =
	    accounts_key(rig.pool, tenant, arena_printf(accounts_arena, ",\"user_id\":\"%s\"", user));
	ck_assert_code(
	    accounts_ask(
	        rig.pool, &INGRESS, USAGE_REPORTS_REPORT,
	        "{\"node\":\"n\",\"epoch\":1,\"number\":1,\"items\":[{\"key_id\":\"%s\",\"tenant_id\":\"%s\","
	        "\"date\":\"%.10s\",\"calls\":7}]}",
	        key.id, tenant, accounts_time(0)),
	    STATUS_OK);
	const char *before = everything_of(rig.pool, tenant);
	ck_assert_ptr_nonnull(strstr(before, "\"calls\":7"));

	for (size_t i = 0; i < count; i++) {
		const char *request = filled(attempts[i].request, tenant, user, key);
		struct answer answer = accounts_ask(rig.pool, &mallory, attempts[i].method, "%s", request);
		ck_assert_msg(answer.code == attempts[i].code, "%s %s: %s", attempts[i].method->name, request,
		              answer.text);
		ck_assert_msg(!strstr(answer.text, tenant) && !strstr(answer.text, user) &&
		                  !strstr(answer.text, key.id),
		              "%s %s tells: %s", attempts[i].method->name, request, answer.text);
	}
	/* The contract's every method is among them. */
	for (size_t s = 0; api_services[s]; s++)
		for (size_t m = 0;
		     strcmp(api_services[s]->daemon, "accountd") == 0 && m < api_services[s]->method_count; m++) {
			bool is_tried = false;
			for (size_t i = 0; i < count; i++)
				is_tried |= attempts[i].method == &api_services[s]->methods[m];
			ck_assert_msg(is_tried, "%s is not tried", api_services[s]->methods[m].name);
		}
	ck_assert_str_eq(everything_of(rig.pool, tenant), before);
	ck_assert_str_eq(accounts_verdict(rig.pool, key.secret), "ok");
	accounts_stop(&rig);
}
END_TEST

START_TEST(another_tenants_secret_is_unknown_and_ones_own_is_known)
{
	struct accounts rig;
	accounts_choose_store(0);
	accounts_start(&rig);
	const char *tenant = accounts_tenant(rig.pool, "Acme");
	struct accounts_caller mallory = {accounts_tenant(rig.pool, "Mallory"), "*", false},
	                       acme = {tenant, "keys.verify", false};
	struct accounts_made key = accounts_key(rig.pool, tenant, "");
	struct answer answer = accounts_ask(rig.pool, &mallory, KEYS_VERIFY, "{\"key\":\"%s\"}", key.secret);
	ck_assert_str_eq(answer_good(answer, "reason"), "unknown");
	ck_assert_ptr_null(answer_at(&answer, "key_id"));
	ck_assert_str_eq(
	    answer_good(accounts_ask(rig.pool, &acme, KEYS_VERIFY, "{\"key\":\"%s\"}", key.secret), "valid"),
	    "true");
	accounts_stop(&rig);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("accountd_isolation");
	TCase *tcase = tcase_create("accountd_isolation");

	tcase_add_checked_fixture(tcase, accounts_setup, accounts_teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, no_method_shows_or_changes_what_another_tenant_owns, 0, 2);
	tcase_add_test(tcase, another_tenants_secret_is_unknown_and_ones_own_is_known);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
