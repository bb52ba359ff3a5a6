/*
 * test_process: a server that a test starts, and that never outlives the test.
 *
 * The child gets a signal when the thread that started it ends (PR_SET_PDEATHSIG), so it disappears
 * even when the test is killed. A test that stops or restarts a server is the process that started
 * it: in Check's forking mode, start it in the test or in a checked fixture.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_PROCESS_H
#define CORBEL_TESTS_SUPPORT_TEST_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct test_process_options {
	const char *const *argv; /* argv[0] is a path; NULL-terminated */
	const char *log_path;    /* standard output and error are appended here; NULL: inherited */
	int death_signal;        /* what the child gets when its starter ends */
	uid_t uid;               /* 0: as the caller */
	gid_t gid;
};

/* Aborts the test when the child cannot be made. */
pid_t test_process_start(const struct test_process_options *options);
/* True while it runs; reaps it when it has ended. */
bool test_process_is_alive(pid_t pid);
/* SIGSTOP, and waits until each of its threads has stopped: one that waits for a processor goes on until it
 * has had it to notice. SIGCONT wakes it. */
void test_process_freeze(pid_t pid);
/* Sends the signal and waits for the end, at most 10 s, then SIGKILL. */
void test_process_end(pid_t pid, int signal);
/* Prints the last lines of a log to standard error. */
void test_process_print_log(const char *log_path);

/* A TCP port of 127.0.0.1 that is free now. */
uint16_t test_free_port(void);
/* Milliseconds of the monotonic clock. */
uint64_t test_now_ms(void);
/* Milliseconds of a clock that stands still while anything on this machine waits for a processor, as far as
 * the kernel tells (proc(5), pressure stall information). What is promised within a time is promised of a
 * machine that has time for it: bounds from above are of this clock. */
uint64_t test_calm_ms(void);
/* A short pause between two looks at a condition. */
void test_pause(void);

#endif
