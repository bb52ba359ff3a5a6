/*
 * child: descriptors and bytes.
 *
 * The channel does not block: what a child does not read waits here, and what it writes is read as it comes.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "runner/child.h"
#include "runner/measure.h"

#define FILE_NAME  "plugin.py"
#define NO_CONTEXT "null"
#define READ_BYTES 65536
/* A child that writes without end is read in turns with the others. */
#define READS_MAX 4

/* ---------------------------------------------------------------- the process */

struct child *
child_new(uint64_t id)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return NULL;
	struct child *child = mem_alloc(sizeof(*child));
	*child = (struct child){.id = id, .channel = ends[0], .far_channel = ends[1], .pidfd = -1};
	return child;
}

static void
close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void
child_kill(struct child *child)
{
	if (child->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
	close_one(&child->channel);
	close_one(&child->far_channel);
}

bool
child_is_dead(const struct child *child)
{
	struct pollfd end = {.fd = child->pidfd, .events = POLLIN};

	return child->pidfd < 0 || poll(&end, 1, 0) != 0;
}

void
child_await_end(const struct child *child, int timeout_ms)
{
	struct pollfd end = {.fd = child->pidfd, .events = POLLIN};

	if (child->pidfd >= 0)
		poll(&end, 1, timeout_ms);
}

void
child_free(struct child *child)
{
	child_kill(child);
	close_one(&child->pidfd);
	mem_free(child);
}

/* ---------------------------------------------------------------- the run */

static size_t
append(char *request, size_t at, const void *bytes, size_t size)
{
	memcpy(request + at, bytes, size);
	return at + size;
}

static void
write_request(struct run *run, const struct runner_request *request)
{
	const char *name = request->file_name ? request->file_name : FILE_NAME;
	const char *context = request->context ? request->context : NO_CONTEXT;
	struct wire_run head = {
	    .magic = WIRE_MAGIC,
	    .is_validation = request->mode == RUNNER_VALIDATE,
	    .is_unchecked = request->is_unchecked,
	    .cpu_ms = run->limits.cpu_ms,
	    .memory_bytes = run->limits.memory_bytes,
	    .output_bytes = run->limits.output_bytes,
	    .log_bytes = run->limits.log_bytes,
	    .name_size = (uint32_t)strlen(name),
	    .code_size = (uint32_t)request->code_size,
	    .context_size = (uint32_t)(request->context ? request->context_size : strlen(NO_CONTEXT)),
	};
	size_t at = 0;

	run->request_size = sizeof(head) + head.name_size + head.code_size + head.context_size;
	run->request = mem_array(run->request_size, 1);
	at = append(run->request, at, &head, sizeof(head));
	at = append(run->request, at, name, head.name_size);
	at = append(run->request, at, request->code, head.code_size);
	append(run->request, at, context, head.context_size);
}

void
run_begin(struct child *child, const struct runner_request *request, const struct runner_limits *limits)
{
	struct run *run = &child->run;

	*run = (struct run){.limits = *limits, .started_ns = clock_mono_ns(clock_system())};
	run->deadline_ns = run->started_ns + limits->wall_ms * UINT64_C(1000000);
	uint32_t look_ms = limits->cpu_ms < GIVE_WAY_MS ? limits->cpu_ms : GIVE_WAY_MS;
	run->cpu_check_ns = run->started_ns + look_ms * UINT64_C(1000000);
	run->cpu_base_us = child->pid ? measure_cpu_us(child->pid) : 0;
	answer_init(&run->answer, limits->log_bytes, limits->output_bytes);
	write_request(run, request);
	child->state = CHILD_RUNNING;
}

void
run_clear(struct run *run)
{
	mem_free(run->request);
	answer_fini(&run->answer);
	*run = (struct run){0};
}

bool
run_is_sent(const struct run *run)
{
	return run->sent_bytes == run->request_size;
}

bool
run_send(struct child *child)
{
	struct run *run = &child->run;

	while (!run_is_sent(run)) {
		ssize_t put = send(child->channel, run->request + run->sent_bytes,
		                   run->request_size - run->sent_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return errno == EAGAIN;
		run->sent_bytes += (size_t)put;
	}
	return true;
}

/* False: there is no more just now. */
static bool
read_once(struct child *child)
{
	char bytes[READ_BYTES];
	ssize_t got = child->channel < 0 ? 0 : recv(child->channel, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (got > 0)
		answer_feed(&child->run.answer, bytes, (size_t)got);
	return got == (ssize_t)sizeof(bytes) || (got < 0 && errno == EINTR);
}

enum answer_state
run_read(struct child *child)
{
	const struct answer *answer = &child->run.answer;

	for (int turn = 0; turn < READS_MAX && answer->state == ANSWER_OPEN && read_once(child); turn++)
		continue;
	return answer->state;
}

void
run_drain(struct child *child)
{
	const struct answer *answer = &child->run.answer;

	while (answer->state == ANSWER_OPEN && read_once(child))
		continue;
}
