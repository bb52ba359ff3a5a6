/*
 * order: which events share a key.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "webhookd/filter.h"
#include "webhookd/order.h"

static bool
key_of(const char *rule, const char *subject, const char *data, int64_t *out)
{
	struct filter_event event;

	filter_event_init(&event, "a.b", data, strlen(data));
	bool has_key = order_key(rule, subject, &event, out);
	filter_event_fini(&event);
	return has_key;
}

static bool
share(const char *rule, const char *one, const char *two)
{
	int64_t a, b;
	ck_assert(key_of(rule, NULL, one, &a) && key_of(rule, NULL, two, &b));
	return a == b;
}

START_TEST(one_value_has_one_key_in_every_process)
{
	int64_t key, same;

	ck_assert(share("/id", "{\"id\":\"x\"}", "{ \"a\": 1, \"id\" : \"\\u0078\" }"));
	ck_assert(share("/a/1", "{\"a\":[0,true]}", "{\"a\":[5,true,7]}"));
	ck_assert(!share("/id", "{\"id\":\"x\"}", "{\"id\":\"y\"}"));
	ck_assert(!share("/id", "{\"id\":\"1\"}", "{\"id\":1}"));
	ck_assert(!share("/id", "{\"id\":1}", "{\"id\":1.0}"));
	ck_assert(!share("/id", "{\"id\":true}", "{\"id\":\"true\"}"));
	ck_assert(key_of("subject", "u1", "{}", &key) && key_of("/id", NULL, "{\"id\":\"u1\"}", &same));
	ck_assert_int_eq(key, same);
}
END_TEST

START_TEST(what_has_no_value_has_no_key)
{
	const char *const DATA[] = {"{}", "{\"id\":null}", "{\"id\":{}}", "{\"id\":[1]}", "[]", "5", "no json"};
	int64_t key;

	for (size_t i = 0; i < sizeof(DATA) / sizeof(DATA[0]); i++)
		ck_assert_msg(!key_of("/id", "s", DATA[i], &key), "%s", DATA[i]);
	ck_assert(!key_of("subject", NULL, "{\"subject\":\"s\"}", &key));
}
END_TEST

START_TEST(rules_are_subject_or_pointers_to_something_inside)
{
	ck_assert(order_rule_is_valid("subject"));
	ck_assert(order_rule_is_valid("/user/id"));
	ck_assert(order_rule_is_valid("/a~1b"));
	ck_assert(!order_rule_is_valid(""));
	ck_assert(!order_rule_is_valid("id"));
	ck_assert(!order_rule_is_valid("/a~2"));
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("order");
	TCase *t = tcase_create("order");

	tcase_add_test(t, one_value_has_one_key_in_every_process);
	tcase_add_test(t, what_has_no_value_has_no_key);
	tcase_add_test(t, rules_are_subject_or_pointers_to_something_inside);
	suite_add_tcase(s, t);
	return s;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
