/*
 * Gets that come in one message of the bus: each is answered as if it had come alone, wherever its value is.
 */
#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test_cached.h"
#include "support/test_process.h"

#define CALLS     100u
#define CALL_MS   60000u
#define WAIT_MS   60000u
#define LARGE     (1u << 20)
#define TEXT_SIZE 64u

/* A machine that is busy is no outage of Redis. */
static const char *const PATIENT[] = {"--cached.redis_patience=2s", "--redis.timeout=5s", NULL};

static struct test_cached rig;
static struct arena arena;

/* Values are written through the one, and asked of the other. */
enum { WRITER, READER };

static void
set_up(void)
{
	arena_init(&arena, 65536, SIZE_MAX);
	test_cached_start(&rig,
	                  &(struct test_cached_options){.replicas = 2, .has_redis = true, .options = PATIENT});
}

static void
tear_down(void)
{
	test_cached_stop(&rig);
	arena_fini(&arena);
}

static void
put(const char *space, const char *key, char *value)
{
	Corbel__V1__CacheSetRequest request = CORBEL__V1__CACHE_SET_REQUEST__INIT;
	ProtobufCMessage *reply;

	request.namespace_ = arena_strdup(&arena, space);
	request.key = arena_strdup(&arena, key);
	request.text = value;
	struct status st = test_cached_call(&rig, WRITER, CACHE_SET, &request.base, CALL_MS, &arena, &reply);
	ck_assert_msg(status_ok(&st), "%s", st.message);
}

/* ---- calls that leave together ---- */

struct asked {
	struct pool_call call;
	Corbel__V1__CacheGetRequest request;
	bool is_answered, must_wait;
	Corbel__V1__CacheEntry *entry; /* NULL: the call failed */
};

struct message {
	struct asked asked[CALLS];
	size_t count, left;
	Corbel__Bus__Principal principal;
};

static void
answered(struct pool_call *call)
{
	struct asked *asked = (struct asked *)call;
	struct message *message = call->user;
	struct arena_allocator allocator = arena_allocator(&arena);
	const Corbel__Bus__Reply *reply = call->code == STATUS_OK ? call->reply : NULL;

	message->left--;
	asked->is_answered = reply != NULL;
	if (!reply)
		return;
	asked->must_wait =
	    reply->code == STATUS_UNAVAILABLE && reply->problem && strcmp(reply->problem, "must-wait") == 0;
	if (reply->code == STATUS_OK)
		asked->entry = corbel__v1__cache_entry__unpack((ProtobufCAllocator *)&allocator, reply->payload.len,
		                                               reply->payload.data);
}

static Corbel__V1__CacheGetRequest *
add(struct message *message, const char *space, const char *key)
{
	Corbel__V1__CacheGetRequest *request = &message->asked[message->count++].request;

	ck_assert_uint_le(message->count, CALLS);
	*request = (Corbel__V1__CacheGetRequest)CORBEL__V1__CACHE_GET_REQUEST__INIT;
	request->namespace_ = arena_strdup(&arena, space);
	request->key = arena_strdup(&arena, key);
	return request;
}

static void
leave(struct message *message, struct port *port, struct asked *asked)
{
	size_t size = protobuf_c_message_get_packed_size(&asked->request.base);
	uint8_t *bytes = arena_alloc(&arena, size);

	protobuf_c_message_pack(&asked->request.base, bytes);
	asked->call = (struct pool_call){.method = CACHE_GET->id,
	                                 .is_fast = true,
	                                 .deadline_mono_ms = test_now_ms() + CALL_MS,
	                                 .principal = &message->principal,
	                                 .payload = bytes,
	                                 .payload_size = size,
	                                 .done = answered,
	                                 .user = message};
	asked->is_answered = asked->must_wait = false;
	asked->entry = NULL;
	message->left++;
	port_call(port, rig.replicas[READER].pool, &asked->call);
}

static void
ask(struct message *message)
{
	char tenant[] = "ten_1", scope[] = "cache.*", *scopes[] = {scope};
	struct port *port;

	message->principal = (Corbel__Bus__Principal)CORBEL__BUS__PRINCIPAL__INIT;
	message->principal.tenant = tenant;
	message->principal.scopes = scopes;
	message->principal.n_scopes = 1;
	struct status st = port_new(rig.bus, &port);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	for (size_t i = 0; i < message->count; i++)
		leave(message, port, &message->asked[i]);
	port_flush(port);
	while (message->left > 0) {
		struct pollfd fd = {.fd = port_fd(port), .events = POLLIN};
		(void)poll(&fd, 1, port_timeout_ms(port));
		port_poll(port);
	}
	port_free(port);
}

/* "": no value. */
static bool
is_value(const Corbel__V1__CacheEntry *entry, const char *value)
{
	size_t length = strlen(value);

	if (!entry || entry->value.len != length)
		return false;
	return length == 0 || memcmp(entry->value.data, value, length) == 0;
}

/* ---- tests ---- */

/* The first of every three is there, the second in a namespace of its own, the third nowhere. */
static void
add_three_kinds(struct message *message)
{
	static const char *const SPACES[] = {"one", "two", "unused"};
	char key[TEXT_SIZE];

	for (unsigned i = 0; i < 90; i++) {
		snprintf(key, sizeof(key), "key/%u", i);
		add(message, SPACES[i % 3], key);
	}
}

static bool
has_three_kinds(const struct message *message)
{
	char value[TEXT_SIZE];

	for (unsigned i = 0; i < 90; i++) {
		snprintf(value, sizeof(value), "value %u", i);
		if (!is_value(message->asked[i].entry, i % 3 < 2 ? value : ""))
			return false;
	}
	return true;
}

START_TEST(a_message_brings_what_memory_has_what_redis_has_and_what_is_nowhere)
{
	static struct message message;
	char key[TEXT_SIZE], value[TEXT_SIZE];

	for (unsigned i = 0; i < 90; i++) {
		snprintf(key, sizeof(key), "key/%u", i);
		snprintf(value, sizeof(value), "value %u", i);
		if (i % 3 < 2)
			put(i % 3 ? "two" : "one", key, value);
	}
	/* The first time nothing is in memory, then all is; in between half of it. */
	for (unsigned round = 0; round < 3; round++) {
		uint64_t end = test_now_ms() + WAIT_MS;
		add_three_kinds(&message);
		for (ask(&message); !has_three_kinds(&message); ask(&message))
			ck_assert_uint_lt(test_now_ms(), end);
		memset(&message, 0, sizeof(message));
		for (unsigned i = 0; i < 90; i += 6) {
			snprintf(key, sizeof(key), "key/%u", i);
			snprintf(value, sizeof(value), "value %u", i);
			put("one", key, value);
		}
	}
}
END_TEST

START_TEST(of_calls_of_one_message_that_want_a_cold_key_one_gets_the_token)
{
	static struct message message;
	unsigned granted = 0, filling = 0;

	for (unsigned i = 0; i < CALLS; i++) {
		Corbel__V1__CacheGetRequest *request = add(&message, "pages", "cold");
		request->has_lease = request->lease = true;
	}
	ask(&message);
	for (unsigned i = 0; i < CALLS; i++) {
		ck_assert_ptr_nonnull(message.asked[i].entry);
		granted += message.asked[i].entry->lease != NULL;
		filling += message.asked[i].entry->filling != 0;
	}
	ck_assert_uint_eq(granted, 1);
	ck_assert_uint_eq(filling, CALLS - 1);
}
END_TEST

START_TEST(who_would_wait_in_a_message_is_sent_to_where_calls_wait)
{
	static struct message message;
	unsigned granted = 0, sent_on = 0;

	for (unsigned i = 0; i < CALLS; i++) {
		Corbel__V1__CacheGetRequest *request = add(&message, "pages", "cold");
		request->has_lease = request->lease = request->has_wait_ms = true;
		request->wait_ms = 20000;
	}
	ask(&message);
	for (unsigned i = 0; i < CALLS; i++) {
		granted += message.asked[i].entry && message.asked[i].entry->lease;
		sent_on += message.asked[i].must_wait;
	}
	ck_assert_uint_eq(granted, 1);
	ck_assert_uint_eq(sent_on, CALLS - 1);
}
END_TEST

START_TEST(large_values_in_a_message_are_given_as_far_as_there_is_room_and_the_others_alone)
{
	static struct message message;
	char key[TEXT_SIZE], *value = mem_alloc(LARGE + 1);
	unsigned given = 0, sent_on = 0;
	ProtobufCMessage *reply;

	memset(value, 'v', LARGE);
	for (unsigned i = 0; i < 16; i++) {
		snprintf(key, sizeof(key), "%u", i);
		put("large", key, value);
		add(&message, "large", key);
	}
	ask(&message);
	for (unsigned i = 0; i < 16; i++) {
		struct asked *asked = &message.asked[i];
		ck_assert(asked->is_answered && (asked->must_wait || is_value(asked->entry, value)));
		given += !asked->must_wait;
		sent_on += asked->must_wait;
		if (!asked->must_wait)
			continue;
		struct status st =
		    test_cached_call(&rig, READER, CACHE_FETCH, &asked->request.base, CALL_MS, &arena, &reply);
		ck_assert_msg(status_ok(&st), "%s", st.message);
		ck_assert(is_value((Corbel__V1__CacheEntry *)reply, value));
	}
	ck_assert_uint_gt(given, 0);
	ck_assert_uint_gt(sent_on, 0);
	mem_free(value);
}
END_TEST

START_TEST(an_answer_of_many_keys_leaves_out_what_has_no_room_also_when_it_is_in_redis)
{
	Corbel__V1__CacheGetManyRequest request = CORBEL__V1__CACHE_GET_MANY_REQUEST__INIT;
	char *keys[16], space[] = "large", *value = mem_alloc(LARGE + 1);
	size_t given = 0, left_out = 0;
	ProtobufCMessage *reply;

	memset(value, 'v', LARGE);
	for (unsigned i = 0; i < 16; i++) {
		keys[i] = arena_printf(&arena, "%u", i);
		put(space, keys[i], value);
	}
	request.namespace_ = space;
	request.keys = keys;
	request.n_keys = 16;
	struct status st = test_cached_call(&rig, READER, CACHE_GET_MANY, &request.base, CALL_MS, &arena, &reply);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	const Corbel__V1__CacheGetManyReply *many = (const Corbel__V1__CacheGetManyReply *)reply;
	ck_assert_uint_eq(many->n_entries, 16);
	for (size_t i = 0; i < 16; i++) {
		const Corbel__V1__CacheEntry *entry = many->entries[i];
		ck_assert((entry->left_out == 0) == (entry->text && strcmp(entry->text, value) == 0));
		given += entry->left_out == 0;
		left_out += entry->left_out != 0;
	}
	ck_assert_uint_eq(given, 3); /* of 4 MiB, as each takes a little more than its value */
	ck_assert_uint_eq(left_out, 13);
	mem_free(value);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache message");
	TCase *tests = tcase_create("together");

	tcase_set_timeout(tests, 300);
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, a_message_brings_what_memory_has_what_redis_has_and_what_is_nowhere);
	tcase_add_test(tests, of_calls_of_one_message_that_want_a_cold_key_one_gets_the_token);
	tcase_add_test(tests, who_would_wait_in_a_message_is_sent_to_where_calls_wait);
	tcase_add_test(tests, large_values_in_a_message_are_given_as_far_as_there_is_room_and_the_others_alone);
	tcase_add_test(tests, an_answer_of_many_keys_leaves_out_what_has_no_room_also_when_it_is_in_redis);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
