/*
 * filter: which events pass, and what is wrong with a filter.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "webhookd/filter.h"

static struct arena arena;

static void
setup(void)
{
	arena_init(&arena, 4096, 64u << 20);
}

static void
teardown(void)
{
	arena_fini(&arena);
}

#define OP(name) CORBEL__V1__CONDITION_OPERATOR__##name
typedef Corbel__V1__Condition Condition;
typedef Corbel__V1__EventFilter EventFilter;

static Condition *
condition(const char *pointer, Corbel__V1__ConditionOperator test, const char *value)
{
	Condition *out = ARENA_NEW(&arena, Condition);
	corbel__v1__condition__init(out);
	out->pointer = (char *)(uintptr_t)pointer;
	out->has_operator_ = true;
	out->operator_ = test;
	out->has_value = value != NULL;
	if (value)
		out->value = (ProtobufCBinaryData){strlen(value), (uint8_t *)(uintptr_t)value};
	return out;
}

static EventFilter
filter_of(const char *const *types, const char *regex, Condition **conditions)
{
	EventFilter out = CORBEL__V1__EVENT_FILTER__INIT;
	out.types = (char **)(uintptr_t)types;
	while (types && types[out.n_types])
		out.n_types++;
	out.type_regex = (char *)(uintptr_t)regex;
	out.conditions = conditions;
	while (conditions && conditions[out.n_conditions])
		out.n_conditions++;
	return out;
}

static bool
passes(const EventFilter *message, const char *type, const char *data, unsigned *limits)
{
	struct filter_event event;
	struct filter *filter;
	struct status st = filter_compile(message, &filter);

	ck_assert_msg(status_ok(&st), "%s", st.message);
	filter_event_init(&event, type, data, strlen(data));
	bool result = filter_matches(filter, &event);
	if (limits)
		*limits = event.regex_limits;
	filter_event_fini(&event);
	filter_free(filter);
	return result;
}

static bool
condition_holds(const char *pointer, Corbel__V1__ConditionOperator test, const char *value, const char *data)
{
	Condition *list[] = {condition(pointer, test, value), NULL};
	EventFilter message = filter_of(NULL, NULL, list);
	return passes(&message, "a.b", data, NULL);
}

START_TEST(an_empty_filter_takes_everything)
{
	EventFilter message = CORBEL__V1__EVENT_FILTER__INIT;
	ck_assert(passes(&message, "file.uploaded", "{}", NULL));
	ck_assert(passes(NULL, "file.uploaded", "{}", NULL));
	ck_assert(passes(&message, "x", "not JSON", NULL));
}
END_TEST

START_TEST(a_type_passes_by_any_pattern_or_the_regular_expression)
{
	static const char *const TYPES[] = {"file.*", "report.failed", NULL};
	EventFilter patterns = filter_of(TYPES, NULL, NULL), both = filter_of(TYPES, "^user\\.", NULL);
	EventFilter regex = filter_of(NULL, "\\.(created|deleted)$", NULL);

	ck_assert(passes(&patterns, "file.uploaded", "{}", NULL));
	ck_assert(passes(&patterns, "report.failed", "{}", NULL));
	ck_assert(!passes(&patterns, "report.completed", "{}", NULL));
	ck_assert(!passes(&patterns, "file.version.created", "{}", NULL));
	ck_assert(passes(&both, "user.created", "{}", NULL));
	ck_assert(passes(&both, "file.uploaded", "{}", NULL));
	ck_assert(!passes(&both, "superuser.created", "{}", NULL));
	ck_assert(passes(&regex, "user.created", "{}", NULL));
	ck_assert(!passes(&regex, "user.updated", "{}", NULL));
}
END_TEST

struct expectation {
	const char *pointer;
	Corbel__V1__ConditionOperator test;
	const char *value, *data;
	bool holds;
};

static const struct expectation EXPECTATIONS[] = {
    {"/size", OP(EQUAL), "1024", "{\"size\":1024}", true},
    {"/size", OP(EQUAL), "1024", "{\"size\":1024.0}", true},
    {"/size", OP(EQUAL), "1024", "{\"size\":\"1024\"}", false},
    {"/size", OP(EQUAL), "null", "{\"size\":null}", true},
    {"/id", OP(EQUAL), "9007199254740993", "{\"id\":9007199254740992}", false},
    {"/id", OP(EQUAL), "9007199254740993", "{\"id\":9007199254740993}", true},
    {"/id", OP(GREATER), "18446744073709551615", "{\"id\":18446744073709551616}", true},
    {"/id", OP(LESS), "1e400", "{\"id\":18446744073709551616}", true},
    {"/a", OP(EQUAL), "{\"x\":1,\"y\":[2]}", "{\"a\":{\"y\":[2],\"x\":1}}", true},
    {"", OP(EQUAL), "[1]", "[1]", true},
    {"/0", OP(EQUAL), "1", "[1]", true},
    {"/a/b/1/c", OP(EQUAL), "true", "{\"a\":{\"b\":[0,{\"c\":true}]}}", true},
    {"/a", OP(NOT_EQUAL), "1", "{\"a\":2}", true},
    {"/a", OP(NOT_EQUAL), "1", "{\"a\":\"1\"}", true},
    {"/a", OP(NOT_EQUAL), "1", "{\"a\":1.0}", false},
    {"/n", OP(GREATER), "1.5", "{\"n\":1.50001}", true},
    {"/n", OP(GREATER), "1.5", "{\"n\":1.5}", false},
    {"/n", OP(GREATER_OR_EQUAL), "1.5", "{\"n\":1.5}", true},
    {"/n", OP(LESS), "-1", "{\"n\":-2}", true},
    {"/n", OP(LESS_OR_EQUAL), "-1", "{\"n\":-1}", true},
    {"/n", OP(LESS_OR_EQUAL), "-1", "{\"n\":0}", false},
    {"/n", OP(GREATER), "1", "{\"n\":\"2\"}", false},
    {"/n", OP(LESS), "1", "{\"n\":\"2\"}", false},
    {"/n", OP(GREATER), "1", "{\"n\":[2]}", false},
    {"/at", OP(GREATER), "\"2026-01-01\"", "{\"at\":\"2026-01-02T00:00:00Z\"}", true},
    {"/at", OP(LESS), "\"b\"", "{\"at\":\"a\"}", true},
    {"/c", OP(IN), "[\"de\",\"fr\",1]", "{\"c\":\"fr\"}", true},
    {"/c", OP(IN), "[\"de\",\"fr\",1]", "{\"c\":1.0}", true},
    {"/c", OP(IN), "[\"de\",\"fr\",1]", "{\"c\":\"at\"}", false},
    {"/p", OP(PRESENT), NULL, "{\"p\":null}", true},
    {"/p", OP(ABSENT), NULL, "{\"p\":null}", false},
    {"/p", OP(ABSENT), NULL, "{}", true},
    {"/s", OP(PREFIX), "\"inv\"", "{\"s\":\"invoice\"}", true},
    {"/s", OP(PREFIX), "\"inv\"", "{\"s\":\"in\"}", false},
    {"/s", OP(PREFIX), "\"inv\"", "{\"s\":1}", false},
    {"/s", OP(MATCHES), "\"^[^@]+@example\\\\.com$\"", "{\"s\":\"ada@example.com\"}", true},
    {"/s", OP(MATCHES), "\"^[^@]+@example\\\\.com$\"", "{\"s\":\"ada@example.org\"}", false},
    {"/s", OP(MATCHES), "\"1\"", "{\"s\":1}", false},
};

START_TEST(conditions_compare_like_with_like)
{
	for (size_t i = 0; i < sizeof(EXPECTATIONS) / sizeof(EXPECTATIONS[0]); i++) {
		const struct expectation *e = &EXPECTATIONS[i];
		ck_assert_msg(condition_holds(e->pointer, e->test, e->value, e->data) == e->holds,
		              "%zu: %s %d %s on %s", i, e->pointer, e->test, e->value, e->data);
	}
}
END_TEST

START_TEST(a_missing_field_passes_no_condition_but_absent)
{
	static const char *const DATA[] = {"{}", "{\"b\":{\"a\":1}}", "[1]", "1", "null", "{\"a\":{}}"};
	for (int test = OP(EQUAL); test <= OP(MATCHES); test++) {
		bool has_value = test != OP(PRESENT) && test != OP(ABSENT);
		const char *value = !has_value ? NULL : test == OP(IN) ? "[\"x\"]" : "\"x\"";
		for (size_t i = 0; i < sizeof(DATA) / sizeof(DATA[0]); i++)
			ck_assert_msg(condition_holds("/a/b", (Corbel__V1__ConditionOperator)test, value, DATA[i]) ==
			                  (test == OP(ABSENT)),
			              "%d on %s", test, DATA[i]);
	}
}
END_TEST

START_TEST(data_that_cannot_be_read_passes_no_condition)
{
	ck_assert(!condition_holds("/a", OP(ABSENT), NULL, "{"));
	ck_assert(!condition_holds("/a", OP(ABSENT), NULL, ""));
}
END_TEST

START_TEST(all_conditions_and_the_type_must_pass)
{
	static const char *const TYPES[] = {"file.*", NULL};
	Condition *list[] = {condition("/a", OP(EQUAL), "1"), condition("/b", OP(PRESENT), NULL), NULL};
	EventFilter message = filter_of(TYPES, NULL, list);

	ck_assert(passes(&message, "file.uploaded", "{\"a\":1,\"b\":2}", NULL));
	ck_assert(!passes(&message, "file.uploaded", "{\"a\":1}", NULL));
	ck_assert(!passes(&message, "file.uploaded", "{\"a\":2,\"b\":2}", NULL));
	ck_assert(!passes(&message, "user.created", "{\"a\":1,\"b\":2}", NULL));
}
END_TEST

START_TEST(data_is_read_once_for_many_filters_and_only_when_it_matters)
{
	static const char *const TYPES[] = {"file.*", NULL}, *const OTHER[] = {"user.*", NULL};
	Condition *list[] = {condition("/a", OP(EQUAL), "1"), NULL};
	EventFilter messages[] = {filter_of(TYPES, NULL, NULL), filter_of(OTHER, NULL, list),
	                          filter_of(TYPES, NULL, list)};
	struct filter_event event;
	struct filter *filter;

	filter_event_init(&event, "file.uploaded", "{\"a\":1}", 7);
	for (size_t i = 0; i < 3; i++) {
		filter_compile(&messages[i], &filter);
		ck_assert(filter_matches(filter, &event) == (i != 1));
		ck_assert(event.is_read == (i == 2));
		filter_free(filter);
	}
	const struct json_value *root = event.root;
	filter_compile(&messages[2], &filter);
	ck_assert(filter_matches(filter, &event));
	ck_assert_ptr_eq(event.root, root);
	filter_free(filter);
	filter_event_fini(&event);
}
END_TEST

START_TEST(a_catastrophic_expression_is_no_match_counted_and_quick)
{
	char *data = arena_alloc(&arena, 70000);
	Condition *list[] = {condition("/s", OP(MATCHES), "\"^(a+)+$\""), NULL};
	EventFilter on_data = filter_of(NULL, NULL, list),
	            on_type = filter_of(NULL, "^(([a-z])+.)+[A-Z]([a-z])+$", NULL);
	char type[120];
	unsigned limits = 0;

	memset(data, 'a', 60000);
	memcpy(data, "{\"s\":\"", 6);
	strcpy(data + 59990, "!\"}");
	memset(type, 'a', sizeof(type) - 1);
	type[sizeof(type) - 1] = '\0';
	uint64_t before = clock_mono_ms(clock_system());
	ck_assert(!passes(&on_data, "a.b", data, &limits));
	ck_assert_uint_eq(limits, 1);
	ck_assert(!passes(&on_type, type, "{}", &limits));
	ck_assert_uint_eq(limits, 1);
	ck_assert_uint_lt(clock_mono_ms(clock_system()) - before, 2000);
}
END_TEST

static void
assert_refused(const EventFilter *message, const char *pointer, const char *detail)
{
	struct violations violations = {.count = 0};
	ck_assert(!filter_check(message, "/filter", &arena, &violations));
	ck_assert_uint_eq(violations.count, 1);
	ck_assert_str_eq(violations.items[0].pointer, pointer);
	ck_assert_msg(strstr(violations.items[0].detail, detail) != NULL, "%s", violations.items[0].detail);
}

static void
assert_condition_refused(Condition *bad, const char *pointer, const char *detail)
{
	Condition *list[] = {condition("", OP(PRESENT), NULL), bad, NULL};
	EventFilter message = filter_of(NULL, NULL, list);
	assert_refused(&message, pointer, detail);
}

START_TEST(what_is_wrong_with_a_filter_is_told_with_its_place)
{
	static const char *const TYPES[] = {"file.*", "file .*", NULL};
	EventFilter bad_type = filter_of(TYPES, NULL, NULL), bad_regex = filter_of(NULL, "(a)\\1", NULL);
	Condition *unset = condition("/a", OP(EQUAL), "1");

	assert_refused(&bad_type, "/filter/types/1", "of letters");
	assert_refused(&bad_regex, "/filter/type_regex", "back-references");
	unset->has_operator_ = false;
	assert_condition_refused(unset, "/filter/conditions/1/operator", "required");
	assert_condition_refused(condition(NULL, OP(EQUAL), "1"), "/filter/conditions/1/pointer", "required");
	assert_condition_refused(condition("a", OP(EQUAL), "1"), "/filter/conditions/1/pointer", "JSON pointer");
	assert_condition_refused(condition("/a", OP(EQUAL), NULL), "/filter/conditions/1/value", "required");
	assert_condition_refused(condition("/a", OP(EQUAL), "{"), "/filter/conditions/1/value", "not JSON");
	assert_condition_refused(condition("/a", OP(GREATER), "[]"), "/filter/conditions/1/value", "a number or");
	assert_condition_refused(condition("/a", OP(PREFIX), "1"), "/filter/conditions/1/value", "a string");
	assert_condition_refused(condition("/a", OP(MATCHES), "\"(\""), "/filter/conditions/1/value",
	                         "expression");
	assert_condition_refused(condition("/a", OP(IN), "1"), "/filter/conditions/1/value", "a list");
	assert_condition_refused(condition("/a", OP(IN), "[]"), "/filter/conditions/1/value", "a list");
	assert_condition_refused(condition("/a", OP(PRESENT), "1"), "/filter/conditions/1/value", "absent");
}
END_TEST

START_TEST(all_that_is_wrong_is_told_together)
{
	static const char *const TYPES[] = {"*.x.", "ok", "**.**", NULL};
	Condition *list[] = {condition("x", OP(EQUAL), "1"), condition("/a", OP(EQUAL), NULL), NULL};
	EventFilter message = filter_of(TYPES, "[", list);
	struct violations violations = {.count = 0};

	ck_assert(!filter_check(&message, "", &arena, &violations));
	ck_assert_uint_eq(violations.count, 5);
	ck_assert_str_eq(violations.items[0].pointer, "/types/0");
	ck_assert_str_eq(violations.items[4].pointer, "/conditions/1/value");
	struct filter *filter;
	struct status st = filter_compile(&message, &filter);
	ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(st.message, "/types/0: "));
}
END_TEST

START_TEST(a_filter_outlives_the_message_that_it_came_from)
{
	char type[] = "file.*", pointer[] = "/a", value[] = "\"x\"";
	char *types[] = {type, NULL};
	Condition *list[] = {condition(pointer, OP(EQUAL), value), NULL};
	EventFilter message = filter_of((const char *const *)types, NULL, list);
	struct filter_event event;
	struct filter *filter;

	filter_compile(&message, &filter);
	memset(type, '!', sizeof(type) - 1);
	memset(pointer, '!', sizeof(pointer) - 1);
	memset(value, '!', sizeof(value) - 1);
	filter_event_init(&event, "file.x", "{\"a\":\"x\"}", 9);
	ck_assert(filter_matches(filter, &event));
	filter_event_fini(&event);
	filter_free(filter);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("filter");
	TCase *tcase = tcase_create("filter");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, an_empty_filter_takes_everything);
	tcase_add_test(tcase, a_type_passes_by_any_pattern_or_the_regular_expression);
	tcase_add_test(tcase, conditions_compare_like_with_like);
	tcase_add_test(tcase, a_missing_field_passes_no_condition_but_absent);
	tcase_add_test(tcase, data_that_cannot_be_read_passes_no_condition);
	tcase_add_test(tcase, all_conditions_and_the_type_must_pass);
	tcase_add_test(tcase, data_is_read_once_for_many_filters_and_only_when_it_matters);
	tcase_add_test(tcase, a_catastrophic_expression_is_no_match_counted_and_quick);
	tcase_add_test(tcase, what_is_wrong_with_a_filter_is_told_with_its_place);
	tcase_add_test(tcase, all_that_is_wrong_is_told_together);
	tcase_add_test(tcase, a_filter_outlives_the_message_that_it_came_from);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
