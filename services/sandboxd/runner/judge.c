/*
 * judge: from a child's words and the kernel's to the outcome of its run.
 *
 * The child is believed in what it alone can know and what concerns nobody else: its result, its exception,
 * its log. What has ended the process is the kernel's word, and what it has used is measured from outside.
 */
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "runner/child.h"

/* A crash this close to its limit of memory is taken for that limit: a stack that cannot grow ends so. */
#define NEARLY(bytes) ((bytes) - (bytes) / 8)

static void
complete(struct child *child, struct runner_result *result)
{
	struct answer *answer = &child->run.answer;

	result->log = answer_log(answer, &result->log_size);
	result->is_log_cut = answer->is_log_cut;
	result->wall_us = (clock_mono_ns(clock_system()) - child->run.started_ns) / 1000u;
	if (!result->message)
		result->message = "";
	if (!result->traceback)
		result->traceback = "";
}

static void
fail(struct runner_result *result, enum runner_outcome outcome, const char *message)
{
	*result = (struct runner_result){
	    .outcome = outcome, .message = message, .system_call = "", .system_call_number = -1};
}

/* "openat" for the number that the child's handler has said. */
static void
name_system_call(struct answer *answer, struct runner_result *result)
{
	fail(result, RUNNER_SECURITY_VIOLATION, "a system call that is not allowed");
	if (answer->system_call < 0)
		return;
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, answer->system_call);
	result->system_call_number = answer->system_call;
	if (!name)
		return;
	result->system_call = arena_strdup(&answer->arena, name);
	result->message = arena_printf(&answer->arena, "the system call %s is not allowed", name);
	free(name);
}

static void
judge_signal(struct child *child, int signal, const struct run_use *use, struct runner_result *result)
{
	struct run *run = &child->run;

	if (signal == SIGSYS)
		name_system_call(&run->answer, result);
	else if (signal == SIGXCPU || (signal == SIGKILL && use->cpu_us >= run->limits.cpu_ms * UINT64_C(1000)))
		fail(result, RUNNER_CPU_LIMIT, "the limit of processor time was reached");
	else if (signal == SIGKILL && use->is_out_of_memory)
		fail(result, RUNNER_MEMORY_LIMIT, "the memory of all runs together was used up");
	else if (signal == SIGKILL)
		fail(result, RUNNER_HOST_ERROR, "somebody else killed the program's process");
	else if (use->peak_bytes >= NEARLY(run->limits.memory_bytes))
		fail(result, RUNNER_MEMORY_LIMIT, "the memory limit was reached");
	else
		fail(result, RUNNER_RUNTIME_ERROR,
		     arena_printf(&run->answer.arena, "the interpreter crashed with signal %d (%s)", signal,
		                  sigdescr_np(signal) ? sigdescr_np(signal) : "unknown"));
}

static void
judge_exit(struct child *child, int code, struct runner_result *result)
{
	struct answer *answer = &child->run.answer;

	if (answer->system_call >= 0)
		name_system_call(answer, result);
	else if (code == WIRE_UNPREPARED)
		fail(result, RUNNER_HOST_ERROR, "the process could not be confined");
	else
		fail(result, RUNNER_RUNTIME_ERROR, "the program ended its process without a result");
}

void
run_judge(struct child *child, int status, const struct run_use *use, struct runner_result *result)
{
	struct run *run = &child->run;
	struct answer *answer = &run->answer;

	if (run->verdict)
		fail(result, run->verdict_outcome, run->verdict);
	else if (answer->state == ANSWER_COMPLETE)
		*result = answer->result;
	else if (answer->state == ANSWER_BROKEN)
		fail(result, RUNNER_SECURITY_VIOLATION,
		     arena_printf(&answer->arena, "the program's process broke the protocol: %s", answer->problem));
	else if (WIFSIGNALED(status))
		judge_signal(child, WTERMSIG(status), use, result);
	else
		judge_exit(child, WEXITSTATUS(status), result);
	result->cpu_us = use->cpu_us;
	result->memory_peak_bytes = use->peak_bytes;
	complete(child, result);
}
