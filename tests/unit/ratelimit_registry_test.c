/*
 * registry: which definition of a name applies, and what a plan's limit makes.
 */
#include <check.h>
#include <stdlib.h>

#include "ratelimitd/registry.h"

#define TENANT "ten_1"

static struct snapshot *snapshot;

static void
setup(void)
{
	snapshot = snapshot_new();
}

static void
teardown(void)
{
	snapshot_release(snapshot);
}

/* A definition is told by its limit. */
static void
define(Corbel__V1__LimitLevel level, const char *subject, uint64_t limit)
{
	snapshot_add(snapshot,
	             &(struct definition){
	                 .tenant = TENANT,
	                 .name = "charts",
	                 .level = level,
	                 .subject = subject,
	                 .rule = {.strategy = STRATEGY_FIXED_WINDOW, .limit = limit, .window_us = 1000000}});
}

static void
define_by_plan(const char *plan, uint64_t limit)
{
	Corbel__V1__PlanLimit message = CORBEL__V1__PLAN_LIMIT__INIT;
	message.resource = (char *)(uintptr_t) "charts";
	message.limit = limit;
	message.window_ms = 1000;
	snapshot_add_plan(snapshot, plan, &message);
}

static uint64_t
found(const struct limit_query *query)
{
	const struct definition *definition = snapshot_find(snapshot, query);
	return definition ? definition->rule.limit : 0;
}

START_TEST(the_most_specific_definition_of_a_name_applies)
{
	const struct definition own = {.name = "charts", .rule = {.limit = 2}};

	define(CORBEL__V1__LIMIT_LEVEL__KEY, "user-1", 1);
	define(CORBEL__V1__LIMIT_LEVEL__ROUTE, "/charts", 3);
	define(CORBEL__V1__LIMIT_LEVEL__PLAN, "basic", 4);
	define(CORBEL__V1__LIMIT_LEVEL__TENANT, "", 5);
	define_by_plan("basic", 6);
	snapshot_seal(snapshot);
	struct limit_query query = {.tenant = TENANT,
	                            .name = "charts",
	                            .key = "user-1",
	                            .route = "/charts",
	                            .plan = "basic",
	                            .own = &own};
	ck_assert_uint_eq(found(&query), 1);
	query.key = "user-2";
	ck_assert_uint_eq(found(&query), 2);
	query.own = NULL;
	ck_assert_uint_eq(found(&query), 3);
	query.route = NULL;
	ck_assert_uint_eq(found(&query), 4);
	query.plan = "free";
	ck_assert_uint_eq(found(&query), 5);
	query.tenant = "ten_2";
	ck_assert_uint_eq(found(&query), 0);
	query.plan = "basic";
	ck_assert_uint_eq(found(&query), 6);
	query.own = &own;
	ck_assert_uint_eq(found(&query), 2);
}
END_TEST

START_TEST(a_keys_own_limit_of_a_name_that_nobody_defined_applies)
{
	const struct definition own = {.name = "exports", .rule = {.limit = 2}};

	snapshot_seal(snapshot);
	ck_assert_uint_eq(found(&(struct limit_query){
	                      .tenant = TENANT, .name = "exports", .key = "k", .plan = "", .own = &own}),
	                  2);
	ck_assert_uint_eq(
	    found(&(struct limit_query){.tenant = TENANT, .name = "exports", .key = "k", .plan = ""}), 0);
}
END_TEST

START_TEST(counters_outlive_a_change_of_what_is_admitted_and_not_of_how)
{
	Corbel__V1__PlanLimit message = CORBEL__V1__PLAN_LIMIT__INIT;
	struct definition before, after;

	message.resource = (char *)(uintptr_t) "charts";
	message.limit = 5;
	message.window_ms = 1000;
	definition_from_plan(&message, &before);
	message.limit = 50;
	definition_from_plan(&message, &after);
	ck_assert_uint_eq(before.identity, after.identity);
	message.window_ms = 2000;
	definition_from_plan(&message, &after);
	ck_assert_uint_ne(before.identity, after.identity);
	message.window_ms = 1000;
	message.has_strategy = true;
	message.strategy = CORBEL__V1__STRATEGY__GCRA;
	definition_from_plan(&message, &after);
	ck_assert_uint_ne(before.identity, after.identity);
	ck_assert_uint_eq(after.rule.burst, 50);
}
END_TEST

START_TEST(a_log_of_a_plan_keeps_no_more_than_a_log_may)
{
	Corbel__V1__PlanLimit message = CORBEL__V1__PLAN_LIMIT__INIT;
	struct definition definition;

	message.resource = (char *)(uintptr_t) "charts";
	message.limit = RULE_LOG_MAX * 100;
	message.window_ms = 1000;
	message.has_strategy = true;
	message.strategy = CORBEL__V1__STRATEGY__SLIDING_LOG;
	definition_from_plan(&message, &definition);
	ck_assert_uint_eq(definition.rule.limit, RULE_LOG_MAX);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("definitions of limits");
	TCase *tests = tcase_create("registry");
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, the_most_specific_definition_of_a_name_applies);
	tcase_add_test(tests, a_keys_own_limit_of_a_name_that_nobody_defined_applies);
	tcase_add_test(tests, counters_outlive_a_change_of_what_is_admitted_and_not_of_how);
	tcase_add_test(tests, a_log_of_a_plan_keeps_no_more_than_a_log_may);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
