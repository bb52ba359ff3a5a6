/*
 * redis_url: where the server is and who we are there.
 */
#include <string.h>

#include "base/text.h"
#include "redis/redis_internal.h"

#define DEFAULT_PORT 6379

static struct status
bad(void)
{
	return status_make(STATUS_INVALID_ARGUMENT,
	                   "redis.url: expected redis[s]://[[user]:password@]host[:port][/database] "
	                   "or unix://[[user]:password@]/path[?db=database]");
}

/* Percent-decodes; NULL for a malformed escape or a NUL. */
static char *
decode(const char *text, size_t length)
{
	char *out = mem_alloc(length + 1);
	size_t size = 0;

	for (size_t i = 0; i < length; i++) {
		uint8_t byte = (uint8_t)text[i];
		if (byte == '%') {
			if (i + 2 >= length || !text_hex_decode(text + i + 1, 2, &byte) || byte == 0) {
				mem_free(out);
				return NULL;
			}
			i += 2;
		}
		out[size++] = (char)byte;
	}
	return out;
}

static bool
parse_user(const char *text, size_t length, struct redis_url *out)
{
	const char *colon = memchr(text, ':', length);
	size_t user = colon ? (size_t)(colon - text) : 0;

	if (!colon) /* "redis://secret@host" is common, too */
		colon = text - 1;
	if (user > 0)
		out->user = decode(text, user);
	out->password = decode(colon + 1, length - (size_t)(colon + 1 - text));
	return out->password && (user == 0 || out->user);
}

static bool
parse_database(const char *text, size_t length, struct redis_url *out)
{
	uint64_t number = 0;

	if (length > 0 && (!text_to_u64(text, length, &number) || number > 65535))
		return false;
	out->database = (uint32_t)number;
	return true;
}

/* "host", "host:port", "[::1]:port" */
static bool
parse_host(const char *text, size_t length, struct redis_url *out)
{
	const char *end = text + length;
	const char *host_end = length && *text == '[' ? memchr(text, ']', length) : memchr(text, ':', length);
	const char *host = text;
	uint64_t port = DEFAULT_PORT;

	if (length && *text == '[') {
		if (!host_end)
			return false;
		host++;
		text = host_end + 1;
	} else {
		text = host_end = host_end ? host_end : end;
	}
	if (host_end == host || (text < end && *text != ':'))
		return false;
	if (text < end && (!text_to_u64(text + 1, (size_t)(end - text - 1), &port) || port == 0 || port > 65535))
		return false;
	out->port = (uint16_t)port;
	out->host = mem_printf("%.*s", (int)(host_end - host), host);
	return true;
}

static bool
parse_tcp(const char *text, struct redis_url *out)
{
	const char *slash = strchr(text, '/');
	size_t host = slash ? (size_t)(slash - text) : strlen(text);

	return parse_host(text, host, out) && (!slash || parse_database(slash + 1, strlen(slash + 1), out));
}

static bool
parse_unix(const char *text, struct redis_url *out)
{
	const char *query = strchr(text, '?');
	size_t length = query ? (size_t)(query - text) : strlen(text);

	if (length < 2 || *text != '/' || length > 100)
		return false;
	out->path = mem_printf("%.*s", (int)length, text);
	return !query || (strncmp(query, "?db=", 4) == 0 && parse_database(query + 4, strlen(query + 4), out));
}

struct status
redis_url_parse(const char *text, struct redis_url *out)
{
	bool is_unix = strncmp(text, "unix://", 7) == 0, is_tls = strncmp(text, "rediss://", 9) == 0;

	*out = (struct redis_url){.is_tls = is_tls};
	if (!is_unix && !is_tls && strncmp(text, "redis://", 8) != 0)
		return bad();
	text += is_unix ? 7 : is_tls ? 9 : 8;
	const char *at = strchr(text, '@');
	bool is_good = !at || parse_user(text, (size_t)(at - text), out);
	if (is_good)
		is_good = is_unix ? parse_unix(at ? at + 1 : text, out) : parse_tcp(at ? at + 1 : text, out);
	if (is_good)
		return status_ok_value();
	redis_url_fini(out);
	return bad();
}

void
redis_url_fini(struct redis_url *url)
{
	mem_free(url->host);
	mem_free(url->path);
	mem_free(url->user);
	mem_free(url->password);
	*url = (struct redis_url){0};
}
