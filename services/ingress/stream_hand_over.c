/*
 * stream_hand_over: a request becomes a stream.
 *
 * Without TLS the socket is duplicated and libmicrohttpd is told to drop the connection, which then takes
 * nothing with it but its memory: it closes its descriptor without a shutdown (MHD_USE_TURBO).
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "stream_ask.h"
#include "stream_handshake.h"

static enum MHD_Result
put_header(void *closure, enum MHD_ValueKind kind, const char *name, const char *value)
{
	(void)kind;
	strbuf_printf(closure, "%s: %s\r\n", name, value);
	return MHD_YES;
}

static void
write_upgrade(const struct request *request, struct strbuf *out)
{
	char accept[STREAM_ACCEPT_SIZE];

	stream_handshake_accept(request_header(request, "Sec-WebSocket-Key"), accept);
	strbuf_printf(out,
	              "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	              "Sec-WebSocket-Accept: %s\r\n",
	              accept);
	if (request->stream->kind == STREAM_CLOUDEVENTS_SOCKET)
		strbuf_puts(out, "Sec-WebSocket-Protocol: " STREAM_CLOUDEVENTS "\r\n");
}

/* The head of the answer. The body of server-sent events has no length and ends with the connection, for
 * clients of HTTP/1.1 also in words of its own: one that was cut off is told from one that ended. */
static void
write_head(struct request *request, struct strbuf *out)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	bool is_socket = request->stream->kind >= STREAM_WEBSOCKET;

	respond_add_headers(request, response);
	strbuf_init(out, &request->arena);
	/* X-Accel-Buffering: nginx passes each event on at once. */
	if (is_socket)
		write_upgrade(request, out);
	else
		strbuf_puts(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
		                 "X-Accel-Buffering: no\r\n");
	if (request->stream->kind == STREAM_CHUNKED)
		strbuf_puts(out, "Transfer-Encoding: chunked\r\n");
	(void)MHD_get_response_headers(response, put_header, out);
	strbuf_puts(out, "\r\n");
	MHD_destroy_response(response);
	request->status = is_socket ? 101 : 200;
}

/* A socket for the stream: its own, or with TLS the connection's; -1: there are no more descriptors. */
static int
socket_of(struct request *request, struct stream_offer *offer)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	int fd = info ? info->connect_fd : -1;

	if (!request->shard->tls)
		return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	info = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	offer->tls = info ? info->tls_session : NULL;
	offer->owner = request;
	return fd;
}

static struct stream_filter *
filter_of(const struct stream_ask *ask)
{
	return stream_filter_new(&(struct stream_filter_options){.types = ask->types,
	                                                         .type_count = ask->type_count,
	                                                         .granted = ask->granted,
	                                                         .granted_count = ask->granted_count,
	                                                         .subject = ask->query->subject});
}

static void
hand_over(struct request *request)
{
	struct streams *streams = request->shard->ingress->streams;
	const struct stream_ask *ask = request->stream;
	struct stream_offer offer = {.kind = ask->kind,
	                             .tenant = ask->tenant,
	                             .key_id = request->key->principal.key_id,
	                             .key_tenant = request->key->principal.tenant,
	                             .has_end = request->key->has_end,
	                             .ends_at_ms = request->key->ends_at_ms,
	                             .after = ask->after,
	                             .first = ask->first,
	                             .last = ask->last};
	struct strbuf head;

	offer.fd = socket_of(request, &offer);
	if (offer.fd < 0) {
		struct status st = status_make(STATUS_RESOURCE_EXHAUSTED, "there are too many open connections");
		streams_forgo(streams, ask->tenant);
		respond_status(request, &st);
		return;
	}
	write_head(request, &head);
	offer.filter = filter_of(ask);
	offer.head = head.data;
	offer.head_size = head.length;
	if (offer.owner) {
		streams_open(streams, &offer);
		request_lend(request);
		return;
	}
	request->stream->offer = arena_memdup(&request->arena, &offer, sizeof(offer));
	request_end_stream(request);
}

/* Not before: as long as libmicrohttpd has the connection it might read what the client says to the stream.
 */
void
stream_let_go(struct request *request)
{
	const struct stream_offer *offer = request->stream ? request->stream->offer : NULL;
	struct streams *streams = request->shard->ingress->streams;

	if (offer && streams) {
		streams_open(streams, offer);
	} else if (offer) {
		close(offer->fd);
		mem_free(offer->filter);
	}
}

void
stream_take_place(struct request *request)
{
	struct ingress *ingress = request->shard->ingress;
	struct status st;

	switch (streams_reserve(ingress->streams, request->stream->tenant)) {
	case STREAM_ADMITTED:
		hand_over(request);
		break;
	case STREAM_TENANT_FULL:
		respond_problem(request, "too-many-streams",
		                arena_printf(&request->arena,
		                             "the tenant has %zu streams open, and may not have more",
		                             ingress->settings.streams_per_tenant));
		break;
	case STREAM_ALL_FULL:
		st =
		    status_make(STATUS_RESOURCE_EXHAUSTED, "%zu streams are open here, and there is room for no more",
		                ingress->settings.streams);
		respond_status(request, &st);
		break;
	}
}
