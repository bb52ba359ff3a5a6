/*
 * accountd: the service on its two kinds of stores, called over the bus as daemons call it.
 *
 * Requests and replies are written as JSON, by the contract's own rules.
 */
#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <accountd/accountd.h>
#include "api/json.h"
#include "auth/key_text.h"
#include "base/hash.h"
#include "corbel/contract.gen.h"
#include "support/test_dir.h"
#include "support/test_host.h"
#include "support/test_postgres.h"
#include "support/test_process.h"

#define PEPPER_1 "1:1111111111111111111111111111111111111111111111111111111111111111"
#define PEPPER_2 "2:2222222222222222222222222222222222222222222222222222222222222222"
#define DAY_MS   INT64_C(86400000)

static struct test_dir test_dir;
static struct test_postgres *postgres; /* NULL: SQLite in the directory */
static const struct service *services[] = {&accountd_service, NULL};
static struct arena main_arena;
static _Thread_local struct arena *arena; /* of the thread's requests and answers */

static void
setup(void)
{
	test_dir_make(&test_dir);
	arena_init(&main_arena, 65536, SIZE_MAX);
	arena = &main_arena;
}

static void
teardown(void)
{
	if (postgres)
		test_postgres_stop(postgres);
	arena_fini(&main_arena);
	test_dir_remove(&test_dir);
}

/* Most tests are loops of two: SQLite, PostgreSQL. */
static void
choose_store(int turn)
{
	postgres = turn ? test_postgres_start() : NULL;
}

/* ---------------------------------------------------------------- a host in this process */

struct rig {
	struct test_host self;
	struct pool *pool;
	char *said; /* what the process announces on its standard output */
	size_t said_size;
	FILE *out;
};

/* `extra` is NULL, or flags with a space between them. */
static char **
command_line(const char *peppers, const char *extra, int *argc)
{
	char **argv = ARENA_ARRAY(arena, char *, 10);
	int count = 0;

	argv[count++] = arena_strdup(arena, "accountd");
	argv[count++] = arena_printf(arena, "--data=%s", test_dir.path);
	argv[count++] = arena_strdup(arena, "--admin.listen=");
	argv[count++] = arena_strdup(arena, "--log.level=error");
	if (postgres)
		argv[count++] = arena_printf(arena, "--store.url=%s", postgres->url);
	if (peppers)
		argv[count++] = arena_printf(arena, "--accountd.peppers=%s", peppers);
	char *rest = extra ? arena_strdup(arena, extra) : NULL;
	for (char *flag; (flag = strsep(&rest, " ")) != NULL;)
		argv[count++] = flag;
	*argc = count;
	return argv;
}

static struct status
rig_try(struct rig *rig, const char *peppers, const char *extra)
{
	int argc;
	char **argv = command_line(peppers, extra, &argc);
	*rig = (struct rig){.pool = NULL};
	rig->out = open_memstream(&rig->said, &rig->said_size);
	return test_host_try(&rig->self, services, (const char *const *)argv, argc, rig->out);
}

static void
rig_stop(struct rig *rig)
{
	test_host_stop(&rig->self);
	fclose(rig->out);
	free(rig->said);
}

static void
rig_start_with(struct rig *rig, const char *peppers, const char *extra)
{
	struct status st = rig_try(rig, peppers, extra);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	rig->pool = test_host_pool(&rig->self, "accountd");
}

static void
rig_start(struct rig *rig)
{
	rig_start_with(rig, PEPPER_1, NULL);
}

/* ---------------------------------------------------------------- calls */

struct caller {
	const char *tenant, *scope;
	bool is_internal;
};

static const struct caller OPERATOR = {"root", "*", false}, INGRESS = {NULL, NULL, true};

struct answer {
	enum status_code code;
	const char *text; /* the reply as JSON, or the message of the failure */
	const Corbel__Bus__Reply *reply;
};

static ProtobufCMessage *
request_from(const struct api_method *method, const char *json)
{
	struct violations *violations = ARENA_NEW(arena, struct violations);
	ProtobufCMessage *request = NULL;
	violations->count = 0;
	struct status st = json_to_message(json, strlen(json), method->request, arena, violations, &request);
	if (status_ok(&st))
		st = violations_status(violations);
	ck_assert_msg(status_ok(&st), "%s %s: %s", method->name, json, st.message);
	return request;
}

static const char *
reply_text(const struct api_method *method, const ProtobufCBinaryData *payload)
{
	struct arena_allocator memory = arena_allocator(arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	ProtobufCMessage *message =
	    protobuf_c_message_unpack(method->reply->descriptor, &allocator, payload->len, payload->data);
	struct strbuf out;
	ck_assert_ptr_nonnull(message);
	strbuf_init(&out, arena);
	json_from_message(message, method->reply, NULL, &out);
	return out.data;
}

static struct answer ask(struct pool *pool, const struct caller *caller, const struct api_method *method,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));

static struct answer
ask(struct pool *pool, const struct caller *caller, const struct api_method *method, const char *format, ...)
{
	Corbel__Bus__Principal principal = CORBEL__BUS__PRINCIPAL__INIT;
	char *scope = arena_strdup(arena, caller->scope ? caller->scope : ""), json[4096];
	va_list args;

	va_start(args, format);
	vsnprintf(json, sizeof(json), format, args);
	va_end(args);
	ProtobufCMessage *request = request_from(method, json);
	size_t size = protobuf_c_message_get_packed_size(request);
	uint8_t *bytes = arena_alloc(arena, size + 1);
	protobuf_c_message_pack(request, bytes);
	principal.tenant = arena_strdup(arena, caller->tenant ? caller->tenant : "");
	principal.scopes = &scope;
	principal.n_scopes = caller->scope ? 1 : 0;
	principal.has_internal = principal.internal = caller->is_internal;
	struct pool_call call = {.method = method->id,
	                         .is_fast = method->is_fast,
	                         .deadline_mono_ms = clock_mono_ms(clock_system()) + 10000,
	                         .principal = &principal,
	                         .payload = bytes,
	                         .payload_size = size};
	struct status st = pool_call_wait(pool, &call, arena);
	return (struct answer){.code = st.code,
	                       .text = status_ok(&st) ? reply_text(method, &call.reply->payload)
	                                              : arena_strdup(arena, st.message),
	                       .reply = call.reply};
}

/* What a path such as "keys.0.id" leads to, as text; NULL when there is nothing. */
static const char *
at(const struct answer *answer, const char *path)
{
	json_t *root = json_loads(answer->text, 0, NULL), *node = root;
	char *copy = arena_strdup(arena, path), *rest = copy;

	for (char *step; node && (step = strsep(&rest, ".")) != NULL;)
		node = json_is_array(node) ? json_array_get(node, (size_t)atoi(step)) : json_object_get(node, step);
	const char *text = NULL;
	if (json_is_string(node)) {
		text = arena_strdup(arena, json_string_value(node));
	} else if (node) {
		char *dumped = json_dumps(node, JSON_ENCODE_ANY | JSON_COMPACT);
		text = arena_strdup(arena, dumped);
		free(dumped);
	}
	json_decref(root);
	return text;
}

static const char *
good(struct answer answer, const char *path)
{
	ck_assert_msg(answer.code == STATUS_OK, "%s", answer.text);
	const char *text = at(&answer, path);
	ck_assert_msg(text != NULL, "%s: no %s", answer.text, path);
	return text;
}

#define ck_assert_code(got, expected)                                                                        \
	do {                                                                                                     \
		struct answer answer_ = (got);                                                                       \
		ck_assert_msg(answer_.code == (expected), "%s", answer_.text);                                       \
	} while (0)

static const char *
pointer_of(const struct answer *answer)
{
	return answer->reply && answer->reply->n_violations ? answer->reply->violations[0]->pointer : "";
}

/* RFC 3339, so many milliseconds from now. */
static const char *
stamp(int64_t from_now_ms)
{
	char text[TEXT_TIMESTAMP_MAX];
	text_from_timestamp_ms(clock_wall_ms(clock_system()) + from_now_ms, text);
	return arena_strdup(arena, text);
}

static const char *
tenant_new(struct pool *pool, const char *name)
{
	return good(ask(pool, &OPERATOR, TENANTS_CREATE, "{\"name\":\"%s\"}", name), "id");
}

struct made {
	const char *id, *secret;
};

static struct made
key_new(struct pool *pool, const char *tenant, const char *more)
{
	struct answer answer = ask(pool, &OPERATOR, KEYS_CREATE,
	                           "{\"tenant_id\":\"%s\",\"scopes\":[\"keys.read\"]%s}", tenant, more);
	return (struct made){good(answer, "key.id"), good(answer, "secret")};
}

/* "ok", or why the key is refused. */
static const char *
verdict(struct pool *pool, const char *secret)
{
	struct answer answer = ask(pool, &INGRESS, KEYS_VERIFY, "{\"key\":\"%s\"}", secret);
	return strcmp(good(answer, "valid"), "true") == 0 ? "ok" : good(answer, "reason");
}

static struct answer
patch(struct pool *pool, const char *id, const char *fields)
{
	return ask(pool, &OPERATOR, KEYS_UPDATE, "{\"id\":\"%s\",%s}", id, fields);
}

static const char *
state_of(struct pool *pool, const char *id)
{
	return good(ask(pool, &OPERATOR, KEYS_GET, "{\"id\":\"%s\"}", id), "state");
}

/* ---------------------------------------------------------------- first start */

static size_t
count_of(const char *text, const char *part)
{
	size_t count = 0;
	for (; (text = strstr(text, part)) != NULL; text += strlen(part))
		count++;
	return count;
}

START_TEST(the_first_start_makes_the_operators_four_plans_and_one_key_and_the_second_nothing)
{
	static const struct {
		const char *name, *charts, *readings;
	} plans[] = {{"basic", "200", "50"},
	             {"free", "50", "10"},
	             {"premium", "1000", "500"},
	             {"unlimited", "10000", "10000"}};
	struct rig rig;
	choose_store(_i);
	rig_start(&rig);
	ck_assert_str_eq(verdict(rig.pool, host_announced(rig.self.host, "first admin key")), "ok");
	struct answer list = ask(rig.pool, &OPERATOR, PLANS_LIST, "{}");
	for (size_t i = 0; i < 4; i++) {
		ck_assert_str_eq(good(list, arena_printf(arena, "plans.%zu.name", i)), plans[i].name);
		ck_assert_str_eq(good(list, arena_printf(arena, "plans.%zu.limits.0.resource", i)), "charts");
		ck_assert_str_eq(good(list, arena_printf(arena, "plans.%zu.limits.0.limit", i)), plans[i].charts);
		ck_assert_str_eq(good(list, arena_printf(arena, "plans.%zu.limits.1.limit", i)), plans[i].readings);
		ck_assert_str_eq(good(list, arena_printf(arena, "plans.%zu.limits.1.window_ms", i)), "86400000");
		ck_assert_str_eq(good(list, arena_printf(arena, "plans.%zu.limits.0.strategy", i)), "FIXED_WINDOW");
	}
	ck_assert_ptr_null(at(&list, "plans.4"));
	ck_assert_code(ask(rig.pool, &OPERATOR, PLANS_DELETE, "{\"name\":\"basic\"}"), STATUS_OK);
	rig_stop(&rig);

	rig_start(&rig);
	ck_assert_ptr_null(host_announced(rig.self.host, "first admin key"));
	ck_assert_code(ask(rig.pool, &OPERATOR, PLANS_GET, "{\"name\":\"basic\"}"), STATUS_NOT_FOUND);
	rig_stop(&rig);
}
END_TEST

START_TEST(a_given_bootstrap_key_works_and_is_not_shown)
{
	char text[KEY_TEXT_MAX];
	struct key_text parts;
	struct rig rig;
	choose_store(0);
	key_text_make("cb", "live", random_system(), text, &parts);
	rig_start_with(&rig, PEPPER_1, arena_printf(arena, "--accountd.bootstrap_key=%s", text));
	ck_assert_str_eq(verdict(rig.pool, text), "ok");
	fflush(rig.out);
	ck_assert_ptr_null(strstr(rig.said, text));
	rig_stop(&rig);
}
END_TEST

START_TEST(postgresql_without_peppers_is_refused_with_what_to_do)
{
	struct rig rig;
	choose_store(1);
	struct status st = rig_try(&rig, NULL, NULL);
	ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(st.message, "accountd.peppers must be set"));
	rig_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- verification */

START_TEST(a_key_is_good_and_a_wrong_or_mistyped_one_is_not)
{
	struct rig rig;
	choose_store(_i);
	rig_start(&rig);
	const char *tenant = tenant_new(rig.pool, "Acme");
	struct made key = key_new(rig.pool, tenant, "");
	struct answer answer = ask(rig.pool, &INGRESS, KEYS_VERIFY, "{\"key\":\"%s\"}", key.secret);
	ck_assert_str_eq(good(answer, "valid"), "true");
	ck_assert_str_eq(good(answer, "key_id"), key.id);
	ck_assert_str_eq(good(answer, "tenant_id"), tenant);
	ck_assert_str_eq(good(answer, "plan"), "free");

	/* The public id of a key that exists, with another secret. */
	char forged[KEY_TEXT_MAX], own[KEY_TEXT_MAX];
	struct key_text parts, real;
	ck_assert(key_text_parse(key.secret, strlen(key.secret), &real));
	key_text_make("cb", "live", random_system(), own, &parts);
	size_t head = strlen(real.start), body = head + 1 + KEY_SECRET;
	snprintf(forged, sizeof(forged), "%s", own);
	memcpy(forged, real.start, head);
	uint32_t crc = hash_crc32(forged, body);
	for (size_t i = KEY_CHECKSUM; i-- > 0; crc /= 62)
		forged[body + i] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[crc % 62];
	ck_assert(key_text_parse(forged, strlen(forged), &parts));
	ck_assert_str_eq(parts.public_id, real.public_id);
	ck_assert_str_eq(verdict(rig.pool, forged), "unknown");
	ck_assert_str_eq(verdict(rig.pool, own), "unknown");
	own[10] = own[10] == 'a' ? 'b' : 'a';
	ck_assert_str_eq(verdict(rig.pool, own), "malformed");
	ck_assert_str_eq(verdict(rig.pool, "x"), "malformed");
	rig_stop(&rig);
}
END_TEST

START_TEST(disabled_expired_revoked_keys_and_suspended_tenants_are_refused_with_their_reason)
{
	struct rig rig;
	choose_store(_i);
	rig_start(&rig);
	const char *tenant = tenant_new(rig.pool, "Acme");
	struct made key = key_new(rig.pool, tenant, "");

	ck_assert_str_eq(good(patch(rig.pool, key.id, "\"disabled\":true"), "state"), "DISABLED");
	ck_assert_str_eq(verdict(rig.pool, key.secret), "disabled");
	ck_assert_str_eq(good(patch(rig.pool, key.id, "\"disabled\":false"), "state"), "ACTIVE");
	ck_assert_str_eq(verdict(rig.pool, key.secret), "ok");

	ck_assert_code(ask(rig.pool, &OPERATOR, TENANTS_UPDATE, "{\"id\":\"%s\",\"suspended\":true}", tenant),
	               STATUS_OK);
	ck_assert_str_eq(verdict(rig.pool, key.secret), "tenant_suspended");
	ck_assert_code(ask(rig.pool, &OPERATOR, TENANTS_UPDATE, "{\"id\":\"%s\",\"suspended\":false}", tenant),
	               STATUS_OK);

	struct made brief = key_new(rig.pool, tenant, arena_printf(arena, ",\"expires_at\":\"%s\"", stamp(300)));
	for (uint64_t end = test_now_ms() + 5000; strcmp(state_of(rig.pool, brief.id), "EXPIRED") != 0;) {
		ck_assert(test_now_ms() < end);
		test_pause();
	}
	ck_assert_str_eq(verdict(rig.pool, brief.secret), "expired");
	struct answer expired =
	    ask(rig.pool, &OPERATOR, KEYS_LIST, "{\"tenant_id\":\"%s\",\"state\":\"EXPIRED\"}", tenant);
	ck_assert_str_eq(good(expired, "keys.0.id"), brief.id);
	ck_assert_ptr_null(at(&expired, "keys.1"));
	struct answer active =
	    ask(rig.pool, &OPERATOR, KEYS_LIST, "{\"tenant_id\":\"%s\",\"state\":\"ACTIVE\"}", tenant);
	ck_assert_str_eq(good(active, "keys.0.id"), key.id);
	ck_assert_ptr_null(at(&active, "keys.1"));

	const char *first = good(ask(rig.pool, &OPERATOR, KEYS_REVOKE, "{\"id\":\"%s\"}", key.id), "revoked_at");
	ck_assert_str_eq(verdict(rig.pool, key.secret), "revoked");
	while (strcmp(stamp(0), first) <= 0) /* a second time would be another */
		test_pause();
	ck_assert_str_eq(good(ask(rig.pool, &OPERATOR, KEYS_REVOKE, "{\"id\":\"%s\"}", key.id), "revoked_at"),
	                 first);
	ck_assert_code(patch(rig.pool, key.id, "\"disabled\":false"), STATUS_FAILED_PRECONDITION);
	ck_assert_code(ask(rig.pool, &OPERATOR, KEYS_ROTATE, "{\"id\":\"%s\"}", key.id),
	               STATUS_FAILED_PRECONDITION);
	rig_stop(&rig);
}
END_TEST

START_TEST(a_key_moves_to_the_current_pepper_when_it_is_verified)
{
	struct rig rig;
	choose_store(_i);
	rig_start(&rig);
	const char *tenant = tenant_new(rig.pool, "Acme");
	struct made used = key_new(rig.pool, tenant, ""), idle = key_new(rig.pool, tenant, "");
	rig_stop(&rig);

	rig_start_with(&rig, PEPPER_1 "," PEPPER_2, NULL);
	ck_assert_str_eq(verdict(rig.pool, used.secret), "ok");
	rig_stop(&rig);

	rig_start_with(&rig, PEPPER_2, NULL);
	ck_assert_str_eq(verdict(rig.pool, used.secret), "ok");
	ck_assert_str_eq(verdict(rig.pool, idle.secret), "unknown");
	rig_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- rotation */

START_TEST(after_rotation_both_keys_work_until_the_grace_ends)
{
	struct rig rig;
	choose_store(_i);
	rig_start(&rig);
	const char *tenant = tenant_new(rig.pool, "Acme");
	struct made old = key_new(rig.pool, tenant, ",\"name\":\"web\",\"metadata\":{\"a\":\"b\"}");
	struct answer answer = ask(rig.pool, &OPERATOR, KEYS_ROTATE, "{\"id\":\"%s\"}", old.id);
	const char *new = good(answer, "secret");
	ck_assert_str_eq(good(answer, "key.name"), "web");
	ck_assert_str_eq(good(answer, "key.metadata.a"), "b");
	ck_assert_str_eq(good(answer, "key.scopes.0"), "keys.read");
	ck_assert_ptr_null(at(&answer, "key.expires_at"));
	ck_assert_str_eq(verdict(rig.pool, old.secret), "ok");
	ck_assert_str_eq(verdict(rig.pool, new), "ok");
	ck_assert_str_eq(state_of(rig.pool, old.id), "ROTATED");
	/* Its end is settled. */
	ck_assert_code(ask(rig.pool, &OPERATOR, KEYS_ROTATE, "{\"id\":\"%s\"}", old.id),
	               STATUS_FAILED_PRECONDITION);
	ck_assert_code(patch(rig.pool, old.id, "\"expires_at\":null"), STATUS_FAILED_PRECONDITION);
	ck_assert_code(patch(rig.pool, old.id, "\"disabled\":false"), STATUS_FAILED_PRECONDITION);
	ck_assert_code(patch(rig.pool, old.id, "\"name\":\"old web\""), STATUS_OK);
	ck_assert_str_eq(state_of(rig.pool, old.id), "ROTATED");
	ck_assert_code(ask(rig.pool, &OPERATOR, KEYS_REVOKE, "{\"id\":\"%s\"}", old.id), STATUS_OK);
	ck_assert_str_eq(verdict(rig.pool, old.secret), "revoked");

	struct made other = key_new(rig.pool, tenant, "");
	ck_assert_code(ask(rig.pool, &OPERATOR, KEYS_ROTATE, "{\"id\":\"%s\",\"grace_ms\":0}", other.id),
	               STATUS_OK);
	ck_assert_str_eq(verdict(rig.pool, other.secret), "expired");
	rig_stop(&rig);
}
END_TEST

START_TEST(a_grace_period_never_outlasts_the_keys_expiry)
{
	struct rig rig;
	choose_store(0);
	rig_start(&rig);
	struct made key = key_new(rig.pool, tenant_new(rig.pool, "Acme"),
	                          arena_printf(arena, ",\"expires_at\":\"%s\"", stamp(60000)));
	const char *end = good(ask(rig.pool, &OPERATOR, KEYS_GET, "{\"id\":\"%s\"}", key.id), "expires_at");
	struct answer answer =
	    ask(rig.pool, &OPERATOR, KEYS_ROTATE, "{\"id\":\"%s\",\"grace_ms\":2592000000}", key.id);
	ck_assert_str_eq(good(answer, "key.expires_at"), end);
	ck_assert_str_eq(good(ask(rig.pool, &OPERATOR, KEYS_GET, "{\"id\":\"%s\"}", key.id), "expires_at"), end);
	rig_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- changes at once */

struct racer {
	pthread_t thread;
	struct pool *pool;
	const struct caller *caller; /* NULL: the operator */
	const struct api_method *method;
	const char *request;
	int times;
	int ok;
};

static void *
race(void *arg)
{
	struct racer *self = arg;
	const struct caller *caller = self->caller ? self->caller : &OPERATOR;
	struct arena own;
	arena_init(&own, 65536, SIZE_MAX);
	arena = &own;
	for (int i = 0; i < self->times; i++)
		self->ok += ask(self->pool, caller, self->method, "%s", self->request).code == STATUS_OK;
	arena_fini(&own);
	return NULL;
}

static void
race_all(struct racer *racers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		ck_assert_int_eq(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	for (size_t i = 0; i < count; i++)
		pthread_join(racers[i].thread, NULL);
}

START_TEST(no_update_undoes_a_revocation)
{
	struct rig rig;
	choose_store(_i);
	rig_start(&rig);
	const char *tenant = tenant_new(rig.pool, "Acme");
	for (int round = 0; round < 20; round++) {
		struct made key = key_new(rig.pool, tenant, "");
		const char *update = arena_printf(arena, "{\"id\":\"%s\",\"name\":\"n\"}", key.id);
		const char *revoke = arena_printf(arena, "{\"id\":\"%s\"}", key.id);
		struct racer racers[] = {{.pool = rig.pool, .method = KEYS_UPDATE, .request = update, .times = 10},
		                         {.pool = rig.pool, .method = KEYS_UPDATE, .request = update, .times = 10},
		                         {.pool = rig.pool, .method = KEYS_REVOKE, .request = revoke, .times = 1}};
		race_all(racers, 3);
		ck_assert_int_eq(racers[2].ok, 1);
		ck_assert_str_eq(verdict(rig.pool, key.secret), "revoked");
	}
	rig_stop(&rig);
}
END_TEST

START_TEST(of_rotations_at_once_one_succeeds)
{
	struct rig rig;
	choose_store(_i);
	rig_start(&rig);
	const char *tenant = tenant_new(rig.pool, "Acme");
	for (int round = 0; round < 10; round++) {
		struct made key = key_new(rig.pool, tenant, "");
		const char *rotate = arena_printf(arena, "{\"id\":\"%s\"}", key.id);
		struct racer racers[4];
		for (size_t i = 0; i < 4; i++)
			racers[i] =
			    (struct racer){.pool = rig.pool, .method = KEYS_ROTATE, .request = rotate, .times = 1};
		race_all(racers, 4);
		ck_assert_int_eq(racers[0].ok + racers[1].ok + racers[2].ok + racers[3].ok, 1);
	}
	rig_stop(&rig);
}
END_TEST

START_TEST(no_plan_vanishes_under_a_new_subscription)
{
	struct rig rig;
	choose_store(_i);
	rig_start(&rig);
	for (int round = 0; round < 20; round++) {
		const char *tenant = tenant_new(rig.pool, "Acme");
		ck_assert_code(ask(rig.pool, &OPERATOR, PLANS_CREATE, "{\"name\":\"p%d\"}", round), STATUS_OK);
		const char *set = arena_printf(arena, "{\"tenant_id\":\"%s\",\"plan\":\"p%d\"}", tenant, round);
		const char *delete = arena_printf(arena, "{\"name\":\"p%d\"}", round);
		struct racer racers[] = {{.pool = rig.pool, .method = SUBSCRIPTIONS_SET, .request = set, .times = 1},
		                         {.pool = rig.pool, .method = PLANS_DELETE, .request = delete, .times = 1}};
		race_all(racers, 2);
		ck_assert_int_eq(racers[0].ok + racers[1].ok, 1);
	}
	rig_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- what keys may be */

START_TEST(a_key_gives_away_no_more_than_it_holds)
{
	struct rig rig;
	choose_store(_i);
	rig_start(&rig);
	const char *tenant = tenant_new(rig.pool, "Acme");
	struct caller narrow = {tenant, "keys.*", false};
	struct answer answer = ask(rig.pool, &narrow, KEYS_CREATE, "{\"scopes\":[\"keys.read\",\"users.read\"]}");
	ck_assert_int_eq(answer.code, STATUS_PERMISSION_DENIED);
	ck_assert_str_eq(pointer_of(&answer), "/scopes/1");
	ck_assert_code(ask(rig.pool, &narrow, KEYS_CREATE, "{\"scopes\":[\"*\"]}"), STATUS_PERMISSION_DENIED);
	ck_assert_code(ask(rig.pool, &narrow, KEYS_CREATE, "{}"), STATUS_PERMISSION_DENIED);
	const char *id = good(ask(rig.pool, &narrow, KEYS_CREATE, "{\"scopes\":[\"keys.write\"]}"), "key.id");
	ck_assert_code(ask(rig.pool, &narrow, KEYS_UPDATE, "{\"id\":\"%s\",\"scopes\":[\"*\"]}", id),
	               STATUS_PERMISSION_DENIED);
	/* Rotation shows a secret, so it is held to the same. */
	const char *broad = good(
	    ask(rig.pool, &OPERATOR, KEYS_CREATE, "{\"tenant_id\":\"%s\",\"scopes\":[\"*\"]}", tenant), "key.id");
	ck_assert_code(ask(rig.pool, &narrow, KEYS_ROTATE, "{\"id\":\"%s\"}", broad), STATUS_PERMISSION_DENIED);
	rig_stop(&rig);
}
END_TEST

START_TEST(a_past_expiry_and_two_limits_of_one_resource_are_refused_by_name)
{
	static const char twice[] = "\"limits\":[{\"resource\":\"charts\",\"limit\":1,\"window_ms\":1000},"
	                            "{\"resource\":\"charts\",\"limit\":2,\"window_ms\":1000}]";
	struct rig rig;
	choose_store(0);
	rig_start(&rig);
	struct answer answer = ask(rig.pool, &OPERATOR, KEYS_CREATE, "{\"expires_at\":\"%s\"}", stamp(-1000));
	ck_assert_int_eq(answer.code, STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(pointer_of(&answer), "/expires_at");
	answer = ask(rig.pool, &OPERATOR, KEYS_CREATE, "{%s}", twice);
	ck_assert_int_eq(answer.code, STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(pointer_of(&answer), "/limits/1/resource");
	struct made key = key_new(rig.pool, "root", "");
	answer = patch(rig.pool, key.id, twice);
	ck_assert_int_eq(answer.code, STATUS_INVALID_ARGUMENT);
	answer = ask(rig.pool, &OPERATOR, PLANS_CREATE, "{\"name\":\"p\",%s}", twice);
	ck_assert_str_eq(pointer_of(&answer), "/limits/1/resource");
	rig_stop(&rig);
}
END_TEST

START_TEST(null_clears_and_absence_keeps)
{
	static const char *const fields[] = {"name", "expires_at", "limits", "metadata", NULL};
	struct rig rig;
	choose_store(_i);
	rig_start(&rig);
	struct made key =
	    key_new(rig.pool, tenant_new(rig.pool, "Acme"),
	            arena_printf(arena,
	                         ",\"name\":\"n\",\"expires_at\":\"%s\",\"metadata\":{\"a\":\"b\"},"
	                         "\"limits\":[{\"resource\":\"charts\",\"limit\":1,\"window_ms\":1000}]",
	                         stamp(DAY_MS)));
	struct answer answer = patch(rig.pool, key.id, "\"disabled\":false");
	for (size_t i = 0; fields[i]; i++)
		(void)good(answer, fields[i]);
	for (size_t i = 0; fields[i]; i++) {
		ck_assert_code(patch(rig.pool, key.id, arena_printf(arena, "\"%s\":null", fields[i])), STATUS_OK);
		answer = ask(rig.pool, &OPERATOR, KEYS_GET, "{\"id\":\"%s\"}", key.id);
		const char *left = at(&answer, fields[i]);
		ck_assert_msg(!left || strcmp(left, "[]") == 0 || strcmp(left, "{}") == 0, "%s", answer.text);
		for (size_t j = i + 1; fields[j]; j++)
			(void)good(answer, fields[j]);
	}
	rig_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- isolation */

struct attempt {
	const struct api_method *method;
	const char *request; /* %T, %U, %K, %S: the other tenant's id, user, key, secret */
	enum status_code code;
};

static const char *
filled(const char *request, const char *tenant, const char *user, struct made key)
{
	struct strbuf out;
	strbuf_init(&out, arena);
	for (; *request; request++) {
		const char *part = NULL;
		if (*request == '%')
			part = *++request == 'T' ? tenant
			       : *request == 'U' ? user
			       : *request == 'K' ? key.id
			                         : key.secret;
		if (part)
			strbuf_add(&out, part, strlen(part));
		else
			strbuf_add(&out, request, 1);
	}
	return out.data;
}

/* Everything a tenant has, as its operators see it. */
static const char *
everything_of(struct pool *pool, const char *tenant)
{
	return arena_printf(arena, "%s\n%s\n%s\n%s\n%s",
	                    ask(pool, &OPERATOR, TENANTS_GET, "{\"id\":\"%s\"}", tenant).text,
	                    ask(pool, &OPERATOR, USERS_LIST, "{\"tenant_id\":\"%s\"}", tenant).text,
	                    ask(pool, &OPERATOR, KEYS_LIST, "{\"tenant_id\":\"%s\"}", tenant).text,
	                    ask(pool, &OPERATOR, SUBSCRIPTIONS_GET, "{\"tenant_id\":\"%s\"}", tenant).text,
	                    ask(pool, &OPERATOR, USAGE_REPORTS_LIST, "{\"tenant_id\":\"%s\"}", tenant).text);
}

START_TEST(no_method_shows_or_changes_what_another_tenant_owns)
{
	const struct attempt attempts[] = {
	    {TENANTS_CREATE, "{\"name\":\"x\"}", STATUS_PERMISSION_DENIED},
	    {TENANTS_GET, "{\"id\":\"%T\"}", STATUS_NOT_FOUND},
	    {TENANTS_GET, "{\"id\":\"root\"}", STATUS_NOT_FOUND},
	    {TENANTS_LIST, "{}", STATUS_PERMISSION_DENIED},
	    {TENANTS_UPDATE, "{\"id\":\"%T\",\"suspended\":true}", STATUS_PERMISSION_DENIED},
	    {TENANTS_DELETE, "{\"id\":\"%T\"}", STATUS_PERMISSION_DENIED},
	    {USERS_CREATE, "{\"email\":\"x@example.com\",\"tenant_id\":\"%T\"}", STATUS_PERMISSION_DENIED},
	    {USERS_GET, "{\"id\":\"%U\"}", STATUS_NOT_FOUND},
	    {USERS_LIST, "{\"tenant_id\":\"%T\"}", STATUS_PERMISSION_DENIED},
	    {USERS_LIST, "{\"email\":\"ada@example.com\"}", STATUS_OK},
	    {USERS_UPDATE, "{\"id\":\"%U\",\"name\":\"x\"}", STATUS_NOT_FOUND},
	    {USERS_DELETE, "{\"id\":\"%U\"}", STATUS_NOT_FOUND},
	    {PLANS_CREATE, "{\"name\":\"x\"}", STATUS_PERMISSION_DENIED},
	    {PLANS_GET, "{\"name\":\"free\"}", STATUS_OK},
	    {PLANS_LIST, "{}", STATUS_OK},
	    {PLANS_UPDATE, "{\"name\":\"free\",\"title\":\"x\"}", STATUS_PERMISSION_DENIED},
	    {PLANS_DELETE, "{\"name\":\"free\"}", STATUS_PERMISSION_DENIED},
	    {SUBSCRIPTIONS_GET, "{\"tenant_id\":\"%T\"}", STATUS_NOT_FOUND},
	    {SUBSCRIPTIONS_SET, "{\"tenant_id\":\"%T\",\"plan\":\"unlimited\"}", STATUS_PERMISSION_DENIED},
	    {KEYS_CREATE, "{\"tenant_id\":\"%T\"}", STATUS_PERMISSION_DENIED},
	    {KEYS_CREATE, "{\"user_id\":\"%U\"}", STATUS_INVALID_ARGUMENT},
	    {KEYS_GET, "{\"id\":\"%K\"}", STATUS_NOT_FOUND},
	    {KEYS_LIST, "{\"tenant_id\":\"%T\"}", STATUS_PERMISSION_DENIED},
	    {KEYS_LIST, "{\"user_id\":\"%U\"}", STATUS_OK},
	    {KEYS_UPDATE, "{\"id\":\"%K\",\"name\":\"x\"}", STATUS_NOT_FOUND},
	    {KEYS_REVOKE, "{\"id\":\"%K\"}", STATUS_NOT_FOUND},
	    {KEYS_ROTATE, "{\"id\":\"%K\"}", STATUS_NOT_FOUND},
	    {KEYS_VERIFY, "{\"key\":\"%S\"}", STATUS_OK},
	    {KEYS_CHECK, "{\"key_id\":\"%K\"}", STATUS_PERMISSION_DENIED},
	    {STREAM_TOKENS_CREATE, "{}", STATUS_FAILED_PRECONDITION}, /* it is nobody's key */
	    {STREAM_TOKENS_VERIFY, "{\"token\":\"%S\"}", STATUS_PERMISSION_DENIED},
	    {USAGE_REPORTS_LIST, "{\"tenant_id\":\"%T\"}", STATUS_PERMISSION_DENIED},
	    {USAGE_REPORTS_LIST, "{\"key_id\":\"%K\"}", STATUS_OK},
	    {USAGE_REPORTS_REPORT, "{\"node\":\"x\",\"number\":1,\"items\":[]}", STATUS_PERMISSION_DENIED}};
	const size_t count = sizeof(attempts) / sizeof(attempts[0]);
	struct rig rig;
	choose_store(_i);
	rig_start(&rig);
	struct caller mallory = {tenant_new(rig.pool, "Mallory"), "*", false};
	const char *tenant = tenant_new(rig.pool, "Acme");
	const char *user = good(ask(rig.pool, &OPERATOR, USERS_CREATE,
	                            "{\"email\":\"ada@example.com\",\"tenant_id\":\"%s\"}", tenant),
	                        "id");
	struct made key = key_new(rig.pool, tenant, arena_printf(arena, ",\"user_id\":\"%s\"", user));
	ck_assert_code(
	    ask(rig.pool, &INGRESS, USAGE_REPORTS_REPORT,
	        "{\"node\":\"n\",\"epoch\":1,\"number\":1,\"items\":[{\"key_id\":\"%s\",\"tenant_id\":\"%s\","
	        "\"date\":\"%.10s\",\"calls\":7}]}",
	        key.id, tenant, stamp(0)),
	    STATUS_OK);
	const char *before = everything_of(rig.pool, tenant);
	ck_assert_ptr_nonnull(strstr(before, "\"calls\":7"));

	for (size_t i = 0; i < count; i++) {
		const char *request = filled(attempts[i].request, tenant, user, key);
		struct answer answer = ask(rig.pool, &mallory, attempts[i].method, "%s", request);
		ck_assert_msg(answer.code == attempts[i].code, "%s %s: %s", attempts[i].method->name, request,
		              answer.text);
		ck_assert_msg(!strstr(answer.text, tenant) && !strstr(answer.text, user) &&
		                  !strstr(answer.text, key.id),
		              "%s %s tells: %s", attempts[i].method->name, request, answer.text);
	}
	/* The contract's every method is among them. */
	for (size_t s = 0; api_services[s]; s++)
		for (size_t m = 0;
		     strcmp(api_services[s]->daemon, "accountd") == 0 && m < api_services[s]->method_count; m++) {
			bool is_tried = false;
			for (size_t i = 0; i < count; i++)
				is_tried |= attempts[i].method == &api_services[s]->methods[m];
			ck_assert_msg(is_tried, "%s is not tried", api_services[s]->methods[m].name);
		}
	ck_assert_str_eq(everything_of(rig.pool, tenant), before);
	ck_assert_str_eq(verdict(rig.pool, key.secret), "ok");
	rig_stop(&rig);
}
END_TEST

START_TEST(another_tenants_secret_is_unknown_and_ones_own_is_known)
{
	struct rig rig;
	choose_store(0);
	rig_start(&rig);
	const char *tenant = tenant_new(rig.pool, "Acme");
	struct caller mallory = {tenant_new(rig.pool, "Mallory"), "*", false},
	              acme = {tenant, "keys.verify", false};
	struct made key = key_new(rig.pool, tenant, "");
	struct answer answer = ask(rig.pool, &mallory, KEYS_VERIFY, "{\"key\":\"%s\"}", key.secret);
	ck_assert_str_eq(good(answer, "reason"), "unknown");
	ck_assert_ptr_null(at(&answer, "key_id"));
	ck_assert_str_eq(good(ask(rig.pool, &acme, KEYS_VERIFY, "{\"key\":\"%s\"}", key.secret), "valid"),
	                 "true");
	rig_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- plans, subscriptions, tenants */

START_TEST(a_plan_that_tenants_are_on_cannot_be_deleted)
{
	struct rig rig;
	choose_store(_i);
	rig_start(&rig);
	ck_assert_code(ask(rig.pool, &OPERATOR, PLANS_CREATE, "{\"name\":\"gold\"}"), STATUS_OK);
	ck_assert_code(ask(rig.pool, &OPERATOR, PLANS_CREATE, "{\"name\":\"gold\"}"), STATUS_ALREADY_EXISTS);
	ck_assert_code(ask(rig.pool, &OPERATOR, TENANTS_CREATE, "{\"name\":\"x\",\"plan\":\"none\"}"),
	               STATUS_INVALID_ARGUMENT);
	const char *tenant = tenant_new(rig.pool, "Acme");
	struct made key = key_new(rig.pool, tenant, "");
	ck_assert_code(
	    ask(rig.pool, &OPERATOR, SUBSCRIPTIONS_SET, "{\"tenant_id\":\"%s\",\"plan\":\"none\"}", tenant),
	    STATUS_INVALID_ARGUMENT);
	ck_assert_code(
	    ask(rig.pool, &OPERATOR, SUBSCRIPTIONS_SET, "{\"tenant_id\":\"%s\",\"plan\":\"gold\"}", tenant),
	    STATUS_OK);
	ck_assert_str_eq(good(ask(rig.pool, &INGRESS, KEYS_VERIFY, "{\"key\":\"%s\"}", key.secret), "plan"),
	                 "gold");
	struct answer answer = ask(rig.pool, &OPERATOR, PLANS_DELETE, "{\"name\":\"gold\"}");
	ck_assert_int_eq(answer.code, STATUS_FAILED_PRECONDITION);
	ck_assert_ptr_nonnull(strstr(answer.text, "1 "));
	ck_assert_str_eq(
	    good(ask(rig.pool, &OPERATOR, PLANS_UPDATE, "{\"name\":\"gold\",\"title\":\"Gold\"}"), "version"),
	    "2");
	ck_assert_code(ask(rig.pool, &OPERATOR, TENANTS_DELETE, "{\"id\":\"%s\"}", tenant), STATUS_OK);
	ck_assert_code(ask(rig.pool, &OPERATOR, PLANS_DELETE, "{\"name\":\"gold\"}"), STATUS_OK);
	ck_assert_code(ask(rig.pool, &OPERATOR, PLANS_DELETE, "{\"name\":\"gold\"}"), STATUS_NOT_FOUND);
	rig_stop(&rig);
}
END_TEST

START_TEST(a_deleted_tenant_takes_its_users_keys_and_usage_along_and_root_stays)
{
	struct rig rig;
	choose_store(_i);
	rig_start(&rig);
	const char *tenant = tenant_new(rig.pool, "Acme");
	struct made key = key_new(rig.pool, tenant, "");
	const char *user = good(
	    ask(rig.pool, &OPERATOR, USERS_CREATE, "{\"email\":\"a@b.example\",\"tenant_id\":\"%s\"}", tenant),
	    "id");
	ck_assert_code(
	    ask(rig.pool, &OPERATOR, USERS_CREATE, "{\"email\":\"a@b.example\",\"tenant_id\":\"%s\"}", tenant),
	    STATUS_ALREADY_EXISTS);
	ck_assert_code(ask(rig.pool, &OPERATOR, TENANTS_DELETE, "{\"id\":\"%s\"}", tenant), STATUS_OK);
	ck_assert_str_eq(verdict(rig.pool, key.secret), "unknown");
	ck_assert_code(ask(rig.pool, &OPERATOR, USERS_GET, "{\"id\":\"%s\"}", user), STATUS_NOT_FOUND);
	ck_assert_code(ask(rig.pool, &OPERATOR, KEYS_GET, "{\"id\":\"%s\"}", key.id), STATUS_NOT_FOUND);
	ck_assert_code(ask(rig.pool, &OPERATOR, KEYS_CREATE, "{\"tenant_id\":\"%s\"}", tenant), STATUS_NOT_FOUND);
	ck_assert_code(
	    ask(rig.pool, &OPERATOR, USERS_CREATE, "{\"email\":\"a@b.example\",\"tenant_id\":\"%s\"}", tenant),
	    STATUS_NOT_FOUND);
	ck_assert_code(ask(rig.pool, &OPERATOR, TENANTS_DELETE, "{\"id\":\"%s\"}", tenant), STATUS_NOT_FOUND);
	ck_assert_code(ask(rig.pool, &OPERATOR, TENANTS_DELETE, "{\"id\":\"root\"}"), STATUS_FAILED_PRECONDITION);
	ck_assert_code(ask(rig.pool, &OPERATOR, TENANTS_UPDATE, "{\"id\":\"root\",\"suspended\":true}"),
	               STATUS_FAILED_PRECONDITION);
	rig_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- pages */

START_TEST(pages_show_each_key_once_newest_first)
{
	enum { COUNT = 23 };
	const char *ids[COUNT], *token = "";
	struct rig rig;
	int seen = 0;
	choose_store(_i);
	rig_start(&rig);
	const char *tenant = tenant_new(rig.pool, "Acme");
	for (int i = 0; i < COUNT; i++)
		ids[i] = key_new(rig.pool, tenant, "").id;
	do {
		struct answer page =
		    ask(rig.pool, &OPERATOR, KEYS_LIST,
		        "{\"tenant_id\":\"%s\",\"page_size\":5,\"page_token\":\"%s\"}", tenant, token);
		for (int i = 0; at(&page, arena_printf(arena, "keys.%d", i)); i++, seen++) {
			ck_assert_int_lt(seen, COUNT);
			ck_assert_str_eq(good(page, arena_printf(arena, "keys.%d.id", i)), ids[COUNT - 1 - seen]);
		}
		token = at(&page, "next_page_token");
	} while (token);
	ck_assert_int_eq(seen, COUNT);
	rig_stop(&rig);
}
END_TEST

START_TEST(a_page_token_that_was_never_given_out_is_refused)
{
	static const char *const tokens[] = {"x",           "key_", "%00", "' OR 1=1", "9999-99-99.x",
	                                     "2026-01-01.", "A B",  NULL};
	const struct api_method *const lists[] = {TENANTS_LIST, USERS_LIST, PLANS_LIST, KEYS_LIST,
	                                          USAGE_REPORTS_LIST};
	struct rig rig;
	choose_store(0);
	rig_start(&rig);
	for (size_t m = 0; m < sizeof(lists) / sizeof(lists[0]); m++)
		for (size_t i = 0; tokens[i]; i++) {
			/* "x" could be the name of a plan. */
			if (lists[m] == PLANS_LIST && (strcmp(tokens[i], "x") == 0 || strcmp(tokens[i], "key_") == 0))
				continue;
			struct answer answer = ask(rig.pool, &OPERATOR, lists[m], "{\"page_token\":\"%s\"}", tokens[i]);
			if (lists[m] == PLANS_LIST && answer.code == STATUS_OK)
				continue; /* any name is a place in the order of names */
			ck_assert_msg(answer.code == STATUS_INVALID_ARGUMENT, "%s %s: %s", lists[m]->name, tokens[i],
			              answer.text);
			ck_assert_str_eq(pointer_of(&answer), "/page_token");
		}
	rig_stop(&rig);
}
END_TEST

/* As a disk or a hand in the database may leave them. */
static void
spoil_users(void)
{
	static const struct store_sql SPOIL = {"spoil", "UPDATE users SET message = $1"};
	struct store_options options = {.service = "accountd",
	                                .url = arena_printf(arena, "sqlite:%s", test_dir.path),
	                                .clock = clock_system()};
	struct store *store;
	struct store_conn *conn;
	struct store_tx tx;
	struct status st = store_new(&options, &store);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	st = store_take(store, 5000, &conn);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	st = store_begin(conn, &tx);
	if (status_ok(&st))
		st = store_end(&tx, store_exec(&tx, &SPOIL, STORE_PARAMS(store_bytes("\xff", 1)), NULL));
	ck_assert_msg(status_ok(&st), "%s", st.message);
	store_put(store, conn);
	store_free(store);
}

START_TEST(a_page_of_rows_that_cannot_be_read_is_reported_as_lost)
{
	struct rig rig;
	choose_store(0);
	rig_start(&rig);
	for (int i = 0; i < 3; i++)
		good(ask(rig.pool, &OPERATOR, USERS_CREATE, "{\"name\":\"n\",\"email\":\"n%d@example.com\"}", i),
		     "id");
	spoil_users();
	ck_assert_code(ask(rig.pool, &OPERATOR, USERS_LIST, "{\"page_size\":2}"), STATUS_DATA_LOSS);
	rig_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- usage */

static struct answer
report(struct pool *pool, int epoch, int number, struct made key, const char *tenant, int calls,
       const char *used)
{
	return ask(
	    pool, &INGRESS, USAGE_REPORTS_REPORT,
	    "{\"node\":\"n\",\"epoch\":%d,\"number\":%d,\"items\":[{\"key_id\":\"%s\",\"tenant_id\":\"%s\","
	    "\"date\":\"%.10s\",\"calls\":%d,\"limited\":1,\"last_used_at\":\"%s\"}]}",
	    epoch, number, key.id, tenant, stamp(0), calls, used);
}

START_TEST(a_report_that_arrives_twice_counts_once)
{
	struct rig rig;
	choose_store(_i);
	rig_start(&rig);
	const char *tenant = tenant_new(rig.pool, "Acme");
	struct made key = key_new(rig.pool, tenant, "");
	ck_assert_code(report(rig.pool, 1, 1, key, tenant, 5, "2026-01-02T03:04:59Z"), STATUS_OK);
	ck_assert_code(report(rig.pool, 1, 1, key, tenant, 5, "2026-01-02T03:04:59Z"), STATUS_OK);
	ck_assert_code(report(rig.pool, 1, 2, key, tenant, 7, "2026-01-02T03:03:00Z"), STATUS_OK);
	ck_assert_code(report(rig.pool, 2, 1, key, tenant, 11, "2026-01-02T03:04:01Z"), STATUS_OK);
	struct answer usage = ask(rig.pool, &OPERATOR, USAGE_REPORTS_LIST, "{\"tenant_id\":\"%s\"}", tenant);
	ck_assert_str_eq(good(usage, "usage.0.calls"), "23");
	ck_assert_str_eq(good(usage, "usage.0.limited"), "3");
	ck_assert_ptr_null(at(&usage, "usage.1"));
	/* To the minute, and never backwards. */
	const char *used = good(ask(rig.pool, &OPERATOR, KEYS_GET, "{\"id\":\"%s\"}", key.id), "last_used_at");
	ck_assert_msg(strncmp(used, "2026-01-02T03:04:00", 19) == 0, "%s", used);
	rig_stop(&rig);
}
END_TEST

/* A report of 20 keys, from the first to the last or the other way round. */
static const char *
report_of_many(const char *node, int number, bool is_backwards)
{
	const char *items = "";

	for (int i = 0; i < 20; i++)
		items = arena_printf(arena,
		                     "%s%s{\"key_id\":\"key-%02d\",\"tenant_id\":\"t\",\"date\":\"2026-01-02\","
		                     "\"calls\":1,\"last_used_at\":\"2026-01-02T03:04:05Z\"}",
		                     items, i ? "," : "", is_backwards ? 19 - i : i);
	return arena_printf(arena, "{\"node\":\"%s\",\"epoch\":1,\"number\":%d,\"items\":[%s]}", node, number,
	                    items);
}

START_TEST(reports_of_the_same_keys_at_once_are_all_taken)
{
	struct rig rig;
	choose_store(_i);
	rig_start(&rig);
	for (int round = 1; round <= 20; round++) {
		struct racer racers[4];
		for (size_t i = 0; i < 4; i++)
			racers[i] =
			    (struct racer){.pool = rig.pool,
			                   .caller = &INGRESS,
			                   .method = USAGE_REPORTS_REPORT,
			                   .request = report_of_many(arena_printf(arena, "n%zu", i), round, i % 2),
			                   .times = 1};
		race_all(racers, 4);
		ck_assert_int_eq(racers[0].ok + racers[1].ok + racers[2].ok + racers[3].ok, 4);
	}
	struct answer usage =
	    ask(rig.pool, &OPERATOR, USAGE_REPORTS_LIST,
	        "{\"tenant_id\":\"t\",\"key_id\":\"key-07\",\"from\":\"2026-01-01\",\"to\":\"2026-01-03\"}");
	ck_assert_str_eq(good(usage, "usage.0.calls"), "80");
	rig_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- publications */

struct listener {
	atomic_int joined;
	pthread_mutex_t lock; /* guards keys, tenants and plans */
	char keys[512], tenants[512], plans[512];
};

static void
hear(void *arg, const char *node, const char *topic, const void *payload, size_t size)
{
	struct listener *self = arg;
	(void)node;
	pthread_mutex_lock(&self->lock);
	if (strcmp(topic, "keys") == 0) {
		Corbel__V1__KeysChanged *changed = corbel__v1__keys_changed__unpack(NULL, size, payload);
		if (changed && changed->n_key_ids)
			snprintf(self->keys, sizeof(self->keys), "%s", changed->key_ids[0]);
		if (changed && changed->n_tenant_ids)
			snprintf(self->tenants, sizeof(self->tenants), "%s", changed->tenant_ids[0]);
		corbel__v1__keys_changed__free_unpacked(changed, NULL);
	} else if (strcmp(topic, "plans") == 0) {
		Corbel__V1__PlansChanged *changed = corbel__v1__plans_changed__unpack(NULL, size, payload);
		if (changed && changed->n_names)
			snprintf(self->plans, sizeof(self->plans), "%s", changed->names[0]);
		corbel__v1__plans_changed__free_unpacked(changed, NULL);
	}
	pthread_mutex_unlock(&self->lock);
}

static void
notice(void *arg, const char *node, enum subscriber_event event)
{
	(void)node;
	if (event == SUBSCRIBER_JOINED)
		atomic_store(&((struct listener *)arg)->joined, 1);
}

/* Waits until `heard` is `expected`, then forgets it. */
static void
expect(struct listener *self, char *heard, const char *expected)
{
	for (uint64_t end = test_now_ms() + 5000;; test_pause()) {
		pthread_mutex_lock(&self->lock);
		bool is_heard = strcmp(heard, expected) == 0;
		if (is_heard)
			heard[0] = '\0';
		pthread_mutex_unlock(&self->lock);
		if (is_heard)
			return;
		ck_assert_msg(test_now_ms() < end, "heard '%s', not '%s'", heard, expected);
	}
}

START_TEST(every_change_that_ends_a_cached_verification_is_published)
{
	struct rig rig;
	struct bus *bus;
	struct subscriber *subscriber;
	static struct listener heard = {.lock = PTHREAD_MUTEX_INITIALIZER};
	choose_store(0);
	rig_start(&rig);
	struct bus_options bus_options = {.clock = clock_system()};
	struct status st = bus_new(&bus_options, &bus);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	struct subscriber_options options = {.address = host_publisher_address(rig.self.host, "accountd"),
	                                     .message = hear,
	                                     .event = notice,
	                                     .arg = &heard};
	st = subscriber_new(bus, &options, &subscriber);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	for (uint64_t end = test_now_ms() + 5000; !atomic_load(&heard.joined); test_pause())
		ck_assert(test_now_ms() < end);

	const char *tenant = tenant_new(rig.pool, "Acme");
	struct made key = key_new(rig.pool, tenant, ""), other = key_new(rig.pool, tenant, "");
	ck_assert_code(patch(rig.pool, key.id, "\"disabled\":true"), STATUS_OK);
	expect(&heard, heard.keys, key.id);
	ck_assert_code(ask(rig.pool, &OPERATOR, KEYS_REVOKE, "{\"id\":\"%s\"}", key.id), STATUS_OK);
	expect(&heard, heard.keys, key.id);
	ck_assert_code(ask(rig.pool, &OPERATOR, KEYS_ROTATE, "{\"id\":\"%s\"}", other.id), STATUS_OK);
	expect(&heard, heard.keys, other.id);
	ck_assert_code(ask(rig.pool, &OPERATOR, TENANTS_UPDATE, "{\"id\":\"%s\",\"suspended\":true}", tenant),
	               STATUS_OK);
	expect(&heard, heard.tenants, tenant);
	ck_assert_code(
	    ask(rig.pool, &OPERATOR, SUBSCRIPTIONS_SET, "{\"tenant_id\":\"%s\",\"plan\":\"basic\"}", tenant),
	    STATUS_OK);
	expect(&heard, heard.tenants, tenant);
	ck_assert_code(ask(rig.pool, &OPERATOR, PLANS_UPDATE, "{\"name\":\"basic\",\"title\":\"B\"}"), STATUS_OK);
	expect(&heard, heard.plans, "basic");
	ck_assert_code(ask(rig.pool, &OPERATOR, TENANTS_DELETE, "{\"id\":\"%s\"}", tenant), STATUS_OK);
	expect(&heard, heard.tenants, tenant);
	subscriber_free(subscriber);
	bus_free(bus);
	rig_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- processes */

static pid_t
spawn(const char *extra, const char *log)
{
	int argc;
	char **argv = command_line(PEPPER_1, extra, &argc);
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, STDOUT_FILENO);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	ck_assert_int_gt(pid, 0);
	return pid;
}

static const char *
contents(const char *path)
{
	char *text = arena_alloc(arena, 8192);
	FILE *file = fopen(path, "r");
	size_t length = file ? fread(text, 1, 8191, file) : 0;
	text[length] = '\0';
	if (file)
		fclose(file);
	return text;
}

static void
until_ready(const char *log)
{
	for (uint64_t end = test_now_ms() + 20000; !strstr(contents(log), "ready"); test_pause())
		ck_assert_msg(test_now_ms() < end, "%s", contents(log));
}

static struct pool *
dial(struct bus **bus, const char *address)
{
	struct bus_options options = {.clock = clock_system()};
	struct pool_options pool_options = {.service = "accountd", .address = address};
	struct pool *pool;
	struct status st = bus_new(&options, bus);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	st = pool_new(*bus, &pool_options, &pool);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	for (uint64_t end = test_now_ms() + 10000; pool_healthy(pool) == 0; test_pause())
		ck_assert(test_now_ms() < end);
	return pool;
}

static void
finish(pid_t pid, int number)
{
	int status;
	kill(pid, number);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
}

START_TEST(a_key_whose_creation_was_acknowledged_survives_kill_9)
{
	struct bus *bus;
	struct made keys[5];
	choose_store(_i);
	const char *log = arena_printf(arena, "%s/log", test_dir.path);
	const char *address = arena_printf(arena, "ipc://%s/run/accountd.rep", test_dir.path);
	for (int i = 0; i < 5; i++) {
		pid_t pid = spawn(NULL, log);
		until_ready(log);
		struct pool *pool = dial(&bus, address);
		keys[i] = key_new(pool, "root", "");
		finish(pid, SIGKILL);
		pool_free(pool);
		bus_free(bus);
		ck_assert_int_eq(remove(log), 0);
	}
	pid_t pid = spawn(NULL, log);
	until_ready(log);
	struct pool *pool = dial(&bus, address);
	for (int i = 0; i < 5; i++)
		ck_assert_str_eq(verdict(pool, keys[i].secret), "ok");
	pool_free(pool);
	bus_free(bus);
	finish(pid, SIGTERM);
}
END_TEST

START_TEST(replicas_that_start_first_at_once_make_one_admin_key)
{
	enum { REPLICAS = 4 };
	pid_t pids[REPLICAS];
	const char *log = arena_printf(arena, "%s/log", test_dir.path), *first = NULL;
	struct bus *bus;
	size_t shown = 0;
	choose_store(1);
	for (int i = 0; i < REPLICAS; i++) {
		const char *address = arena_printf(arena, "ipc://%s/r%d", test_dir.path, i);
		pids[i] = spawn(arena_printf(arena, "--bus.listen=%s.rep --pub.listen=%s.pub", address, address),
		                arena_printf(arena, "%s%d", log, i));
		if (i == 0)
			first = arena_printf(arena, "%s.rep", address);
	}
	for (int i = 0; i < REPLICAS; i++) {
		until_ready(arena_printf(arena, "%s%d", log, i));
		shown += count_of(contents(arena_printf(arena, "%s%d", log, i)), "first admin key:");
	}
	ck_assert_uint_eq(shown, 1);
	struct pool *pool = dial(&bus, first);
	struct answer keys = ask(pool, &OPERATOR, KEYS_LIST, "{}");
	(void)good(keys, "keys.0.id");
	ck_assert_ptr_null(at(&keys, "keys.1"));
	pool_free(pool);
	bus_free(bus);
	for (int i = 0; i < REPLICAS; i++)
		finish(pids[i], SIGTERM);
}
END_TEST

int
main(int argc, char **argv)
{
	if (strcmp(argv[0], "accountd") == 0)
		return daemon_main(argc, argv, services);

	Suite *suite = suite_create("accountd");
	TCase *tcase = tcase_create("accountd");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(
	    tcase, the_first_start_makes_the_operators_four_plans_and_one_key_and_the_second_nothing, 0, 2);
	tcase_add_test(tcase, a_given_bootstrap_key_works_and_is_not_shown);
	tcase_add_test(tcase, postgresql_without_peppers_is_refused_with_what_to_do);
	tcase_add_loop_test(tcase, a_key_is_good_and_a_wrong_or_mistyped_one_is_not, 0, 2);
	tcase_add_loop_test(
	    tcase, disabled_expired_revoked_keys_and_suspended_tenants_are_refused_with_their_reason, 0, 2);
	tcase_add_loop_test(tcase, a_key_moves_to_the_current_pepper_when_it_is_verified, 0, 2);
	tcase_add_loop_test(tcase, after_rotation_both_keys_work_until_the_grace_ends, 0, 2);
	tcase_add_test(tcase, a_grace_period_never_outlasts_the_keys_expiry);
	tcase_add_loop_test(tcase, no_update_undoes_a_revocation, 0, 2);
	tcase_add_loop_test(tcase, of_rotations_at_once_one_succeeds, 0, 2);
	tcase_add_loop_test(tcase, no_plan_vanishes_under_a_new_subscription, 0, 2);
	tcase_add_loop_test(tcase, a_key_gives_away_no_more_than_it_holds, 0, 2);
	tcase_add_test(tcase, a_past_expiry_and_two_limits_of_one_resource_are_refused_by_name);
	tcase_add_loop_test(tcase, null_clears_and_absence_keeps, 0, 2);
	tcase_add_loop_test(tcase, no_method_shows_or_changes_what_another_tenant_owns, 0, 2);
	tcase_add_test(tcase, another_tenants_secret_is_unknown_and_ones_own_is_known);
	tcase_add_loop_test(tcase, a_plan_that_tenants_are_on_cannot_be_deleted, 0, 2);
	tcase_add_loop_test(tcase, a_deleted_tenant_takes_its_users_keys_and_usage_along_and_root_stays, 0, 2);
	tcase_add_loop_test(tcase, pages_show_each_key_once_newest_first, 0, 2);
	tcase_add_test(tcase, a_page_token_that_was_never_given_out_is_refused);
	tcase_add_test(tcase, a_page_of_rows_that_cannot_be_read_is_reported_as_lost);
	tcase_add_loop_test(tcase, a_report_that_arrives_twice_counts_once, 0, 2);
	tcase_add_loop_test(tcase, reports_of_the_same_keys_at_once_are_all_taken, 0, 2);
	tcase_add_test(tcase, every_change_that_ends_a_cached_verification_is_published);
	tcase_add_loop_test(tcase, a_key_whose_creation_was_acknowledged_survives_kill_9, 0, 2);
	suite_add_tcase(suite, tcase);
	TCase *starts = tcase_create("starts");
	tcase_add_checked_fixture(starts, setup, teardown);
	tcase_set_timeout(starts, 60);
	tcase_add_test(starts, replicas_that_start_first_at_once_make_one_admin_key);
	suite_add_tcase(suite, starts);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
