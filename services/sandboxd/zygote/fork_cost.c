/*
 * fork_cost: the same system call as for a child, without anything done in it.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fork_cost.h"

#define TURNS 300

static uint64_t
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static int
by_size(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

void
fork_cost_print(void)
{
	uint64_t took[TURNS];

	for (int i = 0; i < TURNS; i++) {
		uint64_t begin = now_us();
		long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
		if (pid == 0)
			_exit(0);
		waitpid((pid_t)pid, NULL, 0);
		took[i] = now_us() - begin;
	}
	qsort(took, TURNS, sizeof(took[0]), by_size);
	printf("%llu %llu\n", (unsigned long long)took[TURNS / 2], (unsigned long long)took[TURNS * 99 / 100]);
}
