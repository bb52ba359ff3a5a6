/*
 * cgroup: a bound for all runs together, where this process may make one.
 *
 * A run's own memory is bounded by its address space. The group is for what that does not see, such as the
 * kernel's memory, and for a host whose memory the slots together would exceed: then the kernel ends one of
 * the runs and says so. A process that is moved pays for the move, so the zygote is moved once and its
 * children are born inside.
 */
#ifndef CORBEL_SANDBOXD_CGROUP_H
#define CORBEL_SANDBOXD_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroup;

/* Where the kernel shows its groups, and which of them are this process's. */
struct cgroup_tree {
	const char *root, *own; /* a directory, a file */
};
#define CGROUP_HOST ((struct cgroup_tree){"/sys/fs/cgroup", "/proc/self/cgroup"})

/* NULL: not to be had; `why` says what the host said. Otherwise `why` says of what kind it is. */
struct cgroup *cgroup_new(struct cgroup_tree tree, uint64_t memory_bytes, uint32_t processes, char *why,
                          size_t why_size);
/* Removes the group, which is empty by then. */
void cgroup_free(struct cgroup *cgroup);
bool cgroup_add(const struct cgroup *cgroup, pid_t pid);
/* How many processes of it the kernel has ended for want of memory. */
uint64_t cgroup_kills(const struct cgroup *cgroup);

#endif
