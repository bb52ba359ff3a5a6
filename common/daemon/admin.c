/*
 * admin: libmicrohttpd with poll in a thread of its own, apart from the ingress: it answers while the
 * ingress is saturated, and in daemons that have no ingress. (Its epoll thread stalls at 128 active
 * connections; poll does not.)
 */
#include "daemon/admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/arena.h"

#define CONNECTIONS_MAX 32
#define TIMEOUT_S       10
#define BODY_MAX        (16u << 20)

struct admin {
	struct admin_options options;
	struct MHD_Daemon *daemon;
	char address[80];
};

static enum MHD_Result
answer(struct MHD_Connection *connection, unsigned code, const char *type, struct strbuf *body)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
	    body->length, body->data ? body->data : (char[]){""}, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result = MHD_NO;

	if (response) {
		MHD_add_response_header(response, "Content-Type", type);
		MHD_add_response_header(response, "Cache-Control", "no-store");
		if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
			MHD_add_response_header(response, "Allow", "GET, HEAD");
		result = MHD_queue_response(connection, code, response);
		MHD_destroy_response(response);
	}
	strbuf_fini(body);
	return result;
}

static enum MHD_Result
answer_health(struct MHD_Connection *connection, bool is_well, struct strbuf *body)
{
	return answer(connection, is_well ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, "application/health+json",
	              body);
}

static enum MHD_Result
answer_metrics(struct admin *self, struct MHD_Connection *connection, struct strbuf *body)
{
	const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept");
	enum metric_format format = metric_format_for(accept);

	self->options.collect(self->options.arg);
	metrics_write(self->options.metrics, format, body);
	if (body->is_cut) {
		strbuf_clear(body);
		strbuf_puts(body, "more metrics than fit\n");
		return answer(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", body);
	}
	return answer(connection, MHD_HTTP_OK, metric_content_type(format), body);
}

static enum MHD_Result
answer_path(struct admin *self, struct MHD_Connection *connection, const char *path)
{
	struct strbuf body;

	strbuf_init(&body, NULL);
	body.ceiling = BODY_MAX;
	if (strcmp(path, "/livez") == 0) {
		strbuf_puts(&body, "{\"status\":\"pass\"}\n");
		return answer_health(connection, true, &body);
	}
	if (strcmp(path, "/readyz") == 0) {
		bool is_well = self->options.ready(self->options.arg, &body);
		return answer_health(connection, is_well, &body);
	}
	if (strcmp(path, "/startupz") == 0) {
		bool is_well = self->options.startup(self->options.arg, &body);
		return answer_health(connection, is_well, &body);
	}
	if (strcmp(path, "/metrics") == 0)
		return answer_metrics(self, connection, &body);
	strbuf_puts(&body, "/livez /readyz /startupz /metrics\n");
	return answer(connection, MHD_HTTP_NOT_FOUND, "text/plain; charset=utf-8", &body);
}

/* libmicrohttpd calls once for the header and again for the (absent) body; the answer goes out with
 * the second, so that the connection can be kept. */
static enum MHD_Result
handle(void *arg, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
       const char *upload, size_t *upload_size, void **state)
{
	static char seen;
	struct strbuf body;

	(void)version;
	(void)upload;
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*upload_size > 0)
		return MHD_NO; /* nobody uploads here: close */
	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
		return answer_path(arg, connection, url);
	strbuf_init(&body, NULL);
	strbuf_puts(&body, "GET or HEAD only\n");
	return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", &body);
}

/* ---------------------------------------------------------------- the socket */

/* Splits "host:port" or "[v6]:port" at the last colon. */
static struct status
split_address(const char *text, char *host, size_t host_size, char *port, size_t port_size)
{
	const char *colon = strrchr(text, ':');
	size_t length = colon ? (size_t)(colon - text) : 0;

	if (!colon || length == 0 || length >= host_size || strlen(colon + 1) == 0 ||
	    strlen(colon + 1) >= port_size)
		return status_make(STATUS_INVALID_ARGUMENT, "'%s': expected host:port", text);
	if (text[0] == '[' && text[length - 1] == ']') {
		text++;
		length -= 2;
	}
	memcpy(host, text, length);
	host[length] = '\0';
	snprintf(port, port_size, "%s", colon + 1);
	return status_ok_value();
}

static int
bind_one(const struct addrinfo *info)
{
	int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC, info->ai_protocol);
	int on = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, CONNECTIONS_MAX) == 0)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

static struct status
open_socket(const char *listen_at, int *fd)
{
	char host[256], port[16];
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
	struct status st = split_address(listen_at, host, sizeof(host), port, sizeof(port));

	if (!status_ok(&st))
		return st;
	int failed = getaddrinfo(host, port, &hints, &found);
	if (failed)
		return status_make(STATUS_INVALID_ARGUMENT, "'%s': %s", listen_at, gai_strerror(failed));
	*fd = bind_one(found);
	int error = errno;
	freeaddrinfo(found);
	if (*fd >= 0)
		return status_ok_value();
	return status_make(error == EADDRINUSE ? STATUS_ALREADY_EXISTS : STATUS_UNAVAILABLE, "'%s': %s",
	                   listen_at, strerror(error));
}

static void
name_address(struct admin *self, int fd)
{
	struct sockaddr_storage bound;
	socklen_t size = sizeof(bound);
	char host[64] = "", port[8] = "";

	if (getsockname(fd, (struct sockaddr *)&bound, &size) == 0)
		getnameinfo((struct sockaddr *)&bound, size, host, sizeof(host), port, sizeof(port),
		            NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(self->address, sizeof(self->address), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

struct status
admin_new(const struct admin_options *options, struct admin **out)
{
	struct admin *self = mem_alloc(sizeof(*self));
	int fd = -1;
	struct status st = open_socket(options->listen, &fd);

	*out = NULL;
	self->options = *options;
	if (status_ok(&st)) {
		name_address(self, fd);
		self->daemon = MHD_start_daemon(
		    MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL, handle, self, MHD_OPTION_LISTEN_SOCKET,
		    fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
		    (unsigned)TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384, MHD_OPTION_END);
		if (!self->daemon) {
			close(fd);
			st = status_make(STATUS_UNAVAILABLE, "'%s': the HTTP server does not start", options->listen);
		}
	}
	if (!status_ok(&st)) {
		mem_free(self);
		return status_wrap(st, "admin.listen");
	}
	*out = self;
	return st;
}

void
admin_free(struct admin *self)
{
	if (!self)
		return;
	MHD_stop_daemon(self->daemon);
	mem_free(self);
}

const char *
admin_address(const struct admin *self)
{
	return self->address;
}
