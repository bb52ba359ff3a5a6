/*
 * stream_wire: the socket of a stream, with or without TLS.
 *
 * For one thread at a time. A wire never blocks.
 */
#ifndef CORBEL_INGRESS_STREAM_WIRE_H
#define CORBEL_INGRESS_STREAM_WIRE_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct stream_wire {
	int fd;
	gnutls_session_t tls; /* NULL: none. Another's: it is not freed with the wire */
	bool has_pending;     /* a record is under way */
};

/* Takes the socket. */
void stream_wire_init(struct stream_wire *wire, int fd, gnutls_session_t tls);
/* Bytes taken, fewer than all when no more can be taken now; -1: the connection is broken. */
ssize_t stream_wire_send(struct stream_wire *wire, const struct iovec *parts, size_t count);
/* Bytes read; 0: none now; -1: the other side has ended, or the connection is broken. */
ssize_t stream_wire_receive(struct stream_wire *wire, void *out, size_t size);
/* Nothing more will be sent: the other side reads the end behind what was. */
void stream_wire_finish(struct stream_wire *wire);

#endif
