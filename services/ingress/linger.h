/*
 * linger: connections that end before their request has come.
 *
 * A socket that is closed with bytes unread resets the connection, and the reset may overtake the answer on
 * its way to a client that is still sending. So libmicrohttpd closes its descriptor, and a second one of the
 * same socket is read until the client has stopped, for a bounded time and number of bytes: RFC 9112
 * section 9.6.
 *
 * Of the shard's thread.
 */
#ifndef CORBEL_INGRESS_LINGER_H
#define CORBEL_INGRESS_LINGER_H

#include <stdint.h>

struct lingering;

struct lingering *lingering_new(int epoll_fd);
/* Closes what lingers. */
void lingering_free(struct lingering *lingering);
/* The connection of this descriptor is about to be closed, with its answer sent. */
void lingering_take(struct lingering *lingering, int fd, uint64_t now_ms);
/* Something has come for a descriptor; one that is not lingering is left alone. */
void lingering_read(struct lingering *lingering, int fd);
/* Ends what has lingered long enough. */
void lingering_tidy(struct lingering *lingering, uint64_t now_ms);

#endif
