/*
 * schema: what fits, what is said when it does not, which schemas are refused, and what hostile ones cost.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/clock.h"
#include "schema/schema.h"

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

static struct schema *
compile(const char *text)
{
	struct violations found = {.count = 0};
	struct schema *schema = schema_compile(text, strlen(text), "", &arena, &found);
	ck_assert_msg(schema != NULL, "%s: %s %s", text, found.items[0].pointer, found.items[0].detail);
	return schema;
}

static bool
fits(const char *schema_text, const char *data, struct violations *found)
{
	struct schema *schema = compile(schema_text);
	memset(found, 0, sizeof(*found));
	bool is_good = schema_check_text(schema, data, strlen(data), "/data", &arena, found);
	ck_assert_msg(is_good == (found->count == 0), "%s: a refusal has a reason", schema_text);
	schema_free(schema);
	return is_good;
}

struct example {
	const char *schema, *good[4], *bad[4];
};

static const struct example EXAMPLES[] = {
    {"true", {"1", "null"}, {NULL}},
    {"false", {NULL}, {"1", "null"}},
    {"{}", {"1", "{\"a\":[]}"}, {NULL}},
    {"{\"type\":\"integer\"}",
     {"1", "1.0", "-1e3", "18446744073709551616"},
     {"1.5", "\"1\"", "1e-1", "true"}},
    {"{\"type\":\"number\"}", {"1", "1.5"}, {"\"1\"", "null"}},
    {"{\"type\":[\"string\",\"null\"]}", {"\"a\"", "null"}, {"1", "{}", "false"}},
    {"{\"type\":\"boolean\"}", {"true", "false"}, {"0", "null"}},
    {"{\"enum\":[1,\"a\",{\"x\":[1]}]}", {"1.0", "\"a\"", "{\"x\":[1]}"}, {"2", "\"b\"", "{\"x\":[2]}"}},
    {"{\"const\":9007199254740993}", {"9007199254740993"}, {"9007199254740992"}},
    {"{\"properties\":{\"a\":{\"type\":\"string\"}}}",
     {"{}", "{\"a\":\"x\"}", "{\"b\":1}", "7"},
     {"{\"a\":1}"}},
    {"{\"required\":[\"a\",\"b\"]}", {"{\"a\":1,\"b\":null}", "[]"}, {"{\"a\":1}", "{}"}},
    {"{\"properties\":{\"a\":true},\"additionalProperties\":false}", {"{}", "{\"a\":1}"}, {"{\"b\":1}"}},
    {"{\"additionalProperties\":{\"type\":\"string\"}}", {"{}", "{\"a\":\"x\"}"}, {"{\"a\":1}"}},
    {"{\"properties\":{\"a\":false}}", {"{}"}, {"{\"a\":1}"}},
    {"{\"items\":{\"type\":\"integer\"}}", {"[]", "[1,2]", "{}"}, {"[1,\"2\"]"}},
    {"{\"prefixItems\":[{\"type\":\"string\"},true],\"items\":false}",
     {"[]", "[\"a\",1]"},
     {"[1]", "[\"a\",1,2]"}},
    {"{\"minItems\":1,\"maxItems\":2}", {"[1]", "[1,2]", "\"\""}, {"[]", "[1,2,3]"}},
    {"{\"uniqueItems\":true}",
     {"[1,2]", "[1,\"1\"]", "[{\"a\":1},{\"a\":2}]"},
     {"[1,1.0]", "[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1}]", "[[1],2,[1]]"}},
    {"{\"minLength\":2,\"maxLength\":3}",
     {"\"ab\"", "\"\xC3\xA9\xC3\xA9\xC3\xA9\"", "1"},
     {"\"a\"", "\"abcd\"", "\"\xC3\xA9\""}},
    {"{\"pattern\":\"^[a-z]+$\"}", {"\"abc\"", "1"}, {"\"Abc\"", "\"\""}},
    {"{\"minimum\":1,\"maximum\":2.5}", {"1", "2.5", "\"0\""}, {"0.999", "2.51", "-1"}},
    {"{\"exclusiveMinimum\":1,\"exclusiveMaximum\":2}", {"1.5"}, {"1", "2", "1.0"}},
    {"{\"format\":\"date-time\"}",
     {"\"2026-01-31T23:59:59.123Z\"", "\"2026-01-31T23:59:59+02:00\"", "1"},
     {"\"2026-01-31\"", "\"2026-02-30T00:00:00Z\"", "\"\""}},
    {"{\"format\":\"email\"}",
     {"\"ada@example.com\"", "\"a.b+c@x-y.org\""},
     {"\"ada\"", "\"a@\"", "\"a..b@x.org\"", "\"a@-x.org\""}},
    {"{\"format\":\"uri\"}",
     {"\"https://example.com/a?b=%20#c\"", "\"urn:x:y\""},
     {"\"/a\"", "\"https://a b\"", "\"x:%g0\"", "\"1x:y\""}},
    {"{\"format\":\"uuid\"}",
     {"\"0192F0c1-a2b3-7c4d-8e9f-a0b1c2d3e4f5\""},
     {"\"0192f0c1a2b37c4d8e9fa0b1c2d3e4f5\"", "\"\"", "\"0192f0c1-a2b3-7c4d-8e9f-a0b1c2d3e4g5\""}},
    {"{\"allOf\":[{\"minimum\":1},{\"maximum\":3}]}", {"1", "3"}, {"0", "4"}},
    {"{\"anyOf\":[{\"type\":\"string\"},{\"minimum\":3}]}", {"\"\"", "3"}, {"2"}},
    {"{\"oneOf\":[{\"minimum\":1},{\"maximum\":3}]}", {"0", "4"}, {"2"}},
    {"{\"not\":{\"type\":\"string\"}}", {"1"}, {"\"\""}},
    {"{\"$defs\":{\"id\":{\"pattern\":\"^x\"}},\"properties\":{\"a\":{\"$ref\":\"#/$defs/"
     "id\",\"maxLength\":2}}}",
     {"{\"a\":\"xy\"}"},
     {"{\"a\":\"y\"}", "{\"a\":\"xyz\"}"}},
    {"{\"$defs\":{\"a/b~c\":{\"const\":1}},\"$ref\":\"#/$defs/a~1b~0c\"}", {"1"}, {"2"}},
    {"{\"properties\":{\"child\":{\"$ref\":\"#\"},\"n\":{\"type\":\"integer\"}}}",
     {"{\"child\":{\"child\":{\"n\":1}}}"},
     {"{\"child\":{\"child\":{\"n\":\"1\"}}}"}},
    {"{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"$id\":\"https://e.example/"
     "x\",\"title\":\"t\","
     "\"description\":\"d\",\"default\":1,\"examples\":[1],\"deprecated\":true,\"$comment\":\"c\"}",
     {"1"},
     {NULL}},
};

START_TEST(values_fit_as_json_schema_says)
{
	struct violations found;
	for (size_t i = 0; i < sizeof(EXAMPLES) / sizeof(EXAMPLES[0]); i++) {
		for (size_t k = 0; k < 4 && EXAMPLES[i].good[k]; k++)
			ck_assert_msg(fits(EXAMPLES[i].schema, EXAMPLES[i].good[k], &found), "%s fits %s: %s",
			              EXAMPLES[i].good[k], EXAMPLES[i].schema, found.items[0].detail);
		for (size_t k = 0; k < 4 && EXAMPLES[i].bad[k]; k++)
			ck_assert_msg(!fits(EXAMPLES[i].schema, EXAMPLES[i].bad[k], &found), "%s does not fit %s",
			              EXAMPLES[i].bad[k], EXAMPLES[i].schema);
	}
}
END_TEST

static void
assert_violation(const struct violations *found, size_t index, const char *pointer, const char *detail)
{
	ck_assert_uint_lt(index, found->count);
	ck_assert_str_eq(found->items[index].pointer, pointer);
	ck_assert_str_eq(found->items[index].detail, detail);
}

START_TEST(all_that_is_wrong_with_a_value_is_told_with_its_place)
{
	struct violations found;
	const char *schema = "{\"type\":\"object\",\"required\":[\"id\"],\"properties\":{\"size\":{\"type\":"
	                     "\"integer\",\"minimum\":0},"
	                     "\"tags\":{\"items\":{\"maxLength\":3}},\"kind\":{\"enum\":[\"a\",\"b\"]}},"
	                     "\"additionalProperties\":false}";

	ck_assert(!fits(schema, "{\"size\":-1,\"tags\":[\"abc\",\"abcd\"],\"a/b\":1,\"kind\":\"c\"}", &found));
	ck_assert_uint_eq(found.count, 5);
	assert_violation(&found, 0, "/data/id", "is required");
	assert_violation(&found, 1, "/data/size", "must be at least 0");
	assert_violation(&found, 2, "/data/tags/1", "must have at most 3 characters");
	assert_violation(&found, 3, "/data/a~1b", "is not known");
	assert_violation(&found, 4, "/data/kind", "must be one of [\"a\",\"b\"]");
	ck_assert(!fits(schema, "1", &found));
	assert_violation(&found, 0, "/data", "must be an object");
	ck_assert(!fits(schema, "{", &found));
	ck_assert_str_eq(found.items[0].pointer, "/data");
}
END_TEST

START_TEST(the_list_of_what_is_wrong_is_bounded)
{
	struct violations found;
	struct strbuf data;

	strbuf_init(&data, &arena);
	strbuf_puts(&data, "[0");
	for (int i = 0; i < 1000; i++)
		strbuf_puts(&data, ",0");
	strbuf_puts(&data, "]");
	ck_assert(!fits("{\"items\":{\"minimum\":1}}", data.data, &found));
	ck_assert_uint_eq(found.count, VIOLATIONS_MAX);
	ck_assert(found.is_cut);
}
END_TEST

static void
assert_refused(const char *text, const char *pointer, const char *detail)
{
	struct violations found = {.count = 0};
	struct schema *schema = schema_compile(text, strlen(text), "/schema", &arena, &found);
	ck_assert_msg(!schema, "%s", text);
	ck_assert_msg(strcmp(found.items[0].pointer, pointer) == 0, "%s: %s", text, found.items[0].pointer);
	ck_assert_msg(strstr(found.items[0].detail, detail) != NULL, "%s: %s", text, found.items[0].detail);
}

START_TEST(what_is_not_in_the_subset_is_refused_with_its_place)
{
	assert_refused("", "/schema", "not JSON");
	assert_refused("1", "/schema", "an object, true or false");
	assert_refused("{\"if\":{}}", "/schema/if", "not supported");
	assert_refused("{\"patternProperties\":{}}", "/schema/patternProperties", "not supported");
	assert_refused("{\"properties\":{\"a/b\":{\"multipleOf\":2}}}", "/schema/properties/a~1b/multipleOf",
	               "not");
	assert_refused("{\"allOf\":[true,{\"then\":1}]}", "/schema/allOf/1/then", "not supported");
	assert_refused("{\"items\":{\"$id\":\"x\"}}", "/schema/items/$id", "not supported");
	assert_refused("{\"type\":\"text\"}", "/schema/type", "must be null");
	assert_refused("{\"type\":[]}", "/schema/type", "must be null");
	assert_refused("{\"enum\":[]}", "/schema/enum", "not empty");
	assert_refused("{\"required\":[1]}", "/schema/required", "names");
	assert_refused("{\"properties\":[]}", "/schema/properties", "an object of schemas");
	assert_refused("{\"properties\":{\"a\":true,\"a\":false}}", "/schema/properties", "twice");
	assert_refused("{\"properties\":{\"a\":true},\"properties\":{}}", "/schema/properties", "twice");
	assert_refused("{\"pattern\":\"a\",\"pattern\":\"b\"}", "/schema/pattern", "twice");
	assert_refused("{\"anyOf\":[]}", "/schema/anyOf", "not empty");
	assert_refused("{\"minLength\":-1}", "/schema/minLength", "whole number");
	assert_refused("{\"maxItems\":1.5}", "/schema/maxItems", "whole number");
	assert_refused("{\"minimum\":\"1\"}", "/schema/minimum", "a number");
	assert_refused("{\"uniqueItems\":1}", "/schema/uniqueItems", "true or false");
	assert_refused("{\"pattern\":\"(\"}", "/schema/pattern", "regular expression");
	assert_refused("{\"pattern\":\"(a)\\\\1\"}", "/schema/pattern", "back-references");
	assert_refused("{\"format\":\"ipv4\"}", "/schema/format", "date-time, email");
	assert_refused("{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}", "/schema/$schema", "2020-12");
	assert_refused("{\"items\":{\"$defs\":{}}}", "/schema/items/$defs", "at the root");
	assert_refused("{\"$ref\":\"https://example.com/x\"}", "/schema/$ref", "#/$defs/NAME");
	assert_refused("{\"$ref\":\"#/$defs/x\"}", "/schema/$ref", "#/$defs/NAME");
	assert_refused("{\"items\":{\"$ref\":\"#/items\"}}", "/schema/items", "definition of $defs");
}
END_TEST

START_TEST(a_schema_that_would_never_end_is_refused)
{
	assert_refused("{\"$ref\":\"#\"}", "/schema", "refers to itself");
	assert_refused("{\"$defs\":{\"a\":{\"$ref\":\"#/$defs/b\"},\"b\":{\"not\":{\"$ref\":\"#/$defs/a\"}}}}",
	               "/schema/$defs/b/not", "refers to itself");
	assert_refused("{\"anyOf\":[{\"allOf\":[{\"oneOf\":[{\"$ref\":\"#\"}]}]}]}",
	               "/schema/anyOf/0/allOf/0/oneOf/0", "refers to itself");
}
END_TEST

START_TEST(size_and_number_of_schemas_are_bounded)
{
	struct strbuf text;

	strbuf_init(&text, &arena);
	strbuf_puts(&text, "{\"anyOf\":[true");
	for (unsigned i = 0; i < SCHEMA_NODES_MAX; i++)
		strbuf_puts(&text, ",true");
	strbuf_puts(&text, "]}");
	assert_refused(text.data, "/schema/anyOf/1999", "more than 2000 schemas");
	strbuf_clear(&text);
	strbuf_puts(&text, "{\"title\":\"");
	for (unsigned i = 0; i < SCHEMA_TEXT_MAX; i++)
		strbuf_putc(&text, 'x');
	strbuf_puts(&text, "\"}");
	assert_refused(text.data, "/schema", "at most 32768 bytes");
}
END_TEST

/* Each level doubles the work of the one below: 2^30 steps without a bound. */
static void
doubling_schema(struct strbuf *out, const char *word)
{
	strbuf_init(out, &arena);
	strbuf_puts(out, "{\"$ref\":\"#/$defs/l0\",\"$defs\":{");
	for (int i = 0; i < 30; i++)
		strbuf_printf(out, "\"l%d\":{\"%s\":[{\"$ref\":\"#/$defs/l%d\"},{\"$ref\":\"#/$defs/l%d\"}]},", i,
		              word, i + 1, i + 1);
	strbuf_puts(out, "\"l30\":{\"minimum\":1}}}");
}

START_TEST(hostile_schemas_cost_bounded_time_and_pass_nothing)
{
	/* With values that make each word try all it has. */
	static const char *const WORDS[] = {"allOf", "anyOf", "oneOf"}, *const VALUES[] = {"1", "0", "0"};
	struct violations found;
	struct strbuf text, data;
	uint64_t before = clock_mono_ms(clock_system());

	for (size_t i = 0; i < 3; i++) {
		doubling_schema(&text, WORDS[i]);
		ck_assert(!fits(text.data, VALUES[i], &found));
		ck_assert_str_eq(found.items[found.count - 1].detail,
		                 "takes more work to check against its schema than is allowed");
	}
	strbuf_init(&data, &arena);
	strbuf_puts(&data, "[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\"");
	for (int i = 0; i < 5000; i++)
		strbuf_puts(&data, ",\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\"");
	strbuf_puts(&data, "]");
	ck_assert(!fits("{\"items\":{\"not\":{\"pattern\":\"^(a+)+$\"}}}", data.data, &found));
	ck_assert_uint_lt(clock_mono_ms(clock_system()) - before, 5000);
}
END_TEST

/* Two objects of the same members, in another order on each level. */
static void
shuffled(struct strbuf *out, int depth, int order)
{
	static const char *const ORDERS[2][2] = {{"{\"p\":1,\"x\":", ",\"q\":2}"},
	                                         {"{\"q\":2,\"x\":", ",\"p\":1}"}};
	if (depth == 0) {
		strbuf_puts(out, "0");
		return;
	}
	strbuf_puts(out, ORDERS[order][0]);
	shuffled(out, depth - 1, order);
	strbuf_puts(out, ORDERS[order][1]);
}

START_TEST(comparing_nested_objects_costs_no_more_with_each_level)
{
	struct violations found;
	struct strbuf schema, data;

	strbuf_init(&schema, &arena);
	strbuf_init(&data, &arena);
	strbuf_puts(&schema, "{\"const\":");
	shuffled(&schema, 30, 0);
	strbuf_puts(&schema, "}");
	shuffled(&data, 30, 1);
	ck_assert(fits(schema.data, data.data, &found));
}
END_TEST

START_TEST(many_elements_are_found_unique_quickly)
{
	struct violations found;
	struct strbuf data;
	uint64_t before = clock_mono_ms(clock_system());

	strbuf_init(&data, &arena);
	strbuf_puts(&data, "[{\"id\":0}");
	for (int i = 1; i < 20000; i++)
		strbuf_printf(&data, ",{\"id\":%d}", i);
	strbuf_puts(&data, "]");
	ck_assert(fits("{\"uniqueItems\":true}", data.data, &found));
	data.data[data.length - 1] = ',';
	strbuf_puts(&data, "{\"id\":7}]");
	ck_assert(!fits("{\"uniqueItems\":true}", data.data, &found));
	assert_violation(&found, 0, "/data", "must not hold a value twice: elements 7 and 20000");
	ck_assert_uint_lt(clock_mono_ms(clock_system()) - before, 3000);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("schema");
	TCase *tcase = tcase_create("schema");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, values_fit_as_json_schema_says);
	tcase_add_test(tcase, all_that_is_wrong_with_a_value_is_told_with_its_place);
	tcase_add_test(tcase, the_list_of_what_is_wrong_is_bounded);
	tcase_add_test(tcase, what_is_not_in_the_subset_is_refused_with_its_place);
	tcase_add_test(tcase, a_schema_that_would_never_end_is_refused);
	tcase_add_test(tcase, size_and_number_of_schemas_are_bounded);
	tcase_add_test(tcase, hostile_schemas_cost_bounded_time_and_pass_nothing);
	tcase_add_test(tcase, comparing_nested_objects_costs_no_more_with_each_level);
	tcase_add_test(tcase, many_elements_are_found_unique_quickly);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
