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
	uint64_t since_ms;   /* of waiting for a request, or of the request's start */
	uint64_t tls_number; /* of the certificate in use when it began */
	struct request *request;
	bool has_unread; /* was answered before its request had come */
	bool is_counted; /* in the crowd, as `address` */
	struct address address;
};

/* libmicrohttpd's question whether to take a connection. */
enum MHD_Result connection_admit(void *shard, const struct sockaddr *address, socklen_t size);

void connection_event(void *shard, struct MHD_Connection *connection, void **closure,
                      enum MHD_ConnectionNotificationCode code);
struct connection *connection_of(struct MHD_Connection *http);
/* The lowest tls_number of the open connections; UINT64_MAX without any. */
uint64_t connections_oldest_tls(const struct shard *shard);
/* Ends connections whose request takes longer than it may to arrive, or to be fetched. */
void connections_inspect(struct shard *shard, uint64_t now_ms);

#endif
