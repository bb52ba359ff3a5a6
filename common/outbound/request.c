/*
 * request: what may be sent. The parts of a request come from whoever names the endpoint, and no part may
 * speak for another: no line break adds a header, no header ends the request.
 */
#include <string.h>
#include <strings.h>

#include "outbound/outbound_internal.h"

#define METHOD_MAX 16

static bool
is_token(const char *text, size_t length)
{
	static const char MARKS[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < length; i++) {
		char c = text[i];
		bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!is_plain && (c == '\0' || !strchr(MARKS, c)))
			return false;
	}
	return length > 0;
}

/* Who may say these could end the request early and put another behind it on a shared connection, or ask
 * another site than the one whose address was judged. */
static bool
is_ours(const char *name, size_t length)
{
	static const char *const OURS[] = {
	    "connection",       "content-length",      "expect", "host",    "http2-settings",    "keep-alive",
	    "proxy-connection", "proxy-authorization", "te",     "trailer", "transfer-encoding", "upgrade"};

	for (size_t i = 0; i < sizeof(OURS) / sizeof(OURS[0]); i++) {
		if (strlen(OURS[i]) == length && strncasecmp(OURS[i], name, length) == 0)
			return true;
	}
	return false;
}

static const char *
fault_of_header(const char *header)
{
	const char *colon = strchr(header, ':');

	if (!colon || !is_token(header, (size_t)(colon - header)))
		return "a header is not of the form 'Name: value'";
	if (is_ours(header, (size_t)(colon - header)))
		return "a header is one that the client writes itself";
	return strpbrk(colon, "\r\n") ? "a header has a line break in it" : NULL;
}

static bool
has_scheme(const char *url, const char *scheme)
{
	return strncasecmp(url, scheme, strlen(scheme)) == 0;
}

bool
request_is_secure(const struct outbound_request *request)
{
	return has_scheme(request->url, "https://");
}

const char *
request_fault(const struct outbound_request *request)
{
	if (!has_scheme(request->url, "http://") && !request_is_secure(request))
		return "the URL begins with neither http:// nor https://";
	if (request->method &&
	    (strlen(request->method) > METHOD_MAX || !is_token(request->method, strlen(request->method))))
		return "the method is no method";
	if (request->header_count > OUTBOUND_HEADERS_MAX)
		return "too many headers";
	for (size_t i = 0; i < request->header_count; i++) {
		const char *fault = fault_of_header(request->headers[i]);
		if (fault)
			return fault;
	}
	return NULL;
}
