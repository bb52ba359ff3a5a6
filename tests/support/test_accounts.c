/*
 * test_accounts: see test_accounts.h.
 */
#include "support/test_accounts.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "support/test_dir.h"
#include "support/test_postgres.h"

static struct test_dir test_dir;
static struct test_postgres *postgres; /* NULL: SQLite in the directory */
static struct arena main_arena;
_Thread_local struct arena *accounts_arena;

void
accounts_setup(void)
{
	test_dir_make(&test_dir);
	arena_init(&main_arena, 65536, SIZE_MAX);
	accounts_arena = &main_arena;
}

void
accounts_teardown(void)
{
	if (postgres)
		test_postgres_stop(postgres);
	arena_fini(&main_arena);
	test_dir_remove(&test_dir);
}

void
accounts_choose_store(int turn)
{
	postgres = turn ? test_postgres_start() : NULL;
}

const char *
accounts_dir(void)
{
	return test_dir.path;
}

/* ---- a host in this process ---- */

char **
accounts_flags(const char *peppers, const char *extra, int *argc)
{
	char **argv = ARENA_ARRAY(accounts_arena, char *, 10);
	int count = 0;

	argv[count++] = arena_strdup(accounts_arena, "accountd");
	argv[count++] = arena_printf(accounts_arena, "--data=%s", test_dir.path);
	argv[count++] = arena_strdup(accounts_arena, "--admin.listen=");
	argv[count++] = arena_strdup(accounts_arena, "--log.level=error");
	if (postgres)
		argv[count++] = arena_printf(accounts_arena, "--store.url=%s", postgres->url);
	if (peppers)
		argv[count++] = arena_printf(accounts_arena, "--accountd.peppers=%s", peppers);
	char *rest = extra ? arena_strdup(accounts_arena, extra) : NULL;
	for (char *flag; (flag = strsep(&rest, " ")) != NULL;)
		argv[count++] = flag;
	*argc = count;
	return argv;
}

struct status
accounts_try(struct accounts *rig, const char *peppers, const char *extra)
{
	int argc;
	char **argv = accounts_flags(peppers, extra, &argc);
	*rig = (struct accounts){.pool = NULL};
	rig->out = open_memstream(&rig->said, &rig->said_size);
	return test_host_try(&rig->self, accounts_services, (const char *const *)argv, argc, rig->out);
}

void
accounts_stop(struct accounts *rig)
{
	test_host_stop(&rig->self);
	fclose(rig->out);
	free(rig->said);
}

void
accounts_start_with(struct accounts *rig, const char *peppers, const char *extra)
{
	struct status st = accounts_try(rig, peppers, extra);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	rig->pool = test_host_pool(&rig->self, "accountd");
}

void
accounts_start(struct accounts *rig)
{
	accounts_start_with(rig, PEPPER_1, NULL);
}

/* ---- calls ---- */

static ProtobufCMessage *
request_from(const struct api_method *method, const char *json)
{
	struct violations *violations = ARENA_NEW(accounts_arena, struct violations);
	ProtobufCMessage *request = NULL;
	violations->count = 0;
	struct status st =
	    json_to_message(json, strlen(json), method->request, accounts_arena, violations, &request);
	if (status_ok(&st))
		st = violations_status(violations);
	ck_assert_msg(status_ok(&st), "%s %s: %s", method->name, json, st.message);
	return request;
}

static const char *
reply_text(const struct api_method *method, const ProtobufCBinaryData *payload)
{
	struct arena_allocator memory = arena_allocator(accounts_arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	ProtobufCMessage *message =
	    protobuf_c_message_unpack(method->reply->descriptor, &allocator, payload->len, payload->data);
	struct strbuf out;
	ck_assert_ptr_nonnull(message);
	strbuf_init(&out, accounts_arena);
	json_from_message(message, method->reply, NULL, &out);
	return out.data;
}

struct answer
accounts_ask(struct pool *pool, const struct accounts_caller *caller, const struct api_method *method,
             const char *format, ...)
{
	Corbel__Bus__Principal principal = CORBEL__BUS__PRINCIPAL__INIT;
	char *scope = arena_strdup(accounts_arena, caller->scope ? caller->scope : ""), json[4096];
	va_list args;

	va_start(args, format);
	vsnprintf(json, sizeof(json), format, args);
	va_end(args);
	ProtobufCMessage *request = request_from(method, json);
	size_t size = protobuf_c_message_get_packed_size(request);
	uint8_t *bytes = arena_alloc(accounts_arena, size + 1);
	protobuf_c_message_pack(request, bytes);
	principal.tenant = arena_strdup(accounts_arena, caller->tenant ? caller->tenant : "");
	principal.scopes = &scope;
	principal.n_scopes = caller->scope ? 1 : 0;
	principal.has_internal = principal.internal = caller->is_internal;
	struct pool_call call = {.method = method->id,
	                         .is_fast = method->is_fast,
	                         .deadline_mono_ms = clock_mono_ms(clock_system()) + 10000,
	                         .principal = &principal,
	                         .payload = bytes,
	                         .payload_size = size};
	struct status st = pool_call_wait(pool, &call, accounts_arena);
	return (struct answer){.code = st.code,
	                       .text = status_ok(&st) ? reply_text(method, &call.reply->payload)
	                                              : arena_strdup(accounts_arena, st.message),
	                       .reply = call.reply};
}

const char *
answer_at(const struct answer *answer, const char *path)
{
	json_t *root = json_loads(answer->text, 0, NULL), *node = root;
	char *copy = arena_strdup(accounts_arena, path), *rest = copy;

	for (char *step; node && (step = strsep(&rest, ".")) != NULL;)
		node = json_is_array(node) ? json_array_get(node, (size_t)atoi(step)) : json_object_get(node, step);
	const char *text = NULL;
	if (json_is_string(node)) {
		text = arena_strdup(accounts_arena, json_string_value(node));
	} else if (node) {
		char *dumped = json_dumps(node, JSON_ENCODE_ANY | JSON_COMPACT);
		text = arena_strdup(accounts_arena, dumped);
		free(dumped);
	}
	json_decref(root);
	return text;
}

const char *
answer_good(struct answer answer, const char *path)
{
	ck_assert_msg(answer.code == STATUS_OK, "%s", answer.text);
	const char *text = answer_at(&answer, path);
	ck_assert_msg(text != NULL, "%s: no %s", answer.text, path);
	return text;
}

const char *
answer_pointer(const struct answer *answer)
{
	return answer->reply && answer->reply->n_violations ? answer->reply->violations[0]->pointer : "";
}

const char *
accounts_time(int64_t from_now_ms)
{
	char text[TEXT_TIMESTAMP_MAX];
	text_from_timestamp_ms(clock_wall_ms(clock_system()) + from_now_ms, text);
	return arena_strdup(accounts_arena, text);
}

const char *
accounts_tenant(struct pool *pool, const char *name)
{
	return answer_good(accounts_ask(pool, &OPERATOR, TENANTS_CREATE, "{\"name\":\"%s\"}", name), "id");
}

struct accounts_made
accounts_key(struct pool *pool, const char *tenant, const char *more)
{
	struct answer answer = accounts_ask(pool, &OPERATOR, KEYS_CREATE,
	                                    "{\"tenant_id\":\"%s\",\"scopes\":[\"keys.read\"]%s}", tenant, more);
	return (struct accounts_made){answer_good(answer, "key.id"), answer_good(answer, "secret")};
}

const char *
accounts_verdict(struct pool *pool, const char *secret)
{
	struct answer answer = accounts_ask(pool, &INGRESS, KEYS_VERIFY, "{\"key\":\"%s\"}", secret);
	return strcmp(answer_good(answer, "valid"), "true") == 0 ? "ok" : answer_good(answer, "reason");
}

struct answer
accounts_patch(struct pool *pool, const char *id, const char *fields)
{
	return accounts_ask(pool, &OPERATOR, KEYS_UPDATE, "{\"id\":\"%s\",%s}", id, fields);
}

const char *
accounts_state(struct pool *pool, const char *id)
{
	return answer_good(accounts_ask(pool, &OPERATOR, KEYS_GET, "{\"id\":\"%s\"}", id), "state");
}

/* ---- calls at once ---- */

static void *
race(void *arg)
{
	struct racer *self = arg;
	const struct accounts_caller *caller = self->caller ? self->caller : &OPERATOR;
	struct arena own;
	arena_init(&own, 65536, SIZE_MAX);
	accounts_arena = &own;
	for (int i = 0; i < self->times; i++)
		self->ok += accounts_ask(self->pool, caller, self->method, "%s", self->request).code == STATUS_OK;
	arena_fini(&own);
	return NULL;
}

void
accounts_race(struct racer *racers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		ck_assert_int_eq(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	for (size_t i = 0; i < count; i++)
		pthread_join(racers[i].thread, NULL);
}
