/*
 * catalogue: every type is there, and every example is as its schema says.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "webhookd/catalogue.h"
#include "schema/json_value.h"
#include "events/pattern.h"
#include "schema/schema.h"

static struct arena arena;
static struct catalogue *catalogue;

static void
setup(void)
{
	arena_init(&arena, 4096, 64u << 20);
	catalogue = catalogue_new();
}

static void
teardown(void)
{
	catalogue_free(catalogue);
	arena_fini(&arena);
}

START_TEST(it_has_at_least_ninety_types_in_order)
{
	ck_assert_uint_ge(catalogue_count(catalogue), 90);
	for (size_t i = 1; i < catalogue_count(catalogue); i++)
		ck_assert_int_lt(strcmp(catalogue_at(catalogue, i - 1)->name, catalogue_at(catalogue, i)->name), 0);
}
END_TEST

START_TEST(every_area_has_its_types)
{
	static const struct {
		const char *pattern;
		size_t count;
	} AREAS[] = {{"file.**", 15},  {"user.**", 14},    {"device.**", 7},     {"security.**", 11},
	             {"report.**", 6}, {"bulk.**", 7},     {"sandbox.**", 13},   {"ratelimit.**", 4},
	             {"cache.**", 2},  {"endpoint.**", 6}, {"message.**", 3},    {"system.**", 10},
	             {"entity.**", 6}, {"cluster.**", 10}, {"diagnostic.**", 4}, {"subscription.**", 6},
	             {"tenant.**", 5}, {"plan.**", 1}};
	size_t total = 0;

	for (size_t a = 0; a < sizeof(AREAS) / sizeof(AREAS[0]); a++) {
		size_t count = 0;
		for (size_t i = 0; i < catalogue_count(catalogue); i++)
			count += pattern_matches(AREAS[a].pattern, catalogue_at(catalogue, i)->name);
		ck_assert_msg(count == AREAS[a].count, "%s: %zu", AREAS[a].pattern, count);
		total += count;
	}
	ck_assert_uint_eq(total, catalogue_count(catalogue));
}
END_TEST

START_TEST(every_example_is_as_its_schema_says_and_has_all_its_properties)
{
	for (size_t i = 0; i < catalogue_count(catalogue); i++) {
		const struct catalogue_type *type = catalogue_at(catalogue, i);
		struct violations found = {.count = 0};
		const struct json_value *schema, *example;
		ck_assert_msg(
		    schema_check_text(type->schema, type->example_json, type->example_length, "", &arena, &found),
		    "%s%s: %s", type->name, found.items[0].pointer, found.items[0].detail);
		json_value_parse(type->schema_json, type->schema_length, &arena, &schema);
		json_value_parse(type->example_json, type->example_length, &arena, &example);
		const struct json_value *properties = json_value_member(schema, "properties", 10);
		for (const struct json_value *at = properties->first; at; at = at->next)
			ck_assert_msg(json_value_member(example, at->name, at->name_length) != NULL, "%s: %s", type->name,
			              at->name);
		ck_assert_uint_eq(properties->count, example->count);
		ck_assert_uint_gt(strlen(type->description), 10);
	}
}
END_TEST

/* So that a schema says something: data without what is required is refused. */
START_TEST(every_schema_requires_something_that_it_describes)
{
	for (size_t i = 0; i < catalogue_count(catalogue); i++) {
		const struct catalogue_type *type = catalogue_at(catalogue, i);
		struct violations found = {.count = 0};
		ck_assert_msg(!schema_check_text(type->schema, "{}", 2, "", &arena, &found), "%s", type->name);
		ck_assert_msg(!schema_check_text(type->schema, "[]", 2, "", &arena, &found), "%s", type->name);
	}
}
END_TEST

START_TEST(types_are_found_by_their_names)
{
	for (size_t i = 0; i < catalogue_count(catalogue); i++)
		ck_assert_ptr_eq(catalogue_find(catalogue, catalogue_at(catalogue, i)->name),
		                 catalogue_at(catalogue, i));
	ck_assert_ptr_null(catalogue_find(catalogue, "file.burnt"));
	ck_assert_ptr_null(catalogue_find(catalogue, ""));
	ck_assert_ptr_nonnull(catalogue_find(catalogue, "system.test.pinged"));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("catalogue");
	TCase *tcase = tcase_create("catalogue");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, it_has_at_least_ninety_types_in_order);
	tcase_add_test(tcase, every_area_has_its_types);
	tcase_add_test(tcase, every_example_is_as_its_schema_says_and_has_all_its_properties);
	tcase_add_test(tcase, every_schema_requires_something_that_it_describes);
	tcase_add_test(tcase, types_are_found_by_their_names);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
