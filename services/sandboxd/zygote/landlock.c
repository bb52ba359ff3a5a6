/*
 * landlock: no path may be opened, made, removed or run, no TCP port bound or dialled, and nobody outside be
 * signalled, as far as this kernel's version of Landlock goes.
 *
 * The interface is spoken by its numbers, as the C library and older kernel headers have none. Each version
 * adds rights; a ruleset that handles a right and allows nothing denies it everywhere.
 */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "layers.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self  446
#endif

#define CREATE_RULESET_VERSION 1u

/* include/uapi/linux/landlock.h of Linux 6.12: struct landlock_ruleset_attr. */
struct ruleset {
	uint64_t handled_access_fs;
	uint64_t handled_access_net; /* from version 4 */
	uint64_t scoped;             /* from version 6 */
};

/* How many of the rights' bits, from the lowest, each version knows. */
static uint64_t
rights_of_files(long version)
{
	unsigned bits = version >= 5 ? 16 : version >= 3 ? 15 : version == 2 ? 14 : 13;

	return (UINT64_C(1) << bits) - 1;
}

static bool
restrict_self(long version)
{
	struct ruleset rules = {
	    .handled_access_fs = rights_of_files(version),
	    .handled_access_net = version >= 4 ? 3 : 0,
	    .scoped = version >= 6 ? 3 : 0,
	};
	size_t size = version >= 6   ? sizeof(rules)
	              : version >= 4 ? offsetof(struct ruleset, scoped)
	                             : offsetof(struct ruleset, handled_access_net);
	int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);

	if (fd < 0)
		return false;
	bool is_done = syscall(SYS_landlock_restrict_self, fd, 0) == 0;
	int error = errno;
	close(fd);
	errno = error;
	return is_done;
}

void
landlock_deny_all(struct layers *layers)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);

	if (version < 1) {
		layers_note(layers, RUNNER_LANDLOCK, RUNNER_UNAVAILABLE, "the kernel has no Landlock: %s",
		            strerror(errno));
		return;
	}
	if (!restrict_self(version)) {
		layers_note(layers, RUNNER_LANDLOCK, RUNNER_UNAVAILABLE, "not permitted: %s", strerror(errno));
		return;
	}
	layers_note(layers, RUNNER_LANDLOCK, RUNNER_ACTIVE, "version %ld: paths%s%s", version,
	            version >= 4 ? ", TCP" : "", version >= 6 ? ", signals, abstract sockets" : "");
}
