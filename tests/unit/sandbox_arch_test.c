/*
 * The filter of system calls as an aarch64 build has it: with the numbers that the kernel's generic header
 * gives that architecture, and libseccomp's word for what they are called there. A few lines that run the
 * program of the filter stand in for the kernel.
 */
#include <check.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Behind all that brings the numbers of the processor that this runs on: from here on they are those of
 * aarch64, which has no time(). */
#include <asm-generic/unistd.h>
#undef __NR_time

#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#include "zygote/seccomp_table.h"

#define NUMBERS_END 600 /* beyond the last system call of any kernel so far */

/* The arguments of each are zero: read() of descriptor 0 is allowed, write() to it is not, nor is mmap()
 * without MAP_ANONYMOUS. */
static const char *const LISTED[] = {
    "futex",         "munmap",          "mremap",       "brk",        "madvise",
    "clock_gettime", "clock_getres",    "gettimeofday", "nanosleep",  "clock_nanosleep",
    "getrandom",     "restart_syscall", "getpid",       "gettid",     "rt_sigprocmask",
    "rt_sigreturn",  "sched_yield",     "exit",         "exit_group", "read",
    "mprotect",
};

/* As the kernel would run it; only what the table is made of. */
static uint32_t
verdict(const struct seccomp_data *data)
{
	uint32_t value = 0;

	for (size_t at = 0; at < sizeof(FILTER) / sizeof(FILTER[0]); at++) {
		const struct sock_filter *step = &FILTER[at];
		bool is_so = false;
		switch (step->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			memcpy(&value, (const char *)data + step->k, sizeof(value));
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			value &= step->k;
			continue;
		case BPF_RET | BPF_K:
			return step->k;
		case BPF_JMP | BPF_JEQ | BPF_K:
			is_so = value == step->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			is_so = value >= step->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			is_so = (value & step->k) != 0;
			break;
		default:
			ck_abort_msg("a step of no known kind: %#x", step->code);
		}
		at += is_so ? step->jt : step->jf;
	}
	ck_abort_msg("the program has no end");
}

static uint32_t
verdict_of(uint32_t arch, int number, uint64_t first, uint64_t third, uint64_t fourth)
{
	struct seccomp_data data = {.nr = number, .arch = arch, .args = {first, 0, third, fourth, 0, 0}};

	return verdict(&data);
}

static bool
is_listed(const char *name)
{
	for (size_t i = 0; i < sizeof(LISTED) / sizeof(LISTED[0]); i++)
		if (strcmp(LISTED[i], name) == 0)
			return true;
	return false;
}

START_TEST(the_list_on_aarch64_is_that_of_the_names_and_nothing_else)
{
	size_t allowed = 0;

	for (int number = 0; number < NUMBERS_END; number++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_AARCH64, number);
		uint32_t answer = verdict_of(NATIVE_ARCH, number, 0, 0, 0);
		bool is_allowed = answer == SECCOMP_RET_ALLOW;
		ck_assert_msg(is_allowed == (name && is_listed(name)), "%d, %s: %#x", number, name ? name : "unknown",
		              answer);
		ck_assert(is_allowed || answer == SECCOMP_RET_TRAP);
		allowed += is_allowed;
		free(name);
	}
	ck_assert_uint_eq(allowed, sizeof(LISTED) / sizeof(LISTED[0]));
}
END_TEST

START_TEST(arguments_are_looked_at_on_aarch64_too)
{
	const uint32_t arch = NATIVE_ARCH;

	ck_assert_uint_eq(verdict_of(arch, __NR_write, 1, 0, 0), SECCOMP_RET_ALLOW);
	ck_assert_uint_eq(verdict_of(arch, __NR_write, 3, 0, 0), SECCOMP_RET_TRAP);
	ck_assert_uint_eq(verdict_of(arch, __NR_read, 1, 0, 0), SECCOMP_RET_TRAP);
	ck_assert_uint_eq(verdict_of(arch, __NR_mmap, 0, PROT_READ, MAP_ANONYMOUS), SECCOMP_RET_ALLOW);
	ck_assert_uint_eq(verdict_of(arch, __NR_mmap, 0, PROT_EXEC, MAP_ANONYMOUS), SECCOMP_RET_TRAP);
	ck_assert_uint_eq(verdict_of(arch, __NR_mmap, 0, PROT_READ, 0), SECCOMP_RET_TRAP);
	ck_assert_uint_eq(verdict_of(arch, __NR_mprotect, 0, PROT_EXEC, 0), SECCOMP_RET_TRAP);
	ck_assert_uint_eq(verdict_of(arch, __NR_exit_group, WIRE_UNPREPARED, 0, 0), SECCOMP_RET_TRAP);
}
END_TEST

START_TEST(numbers_of_other_architectures_are_death)
{
	ck_assert_uint_eq(verdict_of(AUDIT_ARCH_ARM, __NR_getpid, 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
	ck_assert_uint_eq(verdict_of(AUDIT_ARCH_X86_64, __NR_getpid, 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
	ck_assert_uint_eq(verdict_of(NATIVE_ARCH, WIRE_KILLING_CALL, 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
	ck_assert_uint_eq(verdict_of(NATIVE_ARCH, -1, 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("sandbox_arch");
	TCase *aarch64 = tcase_create("aarch64");

	tcase_add_test(aarch64, the_list_on_aarch64_is_that_of_the_names_and_nothing_else);
	tcase_add_test(aarch64, arguments_are_looked_at_on_aarch64_too);
	tcase_add_test(aarch64, numbers_of_other_architectures_are_death);
	suite_add_tcase(suite, aarch64);

	SRunner *checker = srunner_create(suite);
	srunner_run_all(checker, CK_ENV);
	int failed = srunner_ntests_failed(checker);
	srunner_free(checker);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
