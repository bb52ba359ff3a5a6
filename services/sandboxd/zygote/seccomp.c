/*
 * seccomp: loads the filter of seccomp_table.h.
 *
 * A call that is not on its list raises SIGSYS, whose handler says the number and then makes a call that the
 * filter answers with death; calls of another architecture's numbering (x32, 32 bit) die at once. Loading a
 * table of the compiler's making costs a child a few microseconds where building it through a library would
 * cost hundreds.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "layers.h"

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "say the audit architecture of this processor"
#endif

#include "seccomp_table.h"

bool
seccomp_filter_load(void)
{
	/* The kernel only reads it; its type has no const. */
	const union {
		const struct sock_filter *constant;
		struct sock_filter *plain;
	} rules = {.constant = FILTER};
	const struct sock_fprog program = {.len = sizeof(FILTER) / sizeof(FILTER[0]), .filter = rules.plain};

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}
