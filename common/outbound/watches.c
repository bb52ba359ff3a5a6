/*
 * watches: the sockets in the epoll set. curl asks to have a connection's socket watched and no longer
 * watched at each request; most are used again at once, so they stay in the set between requests, until
 * something happens to them or they are closed. Of sockets that curl makes for itself nobody tells when their
 * number becomes another's: those are taken out when it says so.
 */
#include <string.h>
#include <sys/epoll.h>

#include "base/arena.h"
#include "outbound/outbound_internal.h"

static struct watch *
watch_of(struct outbound *self, int fd)
{
	if ((size_t)fd >= self->watch_count) {
		size_t count = ((size_t)fd + 1) * 2;
		self->watches = mem_resize(self->watches, count, sizeof(*self->watches));
		memset(self->watches + self->watch_count, 0, (count - self->watch_count) * sizeof(*self->watches));
		self->watch_count = count;
	}
	return &self->watches[fd];
}

/* What could not be set is taken for not watched, so that it is tried again when it is next asked for. */
static bool
set_events(struct outbound *self, struct watch *watch, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};
	int what = !events ? EPOLL_CTL_DEL : watch->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (watch->events == events)
		return true;
	bool is_set = epoll_ctl(self->epoll, what, fd, &event) == 0;
	watch->events = is_set ? events : 0;
	return is_set;
}

void
watches_opened(struct outbound *self, int fd)
{
	*watch_of(self, fd) = (struct watch){.is_ours = true};
}

void
watches_closed(struct outbound *self, int fd)
{
	struct watch *watch = watch_of(self, fd);

	(void)set_events(self, watch, fd, 0);
	*watch = (struct watch){.events = 0};
}

int
watches_ask(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
	struct outbound *self = arg;
	struct watch *watch = watch_of(self, fd);
	uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);

	(void)easy;
	(void)unused;
	watch->is_wanted = what != CURL_POLL_REMOVE;
	if (!watch->is_wanted && watch->is_ours)
		return 0;
	return set_events(self, watch, fd, watch->is_wanted ? events : 0) ? 0 : -1;
}

bool
watches_wants(struct outbound *self, int fd)
{
	struct watch *watch = watch_of(self, fd);

	if (!watch->is_wanted)
		(void)set_events(self, watch, fd, 0);
	return watch->is_wanted;
}
