/*
 * JSON to messages and back, by the contract's own messages.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "corbel/contract.gen.h"

static struct arena arena;
static struct violations found;
static struct status outcome;

static void
setup(void)
{
	arena_init(&arena, 4096, 8u << 20);
}

static void
teardown(void)
{
	arena_fini(&arena);
}

static const struct api_message *
rules_of(const ProtobufCMessageDescriptor *descriptor)
{
	return api_message_of(descriptor);
}

/* Reads and validates; the message may be partial when something was wrong. */
static ProtobufCMessage *
read_as(const ProtobufCMessageDescriptor *descriptor, const char *text)
{
	ProtobufCMessage *message = NULL;
	memset(&found, 0, sizeof(found));
	outcome = json_to_message(text, strlen(text), rules_of(descriptor), &arena, &found, &message);
	if (message && (status_ok(&outcome) || found.count > 0))
		api_validate(message, rules_of(descriptor), &arena, &found);
	return message;
}

static const char *
write_out(const ProtobufCMessage *message)
{
	struct strbuf out;
	strbuf_init(&out, &arena);
	json_from_message(message, rules_of(message->descriptor), NULL, &out);
	return out.data;
}

static bool
has(const char *pointer)
{
	for (size_t i = 0; i < found.count; i++)
		if (strcmp(found.items[i].pointer, pointer) == 0)
			return true;
	return false;
}

#define LIMIT (&corbel__v1__create_limit_request__descriptor)
#define KEY   (&corbel__v1__create_key_request__descriptor)
#define CHECK (&corbel__v1__check_request__descriptor)

START_TEST(a_whole_request_is_read)
{
	const Corbel__V1__CreateKeyRequest *key = (const Corbel__V1__CreateKeyRequest *)read_as(
	    KEY, " { \"name\" : \"b\\u00e4ck \\ud83d\\ude00\", \"scopes\":[\"a.b\",\"c.*\"], "
	         "\"expires_at\":\"2026-01-31T23:59:59.5+01:00\","
	         "\"limits\":[{\"resource\":\"charts\",\"limit\":\"5\",\"window_ms\":1e3,\"strategy\":\"GCRA\"}],"
	         "\"metadata\":{\"x\":\"1\",\"y\":\"2\"}}\n");
	ck_assert_msg(status_ok(&outcome) && found.count == 0, "%s", outcome.message);
	ck_assert_str_eq(key->name, "b\xC3\xA4"
	                            "ck \xF0\x9F\x98\x80");
	ck_assert_uint_eq(key->n_scopes, 2);
	ck_assert_str_eq(key->scopes[1], "c.*");
	ck_assert_int_eq(key->expires_at, 1769900399500);
	ck_assert_uint_eq(key->limits[0]->limit, 5);
	ck_assert_uint_eq(key->limits[0]->window_ms, 1000);
	ck_assert_int_eq(key->limits[0]->strategy, CORBEL__V1__STRATEGY__GCRA);
	ck_assert_uint_eq(key->n_metadata, 2);
	ck_assert_str_eq(key->metadata[1]->value, "2");
}
END_TEST

START_TEST(all_faults_are_reported_together)
{
	read_as(
	    LIMIT,
	    "{\"name\":\"No!\",\"strategy\":\"NONSENSE\",\"limit\":-1,\"window_ms\":true,\"surplus\":{\"a\":[1]},"
	    "\"burst\":0,\"name\":\"again\"}");
	ck_assert_int_eq(violations_status(&found).code, STATUS_INVALID_ARGUMENT);
	ck_assert(has("/name") && has("/strategy") && has("/limit") && has("/window_ms") && has("/surplus") &&
	          has("/burst"));
	ck_assert_uint_ge(found.count, 7);
}
END_TEST

START_TEST(nested_faults_have_the_pointer_of_their_place)
{
	read_as(CHECK, "{\"checks\":[{\"limit\":\"a\"},{\"limit\":\"UPPER\",\"cost\":1.5,\"x/y~z\":1}]}");
	ck_assert(has("/checks/1/limit") && has("/checks/1/cost") && has("/checks/1/x~1y~0z"));
	read_as(CHECK, "{\"checks\":[]}");
	ck_assert(has("/checks"));
	read_as(KEY, "{\"metadata\":{\"k\":5}}");
	ck_assert(has("/metadata/k"));
}
END_TEST

static const struct {
	const char *text, *why;
} NOT_JSON[] = {
    {"", "nothing"},
    {"{", "no end"},
    {"{\"name\":\"x\"} x", "something behind"},
    {"{\"name\":\"x\",}", "a comma too many"},
    {"{'name':\"x\"}", "wrong quotes"},
    {"{\"name\":01}", "a leading zero"},
    {"{\"name\":\"a\nb\"}", "a raw control character"},
    {"{\"name\":\"\\x\"}", "an unknown escape"},
    {"[]", "not an object"},
    {"nul", "half a word"},
};

START_TEST(what_is_not_json_is_refused_with_its_place)
{
	read_as(KEY, NOT_JSON[_i].text);
	ck_assert_msg(outcome.code == STATUS_INVALID_ARGUMENT, "%s is accepted", NOT_JSON[_i].why);
	ck_assert_msg(strstr(outcome.message, "line 1") || strstr(outcome.message, "line 2"), "%s",
	              outcome.message);
}
END_TEST

static const char *const NO_TEXT[] = {"\\ud800", "\\udc00\\ud800", "\\u0000", "\xC0\xAF", "\xED\xA0\x80"};

START_TEST(a_string_that_is_no_text_is_refused_by_its_pointer)
{
	read_as(KEY, arena_printf(&arena, "{\"name\":\"%s\",\"environment\":\"!\"}", NO_TEXT[_i]));
	ck_assert_uint_eq(found.count, 2);
	ck_assert(has("/name") && has("/environment"));
}
END_TEST

START_TEST(depth_is_bounded)
{
	char deep[512] = "{\"surplus\":";
	for (int i = 0; i < 40; i++)
		strcat(deep, "[");
	read_as(KEY, deep);
	ck_assert_int_eq(outcome.code, STATUS_INVALID_ARGUMENT);
	ck_assert(strstr(outcome.message, "too deeply"));
}
END_TEST

START_TEST(the_arenas_ceiling_is_an_error_and_not_a_crash)
{
	struct arena small;
	ProtobufCMessage *message;
	size_t size = 200000;
	char *text = malloc(size + 32);
	int n = snprintf(text, 32, "{\"name\":\"");
	memset(text + n, 'x', size);
	strcpy(text + (size_t)n + size, "\"}");
	arena_init(&small, 1024, 64u << 10);
	memset(&found, 0, sizeof(found));
	outcome = json_to_message(text, strlen(text), rules_of(KEY), &small, &found, &message);
	ck_assert_int_eq(outcome.code, STATUS_RESOURCE_EXHAUSTED);
	arena_fini(&small);
	free(text);
}
END_TEST

START_TEST(numbers_beyond_a_double_are_texts)
{
	Corbel__V1__LimitState state = CORBEL__V1__LIMIT_STATE__INIT;
	state.has_quota = state.has_remaining = true;
	state.quota = UINT64_C(9007199254740992);
	state.remaining = UINT64_C(9007199254740993);
	ck_assert_str_eq(write_out(&state.base),
	                 "{\"quota\":9007199254740992,\"remaining\":\"9007199254740993\"}");
	const Corbel__V1__LimitState *back = (const Corbel__V1__LimitState *)read_as(
	    &corbel__v1__limit_state__descriptor,
	    "{\"quota\":9007199254740992,\"remaining\":\"18446744073709551615\"}");
	ck_assert(status_ok(&outcome));
	ck_assert_uint_eq(back->remaining, UINT64_MAX);
	read_as(&corbel__v1__limit_state__descriptor, "{\"remaining\":18446744073709551616}");
	ck_assert(has("/remaining"));
}
END_TEST

START_TEST(what_is_written_reads_back_the_same)
{
	const char *text = "{\"name\":\"a \\\"quoted\\\" \\\\ "
	                   "text\",\"scopes\":[\"x\"],\"expires_at\":\"2026-01-31T22:59:59.500Z\","
	                   "\"metadata\":{\"k\":\"v\"}}";
	const ProtobufCMessage *message = read_as(KEY, text);
	ck_assert_str_eq(write_out(message), text);
}
END_TEST

START_TEST(nulls_are_noted_where_the_message_wants_them)
{
	const Corbel__V1__UpdateUserRequest *update = (const Corbel__V1__UpdateUserRequest *)read_as(
	    &corbel__v1__update_user_request__descriptor, "{\"id\":\"x\",\"name\":null,\"metadata\":null}");
	ck_assert(status_ok(&outcome));
	ck_assert_uint_eq(update->n_nulls, 2);
	ck_assert_str_eq(update->nulls[0], "name");
	read_as(&corbel__v1__update_user_request__descriptor, "{\"id\":\"x\",\"nulls\":[\"email\"]}");
	ck_assert(has("/nulls"));
}
END_TEST

static const struct {
	const char *text, *pointer; /* NULL: good */
} RULES[] = {
    {"{\"email\":\"ada@example.com\"}", NULL},
    {"{}", "/email"},
    {"{\"email\":\"ada\"}", "/email"},
    {"{\"email\":\"a@b@c\"}", "/email"},
    {"{\"email\":\"a b@c\"}", "/email"},
    {"{\"email\":\"ada@example.com\",\"role\":\"ROLE_UNSET\"}", "/role"},
    {"{\"email\":\"ada@example.com\",\"role\":1}", "/role"},
    {"{\"email\":\"ada@example.com\",\"metadata\":{\"\":\"x\"}}", "/metadata/"},
};

START_TEST(rules_are_enforced)
{
	read_as(&corbel__v1__create_user_request__descriptor, RULES[_i].text);
	if (RULES[_i].pointer)
		ck_assert_msg(has(RULES[_i].pointer), "%s", RULES[_i].text);
	else
		ck_assert_uint_eq(found.count, 0);
}
END_TEST

START_TEST(what_a_service_sets_is_refused_in_a_request)
{
	read_as(&corbel__v1__plan__descriptor, "{\"name\":\"p\",\"version\":7}");
	ck_assert(has("/version"));
}
END_TEST

START_TEST(long_texts_and_lists_are_refused_with_their_bound)
{
	struct strbuf text;
	strbuf_init(&text, &arena);
	strbuf_puts(&text, "{\"checks\":[");
	for (int i = 0; i < 17; i++)
		strbuf_puts(&text, i ? ",{\"limit\":\"a\"}" : "{\"limit\":\"a\"}");
	strbuf_puts(&text, "]}");
	read_as(CHECK, text.data);
	ck_assert(has("/checks"));
	ck_assert(strstr(violations_status(&found).message, "16"));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("json");
	TCase *tests = tcase_create("json");
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, a_whole_request_is_read);
	tcase_add_test(tests, all_faults_are_reported_together);
	tcase_add_test(tests, nested_faults_have_the_pointer_of_their_place);
	tcase_add_loop_test(tests, what_is_not_json_is_refused_with_its_place, 0,
	                    (int)(sizeof(NOT_JSON) / sizeof(NOT_JSON[0])));
	tcase_add_loop_test(tests, a_string_that_is_no_text_is_refused_by_its_pointer, 0,
	                    (int)(sizeof(NO_TEXT) / sizeof(NO_TEXT[0])));
	tcase_add_test(tests, depth_is_bounded);
	tcase_add_test(tests, the_arenas_ceiling_is_an_error_and_not_a_crash);
	tcase_add_test(tests, numbers_beyond_a_double_are_texts);
	tcase_add_test(tests, what_is_written_reads_back_the_same);
	tcase_add_test(tests, nulls_are_noted_where_the_message_wants_them);
	tcase_add_loop_test(tests, rules_are_enforced, 0, (int)(sizeof(RULES) / sizeof(RULES[0])));
	tcase_add_test(tests, what_a_service_sets_is_refused_in_a_request);
	tcase_add_test(tests, long_texts_and_lists_are_refused_with_their_bound);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
