/*
 * connection: what a shard knows of each open connection, to end those that are too slow.
 */
#ifndef CORBEL_INGRESS_CONNECTION_H
#define CORBEL_INGRESS_CONNECTION_H

#include "ingress_internal.h"

struct connection {
	struct connection *next, **slot;
	struct MHD_Connection *http;
	int fd;
	uint64_t since_ms; /* of waiting for a request, or of the request's start */
	struct request *request;
};

void connection_event(void *shard, struct MHD_Connection *connection, void **closure,
                      enum MHD_ConnectionNotificationCode code);
struct connection *connection_of(struct MHD_Connection *http);
/* Ends connections whose request takes longer than it may to arrive, or to be fetched. */
void connections_inspect(struct shard *shard, uint64_t now_ms);

#endif
