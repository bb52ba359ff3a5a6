/*
 * The leaves of streams: which events pass, how many streams there may be, how a WebSocket begins, how events
 * look on the wire.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ingress/stream_filter.h"
#include "ingress/stream_handshake.h"
#include "ingress/stream_item.h"
#include "ingress/stream_quota.h"

START_TEST(an_event_passes_what_is_asked_for_and_what_is_granted)
{
	const char *types[] = {"file.*", "doc.made"}, *granted[] = {"**.made"};
	struct stream_filter *filter = stream_filter_new(&(struct stream_filter_options){
	    .types = types, .type_count = 2, .granted = granted, .granted_count = 1, .subject = "s"});

	ck_assert(stream_filter_passes(filter, "doc.made", "s"));
	ck_assert(stream_filter_passes(filter, "file.made", "s"));
	ck_assert(!stream_filter_passes(filter, "file.sent", "s"));
	ck_assert(!stream_filter_passes(filter, "person.made", "s"));
	ck_assert(!stream_filter_passes(filter, "doc.made", "t"));
	ck_assert(!stream_filter_passes(filter, "doc.made", NULL));
	mem_free(filter);
	filter = stream_filter_new(&(struct stream_filter_options){.types = NULL});
	ck_assert(stream_filter_passes(filter, "any.thing", NULL));
	mem_free(filter);
}
END_TEST

START_TEST(patterns_have_commas_between_them_and_a_bound)
{
	struct arena arena;
	const char **list;
	size_t count;
	char many[2 * STREAM_PATTERNS_MAX + 2];

	arena_init(&arena, 1024, SIZE_MAX);
	struct status st = stream_patterns_parse(" file.* ,doc.made", &arena, &list, &count);
	ck_assert(status_ok(&st) && count == 2);
	ck_assert_str_eq(list[0], "file.*");
	ck_assert_str_eq(list[1], "doc.made");
	static const char *const BAD[] = {"", ",", "a,", ",a", "a b", "a,*x"};
	for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
		st = stream_patterns_parse(BAD[i], &arena, &list, &count);
		ck_assert_msg(!status_ok(&st), "'%s'", BAD[i]);
	}
	for (size_t i = 0; i < sizeof(many) - 1; i++)
		many[i] = i % 2 ? ',' : 'a';
	many[2 * STREAM_PATTERNS_MAX - 1] = '\0';
	st = stream_patterns_parse(many, &arena, &list, &count);
	ck_assert(status_ok(&st) && count == STREAM_PATTERNS_MAX);
	many[2 * STREAM_PATTERNS_MAX - 1] = ',';
	many[2 * STREAM_PATTERNS_MAX + 1] = '\0';
	st = stream_patterns_parse(many, &arena, &list, &count);
	ck_assert(!status_ok(&st));
	arena_fini(&arena);
}
END_TEST

START_TEST(places_are_counted_for_each_tenant_and_together)
{
	struct stream_quota *quota = stream_quota_new(3, 2);

	ck_assert_int_eq(stream_quota_enter(quota, "a"), STREAM_ADMITTED);
	ck_assert_int_eq(stream_quota_enter(quota, "a"), STREAM_ADMITTED);
	ck_assert_int_eq(stream_quota_enter(quota, "a"), STREAM_TENANT_FULL);
	ck_assert_int_eq(stream_quota_enter(quota, "b"), STREAM_ADMITTED);
	ck_assert_int_eq(stream_quota_enter(quota, "c"), STREAM_ALL_FULL);
	stream_quota_leave(quota, "a");
	ck_assert_int_eq(stream_quota_enter(quota, "c"), STREAM_ADMITTED);
	stream_quota_leave(quota, "a");
	stream_quota_leave(quota, "b");
	stream_quota_leave(quota, "c");
	ck_assert_uint_eq(stream_quota_count(quota), 0);
	stream_quota_free(quota);
}
END_TEST

/* The example of RFC 6455 section 1.3. */
START_TEST(the_handshake_is_that_of_the_rfc)
{
	struct stream_handshake said = {.connection = "keep-alive, Upgrade",
	                                .upgrade = "WebSocket",
	                                .version = "13",
	                                .key = "dGhlIHNhbXBsZSBub25jZQ=="};
	char accept[STREAM_ACCEPT_SIZE];

	ck_assert_int_eq(stream_handshake_check(&said), HANDSHAKE_GOOD);
	stream_handshake_accept(said.key, accept);
	ck_assert_str_eq(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	said.key = "dGhlIHNhbXBsZSBub25jZQ";
	ck_assert_int_eq(stream_handshake_check(&said), HANDSHAKE_BAD);
	said.version = "8";
	ck_assert_int_eq(stream_handshake_check(&said), HANDSHAKE_OTHER_VERSION);
	said.upgrade = "h2c";
	ck_assert_int_eq(stream_handshake_check(&said), HANDSHAKE_NONE);
	ck_assert(stream_list_has("other,\tcloudevents.json ", STREAM_CLOUDEVENTS));
	ck_assert(!stream_list_has("cloudevents.jsonb,xcloudevents.json", STREAM_CLOUDEVENTS));
}
END_TEST

START_TEST(an_event_is_a_chunk_a_block_and_a_message_of_the_same_json)
{
	Corbel__V1__Event event = CORBEL__V1__EVENT__INIT;
	char data[] = "{\n\"a\": 1.0}";
	struct arena arena;

	arena_init(&arena, 1024, SIZE_MAX);
	event.has_sequence = event.has_data = true;
	event.sequence = 42;
	event.type = (char *)(uintptr_t) "doc.made";
	event.data = (ProtobufCBinaryData){.len = sizeof(data) - 1, .data = (uint8_t *)data};
	struct stream_item *item = stream_item_new(&event, true, &arena);
	static const char BLOCK[] =
	    "id: 42\nevent: doc.made\ndata: {\"type\":\"doc.made\",\"sequence\":42,\"data\":{ \"a\": 1.0}}\n\n";
	ck_assert_uint_eq(item->sse_size, sizeof(BLOCK) - 1);
	ck_assert_int_eq(memcmp(item->sse, BLOCK, item->sse_size), 0);
	ck_assert_uint_eq(item->chunk_size, sizeof(BLOCK) - 1 + strlen("55\r\n\r\n"));
	ck_assert_uint_eq(strtoul(item->chunk, NULL, 16), item->sse_size);
	ck_assert_int_eq(memcmp(item->chunk + item->chunk_size - 2, "\r\n", 2), 0);
	ck_assert_int_eq(memcmp(item->json, "{\"type\"", 7), 0);
	ck_assert_uint_eq(item->frame_head[1], item->json_size);
	ck_assert_uint_eq(item->frame_head[0], 0x81);
	ck_assert_uint_gt(item->cloud_size, 0);
	stream_item_release(item);
	arena_fini(&arena);
}
END_TEST

START_TEST(the_length_of_a_frame_takes_as_few_bytes_as_it_may)
{
	uint8_t head[STREAM_FRAME_HEAD_MAX];

	ck_assert_uint_eq(stream_frame_head(1, 125, head), 2);
	ck_assert_uint_eq(stream_frame_head(1, 126, head), 4);
	ck_assert_int_eq(memcmp(head, "\x81\x7e\x00\x7e", 4), 0);
	ck_assert_uint_eq(stream_frame_head(1, 65535, head), 4);
	ck_assert_uint_eq(stream_frame_head(1, 65536, head), 10);
	ck_assert_int_eq(memcmp(head, "\x81\x7f\0\0\0\0\0\1\0\0", 10), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("stream");
	TCase *tcase = tcase_create("stream");

	tcase_add_test(tcase, an_event_passes_what_is_asked_for_and_what_is_granted);
	tcase_add_test(tcase, patterns_have_commas_between_them_and_a_bound);
	tcase_add_test(tcase, places_are_counted_for_each_tenant_and_together);
	tcase_add_test(tcase, the_handshake_is_that_of_the_rfc);
	tcase_add_test(tcase, an_event_is_a_chunk_a_block_and_a_message_of_the_same_json);
	tcase_add_test(tcase, the_length_of_a_frame_takes_as_few_bytes_as_it_may);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
