/*
 * transfer: one request as one curl handle's work. What never changes is set when the handle is made, so that
 * a request costs no more than its own few options; curl keeps names and connections in the multi handle.
 */
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "outbound/outbound_internal.h"

#define MAX_IDLE_S           60L  /* shorter than most endpoints keep a connection */
#define MAX_CONNECTION_AGE_S 600L /* a name whose addresses change is followed */
#define NAME_CACHE_S         30L
#define UPLOAD_BUFFER_BYTES  16384L

/* ---------------------------------------------------------------- what curl calls */

static void
log_refusal(struct outbound *self, const struct sockaddr *address, socklen_t length)
{
	char text[NI_MAXHOST] = "";

	getnameinfo(address, length, text, sizeof(text), NULL, 0, NI_NUMERICHOST);
	log_warn(self->log, "endpoint's address refused", LOG_TEXT("address", text));
}

static int
begin_lookup(void *state, void *reserved, void *transfer)
{
	(void)state;
	(void)reserved;
	names_lookup_begins(transfer);
	return 0;
}

/* A proxy judges for itself. */
static bool
may_connect(struct outbound *self, const struct sockaddr *address, socklen_t length)
{
	if (self->proxy)
		return true;
	return policy_allows(&self->policy, address, length) &&
	       !(self->refuses_own && own_listens(&self->own, address, length));
}

/* curl connects to this very address, so no later answer of a name server can change what was judged. */
static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct transfer *transfer = arg;
	struct outbound *self = transfer->outbound;

	(void)purpose;
	names_lookup_over(transfer, NULL);
	if (!may_connect(self, &address->addr, (socklen_t)address->addrlen)) {
		transfer->sockets_refused++;
		log_refusal(self, &address->addr, (socklen_t)address->addrlen);
		return CURL_SOCKET_BAD;
	}
	transfer->sockets_opened++;
	counter_add(self->metrics.connections, 1);
	int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	if (fd >= 0)
		watches_opened(self, fd);
	return fd;
}

static int
close_socket(void *arg, curl_socket_t fd)
{
	watches_closed(arg, fd);
	return close(fd);
}

/* ---------------------------------------------------------------- the handle */

static void
set_safety(const struct outbound *self, CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* Without it the loop would wait for the resolver's thread when a lookup times out. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	if (self->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, self->ca_file);
	curl_easy_setopt(easy, CURLOPT_PROXY, self->proxy ? self->proxy : "");
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
	curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
}

static void
set_connections(const struct outbound *self, CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_USERAGENT, self->user_agent);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, MAX_IDLE_S);
	curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, MAX_CONNECTION_AGE_S);
	curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, NAME_CACHE_S);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_BYTES);
}

static void
set_callbacks(struct transfer *transfer, CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
	curl_easy_setopt(easy, CURLOPT_RESOLVER_START_FUNCTION, begin_lookup);
	curl_easy_setopt(easy, CURLOPT_RESOLVER_START_DATA, transfer);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, transfer->outbound);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, response_take_head);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, response_take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
}

static bool
make_handle(struct transfer *transfer)
{
	if (transfer->easy)
		return true;
	transfer->easy = curl_easy_init();
	if (!transfer->easy)
		return false;
	set_safety(transfer->outbound, transfer->easy);
	set_connections(transfer->outbound, transfer->easy);
	set_callbacks(transfer, transfer->easy);
	return true;
}

/* ---------------------------------------------------------------- the request */

/* The caller's lines and two that keep curl from adding its own: it would otherwise wait for a "100 Continue"
 * before a large body, and call the body a form. */
static struct curl_slist *
link_headers(struct transfer *transfer)
{
	static const char NO_EXPECT[] = "Expect:", NO_TYPE[] = "Content-Type:";
	const struct outbound_request *request = transfer->request;
	struct curl_slist *list = transfer->headers;
	size_t count = 0;

	for (size_t i = 0; i < request->header_count; i++)
		list[count++].data = (char *)(uintptr_t)request->headers[i];
	list[count++].data = (char *)(uintptr_t)NO_EXPECT;
	list[count++].data = (char *)(uintptr_t)NO_TYPE;
	for (size_t i = 0; i < count; i++)
		list[i].next = i + 1 < count ? &list[i + 1] : NULL;
	return list;
}

static void
set_method(const struct outbound_request *request, CURL *easy)
{
	const char *method = request->method ? request->method : "GET";
	bool has_body = request->body_size > 0 || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
	                strcmp(method, "PATCH") == 0;

	if (has_body) {
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body_size ? request->body : "");
	} else if (strcmp(method, "HEAD") == 0) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	} else {
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
}

static void
forget_last(struct transfer *transfer)
{
	response_begin(transfer);
	transfer->sockets_opened = transfer->sockets_refused = 0;
	transfer->error[0] = '\0';
}

bool
transfer_prepare(struct transfer *transfer)
{
	const struct outbound_request *request = transfer->request;
	const char *fault = request_fault(request);

	forget_last(transfer);
	if (!fault && !make_handle(transfer))
		fault = "curl makes no handle";
	if (!fault && curl_easy_setopt(transfer->easy, CURLOPT_URL, request->url) != CURLE_OK)
		fault = "the URL is too long";
	if (fault) {
		response_conclude(transfer, OUTBOUND_PROTOCOL, fault);
		return false;
	}
	/* Many requests to one endpoint wait for its first connection, to learn whether it takes many at once. */
	curl_easy_setopt(transfer->easy, CURLOPT_PIPEWAIT, request_is_secure(request) ? 1L : 0L);
	curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, link_headers(transfer));
	names_set(transfer);
	set_method(request, transfer->easy);
	return true;
}

void
transfer_fini(struct transfer *transfer)
{
	curl_easy_cleanup(transfer->easy);
	mem_free(transfer->head);
	mem_free(transfer->body);
}
