/*
 * test_runner: waits with a lock and a condition for the runner's thread.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "base/arena.h"
#include "support/test_runner.h"

struct test_run {
	pthread_mutex_t lock;
	pthread_cond_t ended;
	uint64_t id;
	bool is_over;
	struct test_outcome outcome;
};

/* ---------------------------------------------------------------- start */

struct status
test_runner_try(const struct runner_options *options, struct runner **out)
{
	struct runner_options used = options ? *options : (struct runner_options){0};
	const char *bin = getenv("CORBEL_BIN");
	char *path = mem_printf("%s/corbel-zygote", bin ? bin : "build/bin");

	if (!used.zygote)
		used.zygote = path;
	if (!used.slots)
		used.slots = 2;
	struct status st = runner_start(&used, out);
	mem_free(path);
	return st;
}

struct runner *
test_runner_start(const struct runner_options *options)
{
	struct runner *runner = NULL;
	struct status st = test_runner_try(options, &runner);

	ck_assert_msg(status_ok(&st), "%s", st.message);
	return runner;
}

/* ---------------------------------------------------------------- runs */

static void
copy_result(struct test_outcome *outcome, const struct runner_result *result)
{
	const struct runner_violation *first = result->violation_count ? result->violations : NULL;

	*outcome = (struct test_outcome){
	    .outcome = result->outcome,
	    .result = mem_strdup(result->result ? result->result : ""),
	    .log = mem_strdup(result->log),
	    .message = mem_strdup(result->message),
	    .traceback = mem_strdup(result->traceback),
	    .system_call = mem_strdup(result->system_call),
	    .is_log_cut = result->is_log_cut,
	    .system_call_number = result->system_call_number,
	    .violation_count = result->violation_count,
	    .line = first ? first->line : 0,
	    .column = first ? first->column : 0,
	    .reason = mem_strdup(first ? first->reason : ""),
	    .hint = mem_strdup(first ? first->hint : ""),
	    .cpu_us = result->cpu_us,
	    .wall_us = result->wall_us,
	    .memory_peak_bytes = result->memory_peak_bytes,
	};
}

void
test_outcome_free(struct test_outcome *outcome)
{
	mem_free(outcome->result);
	mem_free(outcome->log);
	mem_free(outcome->message);
	mem_free(outcome->traceback);
	mem_free(outcome->system_call);
	mem_free(outcome->reason);
	mem_free(outcome->hint);
}

static void
on_done(void *arg, const struct runner_result *result)
{
	struct test_run *run = arg;

	pthread_mutex_lock(&run->lock);
	copy_result(&run->outcome, result);
	run->is_over = true;
	pthread_cond_broadcast(&run->ended);
	pthread_mutex_unlock(&run->lock);
}

struct test_run *
test_runner_submit(struct runner *runner, const struct runner_request *request)
{
	struct test_run *run = mem_alloc(sizeof(*run));

	pthread_mutex_init(&run->lock, NULL);
	pthread_cond_init(&run->ended, NULL);
	struct status st = runner_submit(runner, request, on_done, run, &run->id);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	return run;
}

uint64_t
test_run_id(const struct test_run *run)
{
	return run->id;
}

bool
test_run_is_over(struct test_run *run)
{
	pthread_mutex_lock(&run->lock);
	bool is_over = run->is_over;
	pthread_mutex_unlock(&run->lock);
	return is_over;
}

struct test_outcome
test_runner_await(struct test_run *run)
{
	pthread_mutex_lock(&run->lock);
	while (!run->is_over)
		pthread_cond_wait(&run->ended, &run->lock);
	pthread_mutex_unlock(&run->lock);
	struct test_outcome outcome = run->outcome;
	pthread_mutex_destroy(&run->lock);
	pthread_cond_destroy(&run->ended);
	mem_free(run);
	return outcome;
}

struct test_outcome
test_runner_request(struct runner *runner, const struct runner_request *request)
{
	return test_runner_await(test_runner_submit(runner, request));
}

struct test_outcome
test_runner_run(struct runner *runner, const char *code, const char *context)
{
	struct runner_request request = {.code = code,
	                                 .code_size = strlen(code),
	                                 .context = context,
	                                 .context_size = context ? strlen(context) : 0};

	return test_runner_request(runner, &request);
}
