/*
 * caller: who makes a request: the client's address and its key.
 */
#include <string.h>

#include "ingress_internal.h"

/* ---- the address ---- */

static enum MHD_Result
join_line(void *closure, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct strbuf *list = closure;
	(void)kind;

	if (strcasecmp(name, "X-Forwarded-For") != 0 || !value)
		return MHD_YES;
	if (list->length > 0)
		strbuf_puts(list, ", ");
	strbuf_puts(list, value);
	return MHD_YES;
}

/* All X-Forwarded-For lines as one list (RFC 9110 section 5.3): a proxy may add its own line below the one
 * that the client sent, and what counts is the end. */
static const char *
forwarded(struct request *request)
{
	struct strbuf list;

	strbuf_init(&list, &request->arena);
	(void)MHD_get_connection_values(request->connection, MHD_HEADER_KIND, join_line, &list);
	return list.data;
}

void
caller_take_address(struct request *request)
{
	const struct settings *settings = &request->shard->ingress->settings;
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	if (!info || !address_from_socket(info->client_addr, &request->peer))
		return;
	if (networks_have(settings->proxies, &request->peer))
		request->peer = address_of_client(settings->proxies, &request->peer, forwarded(request));
	address_mask(&request->peer, settings->ipv6_prefix);
}

/* ---- the key ---- */

/* X-API-Key goes first: behind a gateway Authorization may be meant for the API there. */
static const char *
presented_key(const struct request *request)
{
	const char *key = request_header(request, "X-API-Key");
	const char *bearer = key ? NULL : request_header(request, "Authorization");

	if (!bearer || strncasecmp(bearer, "Bearer", 6) != 0 || bearer[6] != ' ')
		return key;
	bearer += 6;
	while (*bearer == ' ')
		bearer++;
	return bearer;
}

void
caller_authenticate(struct request *request)
{
	const char *key = presented_key(request);
	uint64_t now = request->shard->turn_ms, retry_ms = 0;

	if (key && key[0]) {
		key_cache_authenticate(request->shard->keys, request, key, strlen(key));
		return;
	}
	if (!address_take(request->shard->addresses, &request->peer, now, &retry_ms)) {
		respond_limited(request, "anonymous", retry_ms, false);
		return;
	}
	counter_add(request->shard->ingress->unauthenticated, 1);
	respond_problem(request, "unauthenticated",
	                "an API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY");
}
