/*
 * notify: see notify.h.
 */
#include "daemon/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "daemon/service.h"

#define READY_LOOK_MS 100 /* until everything is ready */
#define FEEDS         3   /* of the watchdog, in the time that it waits */

/* A path, or "@name" in the abstract namespace, whose addresses begin with a zero byte and end with their
 * length. */
static socklen_t
address_of(const char *name, struct sockaddr_un *out)
{
	size_t length = strlen(name);

	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	if ((name[0] != '/' && name[0] != '@') || length < 2 || length >= sizeof(out->sun_path))
		return 0;
	memcpy(out->sun_path, name, length);
	if (name[0] == '@')
		out->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (name[0] == '/'));
}

static int
connect_to(const char *name)
{
	struct sockaddr_un address;
	socklen_t length = address_of(name, &address);
	int fd = length > 0 ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;

	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, length) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool
number_of(const char *name, unsigned long long *out)
{
	const char *text = getenv(name);
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0';
}

/* The watchdog may be meant for another process than the one that inherits the variables. */
static uint32_t
watchdog_of(void)
{
	unsigned long long us, pid;

	if (!number_of("WATCHDOG_USEC", &us) || us < 1000 || us / 1000 > INT32_MAX)
		return 0;
	if (getenv("WATCHDOG_PID") && (!number_of("WATCHDOG_PID", &pid) || pid != (unsigned long long)getpid()))
		return 0;
	return (uint32_t)(us / 1000);
}

void
notify_open(struct notify *self)
{
	const char *name = getenv("NOTIFY_SOCKET");

	*self = (struct notify){.fd = name ? connect_to(name) : -1};
	if (self->fd >= 0)
		self->watchdog_ms = watchdog_of();
}

void
notify_close(struct notify *self)
{
	if (self->fd >= 0)
		close(self->fd);
	self->fd = -1;
}

/* A manager that is too busy to read is told again the next time. */
static bool
say(const struct notify *self, const char *state)
{
	return send(self->fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

int
notify_look(struct notify *self, struct host *host)
{
	struct strbuf body;

	if (self->fd < 0)
		return -1;
	strbuf_init(&body, NULL);
	bool is_ready = host_is_ready(host, &body);
	strbuf_fini(&body);
	if (is_ready && !self->is_ready_said)
		self->is_ready_said = say(self, "READY=1\nSTATUS=ready");
	if (self->watchdog_ms > 0)
		(void)say(self, "WATCHDOG=1");
	int feed_ms = self->watchdog_ms > 0 ? (int)(self->watchdog_ms / FEEDS) : -1;
	return self->is_ready_said ? feed_ms : READY_LOOK_MS;
}

void
notify_stopping(const struct notify *self)
{
	if (self->fd >= 0)
		(void)say(self, "STOPPING=1");
}
