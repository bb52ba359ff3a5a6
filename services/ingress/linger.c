/*
 * linger: see linger.h.
 */
#include "linger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"

#define LINGER_MAX   256u        /* more are closed at once */
#define LINGER_MS    5000u       /* the client has to stop within */
#define LINGER_BYTES (16u << 20) /* that are read of what it sends */
#define PIECE        (64u << 10)
#define PIECES       16 /* of one connection in a turn of the loop */

struct leaver {
	int fd;
	uint64_t until_ms;
	size_t left;
};

struct lingering {
	int epoll_fd;
	size_t count;
	struct leaver all[LINGER_MAX];
	char piece[PIECE]; /* thrown away */
};

struct lingering *
lingering_new(int epoll_fd)
{
	struct lingering *lingering = mem_alloc(sizeof(*lingering));
	lingering->epoll_fd = epoll_fd;
	return lingering;
}

static void
end(struct lingering *lingering, size_t at)
{
	(void)close(lingering->all[at].fd);
	lingering->all[at] = lingering->all[--lingering->count];
}

void
lingering_free(struct lingering *lingering)
{
	while (lingering && lingering->count > 0)
		end(lingering, 0);
	mem_free(lingering);
}

void
lingering_take(struct lingering *lingering, int fd, uint64_t now_ms)
{
	int own = lingering->count < LINGER_MAX ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = own};

	if (own < 0)
		return;
	if (epoll_ctl(lingering->epoll_fd, EPOLL_CTL_ADD, own, &event) != 0) {
		(void)close(own);
		return;
	}
	/* The answer is complete. */
	(void)shutdown(own, SHUT_WR);
	lingering->all[lingering->count++] =
	    (struct leaver){.fd = own, .until_ms = now_ms + LINGER_MS, .left = LINGER_BYTES};
}

/* False: the client has stopped, or has sent more than is read. */
static bool
read_on(struct lingering *lingering, struct leaver *leaver)
{
	for (int i = 0; i < PIECES; i++) {
		ssize_t got = recv(leaver->fd, lingering->piece, PIECE, MSG_DONTWAIT);
		if (got < 0)
			return errno == EAGAIN || errno == EINTR;
		if (got == 0 || (size_t)got >= leaver->left)
			return false;
		leaver->left -= (size_t)got;
	}
	return true;
}

void
lingering_read(struct lingering *lingering, int fd)
{
	for (size_t i = 0; i < lingering->count; i++) {
		if (lingering->all[i].fd != fd)
			continue;
		if (!read_on(lingering, &lingering->all[i]))
			end(lingering, i);
		return;
	}
}

void
lingering_tidy(struct lingering *lingering, uint64_t now_ms)
{
	for (size_t i = lingering->count; i > 0; i--)
		if (now_ms >= lingering->all[i - 1].until_ms)
			end(lingering, i - 1);
}
