/*
 * daemon: one process and a service in it, driven from the bus, the command line and the admin port.
 */
#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "corbel/contract.gen.h"
#include "support/probe.h"
#include "support/test_dir.h"
#include "support/test_host.h"
#include "support/test_postgres.h"
#include "support/test_process.h"

typedef Corbel__V1__GetLimitRequest GetRequest;
typedef Corbel__V1__CreateLimitRequest WriteRequest;
typedef Corbel__V1__Limit Limit;

static const char *dir; /* of this test; each test is a process of its own */
static struct test_dir test_dir;
static const char *store_url; /* NULL: SQLite in `dir` */
static const char *log_level = "error";
static struct test_postgres *postgres;
static const struct service *services[3];
static struct arena arena;

#define PATIENCE_MS 20000u /* a busy machine's, less than what Check grants a test */

static void
setup(void)
{
	test_dir_make(&test_dir);
	dir = test_dir.path;
	arena_init(&arena, 65536, SIZE_MAX);
}

static void
teardown(void)
{
	if (postgres)
		test_postgres_stop(postgres);
	arena_fini(&arena);
	test_dir_remove(&test_dir);
}

/* Tests that run on both kinds of stores are loops of two. */
static void
choose_store(int turn)
{
	if (turn == 0)
		return;
	postgres = test_postgres_start();
	store_url = postgres->url;
}

/* Options of a daemon on this test's directory and store, behind argv[0]; NULL-terminated. */
static char **
command_line(const char *admin, const char *extra, int *argc)
{
	char **argv = ARENA_ARRAY(&arena, char *, 8);
	int count = 0;

	argv[count++] = arena_strdup(&arena, "probe");
	argv[count++] = arena_printf(&arena, "--data=%s", dir);
	argv[count++] = arena_printf(&arena, "--admin.listen=%s", admin);
	argv[count++] = arena_printf(&arena, "--log.level=%s", log_level);
	if (store_url)
		argv[count++] = arena_printf(&arena, "--store.url=%s", store_url);
	if (extra)
		argv[count++] = arena_strdup(&arena, extra);
	*argc = count;
	return argv;
}

/* ---------------------------------------------------------------- a host in this process */

struct rig {
	struct test_host self;
	struct pool *pool;
};

static void
rig_start(struct rig *rig, const char *extra)
{
	int argc;
	char **argv = command_line("127.0.0.1:0", extra, &argc);
	test_host_start(&rig->self, services, (const char *const *)argv, argc);
	rig->pool = test_host_pool(&rig->self, "probe");
}

static void
rig_stop(struct rig *rig)
{
	test_host_stop(&rig->self);
}

/* ---------------------------------------------------------------- calls */

struct result {
	struct status st;
	const Corbel__Bus__Reply *reply;
	Limit *limit; /* NULL unless ok */
};

struct caller {
	const char *tenant, *scope, *key;
	bool is_internal;
	uint32_t timeout_ms;
};

static const struct caller ANYBODY = {.tenant = "ten_1", .scope = "probe.*"};

static struct result
call_raw(struct pool *pool, const struct caller *caller, uint32_t method, bool is_fast, const void *payload,
         size_t size)
{
	Corbel__Bus__Principal principal = CORBEL__BUS__PRINCIPAL__INIT;
	char *scope = arena_strdup(&arena, caller->scope ? caller->scope : "");
	principal.tenant = arena_strdup(&arena, caller->tenant ? caller->tenant : "");
	principal.scopes = &scope;
	principal.n_scopes = caller->scope ? 1 : 0;
	principal.has_internal = principal.internal = caller->is_internal;
	uint32_t timeout_ms = caller->timeout_ms ? caller->timeout_ms : 8000;
	struct pool_call call = {.method = method,
	                         .is_fast = is_fast,
	                         .deadline_mono_ms = clock_mono_ms(clock_system()) + timeout_ms,
	                         .idempotency_key = caller->key,
	                         .principal = caller->tenant || caller->is_internal ? &principal : NULL,
	                         .payload = payload,
	                         .payload_size = size};
	struct result result = {.st = pool_call_wait(pool, &call, &arena)};
	result.reply = call.reply;
	struct arena_allocator memory = arena_allocator(&arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	if (status_ok(&result.st))
		result.limit =
		    corbel__v1__limit__unpack(&allocator, result.reply->payload.len, result.reply->payload.data);
	return result;
}

static struct result
call_message(struct pool *pool, const struct caller *caller, enum probe_method method,
             const ProtobufCMessage *request)
{
	size_t size = protobuf_c_message_get_packed_size(request);
	uint8_t *bytes = arena_alloc(&arena, size + 1);

	protobuf_c_message_pack(request, bytes);
	return call_raw(pool, caller, probe_method(method)->id, probe_method(method)->is_fast, bytes, size);
}

static struct result
get(struct pool *pool, const struct caller *caller, enum probe_method method, const char *id)
{
	GetRequest request = CORBEL__V1__GET_LIMIT_REQUEST__INIT;
	request.id = arena_strdup(&arena, id);
	return call_message(pool, caller, method, &request.base);
}

/* How often the method ran, as it answers. */
static uint64_t
runs_of(struct result result)
{
	ck_assert_ptr_nonnull(result.limit);
	return result.limit->limit;
}

static struct result
put(struct pool *pool, const struct caller *caller, const char *name)
{
	WriteRequest request = CORBEL__V1__CREATE_LIMIT_REQUEST__INIT;
	request.name = arena_strdup(&arena, name);
	request.has_strategy = true;
	request.strategy = CORBEL__V1__STRATEGY__TOKEN_BUCKET;
	request.has_limit = request.has_window_ms = true;
	request.limit = 5;
	request.window_ms = 1000;
	return call_message(pool, caller, PROBE_WRITE, &request.base);
}

static const char *
problem_of(const struct result *result)
{
	return result->reply && result->reply->problem ? result->reply->problem : "";
}

static const char *
header_of(const struct result *result, const char *name)
{
	for (size_t i = 0; result->reply && i < result->reply->n_headers; i++) {
		if (strcmp(result->reply->headers[i]->name, name) == 0)
			return result->reply->headers[i]->value;
	}
	return "";
}

/* ---------------------------------------------------------------- dispatch */

START_TEST(a_fast_method_answers)
{
	struct rig rig;
	rig_start(&rig, NULL);
	struct result r = get(rig.pool, &ANYBODY, PROBE_ECHO, "x1");
	ck_assert_msg(status_ok(&r.st), "%s", r.st.message);
	ck_assert_str_eq(r.limit->id, "x1");
	r = get(rig.pool, &ANYBODY, PROBE_BATCH, "x");
	ck_assert_msg(status_ok(&r.st), "%s", r.st.message);
	ck_assert_uint_eq(r.limit->limit, 1);
	rig_stop(&rig);
}
END_TEST

START_TEST(callers_are_held_to_scope_operator_and_internal_rules)
{
	static const struct caller nobody = {0}, reader = {.tenant = "ten_1", .scope = "probe.read"},
	                           root = {.tenant = "root", .scope = "*"}, daemon = {.is_internal = true};
	struct rig rig;
	rig_start(&rig, NULL);
	ck_assert_int_eq(get(rig.pool, &nobody, PROBE_PUBLIC, "x").st.code, STATUS_OK);
	ck_assert_int_eq(get(rig.pool, &nobody, PROBE_ECHO, "x").st.code, STATUS_UNAUTHENTICATED);
	ck_assert_int_eq(get(rig.pool, &reader, PROBE_ECHO, "x").st.code, STATUS_OK);
	ck_assert_int_eq(put(rig.pool, &reader, "a").st.code, STATUS_PERMISSION_DENIED);
	ck_assert_int_eq(put(rig.pool, &ANYBODY, "a").st.code, STATUS_OK);
	ck_assert_int_eq(get(rig.pool, &ANYBODY, PROBE_OPERATE, "x").st.code, STATUS_PERMISSION_DENIED);
	ck_assert_int_eq(get(rig.pool, &root, PROBE_OPERATE, "x").st.code, STATUS_OK);
	ck_assert_int_eq(get(rig.pool, &root, PROBE_INTERNAL, "x").st.code, STATUS_PERMISSION_DENIED);
	ck_assert_int_eq(get(rig.pool, &daemon, PROBE_INTERNAL, "x").st.code, STATUS_OK);
	rig_stop(&rig);
}
END_TEST

START_TEST(bad_calls_are_refused_with_what_is_wrong)
{
	struct rig rig;
	rig_start(&rig, NULL);
	struct result r = call_raw(rig.pool, &ANYBODY, 0xdeadbeef, true, "", 0);
	ck_assert_int_eq(r.st.code, STATUS_UNIMPLEMENTED);
	r = call_raw(rig.pool, &ANYBODY, probe_method(PROBE_ECHO)->id, true, "\xff\xff\xff", 3);
	ck_assert_int_eq(r.st.code, STATUS_INVALID_ARGUMENT);
	r = call_raw(rig.pool, &ANYBODY, probe_method(PROBE_ECHO)->id, true, "", 0);
	ck_assert_int_eq(r.st.code, STATUS_INVALID_ARGUMENT);
	ck_assert_uint_eq(r.reply->n_violations, 1);
	ck_assert_str_eq(r.reply->violations[0]->pointer, "/id");
	r = put(rig.pool, &ANYBODY, "No Name!");
	ck_assert_int_eq(r.st.code, STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(r.reply->violations[0]->pointer, "/name");
	rig_stop(&rig);
}
END_TEST

START_TEST(a_handlers_violations_problem_and_headers_reach_the_caller)
{
	struct rig rig;
	rig_start(&rig, NULL);
	struct result r = get(rig.pool, &ANYBODY, PROBE_COMPLAIN, "x");
	ck_assert_int_eq(r.st.code, STATUS_FAILED_PRECONDITION);
	ck_assert_str_eq(r.reply->violations[0]->detail, "must be nicer");
	ck_assert_uint_eq(r.reply->retry_after_ms, 1234);
	ck_assert_str_eq(problem_of(&r), "not-nice");
	ck_assert_str_eq(header_of(&r, "X-Probe"), "yes");
	rig_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- workers */

struct waiter {
	pthread_t thread;
	struct pool *pool;
	char path[128];
	struct status st;
};

static void *
wait_at_gate(void *arg)
{
	struct waiter *self = arg;
	struct arena own;
	GetRequest request = CORBEL__V1__GET_LIMIT_REQUEST__INIT;
	Corbel__Bus__Principal principal = CORBEL__BUS__PRINCIPAL__INIT;
	char tenant[] = "ten_1";
	uint8_t bytes[256];

	arena_init(&own, 4096, SIZE_MAX);
	request.id = self->path;
	principal.tenant = tenant;
	struct pool_call call = {.method = probe_method(PROBE_BLOCK)->id,
	                         .deadline_mono_ms = clock_mono_ms(clock_system()) + 8000,
	                         .principal = &principal,
	                         .payload = bytes,
	                         .payload_size = protobuf_c_message_pack(&request.base, bytes)};
	self->st = pool_call_wait(self->pool, &call, &own);
	arena_fini(&own);
	return NULL;
}

static void
waiter_start(struct waiter *self, struct pool *pool, int number)
{
	self->pool = pool;
	snprintf(self->path, sizeof(self->path), "%s/gate%d", dir, number);
	ck_assert_int_eq(pthread_create(&self->thread, NULL, wait_at_gate, self), 0);
}

/* Whether the gate comes to be there (or gone). */
static bool
gate_becomes(const struct waiter *self, bool is_there)
{
	for (uint64_t end = test_now_ms() + PATIENCE_MS; test_now_ms() < end; test_pause())
		if ((access(self->path, F_OK) == 0) == is_there)
			return true;
	return false;
}

static void
waiter_finish(struct waiter *self)
{
	ck_assert(gate_becomes(self, true));
	unlink(self->path);
	pthread_join(self->thread, NULL);
	ck_assert_msg(status_ok(&self->st), "%s", self->st.message);
}

/* The answer, good until the next one. */
static char *
http_get(const char *address, const char *path)
{
	static char answer[262144];
	const char *colon = strrchr(address, ':');
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
	size_t length = 0;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	char *request = arena_printf(&arena, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
	ck_assert_int_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
	for (ssize_t got; (got = read(fd, answer + length, sizeof(answer) - 1 - length)) > 0;)
		length += (size_t)got;
	answer[length] = '\0';
	close(fd);
	return answer;
}

/* Whether /metrics comes to hold this line. */
static bool
metric_becomes(struct host *host, const char *line)
{
	for (uint64_t end = test_now_ms() + PATIENCE_MS; test_now_ms() < end; test_pause())
		if (strstr(http_get(host_admin_address(host), "/metrics"), line))
			return true;
	return false;
}

START_TEST(a_full_queue_refuses_at_once_and_says_when_to_retry)
{
	struct rig rig;
	struct waiter waiters[3]; /* two run, one waits, the next is too much */
	rig_start(&rig, "--workers.queue=1");
	for (int i = 0; i < 2; i++) {
		waiter_start(&waiters[i], rig.pool, i);
		ck_assert(gate_becomes(&waiters[i], true));
	}
	waiter_start(&waiters[2], rig.pool, 2);
	ck_assert(metric_becomes(rig.self.host, "corbel_workers_queued{service=\"probe\"} 1\n"));
	struct result r = get(rig.pool, &ANYBODY, PROBE_COUNT, "x");
	ck_assert_int_eq(r.st.code, STATUS_RESOURCE_EXHAUSTED);
	ck_assert_str_eq(problem_of(&r), "overloaded");
	ck_assert_uint_eq(r.reply->retry_after_ms, 1000);
	r = get(rig.pool, &ANYBODY, PROBE_ECHO, "fast ones do not wait");
	ck_assert_int_eq(r.st.code, STATUS_OK);
	for (int i = 0; i < 3; i++)
		waiter_finish(&waiters[i]);
	rig_stop(&rig);
}
END_TEST

static void
count_up(void *arg, struct store_conn *conn)
{
	ck_assert_ptr_nonnull(conn);
	atomic_fetch_add((atomic_int *)arg, 1);
}

START_TEST(work_and_repeated_work_run_with_a_connection)
{
	struct rig rig;
	atomic_int once = 0, often = 0;
	rig_start(&rig, NULL);
	ck_assert(host_work(rig.self.host, services[0], count_up, &once));
	struct status st = host_every(rig.self.host, services[0], 10, count_up, &often);
	ck_assert(status_ok(&st));
	for (uint64_t end = test_now_ms() + PATIENCE_MS; test_now_ms() < end; test_pause())
		if (atomic_load(&once) >= 1 && atomic_load(&often) >= 3)
			break;
	ck_assert_int_eq(atomic_load(&once), 1);
	ck_assert_int_ge(atomic_load(&often), 3);
	rig_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- idempotency */

static uint64_t
rows(struct pool *pool)
{
	struct result r = get(pool, &ANYBODY, PROBE_COUNT, "x");
	ck_assert_msg(status_ok(&r.st), "%s", r.st.message);
	return r.limit->limit;
}

START_TEST(a_repeated_key_replays_the_reply_and_runs_nothing)
{
	choose_store(_i);
	struct caller keyed = ANYBODY, other = ANYBODY, stranger = {.tenant = "ten_2", .scope = "*"};
	struct rig rig;
	keyed.key = stranger.key = "k1";
	other.key = "k2";
	rig_start(&rig, NULL);
	struct result r = put(rig.pool, &keyed, "a");
	ck_assert_msg(status_ok(&r.st), "%s", r.st.message);
	ck_assert_uint_eq(r.limit->limit, 1);
	r = put(rig.pool, &keyed, "a");
	ck_assert_msg(status_ok(&r.st), "%s", r.st.message);
	ck_assert_uint_eq(r.limit->limit, 1);
	ck_assert_str_eq(header_of(&r, "Idempotent-Replayed"), "true");
	ck_assert_uint_eq(put(rig.pool, &other, "a").limit->limit, 2);
	ck_assert_uint_eq(put(rig.pool, &stranger, "a").limit->limit, 3);
	ck_assert_uint_eq(rows(rig.pool), 3);
	rig_stop(&rig);
}
END_TEST

START_TEST(a_key_with_another_request_is_refused)
{
	choose_store(_i);
	struct caller keyed = ANYBODY;
	struct rig rig;
	keyed.key = "k1";
	rig_start(&rig, NULL);
	ck_assert_int_eq(put(rig.pool, &keyed, "a").st.code, STATUS_OK);
	struct result r = put(rig.pool, &keyed, "b");
	ck_assert_int_eq(r.st.code, STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(problem_of(&r), "idempotency-key-reused");
	ck_assert_uint_eq(rows(rig.pool), 1);
	rig_stop(&rig);
}
END_TEST

START_TEST(a_failed_call_leaves_its_key_free)
{
	choose_store(_i);
	struct caller keyed = ANYBODY;
	struct rig rig;
	keyed.key = "k1";
	rig_start(&rig, NULL);
	ck_assert_int_eq(put(rig.pool, &keyed, "fail").st.code, STATUS_FAILED_PRECONDITION);
	struct result r = put(rig.pool, &keyed, "a");
	ck_assert_msg(status_ok(&r.st), "%s", r.st.message);
	ck_assert_uint_eq(rows(rig.pool), 1);
	rig_stop(&rig);
}
END_TEST

START_TEST(methods_without_a_transaction_and_fast_ones_are_replayed_too)
{
	choose_store(_i);
	struct caller keyed = ANYBODY;
	struct rig rig;
	keyed.key = "k1";
	rig_start(&rig, NULL);
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_eq(runs_of(get(rig.pool, &keyed, PROBE_PURE, "x")), 1);
		struct result r = get(rig.pool, &keyed, PROBE_BATCH, "x");
		ck_assert_msg(status_ok(&r.st), "%s", r.st.message);
		ck_assert_uint_eq(r.limit->limit, 2);
	}
	rig_stop(&rig);
}
END_TEST

struct twin {
	pthread_t thread;
	struct pool *pool;
	const char *key;
	char path[128];
	struct status st;
};

static void *
block_keyed(void *arg)
{
	struct twin *self = arg;
	GetRequest request = CORBEL__V1__GET_LIMIT_REQUEST__INIT;
	Corbel__Bus__Principal principal = CORBEL__BUS__PRINCIPAL__INIT;
	char tenant[] = "ten_1";
	uint8_t bytes[256];
	struct arena own;

	arena_init(&own, 4096, SIZE_MAX);
	request.id = self->path;
	principal.tenant = tenant;
	struct pool_call call = {.method = probe_method(PROBE_BLOCK)->id,
	                         .deadline_mono_ms = clock_mono_ms(clock_system()) + 8000,
	                         .idempotency_key = self->key,
	                         .principal = &principal,
	                         .payload = bytes,
	                         .payload_size = protobuf_c_message_pack(&request.base, bytes)};
	self->st = pool_call_wait(self->pool, &call, &own);
	arena_fini(&own);
	return NULL;
}

START_TEST(a_concurrent_twin_is_told_to_come_back)
{
	choose_store(_i);
	struct rig rig;
	struct twin twin = {.key = "k1"};
	struct waiter gate;
	struct caller keyed = ANYBODY;
	keyed.key = "k1";
	rig_start(&rig, NULL);
	twin.pool = rig.pool;
	snprintf(twin.path, sizeof(twin.path), "%s/gate", dir);
	snprintf(gate.path, sizeof(gate.path), "%s/gate", dir);
	ck_assert_int_eq(pthread_create(&twin.thread, NULL, block_keyed, &twin), 0);
	ck_assert(gate_becomes(&gate, true));
	struct result r = get(rig.pool, &keyed, PROBE_BLOCK, twin.path);
	ck_assert_int_eq(r.st.code, STATUS_ABORTED);
	ck_assert_str_eq(problem_of(&r), "idempotency-in-progress");
	unlink(twin.path);
	pthread_join(twin.thread, NULL);
	ck_assert_msg(status_ok(&twin.st), "%s", twin.st.message);
	rig_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- a process of its own */

/* This program again, as a daemon: see main(). A fork alone would not do once nng has threads. What it tells
 * goes to `log_path`, unless that is NULL. */
static pid_t
spawn_logged(const char *extra, const char *log_path)
{
	int argc;
	char **argv = command_line("", extra, &argc);
	pid_t pid = fork();

	if (pid == 0) {
		int fd = log_path ? open(log_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : STDERR_FILENO;
		if (fd >= 0 && dup2(fd, STDERR_FILENO) >= 0)
			execv("/proc/self/exe", argv);
		_exit(127);
	}
	ck_assert_int_gt(pid, 0);
	return pid;
}

static pid_t
spawn(const char *extra)
{
	return spawn_logged(extra, NULL);
}

/* Waits until the log has the text. */
static void
await_text(const char *log_path, const char *text)
{
	char log[16384];

	for (uint64_t end = test_now_ms() + PATIENCE_MS; test_now_ms() < end; test_pause()) {
		int fd = open(log_path, O_RDONLY | O_CLOEXEC);
		ssize_t got = fd < 0 ? 0 : read(fd, log, sizeof(log) - 1);
		if (fd >= 0)
			close(fd);
		log[got < 0 ? 0 : got] = '\0';
		if (strstr(log, text))
			return;
	}
	ck_abort_msg("%s does not say: %s", log_path, text);
}

static int
exit_code(pid_t pid)
{
	int status = 0;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct client {
	struct bus *bus;
	struct pool *pool;
};

/* Dials the process and waits until it answers. */
static void
client_open_at(struct client *client, const char *address)
{
	struct bus_options options = {.clock = clock_system()};
	struct status st = bus_new(&options, &client->bus);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	struct pool_options pool = {.service = "probe", .address = address};
	st = pool_new(client->bus, &pool, &client->pool);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	struct caller hasty = ANYBODY;
	hasty.timeout_ms = 200;
	for (uint64_t end = test_now_ms() + PATIENCE_MS; test_now_ms() < end; test_pause()) {
		st = get(client->pool, &hasty, PROBE_ECHO, "x").st;
		if (status_ok(&st))
			return;
	}
	ck_abort_msg("the process does not answer: %s", st.message);
}

static void
client_open(struct client *client)
{
	client_open_at(client, arena_printf(&arena, "ipc://%s/run/probe.rep", dir));
}

static void
client_close(struct client *client)
{
	pool_free(client->pool);
	bus_free(client->bus);
}

START_TEST(a_retry_after_kill_9_between_commit_and_reply_gets_the_reply_and_no_second_effect)
{
	choose_store(_i);
	struct caller keyed = ANYBODY;
	struct client client;
	keyed.key = "k1";
	keyed.timeout_ms = 2000;
	pid_t pid = spawn(NULL);
	client_open(&client);
	struct result r = put(client.pool, &keyed, "die");
	ck_assert(!status_ok(&r.st));
	ck_assert_int_eq(exit_code(pid), 128 + SIGKILL);
	client_close(&client);

	pid = spawn(NULL);
	client_open(&client);
	r = put(client.pool, &keyed, "die");
	ck_assert_msg(status_ok(&r.st), "%s", r.st.message);
	ck_assert_uint_eq(r.limit->limit, 1);
	ck_assert_uint_eq(rows(client.pool), 1);
	client_close(&client);
	kill(pid, SIGTERM);
	ck_assert_int_eq(exit_code(pid), 0);
}
END_TEST

START_TEST(a_twin_on_another_replica_is_told_to_come_back)
{
	choose_store(1);
	struct client a, b;
	struct twin twin = {.key = "k1"};
	struct waiter gate;
	struct caller keyed = ANYBODY;
	char *other = arena_printf(&arena, "ipc://%s/other.rep", dir);
	pid_t pids[] = {spawn(NULL), spawn(arena_printf(&arena, "--bus.listen=%s", other))};
	keyed.key = "k1";
	client_open(&a);
	client_open_at(&b, other);
	twin.pool = a.pool;
	snprintf(twin.path, sizeof(twin.path), "%s/gate", dir);
	snprintf(gate.path, sizeof(gate.path), "%s/gate", dir);
	ck_assert_int_eq(pthread_create(&twin.thread, NULL, block_keyed, &twin), 0);
	ck_assert(gate_becomes(&gate, true));
	struct result r = get(b.pool, &keyed, PROBE_BLOCK, twin.path);
	ck_assert_int_eq(r.st.code, STATUS_ABORTED);
	unlink(twin.path);
	pthread_join(twin.thread, NULL);
	ck_assert_msg(status_ok(&twin.st), "%s", twin.st.message);
	r = get(b.pool, &keyed, PROBE_BLOCK, twin.path); /* answered from the row: opens no gate */
	ck_assert_msg(status_ok(&r.st), "%s", r.st.message);
	client_close(&a);
	client_close(&b);
	for (int i = 0; i < 2; i++) {
		kill(pids[i], SIGTERM);
		ck_assert_int_eq(exit_code(pids[i]), 0);
	}
}
END_TEST

START_TEST(a_database_that_is_away_at_start_is_waited_for)
{
	struct client client;
	choose_store(1);
	log_level = "warn";
	const char *stopped_log = arena_printf(&arena, "%s/stopped.log", dir);
	const char *served_log = arena_printf(&arena, "%s/served.log", dir);
	test_postgres_shut_down(postgres);
	pid_t stopped = spawn_logged(NULL, stopped_log), served = spawn_logged(NULL, served_log);
	await_text(stopped_log, "store is away, waiting");
	await_text(served_log, "store is away, waiting");
	kill(stopped, SIGTERM);
	ck_assert_int_eq(exit_code(stopped), 0);
	test_postgres_restart(postgres);
	client_open(&client);
	ck_assert_uint_eq(rows(client.pool), 0);
	client_close(&client);
	kill(served, SIGTERM);
	ck_assert_int_eq(exit_code(served), 0);
}
END_TEST

START_TEST(a_database_that_goes_away_fails_what_needs_it_and_nothing_else)
{
	struct rig rig;
	choose_store(1);
	rig_start(&rig, NULL);
	ck_assert_uint_eq(rows(rig.pool), 0);
	test_postgres_kill(postgres);
	struct result r = get(rig.pool, &ANYBODY, PROBE_COUNT, "x");
	ck_assert_int_eq(r.st.code, STATUS_UNAVAILABLE);
	ck_assert_int_eq(get(rig.pool, &ANYBODY, PROBE_ECHO, "x").st.code, STATUS_OK);
	r = get(rig.pool, &ANYBODY, PROBE_COUNT, "x");
	ck_assert_int_eq(r.st.code, STATUS_UNAVAILABLE);
	ck_assert(r.reply->has_retry_after_ms);
	test_postgres_restart(postgres);
	for (uint64_t end = test_now_ms() + PATIENCE_MS; !status_ok(&r.st) && test_now_ms() < end; test_pause())
		r = get(rig.pool, &ANYBODY, PROBE_COUNT, "x");
	ck_assert_msg(status_ok(&r.st), "%s", r.st.message);
	rig_stop(&rig);
}
END_TEST

START_TEST(sighup_reloads_and_goes_on)
{
	struct client client;
	pid_t pid = spawn(NULL);
	uint64_t runs = 0;
	client_open(&client);
	kill(pid, SIGHUP);
	for (int i = 0; i < 1000 && runs < 1000; i++)
		runs = runs_of(get(client.pool, &ANYBODY, PROBE_PURE, "x"));
	ck_assert_uint_ge(runs, 1000);
	client_close(&client);
	kill(pid, SIGTERM);
	ck_assert_int_eq(exit_code(pid), 0);
}
END_TEST

START_TEST(sigterm_finishes_what_is_under_way_and_exits_0)
{
	struct client client;
	struct waiter waiter;
	pid_t pid = spawn(NULL);
	client_open(&client);
	waiter_start(&waiter, client.pool, 1);
	ck_assert(gate_becomes(&waiter, true));
	kill(pid, SIGTERM);
	int status;
	ck_assert_int_eq(waitpid(pid, &status, WNOHANG), 0);
	waiter_finish(&waiter);
	ck_assert_int_eq(exit_code(pid), 0);
	client_close(&client);
}
END_TEST

START_TEST(work_that_outlasts_the_grace_ends_the_process_with_1)
{
	struct client client;
	struct waiter waiter;
	pid_t pid = spawn("--drain.grace=200ms");
	client_open(&client);
	waiter_start(&waiter, client.pool, 1);
	ck_assert(gate_becomes(&waiter, true));
	kill(pid, SIGTERM);
	ck_assert_int_eq(exit_code(pid), 1);
	unlink(waiter.path);
	pthread_join(waiter.thread, NULL);
	ck_assert(!status_ok(&waiter.st));
	client_close(&client);
}
END_TEST

START_TEST(a_wrong_configuration_exits_2_and_a_right_one_is_only_checked)
{
	ck_assert_int_eq(exit_code(spawn("--check-config")), 0);
	ck_assert_int_eq(exit_code(spawn("--print-config")), 0);
	ck_assert_int_eq(exit_code(spawn("--help")), 0);
	ck_assert_int_eq(exit_code(spawn("--version")), 0);
	ck_assert_int_eq(exit_code(spawn("--probe.size=10")), 2);
	ck_assert_int_eq(exit_code(spawn("--no.such=1")), 2);
	ck_assert_int_eq(exit_code(spawn("--bus.probe=http://x")), 2);
	ck_assert_int_eq(exit_code(spawn("--store.url=mysql://x")), 2);
	ck_assert_int_eq(exit_code(spawn("surplus")), 2);
	ck_assert_int_ne(access(arena_printf(&arena, "%s/run", dir), F_OK), 0);
}
END_TEST

/* ---------------------------------------------------------------- several services in one process */

static struct status
create_nothing(const struct service_env *env, void **self)
{
	(void)env;
	*self = NULL;
	return status_ok_value();
}

START_TEST(services_of_one_process_call_each_other_inside_it)
{
	static const struct service caller = {.name = "caller", .summary = "calls", .create = create_nothing};
	struct rig rig;
	GetRequest request = CORBEL__V1__GET_LIMIT_REQUEST__INIT;
	ProtobufCMessage *reply;
	services[1] = &caller;
	rig_start(&rig, NULL);
	request.id = arena_strdup(&arena, "x7");
	struct status st =
	    host_call(rig.self.host, probe_method(PROBE_ECHO), &request.base, 2000, &arena, &reply);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	ck_assert_str_eq(((Limit *)reply)->id, "x7");
	st = host_call(rig.self.host, probe_method(PROBE_COMPLAIN), &request.base, 2000, &arena, &reply);
	ck_assert_int_eq(st.code, STATUS_FAILED_PRECONDITION);
	ck_assert_str_eq(host_publisher_address(rig.self.host, "probe"), "inproc://probe.pub");
	ck_assert_int_ne(access(arena_printf(&arena, "%s/run/probe.rep", dir), F_OK), 0);
	rig_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- admin port */

START_TEST(the_admin_port_tells_life_readiness_and_metrics)
{
	struct rig rig;
	rig_start(&rig, NULL);
	const char *at = host_admin_address(rig.self.host);
	ck_assert_int_eq(get(rig.pool, &ANYBODY, PROBE_ECHO, "x").st.code, STATUS_OK);
	ck_assert_ptr_nonnull(strstr(http_get(at, "/livez"), " 200 "));
	ck_assert_ptr_nonnull(strstr(http_get(at, "/startupz"), " 200 "));
	char *ready = http_get(at, "/readyz");
	ck_assert_ptr_nonnull(strstr(ready, " 200 "));
	ck_assert_ptr_nonnull(strstr(ready, "\"probe\":[{\"status\":\"pass\"}]"));
	ck_assert_ptr_nonnull(strstr(http_get(at, "/elsewhere"), " 404 "));
	char *metrics = http_get(at, "/metrics");
	ck_assert_ptr_nonnull(
	    strstr(metrics,
	           "corbel_rpc_server_requests_total{service=\"probe\",method=\"Probe/Echo\",code=\"OK\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(
	    metrics, "corbel_rpc_server_duration_seconds_count{service=\"probe\",method=\"Probe/Echo\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(metrics, "\nprocess_open_fds "));
	ck_assert_ptr_null(strstr(metrics, "\nprocess_resident_memory_bytes 0\n"));
	rig_stop(&rig);
}
END_TEST

/* The value of a series in an exposition; -1 when it is not there. */
static double
sample(const char *address, const char *series)
{
	char *text = http_get(address, "/metrics");
	size_t length = strlen(series);
	for (const char *at = text; (at = strstr(at, series)) != NULL; at += length)
		if (at[-1] == '\n' && at[length] == ' ')
			return strtod(at + length, NULL);
	return -1;
}

static bool
sample_becomes(const char *address, const char *series, int value)
{
	for (uint64_t end = test_now_ms() + PATIENCE_MS; test_now_ms() < end; test_pause())
		if ((int)sample(address, series) == value)
			return true;
	return false;
}

START_TEST(metrics_tell_rate_errors_duration_and_calls_in_flight_by_method)
{
	static const char WAITING[] = "corbel_rpc_server_in_flight{service=\"probe\",method=\"Probe/Block\"}";
	static const struct caller STRANGER = {.tenant = "ten_1", .scope = ""};
	struct waiter waiter;
	struct rig rig;

	rig_start(&rig, NULL);
	const char *at = host_admin_address(rig.self.host);
	ck_assert_int_eq(get(rig.pool, &ANYBODY, PROBE_ECHO, "x").st.code, STATUS_OK);
	ck_assert_int_eq(put(rig.pool, &STRANGER, "x").st.code, STATUS_PERMISSION_DENIED);
	waiter_start(&waiter, rig.pool, 1);
	ck_assert(gate_becomes(&waiter, true));
	ck_assert(sample_becomes(at, WAITING, 1));
	ck_assert(sample_becomes(at, "corbel_bus_client_in_flight{service=\"probe\"}", 1));
	waiter_finish(&waiter);
	ck_assert(sample_becomes(at, WAITING, 0));
	ck_assert(sample_becomes(at, "corbel_bus_client_in_flight{service=\"probe\"}", 0));
	ck_assert_int_eq((int)sample(at, "corbel_rpc_server_requests_total{service=\"probe\",method=\"Probe/"
	                                 "Write\",code=\"PERMISSION_DENIED\"}"),
	                 1);
	ck_assert_int_eq(
	    (int)sample(at, "corbel_bus_client_calls_total{service=\"probe\",code=\"PERMISSION_DENIED\"}"), 1);
	ck_assert_int_eq((int)sample(at, "corbel_bus_client_calls_total{service=\"probe\",code=\"OK\"}"), 2);
	ck_assert_int_eq((int)sample(at, "corbel_bus_client_duration_seconds_count{service=\"probe\"}"), 3);
	ck_assert_int_eq((int)sample(at, "corbel_bus_server_calls_total{service=\"probe\"}"), 3);
	rig_stop(&rig);
}
END_TEST

int
main(int argc, char **argv)
{
	services[0] = probe_service();
	if (strcmp(argv[0], "probe") == 0)
		return daemon_main(argc, argv, services);

	Suite *suite = suite_create("daemon");
	TCase *tcase = tcase_create("daemon");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, a_fast_method_answers);
	tcase_add_test(tcase, callers_are_held_to_scope_operator_and_internal_rules);
	tcase_add_test(tcase, bad_calls_are_refused_with_what_is_wrong);
	tcase_add_test(tcase, a_handlers_violations_problem_and_headers_reach_the_caller);
	tcase_add_test(tcase, a_full_queue_refuses_at_once_and_says_when_to_retry);
	tcase_add_test(tcase, work_and_repeated_work_run_with_a_connection);
	tcase_add_loop_test(tcase, a_repeated_key_replays_the_reply_and_runs_nothing, 0, 2);
	tcase_add_loop_test(tcase, a_key_with_another_request_is_refused, 0, 2);
	tcase_add_loop_test(tcase, a_failed_call_leaves_its_key_free, 0, 2);
	tcase_add_loop_test(tcase, methods_without_a_transaction_and_fast_ones_are_replayed_too, 0, 2);
	tcase_add_loop_test(tcase, a_concurrent_twin_is_told_to_come_back, 0, 2);
	tcase_add_loop_test(
	    tcase, a_retry_after_kill_9_between_commit_and_reply_gets_the_reply_and_no_second_effect, 0, 2);
	tcase_add_test(tcase, a_twin_on_another_replica_is_told_to_come_back);
	tcase_add_test(tcase, a_database_that_is_away_at_start_is_waited_for);
	tcase_add_test(tcase, a_database_that_goes_away_fails_what_needs_it_and_nothing_else);
	tcase_add_test(tcase, sighup_reloads_and_goes_on);
	tcase_add_test(tcase, sigterm_finishes_what_is_under_way_and_exits_0);
	tcase_add_test(tcase, work_that_outlasts_the_grace_ends_the_process_with_1);
	tcase_add_test(tcase, a_wrong_configuration_exits_2_and_a_right_one_is_only_checked);
	tcase_add_test(tcase, services_of_one_process_call_each_other_inside_it);
	tcase_add_test(tcase, the_admin_port_tells_life_readiness_and_metrics);
	tcase_add_test(tcase, metrics_tell_rate_errors_duration_and_calls_in_flight_by_method);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
