/*
 * seccomp_table: the system calls that a warmed interpreter needs to compute, and no other.
 *
 * The list was found by running programs under it: memory, time, randomness, the futexes of the allocator,
 * the channel. Memory may not be executable, so injected code has nowhere to run.
 *
 * Who includes it has defined NATIVE_ARCH and the numbers __NR_… of that architecture before: the program
 * those of its own, a test those of another.
 */
#ifndef CORBEL_ZYGOTE_SECCOMP_TABLE_H
#define CORBEL_ZYGOTE_SECCOMP_TABLE_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "runner/wire.h"

/* The low half of an argument: descriptors, protections and flags have no more. */
#define LOW_HALF(n) ((uint32_t)(offsetof(struct seccomp_data, args) + (n) * sizeof(uint64_t)))

#define LOAD(offset)            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define RETURN(action)          BPF_STMT(BPF_RET | BPF_K, (action))
#define UNLESS(test, value, n)  BPF_JUMP(BPF_JMP | (test) | BPF_K, (uint32_t)(value), 0, (n))
#define SKIP_IF(test, value, n) BPF_JUMP(BPF_JMP | (test) | BPF_K, (uint32_t)(value), (n), 0)

#define ALLOW(nr) UNLESS(BPF_JEQ, nr, 1), RETURN(SECCOMP_RET_ALLOW)
/* read(), write(): on one descriptor, or two. */
#define ALLOW_ON(nr, fd, other)                                                                              \
	UNLESS(BPF_JEQ, nr, 5), LOAD(LOW_HALF(0)), SKIP_IF(BPF_JEQ, fd, 1), UNLESS(BPF_JEQ, other, 1),           \
	    RETURN(SECCOMP_RET_ALLOW), RETURN(SECCOMP_RET_TRAP)
/* With any status but that of a child that could not be confined, which is no program's to say. The kernel
 * keeps the lowest eight bits of it. */
#define ALLOW_EXIT(nr)                                                                                       \
	UNLESS(BPF_JEQ, nr, 5), LOAD(LOW_HALF(0)), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff),                    \
	    UNLESS(BPF_JEQ, WIRE_UNPREPARED, 1), RETURN(SECCOMP_RET_TRAP), RETURN(SECCOMP_RET_ALLOW)

static const struct sock_filter FILTER[] = {
    LOAD(offsetof(struct seccomp_data, arch)),
    SKIP_IF(BPF_JEQ, NATIVE_ARCH, 1),
    RETURN(SECCOMP_RET_KILL_PROCESS),
    LOAD(offsetof(struct seccomp_data, nr)),
    UNLESS(BPF_JGE, WIRE_KILLING_CALL, 1), /* also the x32 calls, which begin at 2^30 */
    RETURN(SECCOMP_RET_KILL_PROCESS),
    ALLOW(__NR_futex),
    ALLOW(__NR_munmap),
    ALLOW(__NR_mremap),
    ALLOW(__NR_brk),
    ALLOW(__NR_madvise),
    ALLOW(__NR_clock_gettime),
    ALLOW(__NR_clock_getres),
    ALLOW(__NR_gettimeofday),
#ifdef __NR_time
    ALLOW(__NR_time),
#endif
    ALLOW(__NR_clock_nanosleep),
    ALLOW(__NR_nanosleep),
    ALLOW(__NR_restart_syscall),
    ALLOW(__NR_getrandom),
    ALLOW(__NR_getpid),
    ALLOW(__NR_gettid),
    ALLOW(__NR_rt_sigprocmask),
    ALLOW(__NR_rt_sigreturn),
    ALLOW(__NR_sched_yield),
    ALLOW_EXIT(__NR_exit),
    ALLOW_EXIT(__NR_exit_group),
    ALLOW_ON(__NR_read, 0, 0),
    ALLOW_ON(__NR_write, 1, 2),
    UNLESS(BPF_JEQ, __NR_mprotect, 4),
    LOAD(LOW_HALF(2)),
    UNLESS(BPF_JSET, PROT_EXEC, 1),
    RETURN(SECCOMP_RET_TRAP),
    RETURN(SECCOMP_RET_ALLOW),
    UNLESS(BPF_JEQ, __NR_mmap, 5),
    LOAD(LOW_HALF(2)),
    SKIP_IF(BPF_JSET, PROT_EXEC, 3),
    LOAD(LOW_HALF(3)),
    UNLESS(BPF_JSET, MAP_ANONYMOUS, 1),
    RETURN(SECCOMP_RET_ALLOW),
    RETURN(SECCOMP_RET_TRAP),
};

#endif
