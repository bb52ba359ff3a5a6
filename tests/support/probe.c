/*
 * probe: hand-made tables over messages of the contract, and handlers that show what the daemon does.
 */
#include "support/probe.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "corbel/contract.gen.h"

typedef Corbel__V1__GetLimitRequest GetRequest;
typedef Corbel__V1__CreateLimitRequest WriteRequest;
typedef Corbel__V1__Limit Limit;

struct probe {
	atomic_ulong runs;
};

static const struct store_migration migrations[] = {
    {1, "init", "CREATE TABLE effect (number BIGINT PRIMARY KEY, name TEXT NOT NULL);\n", 0},
    {0, NULL, NULL, 0}};
static const struct store_sql INSERT = {
    "effect_insert",
    "INSERT INTO effect (number, name) SELECT COALESCE(MAX(number), 0) + 1, $1 FROM effect RETURNING number"};
static const struct store_sql COUNT = {"effect_count", "SELECT COUNT(*) FROM effect"};

static void
set_limit(ProtobufCMessage *reply, uint64_t value)
{
	Limit *limit = (Limit *)reply;
	limit->has_limit = true;
	limit->limit = value;
}

static struct status
echo(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	(void)call;
	((Limit *)reply)->id = ((const GetRequest *)request)->id;
	return status_ok_value();
}

static struct status
complain(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	(void)request;
	(void)reply;
	call_violation(call, "/id", "must be %s", "nicer");
	call_retry_after_ms(call, 1234);
	call_problem(call, "not-nice");
	call_header(call, "X-Probe", "yes");
	return status_make(STATUS_FAILED_PRECONDITION, "not nice");
}

static struct status
insert(struct call *call, struct store_tx *tx, const char *name, ProtobufCMessage *reply)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &INSERT, STORE_PARAMS(store_text(name)), 1, call_arena(call), &rows);

	if (status_ok(&st))
		set_limit(reply, (uint64_t)row_i64(rows, 0, 0));
	if (status_ok(&st) && strcmp(name, "fail") == 0)
		st = status_make(STATUS_FAILED_PRECONDITION, "as asked");
	return st;
}

static struct status
write_row(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	const char *name = ((const WriteRequest *)request)->name;
	struct store_tx tx;
	struct status st = store_begin(call_store(call), &tx);

	if (!status_ok(&st))
		return st;
	st = store_end(&tx, insert(call, &tx, name, reply));
	if (strcmp(name, "die") == 0)
		raise(SIGKILL);
	return st;
}

static struct status
count_rows(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	struct store_rows *rows;
	struct status st = store_read(call_store(call), &COUNT, NULL, 0, 1, call_arena(call), &rows);

	(void)request;
	if (status_ok(&st))
		set_limit(reply, (uint64_t)row_i64(rows, 0, 0));
	return st;
}

static struct status
block(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	const char *path = ((const GetRequest *)request)->id;
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	(void)call;
	(void)reply;
	if (fd < 0)
		return status_make(STATUS_INTERNAL, "cannot create the gate");
	close(fd);
	while (access(path, F_OK) == 0)
		usleep(1000); /* the gate is a file, since the test may be another process */
	return status_ok_value();
}

static struct status
run_pure(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	struct probe *self = call_service(call);

	(void)request;
	set_limit(reply, atomic_fetch_add(&self->runs, 1) + 1);
	return status_ok_value();
}

static void
run_batch(void *arg, struct call *calls[], size_t count)
{
	struct probe *self = arg;

	for (size_t i = 0; i < count; i++) {
		set_limit(call_reply(calls[i]), atomic_fetch_add(&self->runs, 1) + 1);
		call_end(calls[i], status_ok_value());
	}
}

static service_batch
batch_for(void *self, const struct api_method *method)
{
	(void)self;
	return method->is_batched ? run_batch : NULL;
}

static struct status
create(const struct service_env *env, void **self)
{
	(void)env;
	*self = mem_alloc(sizeof(struct probe));
	return status_ok_value();
}

static void
reload(void *arg)
{
	struct probe *self = arg;
	atomic_fetch_add(&self->runs, 1000);
}

static const struct config_option options[] = {
    {.name = "probe.size", .type = CONFIG_INTEGER, .def = "3", .min = 1, .max = 9, .help = "A number."},
    {.name = NULL}};

static const api_handler handlers[PROBE_METHODS] = {echo, NULL, write_row, count_rows, block,
                                                    echo, echo, echo,      complain,   run_pure};

static struct api_method methods[PROBE_METHODS] = {
    [PROBE_ECHO] =
        {.name = "Probe/Echo", .verb = API_POST, .path = "/e", .scope = "probe.read", .is_fast = true},
    [PROBE_BATCH] = {.name = "Probe/Batch",
                     .verb = API_POST,
                     .path = "/b",
                     .scope = "",
                     .is_fast = true,
                     .is_batched = true},
    [PROBE_WRITE] = {.name = "Probe/Write", .verb = API_POST, .path = "/w", .scope = "probe.write"},
    [PROBE_COUNT] = {.name = "Probe/Count", .verb = API_GET, .path = "/c", .scope = ""},
    [PROBE_BLOCK] = {.name = "Probe/Block", .verb = API_POST, .path = "/k", .scope = ""},
    [PROBE_INTERNAL] = {.name = "Probe/Internal", .scope = "", .is_fast = true},
    [PROBE_OPERATE] = {.name = "Probe/Operate",
                       .verb = API_POST,
                       .path = "/o",
                       .scope = "",
                       .is_fast = true,
                       .is_operator_only = true},
    [PROBE_PUBLIC] = {.name = "Probe/Public",
                      .verb = API_GET,
                      .path = "/p",
                      .scope = "",
                      .is_public = true,
                      .is_fast = true},
    [PROBE_COMPLAIN] =
        {.name = "Probe/Complain", .verb = API_POST, .path = "/n", .scope = "", .is_fast = true},
    [PROBE_PURE] = {.name = "Probe/Pure", .verb = API_POST, .path = "/u", .scope = ""}};

static const struct api_service api = {
    .name = "Probe", .daemon = "probe", .methods = methods, .method_count = PROBE_METHODS};
static const struct service_handlers handler_tables[] = {{&api, handlers}, {NULL, NULL}};

static const struct service probe = {.name = "probe",
                                     .summary = "a service for tests",
                                     .options = options,
                                     .handlers = handler_tables,
                                     .migrations = migrations,
                                     .workers = 2,
                                     .create = create,
                                     .batch = batch_for,
                                     .destroy = mem_free,
                                     .reload = reload};

const struct service *
probe_service(void)
{
	for (size_t i = 0; i < PROBE_METHODS; i++) {
		struct api_method *method = &methods[i];
		method->id = 0x70000000u + (uint32_t)i * 64; /* all in one chain of the dispatcher's table */
		method->full_name = method->name;
		method->daemon = "probe";
		method->deadline_ms = 10000;
		method->index = i;
		method->request = api_message_of(i == PROBE_WRITE ? &corbel__v1__create_limit_request__descriptor
		                                                  : &corbel__v1__get_limit_request__descriptor);
		method->reply = api_message_of(&corbel__v1__limit__descriptor);
	}
	return &probe;
}

const struct api_method *
probe_method(enum probe_method method)
{
	return &methods[method];
}
