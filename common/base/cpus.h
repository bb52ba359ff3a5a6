/*
 * cpus: how many processors' worth of time this process gets.
 *
 * A leaf.
 */
#ifndef CORBEL_BASE_CPUS_H
#define CORBEL_BASE_CPUS_H

#include <stddef.h>

/* Those that it may run on, or the quota of its cgroup (version 2 or 1) where that is less; at least 1.
 * `root` is where cgroups are mounted; NULL: /sys/fs/cgroup. Quotas are those that a container sees as its
 * own. */
size_t cpus_available(const char *root);

#endif
