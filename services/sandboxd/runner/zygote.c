/*
 * zygote: posix_spawn() and a socket pair.
 *
 * posix_spawn() is safe in a process with threads, so a zygote can be started again at any time. It gets the
 * control socket, the caller's standard error, UTC as its time zone, and nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "runner/zygote.h"

/* A session of its own: a terminal's Ctrl-C is for the daemon, which ends its zygote when its runs are over.
 * The signals that a daemon ignores are not ignored here, nor are any blocked. */
static void
default_signals(posix_spawnattr_t *attributes)
{
	sigset_t none, ignored;

	sigemptyset(&none);
	sigemptyset(&ignored);
	sigaddset(&ignored, SIGPIPE);
	sigaddset(&ignored, SIGXFSZ);
	sigaddset(&ignored, SIGHUP);
	posix_spawnattr_setsigmask(attributes, &none);
	posix_spawnattr_setsigdefault(attributes, &ignored);
	posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
}

static void
descriptors(posix_spawn_file_actions_t *actions, int control)
{
	posix_spawn_file_actions_adddup2(actions, control, WIRE_CONTROL_FD);
	posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addclosefrom_np(actions, WIRE_CONTROL_FD + 1);
}

/* 0, or an errno. */
static int
spawn(const char *path, uint32_t layers, int control, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	char number[16], *program = mem_strdup(path), utc[] = "TZ=UTC", *environment[] = {utc, NULL};
	char *arguments[] = {program, number, NULL};

	snprintf(number, sizeof(number), "%u", layers);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	descriptors(&actions, control);
	default_signals(&attributes);
	int error = posix_spawn(pid, path, &actions, &attributes, arguments, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	mem_free(program);
	return error;
}

struct status
zygote_spawn(const char *path, uint32_t layers, struct zygote **out)
{
	int ends[2];
	pid_t pid = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
		return status_make(STATUS_UNAVAILABLE, "no socket for the zygote: %s", strerror(errno));
	fcntl(ends[1], F_SETFL, 0); /* its end waits */
	int error = spawn(path, layers, ends[1], &pid);
	close(ends[1]);
	if (error != 0) {
		close(ends[0]);
		return status_make(STATUS_UNAVAILABLE, "%s does not start: %s", path, strerror(error));
	}
	*out = mem_alloc(sizeof(**out));
	**out = (struct zygote){.pid = pid, .control = ends[0], .started_ns = clock_mono_ns(clock_system())};
	return status_ok_value();
}

void
zygote_kill(struct zygote *zygote)
{
	kill(zygote->pid, SIGKILL);
}

void
zygote_end(struct zygote *zygote)
{
	close(zygote->control);
	zygote_kill(zygote);
	while (waitpid(zygote->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	mem_free(zygote);
}

bool
zygote_order(struct zygote *zygote, uint64_t child, int channel)
{
	struct wire_order order = {child};
	struct iovec part = {&order, sizeof(order)};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr header = {.msg_iov = &part,
	                        .msg_iovlen = 1,
	                        .msg_control = control.bytes,
	                        .msg_controllen = sizeof(control.bytes)};

	memset(&control, 0, sizeof(control));
	control.head = (struct cmsghdr){
	    .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.head), &channel, sizeof(channel));
	return sendmsg(zygote->control, &header, MSG_NOSIGNAL) == sizeof(order);
}

/* The first descriptor that came along; any other is closed. */
static int
take_descriptor(struct msghdr *header)
{
	int first = -1, fd;

	for (struct cmsghdr *head = CMSG_FIRSTHDR(header); head; head = CMSG_NXTHDR(header, head)) {
		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = CMSG_LEN(0); at + sizeof(fd) <= head->cmsg_len; at += sizeof(fd)) {
			memcpy(&fd, (const char *)head + at, sizeof(fd));
			if (first < 0)
				first = fd;
			else
				close(fd);
		}
	}
	return first;
}

enum zygote_heard
zygote_hear(struct zygote *zygote, struct report *report, int *pidfd)
{
	char bytes[sizeof(struct wire_hello) + 1];
	struct iovec part = {bytes, sizeof(bytes)};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct msghdr header = {.msg_iov = &part,
	                        .msg_iovlen = 1,
	                        .msg_control = control.bytes,
	                        .msg_controllen = sizeof(control.bytes)};
	ssize_t got = recvmsg(zygote->control, &header, MSG_CMSG_CLOEXEC);

	*pidfd = -1;
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? ZYGOTE_NOTHING : ZYGOTE_GONE;
	*pidfd = take_descriptor(&header);
	return report_parse(bytes, (size_t)got, report) ? ZYGOTE_SAID : ZYGOTE_GONE;
}
