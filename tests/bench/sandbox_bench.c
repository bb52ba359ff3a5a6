/*
 * sandbox: a trivial plugin, run by run, beside an empty fork and wait of the same zygote, with each layer
 * alone and all of them; and beside what others do for such a program: bubblewrap with a fresh python3, and a
 * new isolate of isolated-vm (set NODE_PATH to where npm has installed it).
 *
 * All are measured in turns in one process, one run at a time: the ratios count. "ready" is a run whose child
 * was waiting, as is usual; "in a row" is run after run, so the forks of the next children are part
 * of it: the mean.
 */
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "runner.h"
#include "samples.h"

#define ROUNDS     3
#define RUNS       120
#define BWRAP_RUNS 12

extern char **environ;

static const char CODE[] = "result = sum(context[\"numbers\"]) * 2", CONTEXT[] = "{\"numbers\": [1, 2, 3]}";

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
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static const char *
zygote_path(void)
{
	static char path[4096];
	const char *bin = getenv("CORBEL_BIN");

	snprintf(path, sizeof(path), "%s/corbel-zygote", bin ? bin : "build/bin");
	return path;
}

/* ---------------------------------------------------------------- our runs */

struct wait {
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool is_over;
};

static void
on_done(void *arg, const struct runner_result *result)
{
	struct wait *wait = arg;

	must(result->outcome == RUNNER_OK && strcmp(result->result, "12") == 0, result->message);
	pthread_mutex_lock(&wait->lock);
	wait->is_over = true;
	pthread_cond_signal(&wait->over);
	pthread_mutex_unlock(&wait->lock);
}

static uint64_t
run_once(struct runner *runner)
{
	struct runner_request request = {
	    .code = CODE, .code_size = sizeof(CODE) - 1, .context = CONTEXT, .context_size = sizeof(CONTEXT) - 1};
	struct wait wait = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
	uint64_t begin = now_us(), id;
	struct status st = runner_submit(runner, &request, on_done, &wait, &id);

	must(status_ok(&st), st.message);
	pthread_mutex_lock(&wait.lock);
	while (!wait.is_over)
		pthread_cond_wait(&wait.over, &wait.lock);
	pthread_mutex_unlock(&wait.lock);
	return now_us() - begin;
}

static void
await_child(struct runner *runner)
{
	struct runner_figures figures;

	do {
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
		runner_figures(runner, &figures);
	} while (figures.ready == 0);
}

struct layers_cost {
	const char *name;
	uint32_t layers;
	struct samples ready, in_a_row;
};

static void
measure_layers(struct layers_cost *cost, uint64_t *own_bytes)
{
	struct runner_options options = {.zygote = zygote_path(),
	                                 .policy = RUNNER_POLICY_NONE,
	                                 .layers = cost->layers,
	                                 .slots = 4,
	                                 .ready = 4,
	                                 .generation = UINT32_MAX};
	struct runner_figures figures;
	struct runner *runner;
	struct status st = runner_start(&options, &runner);

	must(status_ok(&st), st.message);
	for (int i = 0; i < RUNS; i++) {
		await_child(runner);
		samples_add(&cost->ready, run_once(runner));
	}
	uint64_t begin = now_us();
	for (int i = 0; i < RUNS; i++)
		run_once(runner);
	samples_add(&cost->in_a_row, (now_us() - begin) / RUNS);
	await_child(runner);
	runner_figures(runner, &figures);
	*own_bytes = figures.child_own_bytes;
	runner_stop(runner, 0);
}

/* ---------------------------------------------------------------- others */

/* A number that a command prints; 0: it does not run. */
static uint64_t
number_of(const char *command)
{
	unsigned long long number = 0;
	FILE *out = popen(command, "re");

	if (out && fscanf(out, "%llu", &number) != 1)
		number = 0;
	if (out)
		pclose(out);
	return number;
}

static uint64_t
fork_cost(void)
{
	char command[4200];

	snprintf(command, sizeof(command), "%s --fork-cost", zygote_path());
	return number_of(command);
}

static bool
bwrap_once(void)
{
	static const char *const WORDS[] = {
	    "bwrap",
	    "--unshare-all",
	    "--die-with-parent",
	    "--ro-bind",
	    "/usr",
	    "/usr",
	    "--symlink",
	    "usr/lib",
	    "/lib",
	    "--symlink",
	    "usr/lib64",
	    "/lib64",
	    "/usr/bin/python3",
	    "-I",
	    "-S",
	    "-c",
	    ("import json, math, statistics, datetime, re, decimal, itertools, functools,"
	     " collections, string, random, hashlib\n"
	     "assert sum(json.loads('[1, 2, 3]')) * 2 == 12"),
	    NULL};
	union {
		const char *const *constant;
		char *const *plain;
	} words = {.constant = WORDS};
	pid_t pid;
	int status = 1;

	return posix_spawnp(&pid, "bwrap", NULL, NULL, words.plain, environ) == 0 &&
	       waitpid(pid, &status, 0) == pid && status == 0;
}

static void
measure_bwrap(struct samples *samples)
{
	for (int i = 0; i < BWRAP_RUNS; i++) {
		uint64_t begin = now_us();
		if (!bwrap_once())
			return;
		samples_add(samples, now_us() - begin);
	}
}

static void
measure_isolated_vm(struct samples *samples)
{
	char command[4200];
	const char *source = getenv("CORBEL_SOURCE");

	snprintf(command, sizeof(command), "node %s/tests/bench/isolated_vm.js 2>/dev/null",
	         source ? source : ".");
	uint64_t us = number_of(command);
	if (us)
		samples_add(samples, us);
}

/* ---------------------------------------------------------------- report */

static void
print_peer(const char *name, struct samples *samples, uint64_t ours)
{
	uint64_t theirs = samples_quantile(samples, 0.5);

	if (theirs)
		printf("%-34s %8llu us  %.1f times a run in a row of ours\n", name, (unsigned long long)theirs,
		       (double)theirs / (double)ours);
	else
		printf("%-34s not here\n", name);
}

int
main(void)
{
	static struct layers_cost costs[] = {
	    {.name = "no layer", .layers = RUNNER_LAYER(RUNNER_CGROUP)},
	    {.name = "rlimits", .layers = RUNNER_LAYER(RUNNER_RLIMITS)},
	    {.name = "no_new_privs", .layers = RUNNER_LAYER(RUNNER_NO_NEW_PRIVS)},
	    {.name = "seccomp", .layers = RUNNER_LAYER(RUNNER_SECCOMP)},
	    {.name = "landlock", .layers = RUNNER_LAYER(RUNNER_LANDLOCK)},
	    {.name = "namespaces", .layers = RUNNER_LAYER(RUNNER_NAMESPACES)},
	    {.name = "all", .layers = RUNNER_ALL_LAYERS},
	};
	static struct samples forks, bwrap, isolates;
	size_t count = sizeof(costs) / sizeof(costs[0]);
	struct layers_cost *all = &costs[count - 1];
	uint64_t own_bytes = 0;

	for (int round = 0; round < ROUNDS; round++) {
		samples_add(&forks, fork_cost());
		for (size_t i = 0; i < count; i++)
			measure_layers(&costs[i], &own_bytes);
		samples_add(&forks, fork_cost());
		measure_bwrap(&bwrap);
		measure_isolated_vm(&isolates);
	}
	uint64_t fork_us = samples_quantile(&forks, 0.5);
	printf("%-34s %8llu us\n\n%-20s %12s %12s %14s\n", "empty fork and wait", (unsigned long long)fork_us,
	       "layers", "ready, p50", "ready, p99", "in a row, mean");
	for (size_t i = 0; i < count; i++)
		printf("%-20s %9llu us %9llu us %11llu us\n", costs[i].name,
		       (unsigned long long)samples_quantile(&costs[i].ready, 0.5),
		       (unsigned long long)samples_quantile(&costs[i].ready, 0.99),
		       (unsigned long long)samples_quantile(&costs[i].in_a_row, 0.5));
	uint64_t ready = samples_quantile(&all->ready, 0.5), in_a_row = samples_quantile(&all->in_a_row, 0.5);
	printf("\nall layers: ready %.2f times an empty fork and wait, in a row %.2f times\n",
	       (double)ready / (double)fork_us, (double)in_a_row / (double)fork_us);
	printf("memory of a waiting child that nobody shares: %.1f MB\n", (double)own_bytes / 1e6);
	print_peer("bwrap and python3", &bwrap, in_a_row);
	print_peer("isolated-vm, new isolates in a row", &isolates, in_a_row);
	return 0;
}
