/*
 * stream_ask: what a request for a stream asks for, while it is one.
 */
#ifndef CORBEL_INGRESS_STREAM_ASK_H
#define CORBEL_INGRESS_STREAM_ASK_H

#include "streams.h"

typedef Corbel__V1__StreamRequest StreamRequest;

/* In the request's arena. */
struct stream_ask {
	StreamRequest *query;
	const char **types;
	size_t type_count;
	const char *const *granted;
	size_t granted_count;
	bool has_after;
	uint64_t after, first, last;
	const char *tenant; /* whose log */
	enum stream_kind kind;
	struct stream_offer *offer; /* to be made when libmicrohttpd has let go of the connection */
};

/* The caller may, and it is known where the stream begins: it gets a place among the streams, and the socket
 * is handed over; or the request is answered with the reason why not. */
void stream_take_place(struct request *request);

#endif
