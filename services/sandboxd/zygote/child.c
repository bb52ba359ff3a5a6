/*
 * child: from the fork to the end of a run.
 *
 * The fork is the bare system call, as only that takes flags for namespaces and gives a descriptor of the new
 * process together with it. There is one thread and no lock is held, so what the C library and Python do
 * around their fork() has nothing to do here; the randomness that they would renew is renewed by hand.
 *
 * A child ends with _exit(): nothing that a program has left for later is run.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "channel.h"
#include "child.h"
#include "interpreter.h"

#define OPEN_MAX_OF_ZYGOTE 64

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif

/* ---------------------------------------------------------------- the refused system call */

/* Runs in the stead of a system call that the filter refuses. Only a hint: a program in full control of its
 * process can say another number, and the kernel has the last word. */
static void
say_system_call(int signal, siginfo_t *info, void *context)
{
	struct {
		struct wire_frame frame;
		int32_t number;
	} said = {{WIRE_SYSCALL, sizeof(int32_t)}, info->si_syscall};

	(void)signal;
	(void)context;
	if (write(CHANNEL_OUT, &said, sizeof(said)) < 0)
		_exit(1);
	syscall(WIRE_KILLING_CALL);
	_exit(1);
}

static void
catch_refusals(void)
{
	struct sigaction action = {.sa_sigaction = say_system_call, .sa_flags = SA_SIGINFO};

	sigemptyset(&action.sa_mask);
	sigaction(SIGSYS, &action, NULL);
}

/* ---------------------------------------------------------------- the run */

static char *
read_text(size_t size)
{
	char *text = malloc(size + 1);

	if (!text || !channel_read(text, size))
		_exit(1);
	text[size] = '\0';
	return text;
}

static void
serve(const struct layers *layers)
{
	struct wire_run run;

	if (!channel_read(&run, sizeof(run)) || run.magic != WIRE_MAGIC)
		_exit(0); /* not needed any more */
	struct program program = {.file_name = read_text(run.name_size)};
	program.code = read_text(run.code_size);
	program.context = read_text(run.context_size);
	channel_log_limit(run.log_bytes);
	if (!layers_close(layers, &run))
		_exit(WIRE_UNPREPARED);
	interpreter_run(&run, &program);
	channel_wait();
	_exit(0);
}

static void
try_layers(const struct layers *layers)
{
	static const struct wire_run LIMITS = {.cpu_ms = 1000, .memory_bytes = 64u << 20};

	_exit(layers_close(layers, &LIMITS) ? 0 : 1);
}

/* A container's own filter may not know close_range(). The zygote has a handful of descriptors open. */
static void
close_all_but_three(void)
{
	if (close_range(3, ~0u, 0) == 0)
		return;
	for (int fd = 3; fd < OPEN_MAX_OF_ZYGOTE; fd++)
		close(fd);
}

static void
be_child(const struct child_start *start)
{
	sigset_t none;

	sigemptyset(&none);
	if (start->purpose == CHILD_RUN && (dup2(start->channel, 0) < 0 || dup2(start->channel, 1) < 0))
		_exit(WIRE_UNPREPARED);
	if (dup2(start->null, 2) < 0)
		_exit(WIRE_UNPREPARED);
	close_all_but_three();
	/* Where no filter refuses signals, one to its own group reaches nobody else. No session of its own: the
	 * scheduler would weigh those alike, whatever their niceness. */
	setpgid(0, 0);
	catch_refusals();
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (!layers_prepare_child(start->layers) || !interpreter_begin_child())
		_exit(WIRE_UNPREPARED);
	if (start->purpose == CHILD_TRIAL)
		try_layers(start->layers);
	serve(start->layers);
}

pid_t
child_start(const struct child_start *start, int *pidfd)
{
	unsigned long flags = (unsigned long)start->layers->clone_flags | CLONE_PIDFD | SIGCHLD;
	long pid = syscall(SYS_clone, flags, NULL, pidfd, NULL, 0);

	if (pid == 0)
		be_child(start);
	return (pid_t)pid;
}
