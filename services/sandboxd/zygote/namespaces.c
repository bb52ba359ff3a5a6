/*
 * namespaces: a world of its own: one user, no files, no network, no other processes.
 *
 * The zygote enters user, mount, network, IPC and UTS namespaces once, when it is warm, and leaves behind
 * every mount but an empty, read-only one. Its children are born into them, and each into a PID namespace of
 * its own, so they neither see nor outlive each other. The network is one without interfaces that are up.
 * Without a seccomp filter, which denies sockets and shared memory, each child gets a network and an IPC
 * namespace for itself, too, as two of them could meet at an abstract socket or a key.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "layers.h"

static bool
write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	bool is_written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	int error = errno;
	close(fd);
	errno = error;
	return is_written;
}

/* Maps the user to himself: no other identity exists inside. */
static bool
map_user(uid_t uid, gid_t gid)
{
	char map[64];

	if (!write_file("/proc/self/setgroups", "deny"))
		return false;
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	if (!write_file("/proc/self/gid_map", map))
		return false;
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	return write_file("/proc/self/uid_map", map);
}

/* An empty file system becomes the root; the old one is let go with everything below it. */
static bool
empty_root(void)
{
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,nr_inodes=2,mode=555") ==
	           0 &&
	       chdir("/tmp") == 0 && syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 &&
	       mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0 &&
	       chdir("/") == 0;
}

/* The step that fails is named by the result; NULL: none. */
static const char *
enter(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();

	/* The files of /proc/self belong to root while a process is not dumpable, as after a change of user. */
	prctl(PR_SET_DUMPABLE, 1);
	if (unshare(CLONE_NEWUSER) != 0)
		return "user namespace";
	if (!map_user(uid, gid))
		return "user map";
	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) != 0)
		return "mount, network, IPC and UTS namespaces";
	if (!empty_root())
		return "empty root";
	return sethostname("plugin", 6) == 0 ? NULL : "host name";
}

void
namespaces_enter(struct layers *layers)
{
	const char *failed = enter();

	if (failed) {
		layers_note(layers, RUNNER_NAMESPACES, RUNNER_UNAVAILABLE, "%s: %s", failed, strerror(errno));
		return;
	}
	layers->clone_flags = CLONE_NEWPID;
	if (!layers_has(layers, RUNNER_SECCOMP))
		layers->clone_flags |= CLONE_NEWIPC | CLONE_NEWNET;
	layers_note(layers, RUNNER_NAMESPACES, RUNNER_ACTIVE, "user, mount (empty root), PID, network, IPC, UTS");
}
