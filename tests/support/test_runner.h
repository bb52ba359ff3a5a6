/*
 * test_runner: programs given to a runner with the real zygote, and what came of them.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_RUNNER_H
#define CORBEL_TESTS_SUPPORT_TEST_RUNNER_H

#include "runner.h"

/* A result that outlives its callback; texts are copies. */
struct test_outcome {
	enum runner_outcome outcome;
	char *result, *log, *message, *traceback, *system_call; /* "" when there is none */
	bool is_log_cut;
	int system_call_number;
	size_t violation_count;
	uint32_t line, column; /* of the first violation */
	char *reason, *hint;
	uint64_t cpu_us, wall_us, memory_peak_bytes;
};

struct test_run;

/* Slots: 2. `options` may be NULL; its zygote is the built one unless it is said. Aborts when it does not
 * start. */
struct runner *test_runner_start(const struct runner_options *options);
/* What runner_start() says with these options. */
struct status test_runner_try(const struct runner_options *options, struct runner **out);
/* Aborts when the runner does not accept it. */
struct test_run *test_runner_submit(struct runner *runner, const struct runner_request *request);
uint64_t test_run_id(const struct test_run *run);
bool test_run_is_over(struct test_run *run);
/* Waits for the end and frees the run; test_outcome_free() frees the copy. */
struct test_outcome test_runner_await(struct test_run *run);
void test_outcome_free(struct test_outcome *outcome);

/* Submits and waits. `context` may be NULL. */
struct test_outcome test_runner_run(struct runner *runner, const char *code, const char *context);
struct test_outcome test_runner_request(struct runner *runner, const struct runner_request *request);

#endif
