/*
 * child: processes of a benchmark that end with it, also when it is killed.
 */
#ifndef CORBEL_TESTS_BENCH_CHILD_H
#define CORBEL_TESTS_BENCH_CHILD_H

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

/* As fork(); the child is killed when the thread that made it ends. */
static inline pid_t
child_fork(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* it ended before it could be followed */
		_exit(1);
	return 0;
}

#endif
