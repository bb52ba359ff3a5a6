/*
 * corbel-zygote: a warmed interpreter that forks one confined child for each run.
 *
 * Started by sandboxd with a socket as descriptor 3, and one argument: the layers that are wanted, as a
 * number. It imports what plugins may import, locks itself as far as it can, tries one child, says hello, and
 * then does two things only: an order makes a child, a child's end is reported. It has one thread and runs no
 * Python after the hello; it never reads what a child writes. It ends when sandboxd closes the socket, and
 * its children end with it. As `corbel-zygote --fork-cost` it says what an empty fork of it takes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "fork_cost.h"
#include "interpreter.h"

#define CHILDREN_MAX (6 * (int)RUNNER_SLOTS_MAX)

struct zygote {
	struct layers layers;
	int null;
	int ends; /* readable when a child has ended */
	struct {
		pid_t pid; /* 0: free */
		uint64_t child;
	} children[CHILDREN_MAX];
};

/* ---------------------------------------------------------------- reports */

/* `fd` goes along unless it is -1. Without anybody to read it there is nothing left to do. */
static void
report(const void *message, size_t size, int fd)
{
	struct iovec part = {.iov_len = size};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

	memcpy(&part.iov_base, &message, sizeof(message)); /* sendmsg() only reads it */
	if (fd >= 0) {
		header.msg_control = control.bytes;
		header.msg_controllen = sizeof(control.bytes);
		memset(control.bytes, 0, sizeof(control.bytes));
		control.head = (struct cmsghdr){
		    .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	}
	while (sendmsg(WIRE_CONTROL_FD, &header, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			_exit(0);
}

static uint64_t
microseconds(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000000u + (uint64_t)time->tv_usec;
}

static void
report_end(uint64_t child, pid_t pid, int status, const struct rusage *usage)
{
	struct wire_report ended = {.kind = WIRE_ENDED,
	                            .child = child,
	                            .pid = pid,
	                            .status = status,
	                            .cpu_us = microseconds(&usage->ru_utime) + microseconds(&usage->ru_stime),
	                            .rss_bytes = (uint64_t)usage->ru_maxrss * 1024u};

	report(&ended, sizeof(ended), -1);
}

/* ---------------------------------------------------------------- children */

static int
child_place(const struct zygote *self, pid_t pid)
{
	for (int i = 0; i < CHILDREN_MAX; i++)
		if (self->children[i].pid == pid)
			return i;
	return -1;
}

static void
reap(struct zygote *self)
{
	struct signalfd_siginfo info;
	struct rusage usage;
	int status;
	pid_t pid;

	if (read(self->ends, &info, sizeof(info)) < 0 && errno != EAGAIN && errno != EINTR)
		_exit(1);
	while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
		int place = child_place(self, pid);
		if (place < 0)
			continue;
		self->children[place].pid = 0;
		report_end(self->children[place].child, pid, status, &usage);
	}
}

static void
make_child(struct zygote *self, uint64_t child, int channel)
{
	struct child_start start = {
	    .layers = &self->layers, .purpose = CHILD_RUN, .channel = channel, .null = self->null};
	int place = child_place(self, 0), pidfd = -1;
	pid_t pid = -1;

	errno = EAGAIN;
	if (place >= 0)
		pid = child_start(&start, &pidfd);
	if (pid < 0) {
		struct wire_report failed = {.kind = WIRE_UNFORKED, .child = child, .status = errno};
		report(&failed, sizeof(failed), -1);
		return;
	}
	struct wire_report forked = {.kind = WIRE_FORKED, .child = child, .pid = pid};
	self->children[place].pid = pid;
	self->children[place].child = child;
	report(&forked, sizeof(forked), pidfd);
	close(pidfd);
}

/* ---------------------------------------------------------------- orders */

/* The descriptor that came with a message, -1: none. */
static int
passed_descriptor(struct msghdr *header)
{
	struct cmsghdr *head = CMSG_FIRSTHDR(header);
	int fd = -1;

	if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS &&
	    head->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(head), sizeof(fd));
	return fd;
}

static void
take_order(struct zygote *self)
{
	struct wire_order order;
	struct iovec part = {&order, sizeof(order)};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr header = {.msg_iov = &part,
	                        .msg_iovlen = 1,
	                        .msg_control = control.bytes,
	                        .msg_controllen = sizeof(control.bytes)};
	ssize_t got = recvmsg(WIRE_CONTROL_FD, &header, MSG_CMSG_CLOEXEC);

	if (got < 0 && errno == EINTR)
		return;
	if (got != sizeof(order))
		_exit(0);
	int channel = passed_descriptor(&header);
	if (channel < 0)
		_exit(0);
	make_child(self, order.child, channel);
	close(channel);
}

static void
serve(struct zygote *self)
{
	struct pollfd wait[] = {{.fd = WIRE_CONTROL_FD, .events = POLLIN}, {.fd = self->ends, .events = POLLIN}};

	for (;;) {
		if (poll(wait, 2, -1) < 0)
			continue;
		if (wait[1].revents)
			reap(self);
		if (wait[0].revents)
			take_order(self);
	}
}

/* ---------------------------------------------------------------- start */

/* The layers that only a child puts on are active when they have held in one. A filter that has not is not
 * there, and children without it need more namespaces. Returns what a child that does nothing takes. */
static uint64_t
try_child(struct zygote *self)
{
	struct child_start start = {.layers = &self->layers, .purpose = CHILD_TRIAL, .null = self->null};
	struct rusage usage = {0};
	int status = 0, pidfd = -1;
	pid_t pid = child_start(&start, &pidfd);

	if (pid < 0 && self->layers.clone_flags) {
		layers_note(&self->layers, RUNNER_NAMESPACES, RUNNER_UNAVAILABLE, "of a child: %s", strerror(errno));
		self->layers.clone_flags = 0;
		pid = child_start(&start, &pidfd);
	}
	if (pid < 0 || wait4(pid, &status, 0, &usage) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		const char *why = "did not hold in a child";
		for (unsigned i = RUNNER_RLIMITS; i <= RUNNER_SECCOMP; i++)
			if (layers_has(&self->layers, i))
				layers_note(&self->layers, i, RUNNER_UNAVAILABLE, "%s", why);
	}
	if (pidfd >= 0)
		close(pidfd);
	return (uint64_t)usage.ru_maxrss * 1024u;
}

static void
say_hello(struct zygote *self)
{
	struct wire_hello hello = {.kind = WIRE_HELLO, .version = WIRE_VERSION, .rss_bytes = try_child(self)};

	for (unsigned i = 0; i < WIRE_LAYERS; i++) {
		hello.layers[i].state = self->layers.layer[i].state;
		memcpy(hello.layers[i].why, self->layers.layer[i].why, WIRE_WHY_MAX);
	}
	report(&hello, sizeof(hello), -1);
}

static void
watch_children(struct zygote *self)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	self->ends = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int
main(int argc, char **argv)
{
	static struct zygote self;

	if (argc != 2) {
		fprintf(stderr, "corbel-zygote is started by sandboxd\n");
		return 2;
	}
	interpreter_warm();
	if (strcmp(argv[1], "--fork-cost") == 0) {
		fork_cost_print();
		return 0;
	}
	self.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	watch_children(&self);
	if (self.null < 0 || self.ends < 0)
		return 1;
	layers_lock_zygote(&self.layers, (uint32_t)strtoul(argv[1], NULL, 0));
	say_hello(&self);
	serve(&self);
}
