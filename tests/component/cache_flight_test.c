/*
 * One caller makes a value, however many want it, and wherever they ask: a thousand callers of one replica,
 * or of each of ten on one Redis.
 */
#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test_cached.h"
#include "support/test_process.h"

#define CALLERS   1000u
#define WAIT_MS   20000u
#define CALL_MS   60000u
#define ORIGIN_MS 300u
#define TRIES     5u
#define MADE      "made once"

/* A machine that is busy with ten thousand callers is no outage of Redis. */
static const char *const PATIENT[] = {"--cached.redis_patience=2s", "--redis.timeout=5s", NULL};

/* Callers of one replica: calls under way at the same time, from one thread. */
struct crowd {
	struct test_cached rig;
	struct port *port;
	struct pool_call *calls;
	struct arena arena;
	const uint8_t *request;
	size_t request_size, under_way;
	unsigned answered, origin_calls, failed, others;
	bool was_starved; /* the replica of whoever had the token gave no sign of life for too long */
	char token[64];   /* "": nobody has it */
	unsigned maker;   /* the replica whose caller has it */
	uint64_t made_ms;
	Corbel__Bus__Principal principal;
};

static char *
text(const char *constant)
{
	return (char *)(uintptr_t)constant;
}

static const uint8_t *
pack_request(struct crowd *crowd)
{
	Corbel__V1__CacheGetRequest request = CORBEL__V1__CACHE_GET_REQUEST__INIT;

	request.namespace_ = text("pages");
	request.key = text("cold");
	request.has_lease = request.lease = request.has_wait_ms = true;
	request.wait_ms = WAIT_MS;
	uint8_t *bytes = arena_alloc(&crowd->arena, 256);
	crowd->request_size = protobuf_c_message_pack(&request.base, bytes);
	return bytes;
}

static void
send_one(struct crowd *crowd, struct pool_call *call, unsigned replica)
{
	void (*done)(struct pool_call *) = call->done;

	*call = (struct pool_call){.method = CACHE_FETCH->id,
	                           .is_waiting = true,
	                           .deadline_mono_ms = test_now_ms() + CALL_MS,
	                           .principal = &crowd->principal,
	                           .payload = crowd->request,
	                           .payload_size = crowd->request_size,
	                           .done = done,
	                           .user = crowd};
	crowd->under_way++;
	port_call(crowd->port, crowd->rig.replicas[replica].pool, call);
}

/* Whoever gets the token asks the origin. */
static void
answered(struct pool_call *call)
{
	struct crowd *crowd = call->user;
	unsigned replica = (unsigned)((size_t)(call - crowd->calls) / CALLERS);
	Corbel__V1__CacheEntry *entry =
	    call->code == STATUS_OK && call->reply
	        ? corbel__v1__cache_entry__unpack(NULL, call->reply->payload.len, call->reply->payload.data)
	        : NULL;

	crowd->under_way--;
	bool has_value =
	    entry && entry->value.len == strlen(MADE) && memcmp(entry->value.data, MADE, strlen(MADE)) == 0;
	if (has_value) {
		crowd->answered++;
	} else if (entry && entry->lease) {
		crowd->was_starved = crowd->was_starved || crowd->token[0]; /* who had it was taken for dead */
		crowd->origin_calls++;
		crowd->maker = replica;
		crowd->made_ms = test_now_ms() + ORIGIN_MS;
		snprintf(crowd->token, sizeof(crowd->token), "%s", entry->lease);
	} else if (entry) {
		crowd->others++;
	} else {
		crowd->failed++;
		fprintf(stderr, "a call failed: %s\n", call->message ? call->message : "");
	}
	if (entry)
		corbel__v1__cache_entry__free_unpacked(entry, NULL);
}

static void
fill(struct crowd *crowd)
{
	Corbel__V1__CacheSetRequest request = CORBEL__V1__CACHE_SET_REQUEST__INIT;
	ProtobufCMessage *reply;

	request.namespace_ = text("pages");
	request.key = text("cold");
	request.text = text(MADE);
	request.lease = crowd->token;
	struct status st =
	    test_cached_call(&crowd->rig, crowd->maker, CACHE_SET, &request.base, CALL_MS, &crowd->arena, &reply);
	crowd->token[0] = '\0';
	crowd->was_starved = crowd->was_starved || st.code == STATUS_ABORTED;
	ck_assert_msg(status_ok(&st) || st.code == STATUS_ABORTED, "%s", st.message);
	crowd->answered += status_ok(&st); /* who made it has it */
}

static void
run(struct crowd *crowd, unsigned replicas, bool has_redis)
{
	char *scope = text("cache.*");

	memset(crowd, 0, sizeof(*crowd));
	test_cached_start(&crowd->rig, &(struct test_cached_options){
	                                   .replicas = replicas, .has_redis = has_redis, .options = PATIENT});
	arena_init(&crowd->arena, 65536, SIZE_MAX);
	crowd->principal = (Corbel__Bus__Principal)CORBEL__BUS__PRINCIPAL__INIT;
	crowd->principal.tenant = text("ten_1");
	crowd->principal.scopes = &scope;
	crowd->principal.n_scopes = 1;
	crowd->request = pack_request(crowd);
	crowd->calls = mem_array((size_t)replicas * CALLERS, sizeof(struct pool_call));
	struct status st = port_new(crowd->rig.bus, &crowd->port);
	ck_assert(status_ok(&st));
	for (unsigned i = 0; i < replicas * CALLERS; i++) {
		crowd->calls[i].done = answered;
		send_one(crowd, &crowd->calls[i], i / CALLERS);
	}
	port_flush(crowd->port);
	while (crowd->under_way > 0) {
		struct pollfd fd = {.fd = port_fd(crowd->port), .events = POLLIN};
		(void)poll(&fd, 1, 10);
		port_poll(crowd->port);
		if (crowd->token[0] && test_now_ms() >= crowd->made_ms)
			fill(crowd);
		port_flush(crowd->port);
	}
	fprintf(stderr,
	        "%u replicas: %u callers have the value, %u asked the origin, %u got nothing, %u failed\n",
	        replicas, crowd->answered, crowd->origin_calls, crowd->others, crowd->failed);
	port_free(crowd->port);
	test_cached_stop(&crowd->rig);
	mem_free(crowd->calls);
	arena_fini(&crowd->arena);
}

static void
expect_one_call(unsigned replicas, bool has_redis)
{
	static struct crowd crowd;

	/* A replica that gets no processor for a third of a second counts as dead, and another caller asks the
	 * origin. That is no fault; a machine that does it every time is. */
	for (unsigned tries = 0; tries == 0 || (crowd.was_starved && tries < TRIES); tries++)
		run(&crowd, replicas, has_redis);
	ck_assert_uint_eq(crowd.origin_calls, 1);
	ck_assert_uint_eq(crowd.answered, replicas * CALLERS);
}

START_TEST(a_thousand_callers_of_a_cold_key_make_one_call_of_the_origin)
{
	expect_one_call(1, false);
}
END_TEST

START_TEST(a_thousand_callers_of_each_of_ten_replicas_make_one_call_of_the_origin)
{
	expect_one_call(10, true);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache flight");
	TCase *tests = tcase_create("flight");

	tcase_set_timeout(tests, 300);
	tcase_add_test(tests, a_thousand_callers_of_a_cold_key_make_one_call_of_the_origin);
	tcase_add_test(tests, a_thousand_callers_of_each_of_ten_replicas_make_one_call_of_the_origin);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
