/*
 * json: texts into messages of the contract and back, and the rules of their fields.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "corbel/contract.gen.h"

static struct arena arena;
static struct violations found;

static void
setup(void)
{
	arena_init(&arena, 4096, 4u << 20);
	memset(&found, 0, sizeof(found));
}

static void
teardown(void)
{
	arena_fini(&arena);
}

static struct status
decode_bytes(const char *text, size_t length, const ProtobufCMessageDescriptor *descriptor,
             ProtobufCMessage **out)
{
	memset(&found, 0, sizeof(found));
	return json_to_message(text, length, api_message_of(descriptor), &arena, &found, out);
}

static struct status
decode(const char *text, const ProtobufCMessageDescriptor *descriptor, ProtobufCMessage **out)
{
	return decode_bytes(text, strlen(text), descriptor, out);
}

static void *
read_well(const char *text, const ProtobufCMessageDescriptor *descriptor)
{
	ProtobufCMessage *message = NULL;
	struct status st = decode(text, descriptor, &message);
	ck_assert_msg(status_ok(&st), "%s: %s", text, st.message);
	return message;
}

static const char *
write_out(const void *message, const struct json_write_options *options)
{
	const ProtobufCMessage *base = message;
	struct strbuf out;
	strbuf_init(&out, &arena);
	json_from_message(base, api_message_of(base->descriptor), options, &out);
	return out.data;
}

static bool
is_found(const char *pointer, const char *detail)
{
	for (size_t i = 0; i < found.count; i++)
		if (strcmp(found.items[i].pointer, pointer) == 0 && strstr(found.items[i].detail, detail))
			return true;
	return false;
}

/* The text is refused for one reason alone. */
static void
refused_at(const char *text, const ProtobufCMessageDescriptor *descriptor, const char *pointer,
           const char *detail)
{
	ProtobufCMessage *message;
	struct status st = decode(text, descriptor, &message);
	ck_assert_msg(st.code == STATUS_INVALID_ARGUMENT, "%s is refused", text);
	ck_assert_msg(found.count == 1 && is_found(pointer, detail), "%s: wanted %s %s, got %s", text, pointer,
	              detail, st.message);
}

static void
is_no_json(const char *text, size_t length, const char *reason)
{
	ProtobufCMessage *message;
	struct status st = decode_bytes(text, length, &corbel__v1__limit_check__descriptor, &message);
	ck_assert_msg(st.code == STATUS_INVALID_ARGUMENT && strstr(st.message, reason),
	              "'%.*s': wanted '%s', got '%s'", (int)length, text, reason, st.message);
	ck_assert_uint_eq(found.count, 1);
	ck_assert_str_eq(found.items[0].pointer, "");
}

/* Violations of the rules of a well-typed message. */
static void
validate(const char *text, const ProtobufCMessageDescriptor *descriptor)
{
	ProtobufCMessage *message = read_well(text, descriptor);
	api_validate(message, api_message_of(descriptor), &arena, &found);
}

static void
breaks_rule(const char *text, const ProtobufCMessageDescriptor *descriptor, const char *pointer,
            const char *detail)
{
	validate(text, descriptor);
	ck_assert_msg(found.count == 1 && is_found(pointer, detail), "%s: wanted %s %s, got %zu: %s", text,
	              pointer, detail, found.count, violations_status(&found).message);
}

START_TEST(every_kind_of_value_is_read_and_written_back_the_same)
{
	static const char LIMIT[] =
	    "{\"id\":\"lim_1\",\"name\":\"charts\",\"level\":\"KEY\",\"strategy\":\"GCRA\",\"limit\":"
	    "9007199254740992,"
	    "\"window_ms\":\"18446744073709551615\",\"on_failure\":\"FAIL_OPEN\",\"shadow\":true,"
	    "\"adaptive\":{\"floor\":1,\"latency_ms\":4294967295},\"description\":\"a \\\"b\\\" "
	    "\xC3\xA9\\n\\u0001\","
	    "\"created_at\":\"2026-01-31T23:59:59.123Z\"}";
	static const char TENANT[] =
	    "{\"name\":\"Acme\",\"suspended\":false,\"metadata\":{\"a\":\"1\",\"\xF0\x9F\x98\x80\":\"\"}}";
	static const char LIST[] = "{\"limits\":[{\"id\":\"a\"},{\"id\":\"b\"}],\"next_page_token\":\"t\"}";

	Corbel__V1__Limit *limit = read_well(LIMIT, &corbel__v1__limit__descriptor);
	ck_assert(limit->level == CORBEL__V1__LIMIT_LEVEL__KEY && limit->strategy == CORBEL__V1__STRATEGY__GCRA);
	ck_assert(limit->has_shadow && limit->shadow && limit->window_ms == UINT64_MAX);
	ck_assert_uint_eq(limit->adaptive->latency_ms, UINT32_MAX);
	ck_assert_int_eq(limit->created_at, INT64_C(1769903999123));
	ck_assert(!limit->has_burst && !limit->has_updated_at && !limit->subject);
	ck_assert_str_eq(write_out(limit, NULL), LIMIT);
	ck_assert_str_eq(write_out(read_well(TENANT, &corbel__v1__tenant__descriptor), NULL), TENANT);
	ck_assert_str_eq(write_out(read_well(LIST, &corbel__v1__list_limits_reply__descriptor), NULL), LIST);
	ck_assert_str_eq(write_out(read_well(" {\n} \r\t", &corbel__v1__limit__descriptor), NULL), "{}");
}
END_TEST

START_TEST(pretty_text_reads_back_as_the_same_message)
{
	static const char TEXT[] = "{\"metadata\":{\"a\":\"1\"},\"name\":\"x\"}";
	static const struct json_write_options PRETTY = {.is_pretty = true};
	const char *pretty = write_out(read_well(TEXT, &corbel__v1__create_tenant_request__descriptor), &PRETTY);
	ck_assert_str_eq(pretty, "{\n  \"name\": \"x\",\n  \"metadata\": {\n    \"a\": \"1\"\n  }\n}");
	ck_assert_str_eq(write_out(read_well(pretty, &corbel__v1__create_tenant_request__descriptor), NULL),
	                 "{\"name\":\"x\",\"metadata\":{\"a\":\"1\"}}");
}
END_TEST

START_TEST(whole_numbers_come_as_numbers_or_strings_and_in_any_notation)
{
	static const struct {
		const char *text;
		uint64_t value;
	} CASES[] = {{"0", 0},
	             {"-0", 0},
	             {"\"7\"", 7},
	             {"1e3", 1000},
	             {"1.0", 1},
	             {"12.50e1", 125},
	             {"\"\\u0031\"", 1},
	             {"18446744073709551615", UINT64_MAX},
	             {"\"18446744073709551615\"", UINT64_MAX}};
	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		const char *text = arena_printf(&arena, "{\"cost\":%s}", CASES[i].text);
		const Corbel__V1__LimitCheck *check = read_well(text, &corbel__v1__limit_check__descriptor);
		ck_assert_msg(check->has_cost && check->cost == CASES[i].value, "%s", text);
	}
}
END_TEST

START_TEST(numbers_outside_their_type_are_refused)
{
	static const char *const WRONG[] = {"18446744073709551616",
	                                    "-1",
	                                    "1.5",
	                                    "1e30",
	                                    "\"\"",
	                                    "\"-\"",
	                                    "\" 1\"",
	                                    "\"1x\"",
	                                    "true",
	                                    "[]",
	                                    "{}",
	                                    "\"0x10\""};
	for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
		refused_at(arena_printf(&arena, "{\"cost\":%s}", WRONG[i]), &corbel__v1__limit_check__descriptor,
		           "/cost", "whole number");
	refused_at("{\"latency_ms\":4294967296}", &corbel__v1__adaptive__descriptor, "/latency_ms",
	           "to 4294967295");
	refused_at("{\"latency_ms\":-1}", &corbel__v1__adaptive__descriptor, "/latency_ms", "from 0");
}
END_TEST

START_TEST(values_of_the_wrong_type_are_named_with_what_was_wanted)
{
	const ProtobufCMessageDescriptor *limit = &corbel__v1__limit__descriptor;
	refused_at("{\"name\":1}", limit, "/name", "a string");
	refused_at("{\"shadow\":\"true\"}", limit, "/shadow", "true or false");
	refused_at("{\"level\":1}", limit, "/level", "TENANT, PLAN, ROUTE, KEY");
	refused_at("{\"level\":\"tenant\"}", limit, "/level", "one of");
	refused_at("{\"level\":\"LIMIT_LEVEL_UNSET\"}", limit, "/level", "one of");
	refused_at("{\"adaptive\":[]}", limit, "/adaptive", "an object");
	refused_at("{\"adaptive\":{\"floor\":{}}}", limit, "/adaptive/floor", "whole number");
	refused_at("{\"created_at\":1}", limit, "/created_at", "RFC 3339");
	refused_at("{\"created_at\":\"2026-02-30T00:00:00Z\"}", limit, "/created_at", "RFC 3339");
	refused_at("{\"checks\":{}}", &corbel__v1__check_request__descriptor, "/checks", "an array");
	refused_at("{\"checks\":[{},3]}", &corbel__v1__check_request__descriptor, "/checks/1", "an object");
	refused_at("{\"metadata\":[]}", &corbel__v1__tenant__descriptor, "/metadata", "an object");
	refused_at("{\"metadata\":{\"a\":null}}", &corbel__v1__tenant__descriptor, "/metadata/a", "a string");
}
END_TEST

START_TEST(escapes_mean_the_same_in_every_kind_of_string)
{
	const Corbel__V1__Limit *limit =
	    read_well("{\"n\\u0061me\":\"\\u00e9\\ud83d\\ude00\\/\\b\\f\",\"level\":\"\\u004bEY\","
	              "\"created_at\":\"2026-01-01T02:00:00\\u002b02:00\"}",
	              &corbel__v1__limit__descriptor);
	ck_assert_str_eq(limit->name, "\xC3\xA9\xF0\x9F\x98\x80/\b\f");
	ck_assert_int_eq(limit->level, CORBEL__V1__LIMIT_LEVEL__KEY);
	ck_assert_int_eq(limit->created_at, INT64_C(1767225600000));
}
END_TEST

START_TEST(unknown_and_repeated_names_are_refused_where_they_stand)
{
	const ProtobufCMessageDescriptor *check = &corbel__v1__limit_check__descriptor;
	refused_at("{\"colour\":{\"a\":[1,{}]}}", check, "/colour", "not a known field");
	refused_at("{\"a~b/c\":1}", check, "/a~0b~1c", "not a known field");
	refused_at("{\"\":1}", check, "/", "not a known field");
	refused_at("{\"cost\":1,\"c\\u006fst\":1}", check, "/cost", "appears twice");
	refused_at("{\"cost\":null,\"cost\":1}", check, "/cost", "appears twice");
	refused_at("{\"metadata\":{\"a\":\"1\",\"a\":\"2\"}}", &corbel__v1__tenant__descriptor, "/metadata/a",
	           "appears twice");
	refused_at("{\"nulls\":[]}", &corbel__v1__update_limit_request__descriptor, "/nulls",
	           "not a known field");
}
END_TEST

START_TEST(a_long_name_in_a_pointer_is_cut_between_characters)
{
	struct strbuf text;
	ProtobufCMessage *message;
	strbuf_init(&text, &arena);
	strbuf_puts(&text, "{\"x");
	for (int i = 0; i < 200; i++)
		strbuf_puts(&text, "\xC3\xA9");
	strbuf_puts(&text, "\":1}");
	struct status st = decode(text.data, &corbel__v1__limit_check__descriptor, &message);
	ck_assert(!status_ok(&st));
	ck_assert_uint_eq(found.count, 1);
	ck_assert_uint_lt(strlen(found.items[0].pointer), 140);
	ck_assert(text_is_utf8(found.items[0].pointer, strlen(found.items[0].pointer)));
}
END_TEST

START_TEST(null_is_absence_and_is_noted_where_the_message_asks)
{
	const Corbel__V1__UpdateLimitRequest *update = read_well(
	    "{\"burst\":null,\"description\":null,\"limit\":3}", &corbel__v1__update_limit_request__descriptor);
	ck_assert(!update->has_burst && !update->description && update->limit == 3);
	ck_assert_uint_eq(update->n_nulls, 2);
	ck_assert_str_eq(update->nulls[0], "burst");
	ck_assert_str_eq(update->nulls[1], "description");
	ck_assert_str_eq(write_out(update, NULL), "{\"limit\":3}");
}
END_TEST

START_TEST(what_is_not_json_is_refused_with_its_place)
{
	static const struct {
		const char *text, *reason;
	} CASES[] = {
	    {"", "expected an object"},
	    {"[]", "expected an object"},
	    {"{", "expected"},
	    {"{\"cost\":1", "expected"},
	    {"{\"cost\":1,}", "expected a string"},
	    {"{\"cost\" 1}", "expected ':'"},
	    {"{\"cost\":01}", "expected a value"},
	    {"{\"cost\":1.}", "needs digits"},
	    {"{\"cost\":1e}", "needs digits"},
	    {"{\"key\":\"a}", "does not end"},
	    {"{\"key\":\"\t\"}", "escaped"},
	    {"{\"key\":\"\\x\"}", "backslash"},
	    {"{\"key\":\"\\u12\"}", "backslash"},
	    {"{} x", "something follows"},
	    {"{}{}", "something follows"},
	    {"{\"cost\":nul}", "expected a value"},
	    {"{'cost':1}", "expected a string"},
	    {"{\"cost\":NaN}", "expected a value"},
	};
	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		ProtobufCMessage *message;
		struct status st = decode(CASES[i].text, &corbel__v1__limit_check__descriptor, &message);
		ck_assert_msg(st.code == STATUS_INVALID_ARGUMENT && strstr(st.message, CASES[i].reason), "%s: %s",
		              CASES[i].text, st.message);
		ck_assert(strstr(st.message, "line 1, column ") && !message);
	}
	is_no_json("{}\0", 3, "something follows");
	is_no_json("{\n\n  !", 6, "line 3, column 3");
}
END_TEST

START_TEST(strings_that_are_no_text_are_refused_where_they_stand)
{
	const ProtobufCMessageDescriptor *check = &corbel__v1__limit_check__descriptor;
	refused_at("{\"key\":\"\\u0000\"}", check, "/key", "u0000");
	refused_at("{\"key\":\"\\ud800\"}", check, "/key", "surrogate");
	refused_at("{\"key\":\"\\ude00\"}", check, "/key", "surrogate");
	refused_at("{\"key\":\"\\ud83d\\u0041\"}", check, "/key", "surrogate");
	refused_at("{\"key\":\"\\ud800\\ud800\\udc00\"}", check, "/key", "surrogate");
	refused_at("{\"key\":\"\xC0\x80\"}", check, "/key", "UTF-8");
	refused_at("{\"key\":\"\xED\xA0\x80\"}", check, "/key", "UTF-8");
	refused_at("{\"key\":\"\xFF\"}", check, "/key", "UTF-8");
	refused_at("{\"\xFF\":{\"a\":[1]},\"cost\":1}", check, "", "a name in it must be UTF-8");
	refused_at("{\"metadata\":{\"\\udc00\":\"x\",\"b\":\"y\"}}", &corbel__v1__tenant__descriptor, "/metadata",
	           "a name in it");
	refused_at("{\"level\":\"\\ud800\"}", &corbel__v1__limit__descriptor, "/level", "surrogate");
	refused_at("{\"created_at\":\"\xFF\"}", &corbel__v1__limit__descriptor, "/created_at", "UTF-8");
	refused_at("{\"limit\":\"\\u0000\"}", &corbel__v1__limit__descriptor, "/limit", "u0000");
	refused_at("{\"unknown\":[\"\\ud800\"]}", check, "/unknown", "not a known field");
	struct status st = json_check("[\"\\ud800\"]", 10);
	ck_assert(st.code == STATUS_INVALID_ARGUMENT && strstr(st.message, "surrogate"));
}
END_TEST

START_TEST(what_ends_the_reading_is_told_with_all_that_was_wrong_before)
{
	ProtobufCMessage *message;
	(void)decode("{\"checks\":[{\"cost\":true},{\"key\":\"\\ud800\",\"limit\":[}]}",
	             &corbel__v1__check_request__descriptor, &message);
	ck_assert_uint_eq(found.count, 4);
	ck_assert(is_found("/checks/0/cost", "whole number") && is_found("/checks/1/key", "surrogate"));
	ck_assert(is_found("/checks/1/limit", "must be a string"));
	ck_assert(is_found("/checks/1/limit", "line 1, column 51: expected a value"));
	ck_assert(!message);
	(void)decode("{\"checks\":[{},{\"limit\":\"a\"} {}]}", &corbel__v1__check_request__descriptor, &message);
	ck_assert_uint_eq(found.count, 1);
	ck_assert(is_found("/checks", "expected ',' or ']'"));
}
END_TEST

START_TEST(what_could_not_be_read_is_not_also_missing)
{
	ProtobufCMessage *message;
	const ProtobufCMessageDescriptor *check = &corbel__v1__check_request__descriptor;
	(void)decode("{\"checks\":[{\"limit\":7},{}]}", check, &message);
	api_validate(message, api_message_of(check), &arena, &found);
	ck_assert_uint_eq(found.count, 2);
	ck_assert(is_found("/checks/0/limit", "must be a string") && is_found("/checks/1/limit", "required"));
}
END_TEST

START_TEST(nesting_is_bounded)
{
	char text[256];
	for (size_t levels = 30; levels <= 33; levels++) {
		size_t n = (size_t)snprintf(text, sizeof(text), "{\"x\":");
		memset(text + n, '[', levels);
		memset(text + n + levels, ']', levels);
		strcpy(text + n + 2 * levels, "}");
		ProtobufCMessage *message;
		struct status st = decode(text, &corbel__v1__limit_check__descriptor, &message);
		ck_assert(strstr(st.message, levels < JSON_DEPTH_MAX ? "not a known field" : "nested too deeply"));
	}
	memset(text, '[', sizeof(text));
	struct status st = json_check(text, sizeof(text));
	ck_assert_str_eq(st.message, "not valid JSON: line 1, column 33: values are nested too deeply");
	st = json_check(" [1, {\"a\": null}] ", 18);
	ck_assert(status_ok(&st));
}
END_TEST

START_TEST(all_violations_are_reported_together_up_to_the_bound)
{
	ProtobufCMessage *message;
	struct status st = decode("{\"checks\":[{\"limit\":1},{\"cost\":-1,\"x\":2},7],\"tenant_id\":[]}",
	                          &corbel__v1__check_request__descriptor, &message);
	ck_assert_uint_eq(found.count, 5);
	ck_assert(is_found("/checks/0/limit", "string") && is_found("/checks/1/cost", "whole number"));
	ck_assert(is_found("/checks/1/x", "not a known") && is_found("/checks/2", "object") &&
	          is_found("/tenant_id", "string"));
	ck_assert(strstr(st.message, "(and 4 more)"));

	struct strbuf text;
	strbuf_init(&text, &arena);
	for (int i = 0; i < 100; i++)
		strbuf_printf(&text, "%s\"n%d\":0", i ? "," : "{", i);
	strbuf_puts(&text, "}");
	(void)decode(text.data, &corbel__v1__check_request__descriptor, &message);
	ck_assert_uint_eq(found.count, VIOLATIONS_MAX);
	ck_assert(found.is_cut);
}
END_TEST

START_TEST(more_items_than_the_bound_are_noted_once_and_not_kept)
{
	struct strbuf text;
	strbuf_init(&text, &arena);
	strbuf_puts(&text, "{\"checks\":[{}");
	for (int i = 0; i < 5000; i++)
		strbuf_puts(&text, ",{}");
	strbuf_puts(&text, "]}");
	refused_at(text.data, &corbel__v1__check_request__descriptor, "/checks", "at most 16 items");
}
END_TEST

START_TEST(a_request_beyond_its_memory_is_refused)
{
	struct arena small;
	ProtobufCMessage *message;
	char text[4096] = "{\"key\":\"";
	memset(text + 8, 'a', 4000);
	strcpy(text + 4008, "\"}");
	arena_init(&small, 512, 1024);
	struct status st = json_to_message(
	    text, strlen(text), api_message_of(&corbel__v1__limit_check__descriptor), &small, &found, &message);
	ck_assert_int_eq(st.code, STATUS_RESOURCE_EXHAUSTED);
	arena_fini(&small);
}
END_TEST

START_TEST(the_rules_of_fields_are_held_at_their_bounds)
{
	const ProtobufCMessageDescriptor *page = &corbel__v1__list_limits_request__descriptor;
	const ProtobufCMessageDescriptor *check = &corbel__v1__check_request__descriptor;
	const ProtobufCMessageDescriptor *tenant = &corbel__v1__create_tenant_request__descriptor;

	validate("{\"page_size\":1}", page);
	validate("{\"page_size\":200}", page);
	ck_assert_uint_eq(found.count, 0);
	breaks_rule("{\"page_size\":0}", page, "/page_size", "at least 1");
	breaks_rule("{\"page_size\":201}", page, "/page_size", "at most 200");
	breaks_rule("{}", check, "/checks", "required");
	breaks_rule("{\"checks\":[]}", check, "/checks", "required");
	breaks_rule("{\"checks\":[{}]}", check, "/checks/0/limit", "required");
	breaks_rule("{\"checks\":[{\"limit\":\"a\",\"key\":\"\"}]}", check, "/checks/0/key", "at least 1 byte");
	breaks_rule("{\"checks\":[{\"limit\":\"A b\"}]}", check, "/checks/0/limit", "must be 1 to 64");
	breaks_rule("{\"checks\":[{\"limit\":\"a\",\"cost\":1000000000001}]}", check, "/checks/0/cost",
	            "at most");
	breaks_rule("{\"name\":\"a\",\"metadata\":{\"\":\"x\"}}", tenant, "/metadata/", "1 to 64 bytes");
	breaks_rule("{\"id\":\"x\"}", &corbel__v1__limit__descriptor, "/id", "left out");
	breaks_rule("{\"scopes\":[\"a\",\"B!\"]}", &corbel__v1__create_key_request__descriptor, "/scopes/1",
	            "must match");
	validate("{\"checks\":[{\"key\":\"\"},{\"limit\":\"\"}]}", check);
	ck_assert_uint_eq(found.count, 3);
}
END_TEST

START_TEST(formats_are_checked)
{
	static const char *const BAD[] = {"a", "@b", "a@", "a@b@c", "a b@c", "a@.b", "a@b.", "<a@b>"};
	for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++)
		breaks_rule(arena_printf(&arena, "{\"email\":\"%s\"}", BAD[i]),
		            &corbel__v1__create_user_request__descriptor, "/email", "e-mail");
	validate("{\"email\":\"ada+x@example.com\"}", &corbel__v1__create_user_request__descriptor);
	ck_assert_uint_eq(found.count, 0);
}
END_TEST

START_TEST(bytes_from_the_bus_that_are_not_utf8_and_unknown_enums_break_the_rules)
{
	Corbel__V1__CreateLimitRequest request = CORBEL__V1__CREATE_LIMIT_REQUEST__INIT;
	char name[] = "a", bad[] = "\xFF";
	request.name = name;
	request.subject = bad;
	request.has_strategy = request.has_limit = request.has_window_ms = 1;
	request.strategy = (Corbel__V1__Strategy)99;
	request.window_ms = 1;
	api_validate(&request.base, api_message_of(request.base.descriptor), &arena, &found);
	ck_assert_uint_eq(found.count, 2);
	ck_assert(is_found("/subject", "UTF-8") && is_found("/strategy", "name of one"));
}
END_TEST

START_TEST(secrets_are_redacted_on_request)
{
	static const struct json_write_options REDACTED = {.is_redacted = true};
	size_t secrets = 0;
	for (size_t i = 0; i < api_message_count; i++) {
		const struct api_message *rules = api_messages[i];
		for (unsigned f = 0; f < rules->descriptor->n_fields; f++) {
			const ProtobufCFieldDescriptor *field = &rules->descriptor->fields[f];
			if (!rules->fields[f].is_secret || field->type != PROTOBUF_C_TYPE_STRING ||
			    field->label == PROTOBUF_C_LABEL_REPEATED)
				continue;
			secrets++;
			char *text = arena_printf(&arena, "{\"%s\":\"hunter2\"}", field->name);
			const void *message = read_well(text, rules->descriptor);
			ck_assert(strstr(write_out(message, NULL), "hunter2"));
			ck_assert(!strstr(write_out(message, &REDACTED), "hunter2"));
		}
	}
	ck_assert_uint_gt(secrets, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("json");
	TCase *tests = tcase_create("json");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, every_kind_of_value_is_read_and_written_back_the_same);
	tcase_add_test(tests, pretty_text_reads_back_as_the_same_message);
	tcase_add_test(tests, whole_numbers_come_as_numbers_or_strings_and_in_any_notation);
	tcase_add_test(tests, numbers_outside_their_type_are_refused);
	tcase_add_test(tests, values_of_the_wrong_type_are_named_with_what_was_wanted);
	tcase_add_test(tests, escapes_mean_the_same_in_every_kind_of_string);
	tcase_add_test(tests, unknown_and_repeated_names_are_refused_where_they_stand);
	tcase_add_test(tests, a_long_name_in_a_pointer_is_cut_between_characters);
	tcase_add_test(tests, null_is_absence_and_is_noted_where_the_message_asks);
	tcase_add_test(tests, what_is_not_json_is_refused_with_its_place);
	tcase_add_test(tests, strings_that_are_no_text_are_refused_where_they_stand);
	tcase_add_test(tests, what_ends_the_reading_is_told_with_all_that_was_wrong_before);
	tcase_add_test(tests, what_could_not_be_read_is_not_also_missing);
	tcase_add_test(tests, nesting_is_bounded);
	tcase_add_test(tests, all_violations_are_reported_together_up_to_the_bound);
	tcase_add_test(tests, more_items_than_the_bound_are_noted_once_and_not_kept);
	tcase_add_test(tests, a_request_beyond_its_memory_is_refused);
	tcase_add_test(tests, the_rules_of_fields_are_held_at_their_bounds);
	tcase_add_test(tests, formats_are_checked);
	tcase_add_test(tests, bytes_from_the_bus_that_are_not_utf8_and_unknown_enums_break_the_rules);
	tcase_add_test(tests, secrets_are_redacted_on_request);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
