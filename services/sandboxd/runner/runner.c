/*
 * runner: what other threads may ask of it.
 *
 * A submission gives a waiting child its request at once, from the thread that submits: the runner's own
 * thread has nothing to do until there is an answer.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/cpus.h"
#include "base/monotonic.h"
#include "base/text.h"
#include "runner/measure.h"
#include "runner/policy.h"
#include "runner/runner_internal.h"

#define PROGRAM            "corbel-zygote"
#define DEFAULT_GENERATION 500u
#define CPU_MS             10000u
#define WALL_MS            30000u
#define MEMORY_BYTES       (UINT64_C(256) << 20)
#define MEMORY_MIN         (UINT64_C(16) << 20)
#define OUTPUT_BYTES       (UINT32_C(1) << 20)
#define LOG_BYTES          (UINT32_C(64) << 10)
#define END_MS             500
/* Of the cgroup: the zygotes, and what a run may usually take, twice. */
#define GROUP_BYTES          (UINT64_C(256) << 20)
#define GROUP_BYTES_PER_SLOT (UINT64_C(512) << 20)
#define GROUP_PROCESSES      (6 * RUNNER_SLOTS_MAX)
/* Children of runs that are over end within moments; more of them than this is a host in trouble. */
#define ENDING_MAX(slots) (3 * (slots) + 16)

/* ---------------------------------------------------------------- start */

/* Beside the program that runs. */
static char *
zygote_path(const char *path)
{
	char self[4096];

	if (path)
		return mem_strdup(path);
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[length > 0 ? length : 0] = '\0';
	char *slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	return mem_printf("%s/" PROGRAM, self);
}

static struct runner *
runner_new(const struct runner_options *options)
{
	struct runner *runner = mem_alloc(sizeof(*runner));

	runner->zygote_path = zygote_path(options->zygote);
	runner->policy = mem_strdup(options->policy ? options->policy : RUNNER_POLICY_DEFAULT);
	runner->layers = options->layers ? options->layers : RUNNER_ALL_LAYERS;
	runner->slots = options->slots ? options->slots : (uint32_t)cpus_available(NULL);
	runner->ready = options->ready ? options->ready : runner->slots;
	runner->generation = options->generation ? options->generation : DEFAULT_GENERATION;
	runner->log = options->log;
	runner->next_id = 1;
	runner->timer_ns = runner->respawn_ns = RUNNER_NEVER;
	runner->figures.slots = runner->slots;
	for (unsigned i = 0; i < RUNNER_LAYERS; i++)
		runner->isolation.layers[i].state = RUNNER_OFF;
	pthread_mutex_init(&runner->lock, NULL);
	monotonic_cond_init(&runner->changed);
	runner->epoll = epoll_create1(EPOLL_CLOEXEC);
	runner->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	runner->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pool_watch(runner, SOURCE_TIMER, 0, runner->timer);
	pool_watch(runner, SOURCE_WAKE, 0, runner->wake);
	return runner;
}

/* The layer is this process's to make: the zygote is put in before it is warm. */
static void
make_cgroup(struct runner *runner, uint64_t memory_bytes)
{
	struct runner_isolation *isolation = &runner->isolation;

	if (!(runner->layers & RUNNER_LAYER(RUNNER_CGROUP)))
		return;
	if (!memory_bytes)
		memory_bytes = GROUP_BYTES + runner->slots * GROUP_BYTES_PER_SLOT;
	runner->cgroup =
	    cgroup_new(CGROUP_HOST, memory_bytes, GROUP_PROCESSES, isolation->layers[RUNNER_CGROUP].why,
	               sizeof(isolation->layers[RUNNER_CGROUP].why));
	isolation->layers[RUNNER_CGROUP].state = runner->cgroup ? RUNNER_ACTIVE : RUNNER_UNAVAILABLE;
}

/* A group can be removed when its last process has ended. */
static void
await_ends(struct runner *runner)
{
	for (struct child *child = runner->children; child; child = child->next) {
		child_kill(child);
		child_await_end(child, END_MS);
	}
}

static void
runner_free(struct runner *runner)
{
	runner->is_stopping = true; /* no other zygote is started */
	if (runner->cgroup)
		await_ends(runner);
	while (runner->children)
		pool_drop_child(runner, runner->children);
	while (runner->zygotes)
		pool_lose_zygote(runner, runner->zygotes);
	cgroup_free(runner->cgroup);
	close(runner->epoll);
	close(runner->timer);
	close(runner->wake);
	pthread_cond_destroy(&runner->changed);
	pthread_mutex_destroy(&runner->lock);
	mem_free(runner->zygote_path);
	mem_free(runner->policy);
	mem_free(runner);
}

static void
wake(struct runner *runner)
{
	uint64_t one = 1;

	if (write(runner->wake, &one, sizeof(one)) < 0)
		return; /* it is readable already */
}

/* False when the time is over. The lock is held. */
static bool
wait_change(struct runner *runner, uint64_t until_ns)
{
	struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
	                         .tv_nsec = (long)(until_ns % 1000000000u)};

	return pthread_cond_timedwait(&runner->changed, &runner->lock, &until) != ETIMEDOUT;
}

/* Until the first zygote is warm, or dead. */
static struct status
await_warmth(struct runner *runner)
{
	uint64_t until_ns = clock_mono_ns(clock_system()) + ZYGOTE_START_NS;
	bool is_early = true;

	pthread_mutex_lock(&runner->lock);
	while (runner->figures.zygote_pid == 0 && runner->figures.zygote_deaths == 0 && is_early)
		is_early = wait_change(runner, until_ns);
	bool is_warm = runner->figures.zygote_pid != 0;
	pthread_mutex_unlock(&runner->lock);
	if (is_warm)
		return status_ok_value();
	return status_make(STATUS_UNAVAILABLE, "%s %s", runner->zygote_path,
	                   is_early ? "ended before it was ready" : "was not ready within 10 s");
}

static struct status
check_options(const struct runner_options *options)
{
	if (options->slots > RUNNER_SLOTS_MAX || options->ready > RUNNER_SLOTS_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "at most %u slots, and as many ready children",
		                   RUNNER_SLOTS_MAX);
	return options->policy ? runner_policy_check(options->policy) : status_ok_value();
}

struct status
runner_start(const struct runner_options *options, struct runner **out)
{
	struct status st = check_options(options);

	if (!status_ok(&st))
		return st;
	struct runner *runner = runner_new(options);
	make_cgroup(runner, options->memory_bytes);
	st = pool_start_zygote(runner);
	if (!status_ok(&st)) {
		runner_free(runner);
		return st;
	}
	if (pthread_create(&runner->thread, NULL, loop_run, runner) != 0) {
		runner_free(runner);
		return status_make(STATUS_UNAVAILABLE, "no thread for the runner");
	}
	st = await_warmth(runner);
	if (status_ok(&st))
		*out = runner;
	else
		runner_stop(runner, 0);
	return st;
}

/* ---------------------------------------------------------------- runs */

static struct status
take_limits(const struct runner_limits *asked, struct runner_limits *limits)
{
	*limits = *asked;
	limits->cpu_ms = asked->cpu_ms ? asked->cpu_ms : CPU_MS;
	limits->wall_ms = asked->wall_ms ? asked->wall_ms : WALL_MS;
	limits->memory_bytes = asked->memory_bytes ? asked->memory_bytes : MEMORY_BYTES;
	limits->output_bytes = asked->output_bytes ? asked->output_bytes : OUTPUT_BYTES;
	limits->log_bytes = asked->log_bytes ? asked->log_bytes : LOG_BYTES;
	if (limits->memory_bytes < MEMORY_MIN)
		return status_make(STATUS_INVALID_ARGUMENT, "a run needs at least %u MiB of memory",
		                   (unsigned)(MEMORY_MIN >> 20));
	if (limits->output_bytes > RUNNER_OUTPUT_MAX || limits->log_bytes > RUNNER_LOG_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "at most %u bytes of output and %u of log",
		                   RUNNER_OUTPUT_MAX, RUNNER_LOG_MAX);
	return status_ok_value();
}

static struct status
check_request(const struct runner_request *request)
{
	const char *name = request->file_name ? request->file_name : "";

	if (request->code_size > RUNNER_CODE_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "code has at most %u bytes", RUNNER_CODE_MAX);
	if (request->context && request->context_size > RUNNER_CONTEXT_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "context has at most %u bytes", RUNNER_CONTEXT_MAX);
	if (strlen(name) > RUNNER_FILE_NAME_MAX || !text_is_utf8(name, strlen(name)))
		return status_make(STATUS_INVALID_ARGUMENT, "a file name is UTF-8 of at most %u bytes",
		                   RUNNER_FILE_NAME_MAX);
	return status_ok_value();
}

/* Why nothing can be run just now. */
static struct status
check_state(const struct runner *runner)
{
	if (runner->is_stopping)
		return status_make(STATUS_UNAVAILABLE, "the runner stops");
	if (!runner->isolation.is_enough)
		return status_make(STATUS_FAILED_PRECONDITION,
		                   "this host does not confine programs well enough: no %s",
		                   runner->isolation.missing);
	if (runner->figures.running >= runner->slots)
		return status_make(STATUS_RESOURCE_EXHAUSTED, "all %u slots are taken", runner->slots);
	if (runner->failed_starts > 1)
		return status_make(STATUS_UNAVAILABLE, "the zygote does not start");
	return status_ok_value();
}

static bool
has_too_many(const struct runner *runner)
{
	uint32_t count = 0;

	for (const struct child *child = runner->children; child; child = child->next)
		count += child->state == CHILD_ENDING;
	return count >= ENDING_MAX(runner->slots);
}

/* A child that waits, or a new one. */
static struct child *
find_child(struct runner *runner)
{
	struct child *child = pool_waiting(runner);

	if (child || has_too_many(runner))
		return child;
	return pool_make_child(runner);
}

struct status
runner_submit(struct runner *runner, const struct runner_request *request, runner_done done, void *arg,
              uint64_t *id)
{
	struct runner_limits limits;
	struct status st = check_request(request);

	if (status_ok(&st))
		st = take_limits(&request->limits, &limits);
	if (!status_ok(&st))
		return st;
	pthread_mutex_lock(&runner->lock);
	st = check_state(runner);
	struct child *child = status_ok(&st) ? find_child(runner) : NULL;
	if (child) {
		*id = child->id;
		run_begin(child, request, &limits);
		child->run.done = done;
		child->run.arg = arg;
		runner->figures.running++;
		runner->figures.started++;
		if (!run_send(child) || !run_is_sent(&child->run))
			pool_watch_room(runner, child, true);
		if (!child->zygote)
			pool_wake_at(runner, 1); /* it may be that none is on its way */
		pool_wake_at(runner, child->run.deadline_ns);
		pool_wake_at(runner, child->run.cpu_check_ns);
	} else if (status_ok(&st)) {
		st = status_make(STATUS_RESOURCE_EXHAUSTED, "no process or descriptor is left");
	}
	pthread_mutex_unlock(&runner->lock);
	return st;
}

static void
cancel(struct child *child)
{
	child->run.verdict = "the run was cancelled";
	child->run.verdict_outcome = RUNNER_CANCELLED;
}

bool
runner_cancel(struct runner *runner, uint64_t id)
{
	pthread_mutex_lock(&runner->lock);
	struct child *child = pool_child(runner, id);
	bool is_found = child && child->state == CHILD_RUNNING && !child->run.verdict;
	if (is_found)
		cancel(child);
	pthread_mutex_unlock(&runner->lock);
	if (is_found)
		wake(runner);
	return is_found;
}

/* ---------------------------------------------------------------- what is known */

void
runner_isolation(struct runner *runner, struct runner_isolation *out)
{
	pthread_mutex_lock(&runner->lock);
	*out = runner->isolation;
	pthread_mutex_unlock(&runner->lock);
}

void
runner_figures(struct runner *runner, struct runner_figures *out)
{
	pid_t sample = 0;

	pthread_mutex_lock(&runner->lock);
	*out = runner->figures;
	for (const struct child *child = runner->children; child; child = child->next) {
		if (child->state != CHILD_WAITING || child->pid == 0)
			continue;
		out->ready++;
		sample = child->pid;
	}
	pthread_mutex_unlock(&runner->lock);
	out->child_own_bytes = sample ? measure_own_bytes(sample) : 0;
}

/* ---------------------------------------------------------------- stop */

void
runner_stop(struct runner *runner, uint32_t grace_ms)
{
	uint64_t until_ns = clock_mono_ns(clock_system()) + grace_ms * UINT64_C(1000000);

	pthread_mutex_lock(&runner->lock);
	runner->is_stopping = true;
	while (runner->figures.running > 0 && wait_change(runner, until_ns))
		continue;
	for (struct child *child = runner->children; child; child = child->next)
		if (child->state == CHILD_RUNNING && !child->run.verdict)
			cancel(child);
	pthread_mutex_unlock(&runner->lock);
	wake(runner);
	pthread_join(runner->thread, NULL);
	runner_free(runner);
}
