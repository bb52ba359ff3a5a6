/*
 * head: what a request's head must satisfy before anything else looks at it.
 *
 * libmicrohttpd 0.9.75 is lenient where leniency lets two readers of the same bytes see different requests
 * (RFC 9112 section 11.2, request smuggling): it takes a Content-Length beside a Transfer-Encoding, the
 * first of two lengths, and names that end in a space. Such heads are refused here, and since nobody knows
 * where their request ends, so is what follows on the connection.
 */
#include <string.h>

#include "ingress_internal.h"

struct head {
	unsigned hosts, lengths, codings;
	bool is_chunked, has_bad_name;
};

/* Space, tab and the separators that a mistaken or hostile head shows: RFC 9110 section 5.6.2. */
static const bool SEPARATORS[256] = {
    [' '] = true, ['\t'] = true, ['"'] = true, ['('] = true, [')'] = true,  [','] = true, ['/'] = true,
    [':'] = true, [';'] = true,  ['<'] = true, ['='] = true, ['>'] = true,  ['?'] = true, ['@'] = true,
    ['['] = true, [']'] = true,  ['{'] = true, ['}'] = true, ['\\'] = true,
};

static bool
is_token(const char *name)
{
	const char *at = name;
	while (*at && !SEPARATORS[(unsigned char)*at])
		at++;
	return at > name && !*at;
}

static enum MHD_Result
look(void *closure, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct head *head = closure;
	(void)kind;

	switch (name[0] | 0x20) {
	case 'h':
		head->hosts += strcasecmp(name, "Host") == 0;
		break;
	case 'c':
		head->lengths += strcasecmp(name, "Content-Length") == 0;
		break;
	case 't':
		if (strcasecmp(name, "Transfer-Encoding") == 0) {
			head->codings++;
			head->is_chunked = value && strcasecmp(value, "chunked") == 0;
		}
		break;
	default:
		break;
	}
	head->has_bad_name |= !is_token(name);
	return MHD_YES;
}

static size_t
size_of(const struct request *request)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	return info ? info->header_size : 0;
}

static bool
refuse(struct request *request, const char *slug, const char *detail)
{
	respond_problem(request, slug, detail);
	(void)MHD_add_response_header(request->response, "Connection", "close");
	return false;
}

bool
head_check(struct request *request, const char *version)
{
	size_t max = request->shard->ingress->settings.header_max;
	struct head head = {.hosts = 0};

	if (!request->url)
		return refuse(request, "uri-too-long", "the URL must be at most 8192 bytes");
	if (size_of(request) > max)
		return refuse(request, "header-too-large",
		              arena_printf(&request->arena, "the header must be at most %zu bytes", max));
	(void)MHD_get_connection_values(request->connection, MHD_HEADER_KIND, look, &head);
	if (head.has_bad_name)
		return refuse(request, "malformed", "a header's name is not a token");
	if (head.hosts > 1 || (head.hosts == 0 && strcmp(version, MHD_HTTP_VERSION_1_1) == 0))
		return refuse(request, "malformed", "there must be one Host header");
	if (head.lengths > 1 || head.codings > 1 || (head.lengths > 0 && head.codings > 0))
		return refuse(request, "malformed", "there must be one Content-Length or one Transfer-Encoding");
	if (head.codings > 0 && !head.is_chunked)
		return refuse(request, "unimplemented", "the only transfer coding known is chunked");
	return true;
}
