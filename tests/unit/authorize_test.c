/*
 * authorize: who may call what.
 */
#include <check.h>
#include <stdint.h>
#include <stdlib.h>

#include "daemon/authorize.h"

static const struct api_method KEYED = {.name = "K/Write", .path = "/k", .scope = "keys.write"};
static const struct api_method OPERATORS = {
    .name = "T/Create", .path = "/t", .scope = "tenants.write", .is_operator_only = true};
static const struct api_method PUBLIC = {.name = "P/Get", .path = "/p", .scope = "", .is_public = true};
static const struct api_method INTERNAL = {.name = "I/Report", .scope = "", .is_public = true};

static Corbel__Bus__Principal
somebody(const char *tenant, char **scope)
{
	Corbel__Bus__Principal principal = CORBEL__BUS__PRINCIPAL__INIT;
	principal.tenant = (char *)(uintptr_t)tenant;
	principal.scopes = scope;
	principal.n_scopes = *scope ? 1 : 0;
	return principal;
}

static enum status_code
outcome(const struct api_method *method, const char *tenant, const char *scope)
{
	char *held = (char *)(uintptr_t)scope;
	Corbel__Bus__Principal principal = somebody(tenant, &held);
	struct status st = authorize(method, &principal);
	return st.code;
}

START_TEST(a_scope_is_held_by_itself_its_family_and_everything)
{
	ck_assert_int_eq(outcome(&KEYED, "ten_1", "keys.write"), STATUS_OK);
	ck_assert_int_eq(outcome(&KEYED, "ten_1", "keys.*"), STATUS_OK);
	ck_assert_int_eq(outcome(&KEYED, "ten_1", "*"), STATUS_OK);
}
END_TEST

START_TEST(a_scope_is_not_held_by_what_resembles_it)
{
	static const char *const others[] = {"keys.read", "keys", "keys.", "key.*", "keys.writer",
	                                     "keys.writ", ".*",   "",      NULL};
	for (size_t i = 0; others[i]; i++)
		ck_assert_int_eq(outcome(&KEYED, "ten_1", others[i]), STATUS_PERMISSION_DENIED);
	ck_assert_int_eq(outcome(&KEYED, "ten_1", NULL), STATUS_PERMISSION_DENIED);
}
END_TEST

START_TEST(nobody_reaches_public_methods_only)
{
	ck_assert_int_eq(authorize(&PUBLIC, NULL).code, STATUS_OK);
	ck_assert_int_eq(authorize(&KEYED, NULL).code, STATUS_UNAUTHENTICATED);
	ck_assert_int_eq(outcome(&KEYED, "", "*"), STATUS_UNAUTHENTICATED);
	ck_assert_int_eq(outcome(&KEYED, NULL, "*"), STATUS_UNAUTHENTICATED);
}
END_TEST

START_TEST(operators_methods_are_for_tenant_root_whatever_the_scope)
{
	ck_assert_int_eq(outcome(&OPERATORS, "ten_1", "*"), STATUS_PERMISSION_DENIED);
	ck_assert_int_eq(outcome(&OPERATORS, "root", "*"), STATUS_OK);
	ck_assert_int_eq(outcome(&OPERATORS, "root", "keys.*"), STATUS_PERMISSION_DENIED);
}
END_TEST

START_TEST(methods_without_a_path_are_for_daemons_even_if_public)
{
	Corbel__Bus__Principal daemon = CORBEL__BUS__PRINCIPAL__INIT;
	daemon.has_internal = daemon.internal = true;
	ck_assert_int_eq(authorize(&INTERNAL, NULL).code, STATUS_PERMISSION_DENIED);
	ck_assert_int_eq(outcome(&INTERNAL, "root", "*"), STATUS_PERMISSION_DENIED);
	ck_assert_int_eq(authorize(&INTERNAL, &daemon).code, STATUS_OK);
	ck_assert_int_eq(authorize(&OPERATORS, &daemon).code, STATUS_OK);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("authorize");
	TCase *tcase = tcase_create("authorize");

	tcase_add_test(tcase, a_scope_is_held_by_itself_its_family_and_everything);
	tcase_add_test(tcase, a_scope_is_not_held_by_what_resembles_it);
	tcase_add_test(tcase, nobody_reaches_public_methods_only);
	tcase_add_test(tcase, operators_methods_are_for_tenant_root_whatever_the_scope);
	tcase_add_test(tcase, methods_without_a_path_are_for_daemons_even_if_public);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
