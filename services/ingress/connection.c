/*
 * connection: see connection.h.
 *
 * libmicrohttpd's own time-out starts again with every byte, so a client that sends one byte a second
 * would hold its connection for ever: the shard keeps its own time for each request's arrival and for the
 * fetching of its answer. Shutting the socket down lets libmicrohttpd find the connection closed.
 */
#include "connection.h"

#include <sys/socket.h>

#include "tls_keeper.h"

void
connection_event(void *arg, struct MHD_Connection *http, void **closure,
                 enum MHD_ConnectionNotificationCode code)
{
	struct shard *shard = arg;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info =
		    MHD_get_connection_info(http, MHD_CONNECTION_INFO_CONNECTION_FD);
		struct connection *connection = mem_alloc(sizeof(*connection));
		connection->http = http;
		connection->fd = info ? info->connect_fd : -1;
		connection->since_ms = shard_now_ms(shard);
		connection->tls_number = tls_keeper_number(shard->tls);
		connection->next = shard->connections;
		connection->slot = &shard->connections;
		if (shard->connections)
			shard->connections->slot = &connection->next;
		shard->connections = connection;
		*closure = connection;
		return;
	}
	struct connection *connection = *closure;
	if (!connection)
		return;
	*connection->slot = connection->next;
	if (connection->next)
		connection->next->slot = connection->slot;
	mem_free(connection);
	*closure = NULL;
}

struct connection *
connection_of(struct MHD_Connection *http)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(http, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return info ? info->socket_context : NULL;
}

uint64_t
connections_oldest_tls(const struct shard *shard)
{
	uint64_t oldest = UINT64_MAX;
	for (const struct connection *connection = shard->connections; connection; connection = connection->next)
		if (connection->tls_number < oldest)
			oldest = connection->tls_number;
	return oldest;
}

void
connections_inspect(struct shard *shard, uint64_t now_ms)
{
	const struct settings *settings = &shard->ingress->settings;
	uint64_t idle_ms = (uint64_t)settings->idle_s * 1000;

	for (struct connection *connection = shard->connections; connection; connection = connection->next) {
		const struct request *request = connection->request;
		uint64_t allowed = request ? settings->request_ms : idle_ms;
		/* One that waits for a service has a deadline of its own. */
		if (request && request->state == REQUEST_WAITING)
			continue;
		if (now_ms - connection->since_ms > allowed && connection->fd >= 0)
			(void)shutdown(connection->fd, SHUT_RDWR);
	}
}
