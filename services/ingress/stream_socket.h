/*
 * stream_socket: what a WebSocket client says (RFC 6455), by wslay.
 *
 * For the thread of streams. Events go out without it: their frames are made once for all streams. It answers
 * pings and closes, and refuses everything else: a stream takes no messages.
 */
#ifndef CORBEL_INGRESS_STREAM_SOCKET_H
#define CORBEL_INGRESS_STREAM_SOCKET_H

#include "stream.h"

struct stream_socket;

/* Takes bytes of the client; answers are said on the stream. False: the client has said good-bye, or was
 * told why it is not listened to any more; nothing further is to be read. */
bool stream_socket_take(struct stream *stream, const uint8_t *bytes, size_t size);
void stream_socket_free(struct stream_socket *socket);
void stream_socket_say_ping(struct stream *stream);
/* A close frame; `reason` is cut to what fits. */
void stream_socket_say_close(struct stream *stream, uint16_t code, const char *reason);

#endif
