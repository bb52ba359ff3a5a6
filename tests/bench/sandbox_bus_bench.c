/*
 * sandbox_bus: a trivial plugin, asked of sandboxd over the bus, beside an empty fork and wait of the same
 * zygote program; how soon a run that is cancelled has ended, and a killed zygote is replaced, as its callers
 * see it.
 *
 * Runs and forks are measured in turns, one at a time: the ratio counts. "ready" is a run whose child was
 * waiting, as is usual; "in a row" is run after run, so that the forks of the next children are part of it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "bus/pool.h"
#include "child.h"
#include "corbel/contract.gen.h"
#include "samples.h"

#define ROUNDS   5
#define RUNS     80
#define ENDS     20
#define DEATHS   10
#define START_MS 20000u
#define CALL_MS  60000u

static const char CODE[] = "result = sum(context[\"numbers\"]) * 2", CONTEXT[] = "{\"numbers\": [1, 2, 3]}",
                  ENDLESS[] = "while True:\n    pass\n", RUN_ID[] = "run_0192f0c1a2b37c4d8e9fa0b1c2d3e4f5";

static uint64_t
now_us(void)
{
	return clock_mono_ns(clock_system()) / 1000u;
}

static void
must(bool is_so, const char *what)
{
	if (is_so)
		return;
	fprintf(stderr, "sandbox_bus_bench: %s\n", what);
	exit(1);
}

static void
pause_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---------------------------------------------------------------- the daemon */

struct rig {
	char dir[64];
	pid_t pid;
	struct bus *bus;
	struct pool *pool;
	Corbel__Bus__Principal principal;
};

static void
spawn(struct rig *rig, const char *bin)
{
	struct arena arena;

	arena_init(&arena, 4096, 1u << 20);
	char *argv[] = {arena_printf(&arena, "%s/sandboxd", bin),
	                arena_printf(&arena, "--data=%s/data", rig->dir),
	                arena_printf(&arena, "--bus.template=ipc://%s/{name}.rep", rig->dir),
	                arena_printf(&arena, "--pub.template=ipc://%s/{name}.pub", rig->dir),
	                arena_strdup(&arena, "--admin.listen="),
	                arena_strdup(&arena, "--log.level=error"),
	                NULL};
	rig->pid = child_fork();
	must(rig->pid >= 0, "sandboxd does not start");
	if (rig->pid == 0) {
		int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
		dup2(quiet, STDOUT_FILENO);
		execv(argv[0], argv);
		_exit(127);
	}
	arena_fini(&arena);
}

static void
rig_start(struct rig *rig, const char *bin)
{
	static char tenant[] = "ten_bench", scope[] = "*", *scopes[] = {scope};
	char address[128];

	snprintf(rig->dir, sizeof(rig->dir), "/tmp/corbel-bench-XXXXXX");
	must(mkdtemp(rig->dir) != NULL, "no directory");
	spawn(rig, bin);
	snprintf(address, sizeof(address), "ipc://%s/sandboxd.rep", rig->dir);
	struct status st = bus_new(&(struct bus_options){.node = "bench"}, &rig->bus);
	if (status_ok(&st))
		st =
		    pool_new(rig->bus, &(struct pool_options){.service = "sandboxd", .address = address}, &rig->pool);
	must(status_ok(&st), st.message);
	for (uint32_t waited = 0; pool_healthy(rig->pool) == 0; waited += 10) {
		must(waited < START_MS, "sandboxd does not answer");
		pause_ms(10);
	}
	corbel__bus__principal__init(&rig->principal);
	rig->principal.tenant = tenant;
	rig->principal.scopes = scopes;
	rig->principal.n_scopes = 1;
}

static void
rig_stop(struct rig *rig)
{
	char command[128];

	pool_free(rig->pool);
	bus_free(rig->bus);
	kill(rig->pid, SIGTERM);
	waitpid(rig->pid, NULL, 0);
	snprintf(command, sizeof(command), "rm -rf %s", rig->dir);
	must(system(command) == 0, "the directory stays");
}

/* ---------------------------------------------------------------- calls */

static struct status
call(struct rig *rig, const struct api_method *method, const ProtobufCMessage *request, struct arena *arena,
     const ProtobufCMessage **reply)
{
	struct arena_allocator memory = arena_allocator(arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	size_t size = protobuf_c_message_get_packed_size(request);
	uint8_t *bytes = arena_alloc_raw(arena, size + 1);
	struct pool_call call = {.method = method->id,
	                         .is_fast = method->is_fast,
	                         .is_waiting = method->is_waiting,
	                         .deadline_mono_ms = now_us() / 1000 + CALL_MS,
	                         .principal = &rig->principal,
	                         .payload = bytes,
	                         .payload_size = protobuf_c_message_pack(request, bytes)};
	struct status st = pool_call_wait(rig->pool, &call, arena);

	if (status_ok(&st))
		*reply = protobuf_c_message_unpack(method->reply->descriptor, &allocator, call.reply->payload.len,
		                                   call.reply->payload.data);
	return st;
}

static ProtobufCBinaryData
bytes_of(const char *text)
{
	return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)(uintptr_t)text};
}

/* An id to free. */
static char *
create(struct rig *rig)
{
	Corbel__V1__CreatePluginRequest request = CORBEL__V1__CREATE_PLUGIN_REQUEST__INIT;
	const ProtobufCMessage *reply;
	struct arena arena;

	arena_init(&arena, 4096, 1u << 20);
	request.name = (char *)(uintptr_t) "sum";
	request.code = (char *)(uintptr_t)CODE;
	request.has_install = request.install = true;
	struct status st = call(rig, PLUGINS_CREATE, &request.base, &arena, &reply);
	must(status_ok(&st), st.message);
	char *id = strdup(((const Corbel__V1__Plugin *)(const void *)reply)->id);
	arena_fini(&arena);
	return id;
}

/* False: its zygote died under it, which is told apart and is the caller's to try again. */
static bool
try_run(struct rig *rig, const char *plugin)
{
	Corbel__V1__RunPluginRequest request = CORBEL__V1__RUN_PLUGIN_REQUEST__INIT;
	const ProtobufCMessage *reply;
	struct arena arena;

	arena_init(&arena, 4096, 1u << 20);
	request.id = (char *)(uintptr_t)plugin;
	request.has_context = true;
	request.context = bytes_of(CONTEXT);
	struct status st = call(rig, PLUGIN_RUNS_RUN, &request.base, &arena, &reply);
	must(status_ok(&st), st.message);
	const Corbel__V1__PluginRun *run = (const void *)reply;
	bool has_ended = run->outcome != CORBEL__V1__RUN_OUTCOME__HOST_ERROR;
	must(!has_ended || (run->outcome == CORBEL__V1__RUN_OUTCOME__OK && run->result.len == 2),
	     "another result than 12");
	arena_fini(&arena);
	return has_ended;
}

/* Microseconds. */
static uint64_t
run_once(struct rig *rig, const char *plugin)
{
	uint64_t begin = now_us();

	must(try_run(rig, plugin), "a run failed on this host");
	return now_us() - begin;
}

/* ---------------------------------------------------------------- cancelling */

static void *
run_endless(void *arg)
{
	struct rig *rig = arg;
	Corbel__V1__RunCodeRequest request = CORBEL__V1__RUN_CODE_REQUEST__INIT;
	const ProtobufCMessage *reply;
	struct arena arena;

	arena_init(&arena, 4096, 1u << 20);
	request.code = (char *)(uintptr_t)ENDLESS;
	request.run_id = (char *)(uintptr_t)RUN_ID;
	struct status st = call(rig, PLUGIN_RUNS_RUN_CODE, &request.base, &arena, &reply);
	must(status_ok(&st), st.message);
	must(((const Corbel__V1__PluginRun *)(const void *)reply)->outcome == CORBEL__V1__RUN_OUTCOME__CANCELLED,
	     "a run that was not cancelled");
	arena_fini(&arena);
	return NULL;
}

/* From the call to cancel until who waits for the run has its end. */
static uint64_t
cancel_once(struct rig *rig)
{
	Corbel__V1__GetRunRequest request = CORBEL__V1__GET_RUN_REQUEST__INIT;
	const ProtobufCMessage *reply;
	struct status st;
	struct arena arena;
	pthread_t thread;
	uint64_t begin;

	must(pthread_create(&thread, NULL, run_endless, rig) == 0, "no thread");
	pause_ms(30);
	arena_init(&arena, 4096, 1u << 20);
	request.id = (char *)(uintptr_t)RUN_ID;
	do {
		begin = now_us();
		st = call(rig, PLUGIN_RUNS_CANCEL, &request.base, &arena, &reply);
	} while (st.code == STATUS_NOT_FOUND);
	must(status_ok(&st), st.message);
	pthread_join(thread, NULL);
	arena_fini(&arena);
	return now_us() - begin;
}

/* ---------------------------------------------------------------- deaths */

/* The zygote that is not on its way out: sandboxd has no other child. */
static pid_t
zygote_of(const struct rig *rig)
{
	char command[96];
	int pid = 0;

	snprintf(command, sizeof(command), "pgrep -n -P %d", rig->pid);
	FILE *out = popen(command, "re");
	if (!out || fscanf(out, "%d", &pid) != 1)
		pid = 0;
	if (out)
		pclose(out);
	return pid;
}

/* From the kill of the zygote until a run that was asked for at once has its result; one that was given to a
 * child that died with it is asked for again. */
static uint64_t
die_once(struct rig *rig, const char *plugin)
{
	pid_t zygote = zygote_of(rig);

	must(zygote > 0, "no zygote");
	pause_ms(20);
	uint64_t begin = now_us();
	kill(zygote, SIGKILL);
	while (!try_run(rig, plugin))
		continue;
	return now_us() - begin;
}

/* ---------------------------------------------------------------- all */

static uint64_t
fork_cost(const char *bin)
{
	char command[4200];
	unsigned long long number = 0;

	snprintf(command, sizeof(command), "%s/corbel-zygote --fork-cost", bin);
	FILE *out = popen(command, "re");
	must(out && fscanf(out, "%llu", &number) == 1, "the zygote does not tell what a fork costs");
	pclose(out);
	return number;
}

static void
print(const char *name, struct samples *samples)
{
	printf("%-44s p50 %7llu us  p99 %7llu us\n", name, (unsigned long long)samples_quantile(samples, 0.5),
	       (unsigned long long)samples_quantile(samples, 0.99));
}

int
main(void)
{
	static struct samples forks, ready, in_a_row, cancels, deaths;
	const char *said = getenv("CORBEL_BIN"), *bin = said ? said : "build/bin";
	struct rig rig;

	rig_start(&rig, bin);
	char *plugin = create(&rig);
	for (int round = 0; round < ROUNDS; round++) {
		samples_add(&forks, fork_cost(bin));
		for (int i = 0; i < RUNS; i++) {
			pause_ms(3);
			samples_add(&ready, run_once(&rig, plugin));
		}
		for (int i = 0; i < RUNS; i++)
			samples_add(&in_a_row, run_once(&rig, plugin));
		samples_add(&forks, fork_cost(bin));
	}
	for (int i = 0; i < ENDS; i++)
		samples_add(&cancels, cancel_once(&rig));
	for (int i = 0; i < DEATHS; i++)
		samples_add(&deaths, die_once(&rig, plugin));
	print("an empty fork and wait of the zygote", &forks);
	print("a run over the bus, a child was waiting", &ready);
	print("a run over the bus, in a row", &in_a_row);
	print("a cancelled run's end", &cancels);
	print("a run's result, the zygote just killed", &deaths);
	double fork_us = (double)samples_quantile(&forks, 0.5);
	printf("over the bus: %.2f times an empty fork and wait with a waiting child, %.2f in a row\n",
	       (double)samples_quantile(&ready, 0.5) / fork_us,
	       (double)samples_quantile(&in_a_row, 0.5) / fork_us);
	free(plugin);
	rig_stop(&rig);
	return 0;
}
