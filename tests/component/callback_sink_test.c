/*
 * callback sink: webhookd hands events to a daemon of this test, over the bus, on its two kinds of stores.
 */
#include <check.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <webhookd/webhookd.h>
#include "api/json.h"
#include "corbel/contract.gen.h"
#include "support/test_dir.h"
#include "support/test_host.h"
#include "support/test_postgres.h"
#include "support/test_process.h"

#define SECRETS "--webhookd.secrets=1:1111111111111111111111111111111111111111111111111111111111111111"

typedef Corbel__V1__ReceiveEventRequest ReceiveEventRequest;
typedef Corbel__V1__ReceiveEventReply ReceiveEventReply;

static struct test_dir test_dir;
static struct test_postgres *postgres;
static struct arena arena;

/* ---------------------------------------------------------------- the callback */

/* What it was told, and how it answers. */
static struct {
	pthread_mutex_t lock;
	unsigned received;
	char ids[64][64], types[64][64];
	uint32_t attempts[64];
	unsigned to_fail, to_ignore; /* of the next ones */
	struct call *ignored[8];
	unsigned ignored_count;
} told = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void
take(struct call *call)
{
	const ReceiveEventRequest *request = (const void *)call_request(call);
	ReceiveEventReply *reply = (void *)call_reply(call);
	struct status st = status_ok_value();

	pthread_mutex_lock(&told.lock);
	unsigned at = told.received++ % 64;
	snprintf(told.ids[at], 64, "%s", request->event->id);
	snprintf(told.types[at], 64, "%s", request->event->type);
	told.attempts[at] = request->attempt;
	bool is_ignored = told.to_ignore > 0 && told.ignored_count < 8;
	if (is_ignored) {
		told.to_ignore--;
		told.ignored[told.ignored_count++] = call;
	} else if (told.to_fail > 0) {
		told.to_fail--;
		st = status_make(STATUS_FAILED_PRECONDITION, "not today");
	}
	reply->note = (char *)(uintptr_t) "noted";
	pthread_mutex_unlock(&told.lock);
	if (!is_ignored)
		call_end(call, st);
}

static void
take_batch(void *self, struct call *calls[], size_t count)
{
	(void)self;
	for (size_t i = 0; i < count; i++)
		take(calls[i]);
}

static service_batch
batch_of(void *self, const struct api_method *method)
{
	(void)self;
	(void)method;
	return take_batch;
}

static struct status
callback_create(const struct service_env *env, void **self)
{
	(void)env;
	*self = &told;
	return status_ok_value();
}

static const api_handler NO_HANDLERS[] = {NULL};
static const struct service_handlers CALLBACK_HANDLERS[] = {{&api_callbacks, NO_HANDLERS}, {NULL, NULL}};
static const struct service callback_service = {.name = "audit",
                                                .summary = "Is told of events",
                                                .handlers = CALLBACK_HANDLERS,
                                                .create = callback_create,
                                                .batch = batch_of};

static unsigned
received(void)
{
	pthread_mutex_lock(&told.lock);
	unsigned count = told.received;
	pthread_mutex_unlock(&told.lock);
	return count;
}

static void
answer_ignored(void)
{
	for (unsigned i = 0; i < told.ignored_count; i++)
		call_end(told.ignored[i], status_ok_value());
	told.ignored_count = 0;
}

/* ---------------------------------------------------------------- hosts in this process */

struct rig {
	struct test_host self;
	const struct service *services[2];
};

static void
rig_start(struct rig *rig, const struct service *service, const char *const *flags, int count)
{
	rig->services[0] = service;
	rig->services[1] = NULL;
	test_host_start(&rig->self, rig->services, flags, count);
}

static void
start_callback(struct rig *rig)
{
	const char *flags[] = {
	    "audit",           arena_printf(&arena, "--data=%s/audit", test_dir.path),
	    "--admin.listen=", "--log.level=error",
	    "--node=audit",    arena_printf(&arena, "--bus.listen=ipc://%s/audit.rep", test_dir.path)};
	rig_start(rig, &callback_service, flags, 6);
}

static void
start_webhookd(struct rig *rig)
{
	const char *flags[8] = {
	    "webhookd",
	    arena_printf(&arena, "--data=%s", test_dir.path),
	    "--admin.listen=",
	    "--log.level=error",
	    SECRETS,
	    arena_printf(&arena, "--webhookd.callbacks=audit=ipc://%s/audit.rep", test_dir.path)};
	int count = 6;

	if (postgres)
		flags[count++] = arena_printf(&arena, "--store.url=%s", postgres->url);
	rig_start(rig, &webhookd_service, flags, count);
	(void)test_host_pool(&rig->self, "webhookd");
}

/* ---------------------------------------------------------------- calls */

/* The reply as JSON; the failure's message behind "!" when it fails. */
static const char *ask(struct rig *rig, const struct api_method *method, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static const char *
ask(struct rig *rig, const struct api_method *method, const char *format, ...)
{
	struct violations *violations = ARENA_NEW(&arena, struct violations);
	Corbel__Bus__Principal principal = CORBEL__BUS__PRINCIPAL__INIT;
	char json[1024], tenant[] = "ten_1", scope[] = "*", *scopes[] = {scope};
	ProtobufCMessage *request = NULL;
	struct strbuf out;
	va_list args;

	va_start(args, format);
	vsnprintf(json, sizeof(json), format, args);
	va_end(args);
	struct status st = json_to_message(json, strlen(json), method->request, &arena, violations, &request);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	principal.tenant = tenant;
	principal.scopes = scopes;
	principal.n_scopes = 1;
	size_t size = protobuf_c_message_get_packed_size(request);
	uint8_t *bytes = arena_alloc(&arena, size + 1);
	protobuf_c_message_pack(request, bytes);
	struct pool_call call = {.method = method->id,
	                         .is_fast = method->is_fast,
	                         .deadline_mono_ms = test_now_ms() + 20000,
	                         .principal = &principal,
	                         .payload = bytes,
	                         .payload_size = size};
	st = pool_call_wait(host_pool(rig->self.host, "webhookd"), &call, &arena);
	if (!status_ok(&st))
		return arena_printf(&arena, "!%s", st.message);
	struct arena_allocator memory = arena_allocator(&arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	ProtobufCMessage *reply = protobuf_c_message_unpack(method->reply->descriptor, &allocator,
	                                                    call.reply->payload.len, call.reply->payload.data);
	ck_assert_ptr_nonnull(reply);
	strbuf_init(&out, &arena);
	json_from_message(reply, method->reply, NULL, &out);
	return out.data;
}

static void
create(struct rig *rig, const char *more)
{
	const char *made =
	    ask(rig, ENDPOINTS_CREATE,
	        "{\"sink\":\"CALLBACK\",\"callback\":\"audit\",\"filter\":{\"types\":[\"a.*\"]}%s}", more);
	ck_assert_msg(made[0] != '!', "%s", made);
}

static void
publish(struct rig *rig, const char *id)
{
	const char *made = ask(rig, EVENTS_PUBLISH, "{\"events\":[{\"id\":\"%s\",\"type\":\"a.b\"}]}", id);
	ck_assert_msg(made[0] != '!', "%s", made);
}

/* Waits until so many deliveries are in the state. */
static void
await_state(struct rig *rig, const char *state, size_t count)
{
	for (uint64_t end = test_now_ms() + 50000;;) {
		const char *listed = ask(rig, DELIVERIES_LIST, "{\"state\":\"%s\",\"page_size\":200}", state);
		json_t *root = json_loads(listed, 0, NULL);
		size_t found = json_array_size(json_object_get(root, "deliveries"));
		json_decref(root);
		if (found == count)
			return;
		ck_assert_msg(test_now_ms() < end, "%zu in state %s: %s", found, state, listed);
		test_pause();
	}
}

static const char *
last_delivery(struct rig *rig)
{
	json_t *root = json_loads(ask(rig, DELIVERIES_LIST, "{\"page_size\":1}"), 0, NULL);
	const char *id =
	    json_string_value(json_object_get(json_array_get(json_object_get(root, "deliveries"), 0), "id"));
	const char *got = ask(rig, DELIVERIES_GET, "{\"id\":\"%s\"}", id);
	json_decref(root);
	return got;
}

/* ---------------------------------------------------------------- the tests */

/* Tests are loops of two: SQLite, PostgreSQL. */
static void
begin(int turn)
{
	test_dir_make(&test_dir);
	arena_init(&arena, 65536, SIZE_MAX);
	postgres = turn ? test_postgres_start() : NULL;
}

static void
finish(void)
{
	if (postgres)
		test_postgres_stop(postgres);
	arena_fini(&arena);
	test_dir_remove(&test_dir);
}

START_TEST(an_event_is_handed_over_and_what_is_said_of_it_is_kept)
{
	struct rig audit, webhookd;
	begin(_i);
	start_callback(&audit);
	start_webhookd(&webhookd);
	create(&webhookd, "");
	publish(&webhookd, "first");
	await_state(&webhookd, "DELIVERED", 1);
	ck_assert_uint_eq(received(), 1);
	ck_assert_str_eq(told.ids[0], "first");
	ck_assert_str_eq(told.types[0], "a.b");
	ck_assert_uint_eq(told.attempts[0], 1);
	ck_assert_ptr_nonnull(strstr(last_delivery(&webhookd), "\"response\":\"noted\""));
	test_host_stop(&webhookd.self);
	test_host_stop(&audit.self);
	finish();
}
END_TEST

START_TEST(a_failure_is_tried_again_and_given_up_after_the_last_try)
{
	struct rig audit, webhookd;
	begin(_i);
	start_callback(&audit);
	start_webhookd(&webhookd);
	create(&webhookd, ",\"retry_ms\":[100,100]");
	told.to_fail = 2;
	publish(&webhookd, "second");
	await_state(&webhookd, "DELIVERED", 1);
	ck_assert_uint_eq(received(), 3);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_str_eq(told.ids[i], "second");
		ck_assert_uint_eq(told.attempts[i], i + 1);
	}
	const char *got = last_delivery(&webhookd);
	ck_assert_msg(strstr(got, "\"error\":\"callback\"") && strstr(got, "not today"), "%s", got);
	told.to_fail = 3;
	publish(&webhookd, "third");
	await_state(&webhookd, "EXHAUSTED", 1);
	ck_assert_uint_eq(received(), 6);
	test_host_stop(&webhookd.self);
	test_host_stop(&audit.self);
	finish();
}
END_TEST

START_TEST(one_that_never_answers_times_out_and_is_asked_again)
{
	struct rig audit, webhookd;
	begin(0);
	start_callback(&audit);
	start_webhookd(&webhookd);
	create(&webhookd, ",\"retry_ms\":[100,100],\"timeout_ms\":500");
	told.to_ignore = 1;
	publish(&webhookd, "slow");
	await_state(&webhookd, "DELIVERED", 1);
	ck_assert_uint_eq(received(), 2);
	const char *got = last_delivery(&webhookd);
	ck_assert_msg(strstr(got, "\"error\":\"timeout\"") != NULL, "%s", got);
	answer_ignored();
	test_host_stop(&webhookd.self);
	test_host_stop(&audit.self);
	finish();
}
END_TEST

START_TEST(one_that_is_away_gets_everything_when_it_is_back)
{
	struct rig audit, webhookd;
	begin(0);
	start_webhookd(&webhookd);
	create(&webhookd, ",\"retry_ms\":[200,200,200,200,200,200,200,200,200,200,200,200,200,200,200,200,200]");
	publish(&webhookd, "early");
	for (uint64_t end = test_now_ms() + 20000; !strstr(last_delivery(&webhookd), "\"error\":\"connect\"");) {
		ck_assert_msg(test_now_ms() < end, "%s", last_delivery(&webhookd));
		test_pause();
	}
	start_callback(&audit);
	await_state(&webhookd, "DELIVERED", 1);
	ck_assert_uint_eq(received(), 1);
	ck_assert_str_eq(told.ids[0], "early");
	test_host_stop(&webhookd.self);
	test_host_stop(&audit.self);
	finish();
}
END_TEST

START_TEST(only_names_that_the_operator_has_set_up_are_taken)
{
	struct rig webhookd;
	begin(0);
	start_webhookd(&webhookd);
	const char *refused = ask(&webhookd, ENDPOINTS_CREATE, "{\"sink\":\"CALLBACK\",\"callback\":\"other\"}");
	ck_assert_msg(refused[0] == '!' && strstr(refused, "webhookd.callbacks"), "%s", refused);
	refused = ask(&webhookd, ENDPOINTS_CREATE, "{\"sink\":\"CALLBACK\"}");
	ck_assert_msg(refused[0] == '!' && strstr(refused, "/callback"), "%s", refused);
	test_host_stop(&webhookd.self);
	finish();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("callback sink");
	TCase *tests = tcase_create("callbacks");

	tcase_add_loop_test(tests, an_event_is_handed_over_and_what_is_said_of_it_is_kept, 0, 2);
	tcase_add_loop_test(tests, a_failure_is_tried_again_and_given_up_after_the_last_try, 0, 2);
	tcase_add_test(tests, one_that_never_answers_times_out_and_is_asked_again);
	tcase_add_test(tests, one_that_is_away_gets_everything_when_it_is_back);
	tcase_add_test(tests, only_names_that_the_operator_has_set_up_are_taken);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
