/*
 * raw: bodies of HTTP that are one field of a message.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "api/raw.h"
#include "corbel/contract.gen.h"

static struct arena arena;

static void
setup(void)
{
	arena_init(&arena, 4096, 1u << 20);
}

static void
teardown(void)
{
	arena_fini(&arena);
}

static const Corbel__V1__CacheSetRequest *
request(const char *type, const char *body)
{
	return (const Corbel__V1__CacheSetRequest *)raw_to_message(CACHE_SET, type, body, strlen(body), &arena);
}

START_TEST(a_body_is_the_field_that_the_contract_names_with_its_type_beside)
{
	const Corbel__V1__CacheSetRequest *made = request("text/html; charset=utf-8", "<p>");

	ck_assert(made->has_value && !made->has_json);
	ck_assert_uint_eq(made->value.len, 3);
	ck_assert_mem_eq(made->value.data, "<p>", 3);
	ck_assert_str_eq(made->content_type, "text/html; charset=utf-8");
	ck_assert_ptr_null(request(NULL, "x")->content_type);
	ck_assert(request("a/b", "")->has_value);
}
END_TEST

START_TEST(json_goes_where_json_is_checked)
{
	static const char *const TYPES[] = {"application/json", "Application/JSON; charset=utf-8",
	                                    "application/json ;a=b"};
	for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
		const Corbel__V1__CacheSetRequest *made = request(TYPES[i], "{}");
		ck_assert_msg(made->has_json && !made->has_value && !made->content_type, "%s", TYPES[i]);
	}
	ck_assert(request("application/jsonp", "{}")->has_value);
	ck_assert(request("application/problem+json", "{}")->has_value);
}
END_TEST

START_TEST(an_answer_is_the_field_that_the_contract_names_or_none)
{
	Corbel__V1__CacheEntry entry = CORBEL__V1__CACHE_ENTRY__INIT;
	struct raw_answer answer;

	ck_assert(!raw_from_message(CACHE_GET, &entry.base, &answer));
	entry.has_value = true;
	ck_assert(raw_from_message(CACHE_GET, &entry.base, &answer));
	ck_assert_uint_eq(answer.size, 0);
	ck_assert_ptr_null(answer.type);
	entry.value = (ProtobufCBinaryData){.len = 2, .data = (uint8_t *)(uintptr_t) "ab"};
	entry.content_type = (char *)(uintptr_t) "a/b";
	ck_assert(raw_from_message(CACHE_GET, &entry.base, &answer));
	ck_assert_mem_eq(answer.body, "ab", 2);
	ck_assert_str_eq(answer.type, "a/b");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("raw");
	TCase *all = tcase_create("all");

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, a_body_is_the_field_that_the_contract_names_with_its_type_beside);
	tcase_add_test(all, json_goes_where_json_is_checked);
	tcase_add_test(all, an_answer_is_the_field_that_the_contract_names_or_none);
	suite_add_tcase(suite, all);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
