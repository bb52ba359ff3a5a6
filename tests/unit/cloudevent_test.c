/*
 * cloudevent: the JSON format and binary mode, read, refused, and given back.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "cloudevents/cloudevent.h"

typedef Corbel__V1__NewEvent NewEvent;
typedef Corbel__V1__Event Event;
typedef Corbel__V1__PublishEventsRequest Request;

static struct arena arena;
static struct violations found;

static void
begin(void)
{
	arena_init(&arena, 4096, 16u << 20);
	found = (struct violations){.count = 0};
}

static void
end(void)
{
	arena_fini(&arena);
}

static Request *
read_text(const char *text, enum cloudevent_mode mode)
{
	found.count = 0;
	return cloudevent_read(text, strlen(text), mode, &arena, &found);
}

static Request *
read_good(const char *text)
{
	Request *request = read_text(text, CLOUDEVENT_STRUCTURED);

	ck_assert_msg(found.count == 0, "%s: %s", found.items[0].pointer, found.items[0].detail);
	ck_assert_ptr_nonnull(request);
	ck_assert_uint_eq(request->n_events, 1);
	return request;
}

/* The event as the log would keep it. */
static Event
kept(const NewEvent *said)
{
	Event event = CORBEL__V1__EVENT__INIT;

	event.id = (char *)(uintptr_t) "evt_1";
	event.tenant_id = (char *)(uintptr_t) "ten_1";
	event.source = (char *)(uintptr_t) "api";
	event.type = said->type;
	event.subject = said->subject;
	event.timestamp = said->timestamp;
	event.has_sequence = true;
	event.sequence = 7;
	event.has_data = true;
	event.data =
	    said->has_data ? said->data : (ProtobufCBinaryData){.len = 2, .data = (uint8_t *)(uintptr_t) "{}"};
	event.cloud_event = said->cloud_event;
	return event;
}

static const char *
written(const Event *event)
{
	struct strbuf out;

	strbuf_init(&out, &arena);
	cloudevent_write(event, &out);
	return out.data;
}

static void
assert_wrong(const char *text, enum cloudevent_mode mode, const char *pointer, const char *why)
{
	(void)read_text(text, mode);
	for (size_t i = 0; i < found.count; i++)
		if (strcmp(found.items[i].pointer, pointer) == 0 && strstr(found.items[i].detail, why))
			return;
	ck_abort_msg("%s: not refused at '%s' for '%s'; %zu others, first '%s' %s", text, pointer, why,
	             found.count, found.count ? found.items[0].pointer : "",
	             found.count ? found.items[0].detail : "");
}

START_TEST(an_event_is_given_back_as_it_was_said)
{
	const char *texts[] = {
	    "{\"specversion\":\"1.0\",\"id\":\"a b\",\"source\":\"/s?x=1\",\"type\":\"com.Example.thing\","
	    "\"subject\":\"\\u00fc\",\"time\":\"2026-01-31T09:00:00Z\",\"data\":{\"n\": 9007199254740993}}",
	    "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"time\":\"2026-01-31T09:00:"
	    "00Z\","
	    "\"datacontenttype\":\"text/plain\",\"data\":\"plain\"}",
	    "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"time\":\"2026-01-31T09:00:"
	    "00Z\","
	    "\"dataschema\":\"https://x/y\",\"ext1\":\"x\",\"ext2\":-5,\"ext3\":true,\"data_base64\":\"AAEC\"}",
	    "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"time\":\"2026-01-31T09:00:"
	    "00Z\"}",
	    "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"time\":\"2026-01-31T09:00:"
	    "00Z\","
	    "\"data\":null}"};
	const char *wanted[] = {
	    "{\"specversion\":\"1.0\",\"id\":\"a b\",\"source\":\"/s?x=1\",\"corbelid\":\"evt_1\",\"type\":"
	    "\"com.Example.thing\",\"subject\":\"\303\274\",\"time\":\"2026-01-31T09:00:00Z\",\"corbelsequence\":"
	    "\"7\",\"data\":{\"n\": 9007199254740993}}",
	    "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"datacontenttype\":\"text/"
	    "plain\",\"corbelid\":"
	    "\"evt_1\",\"type\":\"t\",\"time\":\"2026-01-31T09:00:00Z\",\"corbelsequence\":\"7\",\"data\":"
	    "\"plain\"}",
	    "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"dataschema\":\"https://x/"
	    "y\",\"ext1\":\"x\","
	    "\"ext2\":-5,\"ext3\":true,\"corbelid\":\"evt_1\",\"type\":\"t\",\"time\":\"2026-01-31T09:00:00Z\","
	    "\"corbelsequence\":\"7\",\"data_base64\":\"AAEC\"}",
	    "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"corbelid\":\"evt_1\",\"type\":\"t\","
	    "\"time\":"
	    "\"2026-01-31T09:00:00Z\",\"corbelsequence\":\"7\"}",
	    "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"corbelid\":\"evt_1\",\"type\":\"t\","
	    "\"time\":"
	    "\"2026-01-31T09:00:00Z\",\"corbelsequence\":\"7\",\"data\":null}"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		Event event = kept(read_good(texts[i])->events[0]);
		ck_assert_str_eq(written(&event), wanted[i]);
		/* What comes from another log is read as it was said there: its place is not taken over. */
		Event again = kept(read_good(wanted[i])->events[0]);
		ck_assert_str_eq(written(&again), wanted[i]);
	}
}
END_TEST

START_TEST(what_is_no_cloudevent_is_refused_with_the_place)
{
#define GOOD "\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\""
	const enum cloudevent_mode one = CLOUDEVENT_STRUCTURED, many = CLOUDEVENT_BATCH;

	assert_wrong("{}", one, "/id", "is required");
	assert_wrong("{}", one, "/source", "is required");
	assert_wrong("{}", one, "/type", "is required");
	assert_wrong("{}", one, "/specversion", "is required");
	assert_wrong("{\"specversion\":\"0.3\"}", one, "/specversion", "must be \"1.0\"");
	assert_wrong("{\"specversion\":1.0}", one, "/specversion", "must be a string");
	assert_wrong("{" GOOD ",\"id\":\"2\"}", one, "/id", "appears twice");
	assert_wrong("{" GOOD ",\"time\":\"yesterday\"}", one, "/time", "RFC 3339");
	assert_wrong("{" GOOD ",\"ext\":{}}", one, "/ext", "must be a string, a boolean");
	assert_wrong("{" GOOD ",\"ext\":1.5}", one, "/ext", "must be a string, a boolean");
	assert_wrong("{" GOOD ",\"ext\":2147483648}", one, "/ext", "32 bits");
	assert_wrong("{" GOOD ",\"ext\":\"\\ud800\"}", one, "/ext", "surrogate");
	assert_wrong("{" GOOD ",\"data\":1,\"data_base64\":\"AA==\"}", one, "/data", "beside data_base64");
	assert_wrong("{" GOOD ",\"data_base64\":\"?\"}", one, "/data_base64", "base64");
	assert_wrong("{" GOOD ",\"data_base64\":[]}", one, "/data_base64", "base64");
	assert_wrong("[{" GOOD "},{" GOOD ",\"time\":\"x\"}]", many, "/1/time", "RFC 3339");
	assert_wrong("{" GOOD "", one, "", "is not JSON");
	assert_wrong("{" GOOD "} x", one, "", "is not JSON");
	assert_wrong("[{" GOOD "}]", one, "", "is not JSON");
	assert_wrong("{" GOOD "}", many, "", "is not JSON");
	assert_wrong("", one, "", "is not JSON");
}
END_TEST

START_TEST(batches_and_extensions_are_bounded)
{
	struct strbuf text;

	strbuf_init(&text, &arena);
	strbuf_puts(&text, "{" GOOD);
	for (int i = 0; i < 20; i++)
		strbuf_printf(&text, ",\"x%d\":1", i);
	ck_assert_uint_eq(read_good(arena_printf(&arena, "%s}", text.data))->events[0]->cloud_event->n_extensions,
	                  20);
	assert_wrong(arena_printf(&arena, "%s,\"y\":1}", text.data), CLOUDEVENT_STRUCTURED, "/y", "too many");
	for (int i = 0; i < 60; i++)
		strbuf_printf(&text, ",\"corbel%d\":1", i);
	assert_wrong(arena_printf(&arena, "%s}", text.data), CLOUDEVENT_STRUCTURED, "", "members");
	strbuf_clear(&text);
	strbuf_puts(&text, "[{" GOOD "}");
	for (int i = 1; i < 100; i++)
		strbuf_puts(&text, ",{" GOOD "}");
	Request *request = read_text(arena_printf(&arena, "%s]", text.data), CLOUDEVENT_BATCH);
	ck_assert_uint_eq(request->n_events, 100);
	assert_wrong(arena_printf(&arena, "%s,{}]", text.data), CLOUDEVENT_BATCH, "", "at most 100");
}
END_TEST

/* ---- binary mode ---- */

static Request *
read_headers(const char *type, const char *body, size_t size, const char *const *pairs)
{
	struct cloudevent_header headers[16];
	size_t count = 0;

	for (; *pairs; pairs += 2)
		headers[count++] = (struct cloudevent_header){pairs[0], pairs[1]};
	found.count = 0;
	return cloudevent_read_binary(headers, count, type, body, size, &arena, &found);
}

#define WANTED "Ce-Id", "1", "CE-Source", "/s", "ce-type", "t", "ce-specversion", "1.0"

static const NewEvent *
read_body(const char *type, const char *body, size_t size)
{
	static const char *const PAIRS[] = {WANTED, NULL};
	Request *request = read_headers(type, body, size, PAIRS);

	ck_assert_msg(found.count == 0, "%s: %s", found.items[0].pointer, found.items[0].detail);
	return request->events[0];
}

static void
assert_data(const NewEvent *event, const char *data)
{
	ck_assert(event->has_data);
	ck_assert_uint_eq(event->data.len, strlen(data));
	ck_assert(memcmp(event->data.data, data, strlen(data)) == 0);
}

static void
assert_body(const NewEvent *said, const char *type, const char *body, size_t size)
{
	struct cloudevent_binary out;
	Event event = kept(said);

	cloudevent_write_binary(&event, &arena, &out);
	ck_assert_uint_eq(out.size, size);
	ck_assert(memcmp(out.body, body, size) == 0);
	ck_assert(type ? out.type && strcmp(out.type, type) == 0 : !out.type);
}

START_TEST(a_body_is_kept_by_its_type_and_sent_as_it_came)
{
	assert_data(read_body("application/json; charset=utf-8", "{\"a\": 1}", 8), "{\"a\": 1}");
	assert_body(read_body("application/vnd.x+json", "[1]", 3), "application/vnd.x+json", "[1]", 3);
	assert_data(read_body("text/plain", "say \"x\"", 7), "\"say \\\"x\\\"\"");
	assert_body(read_body("text/plain", "say \"x\"", 7), "text/plain", "say \"x\"", 7);
	assert_body(read_body("application/xml", "<a/>", 4), "application/xml", "<a/>", 4);
	assert_data(read_body("application/octet-stream", "\0\1\2", 3), "\"AAEC\"");
	assert_body(read_body("application/octet-stream", "\0\1\2", 3), "application/octet-stream", "\0\1\2", 3);
	assert_body(read_body("text/plain", "\377", 1), "text/plain", "\377", 1);
	assert_body(read_body(NULL, "abc", 3), NULL, "abc", 3);
	ck_assert(!read_body(NULL, "", 0)->has_data);
	assert_body(read_body(NULL, "", 0), NULL, "", 0);
	static const char *const PAIRS[] = {WANTED, NULL};
	(void)read_headers("application/json", "{", 1, PAIRS);
	ck_assert_uint_eq(found.count, 1);
	ck_assert_str_eq(found.items[0].pointer, "/data");
}
END_TEST

static const char *
header_of(const struct cloudevent_binary *out, const char *name)
{
	for (size_t i = 0; i < out->count; i++)
		if (strcmp(out->headers[i].name, name) == 0)
			return out->headers[i].value;
	return NULL;
}

START_TEST(headers_are_percent_encoded_both_ways)
{
	static const char *const PAIRS[] = {WANTED,      "ce-subject",          "Euro%20%E2%82%AC%20%F0%9F%98%80",
	                                    "ce-quoted", "\"a \\\"b\\\" %25\"", NULL};
	struct cloudevent_binary out;
	Request *request = read_headers(NULL, "", 0, PAIRS);

	ck_assert_uint_eq(found.count, 0);
	const NewEvent *said = request->events[0];
	ck_assert_str_eq(said->subject, "Euro \342\202\254 \360\237\230\200");
	ck_assert_str_eq(said->cloud_event->extensions[0]->text, "a \"b\" %");
	Event event = kept(said);
	cloudevent_write_binary(&event, &arena, &out);
	ck_assert_str_eq(header_of(&out, "ce-subject"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
	ck_assert_str_eq(header_of(&out, "ce-quoted"), "a%20%22b%22%20%25");
	ck_assert_str_eq(header_of(&out, "ce-corbelid"), "evt_1");
	ck_assert_str_eq(header_of(&out, "ce-corbelsequence"), "7");
	ck_assert_str_eq(header_of(&out, "ce-specversion"), "1.0");
}
END_TEST

START_TEST(bad_headers_are_refused)
{
	static const char *const CASES[][3] = {{"ce-x", "%", "percent-encoded"},
	                                       {"ce-x", "%zz", "percent-encoded"},
	                                       {"ce-x", "%00", "percent-encoded"},
	                                       {"ce-x", "%FF", "percent-encoded"},
	                                       {"ce-id", "2", "twice"},
	                                       {"ce-data", "2", "the body"},
	                                       {"ce-datacontenttype", "a/b", "the body"},
	                                       {"ce-time", "x", "3339"}};
	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		const char *const pairs[] = {WANTED, CASES[i][0], CASES[i][1], NULL};
		(void)read_headers(NULL, "", 0, pairs);
		ck_assert_msg(found.count == 1 && strstr(found.items[0].detail, CASES[i][2]), "%s: %s", CASES[i][0],
		              CASES[i][1]);
	}
}
END_TEST

/* ---- events that were no CloudEvents, and pointers ---- */

START_TEST(any_event_can_be_given_as_a_cloudevent)
{
	struct cloudevent_binary out;
	NewEvent said = CORBEL__V1__NEW_EVENT__INIT;
	said.type = (char *)(uintptr_t) "a.b";
	Event event = kept(&said);

	ck_assert_str_eq(written(&event),
	                 "{\"specversion\":\"1.0\",\"id\":\"evt_1\",\"source\":\"/tenants/ten_1/api\","
	                 "\"datacontenttype\":\"application/json\",\"type\":\"a.b\",\"time\":"
	                 "\"1970-01-01T00:00:00Z\",\"corbelsequence\":\"7\",\"data\":{}}");
	cloudevent_write_binary(&event, &arena, &out);
	ck_assert_str_eq(header_of(&out, "ce-source"), "/tenants/ten_1/api");
	ck_assert_str_eq(header_of(&out, "ce-id"), "evt_1");
	ck_assert_str_eq(out.type, "application/json");
	ck_assert(out.size == 2 && memcmp(out.body, "{}", 2) == 0);
}
END_TEST

START_TEST(pointers_lead_into_what_was_sent)
{
	ck_assert_str_eq(cloudevent_pointer("/events/3/timestamp", CLOUDEVENT_BATCH, &arena), "/3/time");
	ck_assert_str_eq(cloudevent_pointer("/events/0/timestamp", CLOUDEVENT_STRUCTURED, &arena), "/time");
	ck_assert_str_eq(cloudevent_pointer("/events/0/cloud_event/source", CLOUDEVENT_BINARY, &arena),
	                 "/source");
	ck_assert_str_eq(cloudevent_pointer("/events/12/data/a/b", CLOUDEVENT_BATCH, &arena), "/12/data/a/b");
	ck_assert_str_eq(cloudevent_pointer("/events", CLOUDEVENT_BATCH, &arena), "");
	ck_assert_str_eq(cloudevent_pointer("/tenant_id", CLOUDEVENT_BATCH, &arena), "/tenant_id");
}
END_TEST

START_TEST(types_of_content_are_told_apart)
{
	ck_assert_int_eq(cloudevent_mode_of("application/cloudevents+json"), CLOUDEVENT_STRUCTURED);
	ck_assert_int_eq(cloudevent_mode_of("Application/CloudEvents+JSON ; charset=utf-8"),
	                 CLOUDEVENT_STRUCTURED);
	ck_assert_int_eq(cloudevent_mode_of("application/cloudevents-batch+json"), CLOUDEVENT_BATCH);
	ck_assert_int_eq(cloudevent_mode_of("application/cloudevents+avro"), CLOUDEVENT_NONE);
	ck_assert_int_eq(cloudevent_mode_of("application/json"), CLOUDEVENT_NONE);
	ck_assert_int_eq(cloudevent_mode_of(NULL), CLOUDEVENT_NONE);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("cloudevent");
	TCase *t = tcase_create("cloudevent");

	tcase_add_checked_fixture(t, begin, end);
	tcase_add_test(t, an_event_is_given_back_as_it_was_said);
	tcase_add_test(t, what_is_no_cloudevent_is_refused_with_the_place);
	tcase_add_test(t, batches_and_extensions_are_bounded);
	tcase_add_test(t, a_body_is_kept_by_its_type_and_sent_as_it_came);
	tcase_add_test(t, headers_are_percent_encoded_both_ways);
	tcase_add_test(t, bad_headers_are_refused);
	tcase_add_test(t, any_event_can_be_given_as_a_cloudevent);
	tcase_add_test(t, pointers_lead_into_what_was_sent);
	tcase_add_test(t, types_of_content_are_told_apart);
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
