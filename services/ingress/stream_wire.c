/*
 * stream_wire: see stream_wire.h.
 */
#include "stream_wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

/* Of what the kernel takes from us beyond what is on its way: so that a client which does not read is seen
 * soon, and does not hold megabytes of the kernel's. */
#define UNSENT_MAX_BYTES (128 * 1024)
/* A peer that acknowledges nothing for so long is gone. */
#define SILENCE_MAX_MS 60000
#define RECORD_BYTES   16384u

void
stream_wire_init(struct stream_wire *wire, int fd, gnutls_session_t tls)
{
	int one = 1, zero = 0, unsent = UNSENT_MAX_BYTES, silence = SILENCE_MAX_MS;

	*wire = (struct stream_wire){.fd = fd, .tls = tls};
	/* All of it only makes things better; without, the stream still works. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CORK, &zero, sizeof(zero));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence, sizeof(silence));
}

static ssize_t
send_plain(const struct stream_wire *wire, const struct iovec *parts, size_t count)
{
	struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = count};
	ssize_t sent;

	do
		sent = sendmsg(wire->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent >= 0 ? sent : errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
}

/* A record that could not be sent whole is kept by the session and sent on with an empty call, so it counts
 * as taken. False: no more can be taken. */
static bool
send_record(struct stream_wire *wire, const void *bytes, size_t size, ssize_t *total)
{
	ssize_t sent = gnutls_record_send(wire->tls, bytes, size);

	wire->has_pending = sent == GNUTLS_E_AGAIN || sent == GNUTLS_E_INTERRUPTED;
	if (sent < 0 && !wire->has_pending) {
		*total = -1;
		return false;
	}
	*total += (ssize_t)size;
	return !wire->has_pending;
}

static ssize_t
send_tls(struct stream_wire *wire, const struct iovec *parts, size_t count)
{
	ssize_t total = 0;

	if (wire->has_pending && !send_record(wire, NULL, 0, &total))
		return total;
	for (size_t i = 0; i < count; i++) {
		const char *at = parts[i].iov_base;
		for (size_t left = parts[i].iov_len; left > 0;) {
			size_t size = left < RECORD_BYTES ? left : RECORD_BYTES;
			if (!send_record(wire, at, size, &total))
				return total;
			at += size;
			left -= size;
		}
	}
	return total;
}

ssize_t
stream_wire_send(struct stream_wire *wire, const struct iovec *parts, size_t count)
{
	return wire->tls ? send_tls(wire, parts, count) : send_plain(wire, parts, count);
}

ssize_t
stream_wire_receive(struct stream_wire *wire, void *out, size_t size)
{
	ssize_t got;

	if (wire->tls) {
		got = gnutls_record_recv(wire->tls, out, size);
		if (got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED)
			return 0;
		return got > 0 ? got : -1;
	}
	do
		got = recv(wire->fd, out, size, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	return got > 0 ? got : -1;
}

void
stream_wire_finish(struct stream_wire *wire)
{
	if (wire->tls)
		(void)gnutls_bye(wire->tls, GNUTLS_SHUT_WR);
	(void)shutdown(wire->fd, SHUT_WR);
}
