/*
 * connection: see connection.h.
 *
 * libmicrohttpd's own time-out starts again with every byte, so a client that sends one byte a second
 * would hold its connection for ever: the shard keeps its own time for each request's arrival and for the
 * fetching of its answer. Shutting the socket down lets libmicrohttpd find the connection closed.
 */
#include "connection.h"

#include <sys/socket.h>

#include "crowd.h"
#include "linger.h"
#include "tls_keeper.h"

/* The address that a connection counts under; false when it does not count. Proxies carry the connections of
 * all their clients. */
static bool
counted_address(const struct shard *shard, const struct sockaddr *socket, struct address *out)
{
	const struct settings *settings = &shard->ingress->settings;

	if (settings->connections_per_address == 0 || !address_from_socket(socket, out) ||
	    networks_have(settings->proxies, out))
		return false;
	address_mask(out, settings->ipv6_prefix);
	return true;
}

enum MHD_Result
connection_admit(void *arg, const struct sockaddr *socket, socklen_t size)
{
	struct shard *shard = arg;
	struct address address;
	(void)size;

	if (!counted_address(shard, socket, &address) ||
	    crowd_count(shard->crowd, &address) < shard->ingress->settings.connections_per_address)
		return MHD_YES;
	counter_add(shard->ingress->turned_away, 1);
	return MHD_NO;
}

static struct connection *
begin(struct shard *shard, struct MHD_Connection *http)
{
	const union MHD_ConnectionInfo *info;
	struct connection *connection = mem_alloc(sizeof(*connection));

	connection->http = http;
	info = MHD_get_connection_info(http, MHD_CONNECTION_INFO_CONNECTION_FD);
	connection->fd = info ? info->connect_fd : -1;
	info = MHD_get_connection_info(http, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	connection->is_counted = info && counted_address(shard, info->client_addr, &connection->address);
	if (connection->is_counted)
		crowd_enter(shard->crowd, &connection->address);
	connection->since_ms = shard_now_ms(shard);
	connection->tls_number = tls_keeper_number(shard->tls);
	connection->next = shard->connections;
	connection->slot = &shard->connections;
	if (shard->connections)
		shard->connections->slot = &connection->next;
	shard->connections = connection;
	return connection;
}

static void
end(struct shard *shard, struct connection *connection)
{
	if (connection->is_counted)
		crowd_leave(shard->crowd, &connection->address);
	if (connection->has_unread && connection->fd >= 0)
		lingering_take(shard->lingering, connection->fd, shard_now_ms(shard));
	*connection->slot = connection->next;
	if (connection->next)
		connection->next->slot = connection->slot;
	mem_free(connection);
}

void
connection_event(void *arg, struct MHD_Connection *http, void **closure,
                 enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*closure = begin(arg, http);
	} else if (*closure) {
		end(arg, *closure);
		*closure = NULL;
	}
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
		struct request *request = connection->request;
		uint64_t allowed = request ? settings->request_ms : idle_ms;
		if (request && request->is_lent)
			request_lighten(request);
		/* One that waits for a service has a deadline of its own. */
		if (request && request->state == REQUEST_WAITING) {
			hung_up_look(request, connection->fd);
			continue;
		}
		if (now_ms - connection->since_ms > allowed && connection->fd >= 0)
			(void)shutdown(connection->fd, SHUT_RDWR);
	}
}
