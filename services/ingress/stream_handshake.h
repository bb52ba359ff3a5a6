/*
 * stream_handshake: the HTTP request that becomes a WebSocket (RFC 6455 section 4.2).
 *
 * A leaf. Values of headers are NULL when there are none.
 */
#ifndef CORBEL_INGRESS_STREAM_HANDSHAKE_H
#define CORBEL_INGRESS_STREAM_HANDSHAKE_H

#include <stdbool.h>

/* The binding of CloudEvents to WebSocket: each message is one in its JSON format. */
#define STREAM_CLOUDEVENTS "cloudevents.json"

struct stream_handshake {
	const char *connection, *upgrade, *version, *key, *protocols;
};

enum stream_handshake_result {
	HANDSHAKE_NONE, /* not asked for */
	HANDSHAKE_GOOD,
	HANDSHAKE_BAD,          /* the key is none, or Connection does not say so */
	HANDSHAKE_OTHER_VERSION /* not 13 */
};

enum stream_handshake_result stream_handshake_check(const struct stream_handshake *handshake);
/* Whether a list with commas holds the token, whatever the case of its letters. */
bool stream_list_has(const char *list, const char *token);

#define STREAM_ACCEPT_SIZE 29 /* with the NUL */
/* The value of Sec-WebSocket-Accept. */
void stream_handshake_accept(const char *key, char out[STREAM_ACCEPT_SIZE]);

#endif
