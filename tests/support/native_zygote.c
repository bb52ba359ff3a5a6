/*
 * native_zygote: see native_zygote.h. It reports as the real one does; see runner/wire.h.
 */
#include "support/native_zygote.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/wire.h"

#define CHILDREN_MAX 256

/* The process and its name, 0 when the place is free. */
struct native_child {
	pid_t pid;
	uint64_t name;
};

bool
native_zygote_is_wanted(int argc)
{
	int type = 0;
	socklen_t size = sizeof(type);

	return argc == 2 && getsockopt(WIRE_CONTROL_FD, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
	       type == SOCK_SEQPACKET;
}

/* `fd` goes along unless it is -1. */
static void
say(void *message, size_t size, int fd)
{
	struct iovec part = {message, size};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

	if (fd >= 0) {
		header.msg_control = control.bytes;
		header.msg_controllen = sizeof(control.bytes);
		control.head = (struct cmsghdr){
		    .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	}
	if (sendmsg(WIRE_CONTROL_FD, &header, MSG_NOSIGNAL) < 0)
		_exit(0);
}

/* The channel; -1: there are no more orders. */
static int
hear(struct wire_order *order)
{
	struct iovec part = {order, sizeof(*order)};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr header = {.msg_iov = &part,
	                        .msg_iovlen = 1,
	                        .msg_control = control.bytes,
	                        .msg_controllen = sizeof(control.bytes)};
	int channel = -1;

	if (recvmsg(WIRE_CONTROL_FD, &header, MSG_CMSG_CLOEXEC) == sizeof(*order) && CMSG_FIRSTHDR(&header))
		memcpy(&channel, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(channel));
	return channel;
}

static struct native_child *
place_of(struct native_child *children, pid_t pid)
{
	for (size_t i = 0; i < CHILDREN_MAX; i++)
		if (children[i].pid == pid)
			return &children[i];
	return NULL;
}

static void
make(struct native_child *children, const struct wire_order *order, int channel, void (*run)(int channel))
{
	struct native_child *place = place_of(children, 0);
	int pidfd = -1;
	pid_t pid = place ? fork() : -1;

	if (pid == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(WIRE_CONTROL_FD);
		run(channel);
		_exit(0);
	}
	close(channel);
	if (pid > 0)
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pid < 0 || pidfd < 0)
		_exit(1);
	*place = (struct native_child){pid, order->child};
	say(&(struct wire_report){.kind = WIRE_FORKED, .child = order->child, .pid = pid},
	    sizeof(struct wire_report), pidfd);
	close(pidfd);
}

static void
reap(struct native_child *children)
{
	struct rusage usage;
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
		struct native_child *child = place_of(children, pid);
		if (!child)
			continue;
		child->pid = 0;
		say(&(struct wire_report){.kind = WIRE_ENDED, .child = child->name, .pid = pid, .status = status},
		    sizeof(struct wire_report), -1);
	}
}

void
native_zygote_serve(void (*child)(int channel))
{
	static struct native_child children[CHILDREN_MAX];
	struct wire_hello hello = {.kind = WIRE_HELLO, .version = WIRE_VERSION, .rss_bytes = 1u << 20};
	struct signalfd_siginfo info;
	struct wire_order order;
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGCHLD);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	struct pollfd wait[] = {{.fd = WIRE_CONTROL_FD, .events = POLLIN},
	                        {.fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN}};
	say(&hello, sizeof(hello), -1);
	for (;;) {
		if (poll(wait, 2, -1) < 0)
			continue;
		while (read(wait[1].fd, &info, sizeof(info)) > 0)
			continue;
		reap(children);
		if (!wait[0].revents)
			continue;
		int channel = hear(&order);
		if (channel < 0)
			_exit(0);
		make(children, &order, channel, child);
	}
}

/* ---------------------------------------------------------------- requests */

static char *
read_text(int channel, size_t size)
{
	char *text = malloc(size + 1);

	if (!text || (size > 0 && recv(channel, text, size, MSG_WAITALL) != (ssize_t)size))
		_exit(1);
	text[size] = '\0';
	return text;
}

struct native_request
native_request_read(int channel)
{
	struct native_request request;
	struct wire_run run;

	if (recv(channel, &run, sizeof(run), MSG_WAITALL) != sizeof(run))
		_exit(0); /* not needed any more */
	free(read_text(channel, run.name_size));
	request.code = read_text(channel, run.code_size);
	request.context = read_text(channel, run.context_size);
	return request;
}
