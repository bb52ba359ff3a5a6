/*
 * response: what is kept of an answer while it comes, and what it came to. An endpoint may send what it
 * likes, so each buffer has a bound and everything read is counted.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "outbound/outbound_internal.h"
#include "outbound/retry_after.h"

#define HEAD_KEPT_BYTES 4096u /* buffers beyond these are not kept between requests */
#define BODY_KEPT_BYTES 16384u

/* ---------------------------------------------------------------- while it comes */

/* Room for `size` more bytes and a NUL, by doubling. */
static void
grow(char **buffer, size_t *capacity, size_t used, size_t size)
{
	size_t want = *capacity ? *capacity : 512;

	while (want < used + size + 1)
		want *= 2;
	if (want > *capacity)
		*buffer = mem_resize(*buffer, want, 1);
	*capacity = want;
}

static void
note_retry_after(struct transfer *transfer, const char *line, size_t length)
{
	static const char NAME[] = "retry-after:";
	size_t skip = sizeof(NAME) - 1;

	if (length < skip || strncasecmp(line, NAME, skip) != 0)
		return;
	while (skip < length && (line[skip] == ' ' || line[skip] == '\t'))
		skip++;
	while (length > skip && strchr(" \t\r\n", line[length - 1]))
		length--;
	transfer->retry_after_ms =
	    retry_after_ms(line + skip, length - skip, clock_wall_ms(transfer->outbound->clock));
}

static void
begin_head(struct transfer *transfer)
{
	transfer->is_head_done = false;
	transfer->head_size = 0;
	transfer->retry_after_ms = 0;
}

void
response_begin(struct transfer *transfer)
{
	begin_head(transfer);
	transfer->head_read = transfer->body_size = 0;
	transfer->body_read = 0;
	transfer->is_head_too_large = transfer->is_cut = transfer->is_unresolved = false;
}

/* One line of a head. Interim responses (1xx) come as heads of their own before the final one. */
size_t
response_take_head(char *line, size_t one, size_t length, void *arg)
{
	struct transfer *transfer = arg;

	(void)one;
	transfer->head_read += length;
	if (transfer->head_read > OUTBOUND_HEAD_MAX) {
		transfer->is_head_too_large = true;
		return CURL_WRITEFUNC_ERROR;
	}
	if (transfer->is_head_done && length >= 5 && memcmp(line, "HTTP/", 5) == 0)
		begin_head(transfer);
	if (transfer->is_head_done)
		return length;
	grow(&transfer->head, &transfer->head_capacity, transfer->head_size, length);
	memcpy(transfer->head + transfer->head_size, line, length);
	transfer->head_size += length;
	note_retry_after(transfer, line, length);
	transfer->is_head_done = length > 0 && (line[0] == '\r' || line[0] == '\n');
	return length;
}

size_t
response_take_body(char *bytes, size_t one, size_t length, void *arg)
{
	struct transfer *transfer = arg;
	const struct outbound_request *request = transfer->request;
	size_t room = request->keep_bytes - transfer->body_size;
	size_t kept = length < room ? length : room;

	(void)one;
	if (kept > 0) {
		grow(&transfer->body, &transfer->body_capacity, transfer->body_size, kept);
		memcpy(transfer->body + transfer->body_size, bytes, kept);
		transfer->body_size += kept;
	}
	transfer->body_read += length;
	transfer->is_cut = transfer->body_read > request->max_bytes;
	return transfer->is_cut ? CURL_WRITEFUNC_ERROR : length;
}

/* ---------------------------------------------------------------- what it came to */

static enum outbound_result
result_of(const struct transfer *transfer, CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return OUTBOUND_OK;
	case CURLE_WRITE_ERROR:
		return transfer->is_head_too_large ? OUTBOUND_TOO_LARGE
		       : transfer->is_cut          ? OUTBOUND_OK
		                                   : OUTBOUND_PROTOCOL;
	case CURLE_OUT_OF_MEMORY: /* how curl before 8.6 says that one header line is longer than any it takes */
#if LIBCURL_VERSION_NUM >= 0x080600
	case CURLE_TOO_LARGE:
#endif
		return OUTBOUND_TOO_LARGE;
	case CURLE_OPERATION_TIMEDOUT:
		return OUTBOUND_TIMEOUT;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return OUTBOUND_DNS;
	case CURLE_COULDNT_CONNECT:
		return transfer->sockets_refused && !transfer->sockets_opened ? OUTBOUND_REFUSED_ADDRESS
		                                                              : OUTBOUND_CONNECT;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_PROXY:
		return OUTBOUND_CONNECT;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
		return OUTBOUND_TLS;
	default:
		return OUTBOUND_PROTOCOL;
	}
}

static unsigned
http_version_of(CURL *easy)
{
	long version = 0;

	curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
	switch (version) {
	case CURL_HTTP_VERSION_1_0:
		return 10;
	case CURL_HTTP_VERSION_1_1:
		return 11;
	case CURL_HTTP_VERSION_2_0:
		return 20;
	default:
		return 0;
	}
}

static void
read_connection(CURL *easy, struct outbound_response *out)
{
	char *address = NULL;
	long port = 0;

	curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &address);
	curl_easy_getinfo(easy, CURLINFO_PRIMARY_PORT, &port);
	if (address && address[0])
		snprintf(out->address, sizeof(out->address), strchr(address, ':') ? "[%s]:%ld" : "%s:%ld", address,
		         port);
}

static void
read_status(struct transfer *transfer, struct outbound_response *out)
{
	long status = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200) /* interim ones answer nothing */
		return;
	out->status = (unsigned)status;
	out->http_version = http_version_of(transfer->easy);
	out->retry_after_ms = transfer->retry_after_ms;
	out->head = transfer->head;
	out->head_size = transfer->head_size;
}

static void
read_body(struct transfer *transfer, struct outbound_response *out)
{
	if (transfer->body_size > 0) {
		transfer->body[transfer->body_size] = '\0';
		out->body = transfer->body;
	}
	out->body_size = transfer->body_size;
	out->received_bytes = transfer->body_read;
	out->is_cut = transfer->is_cut;
}

void
response_conclude(struct transfer *transfer, enum outbound_result result, const char *detail)
{
	struct outbound_response *out = &transfer->request->response;

	*out = (struct outbound_response){.result = result, .head = "", .body = ""};
	if (result != OUTBOUND_OK)
		snprintf(out->detail, sizeof(out->detail), "%.*s", OUTBOUND_DETAIL_MAX - 1, detail);
}

static const char *
detail_of(const struct transfer *transfer, enum outbound_result result, CURLcode code)
{
	if (result == OUTBOUND_REFUSED_ADDRESS)
		return "the address is not one that may be connected to";
	if (result == OUTBOUND_TOO_LARGE)
		return "the head of the response is too large";
	return transfer->error[0] ? transfer->error : curl_easy_strerror(code);
}

void
response_finish(struct transfer *transfer, CURLcode code)
{
	struct outbound_response *out = &transfer->request->response;
	enum outbound_result result = result_of(transfer, code);

	response_conclude(transfer, result, detail_of(transfer, result, code));
	out->latency_ms = (uint32_t)(clock_mono_ms(clock_system()) - transfer->start_ms);
	read_connection(transfer->easy, out);
	read_status(transfer, out);
	read_body(transfer, out);
}

static void
shrink(char **buffer, size_t *capacity, size_t kept)
{
	if (*capacity <= kept)
		return;
	mem_free(*buffer);
	*buffer = NULL;
	*capacity = 0;
}

void
response_trim(struct transfer *transfer)
{
	shrink(&transfer->head, &transfer->head_capacity, HEAD_KEPT_BYTES);
	shrink(&transfer->body, &transfer->body_capacity, BODY_KEPT_BYTES);
}
