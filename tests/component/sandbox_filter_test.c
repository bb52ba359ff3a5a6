/*
 * seccomp: the filter by itself, tried by native code, as by a program that has its whole process in its
 * hands.
 *
 * Each attempt is a process that loads the filter, makes one system call and ends. SIGSYS is the filter's
 * answer; the kernel's own refusals would let it end by itself.
 */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/wire.h"
#include "zygote/layers.h"

#define NUMBERS_END 600 /* beyond the last system call of any kernel so far */
#define UPPER       (1L << 32)

struct attempt {
	long number, args[6];
};

static void
confine(void)
{
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !seccomp_filter_load())
		_exit(1);
}

/* As of wait(). */
static int
status_of(struct attempt attempt)
{
	const long *args = attempt.args;
	int status = 0;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		confine();
		syscall(attempt.number, args[0], args[1], args[2], args[3], args[4], args[5]);
		syscall(SYS_exit_group, 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static bool
is_refused(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

/* uretprobe() and uprobe() of x86-64 belong to the kernel's own trampolines: it shows them to no filter, and
 * ends or refuses whoever else calls them. */
static bool
is_shown_to_no_filter(long number)
{
#ifdef __x86_64__
	return number == 335 || number == 336;
#else
	(void)number;
	return false;
#endif
}

static bool
is_on_the_list(long number)
{
	static const long LIST[] = {
	    SYS_futex,        SYS_munmap,        SYS_mremap,       SYS_brk,
	    SYS_madvise,      SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday,
	    SYS_nanosleep,    SYS_getrandom,     SYS_getpid,       SYS_clock_nanosleep,
	    SYS_gettid,       SYS_exit,          SYS_exit_group,   SYS_restart_syscall,
	    SYS_rt_sigreturn, SYS_mprotect,      SYS_sched_yield,  SYS_rt_sigprocmask,
#ifdef SYS_time
	    SYS_time,
#endif
	    SYS_read, /* of descriptor 0, as the arguments here are */
	};

	for (size_t i = 0; i < sizeof(LIST) / sizeof(LIST[0]); i++)
		if (LIST[i] == number)
			return true;
	return false;
}

START_TEST(every_system_call_that_is_not_on_the_list_is_refused)
{
	for (long number = 0; number < NUMBERS_END; number++) {
		if (is_on_the_list(number) || is_shown_to_no_filter(number))
			continue;
		int status = status_of((struct attempt){number, {0}});
		ck_assert_msg(is_refused(status), "system call %ld: status %#x", number, (unsigned)status);
	}
}
END_TEST

START_TEST(numbers_of_other_abis_are_death)
{
#ifdef __x86_64__
	ck_assert(is_refused(status_of((struct attempt){0x40000000L | SYS_getpid, {0}})));
	pid_t pid = fork();
	int status = 0;
	if (pid == 0) {
		long answer;
		confine();
		__asm__ volatile("int $0x80" : "=a"(answer) : "a"(20L) : "memory"); /* getpid() of 32 bits */
		syscall(SYS_exit_group, 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status)); /* by SIGSEGV where the kernel has no such calls */
#endif
	ck_assert(is_refused(status_of((struct attempt){WIRE_KILLING_CALL, {0}})));
	ck_assert(is_refused(status_of((struct attempt){-1, {0}})));
}
END_TEST

START_TEST(arguments_are_looked_at_where_a_call_is_allowed)
{
	const long rw = PROT_READ | PROT_WRITE, rx = PROT_READ | PROT_EXEC,
	           anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
	const struct attempt refused[] =
	    {
	        {SYS_mmap, {0, 4096, rx, anonymous, -1, 0}},
	        {SYS_mmap, {0, 4096, rx | UPPER, anonymous, -1, 0}},
	        {SYS_mmap, {0, 4096, rw, MAP_PRIVATE, 0, 0}},
	        {SYS_mmap, {0, 4096, rw, MAP_SHARED | ((long)MAP_ANONYMOUS << 32), 0, 0}},
	        {SYS_mprotect, {0, 4096, rx}},
	        {SYS_mprotect, {0, 4096, PROT_EXEC | UPPER}},
	        {SYS_read, {1, 0, 0}},
	        {SYS_write, {0, 0, 0}},
	        {SYS_write, {3, 0, 0}},
	        {SYS_write, {3 | UPPER, 0, 0}},
	        {SYS_exit_group, {WIRE_UNPREPARED}},
	        {SYS_exit_group, {WIRE_UNPREPARED + 256}},
	        {SYS_exit_group, {WIRE_UNPREPARED | UPPER}},
	        {SYS_exit, {WIRE_UNPREPARED}},
	    },
	                     allowed[] = {
	                         {SYS_mmap, {0, 4096, rw, anonymous, -1, 0}},
	                         {SYS_mprotect, {0, 0, rw}},
	                         {SYS_read, {0, 0, 0}},
	                         {SYS_write, {1, 0, 0}},
	                         {SYS_write, {2, 0, 0}},
	                         {SYS_exit, {0}},
	                     };

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		ck_assert_msg(is_refused(status_of(refused[i])), "refused[%zu]", i);
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		ck_assert_msg(status_of(allowed[i]) == 0, "allowed[%zu]", i);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("sandbox_filter");
	TCase *filter = tcase_create("filter");

	tcase_add_test(filter, every_system_call_that_is_not_on_the_list_is_refused);
	tcase_add_test(filter, numbers_of_other_abis_are_death);
	tcase_add_test(filter, arguments_are_looked_at_where_a_call_is_allowed);
	suite_add_tcase(suite, filter);

	SRunner *checker = srunner_create(suite);
	srunner_run_all(checker, CK_ENV);
	int failed = srunner_ntests_failed(checker);
	srunner_free(checker);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
