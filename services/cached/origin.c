/*
 * origin: see origin.h.
 */
#include "origin.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"

/* Whether the path of a URL has a segment "." or "..", percent-encoded or not: RFC 3986 section 5.2.4. */
static bool
has_dot_segment(const char *url)
{
	const char *at = strstr(url, "://") + 3, *end = url + strcspn(url, "?#");

	for (at += strcspn(at, "/?#"); at < end;) {
		size_t dots = 0;
		for (at++; at < end && (*at == '.' || strncasecmp(at, "%2e", 3) == 0); dots++)
			at += *at == '.' ? 1 : 3;
		if (dots > 0 && dots <= 2 && (at >= end || *at == '/'))
			return true;
		while (at < end && *at != '/')
			at++;
	}
	return false;
}

bool
origin_is_template(const char *url)
{
	const char *key = strstr(url, ORIGIN_KEY), *host = strstr(url, "://");
	bool is_http = strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;

	if (!is_http || !key || strstr(key + 1, ORIGIN_KEY))
		return false;
	for (const char *at = url; *at; at++)
		if ((unsigned char)*at <= ' ' || (unsigned char)*at >= 0x7F)
			return false;
	/* What the key may choose is never whom to ask. */
	size_t length = strcspn(host + 3, "/?#");
	return length > 0 && host + 3 + length < key && host[3 + length] != '#' &&
	       !memchr(host + 3, '@', length) && !has_dot_segment(url);
}

char *
origin_url(const char *url, const char *key, struct arena *arena)
{
	static const char PLAIN[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
	const char *place = strstr(url, ORIGIN_KEY);
	struct strbuf out;

	if (!place)
		return NULL;
	strbuf_init(&out, arena);
	strbuf_add(&out, url, (size_t)(place - url));
	for (; *key; key++) {
		if (strchr(PLAIN, *key))
			strbuf_putc(&out, *key);
		else
			strbuf_printf(&out, "%%%02X", (unsigned char)*key);
	}
	strbuf_puts(&out, place + sizeof(ORIGIN_KEY) - 1);
	/* The whole, since the key may become a part of a segment. */
	return has_dot_segment(out.data) ? NULL : out.data;
}

bool
origin_is_header(const char *name, const char *value)
{
	static const char TOKEN[] =
	    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char *const OWN[] = {
	    "Host", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Accept-Encoding",
	    "TE",   "Trailer"};
	size_t length = strlen(name);

	if (length == 0 || length > 128 || strspn(name, TOKEN) != length)
		return false;
	for (size_t i = 0; i < sizeof(OWN) / sizeof(OWN[0]); i++)
		if (strcasecmp(name, OWN[i]) == 0)
			return false;
	for (; *value; value++)
		if ((unsigned char)*value < ' ' || (unsigned char)*value == 0x7F)
			return false;
	return true;
}

char *
origin_header(const char *head, size_t size, const char *name, struct arena *arena)
{
	size_t length = strlen(name);
	const char *end = head + size;

	for (const char *line = head; line < end;) {
		const char *stop = memchr(line, '\n', (size_t)(end - line));
		const char *last = stop ? stop : end;
		if ((size_t)(last - line) > length && line[length] == ':' && strncasecmp(line, name, length) == 0) {
			const char *from = line + length + 1;
			while (from < last && strchr(" \t", *from))
				from++;
			while (last > from && strchr(" \t\r", last[-1]))
				last--;
			return arena_strndup(arena, from, (size_t)(last - from));
		}
		line = stop ? stop + 1 : end;
	}
	return NULL;
}
