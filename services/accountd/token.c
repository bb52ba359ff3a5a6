/*
 * token: see token.h.
 */
#include "token.h"

#include <string.h>

#include "base/text.h"

#define PREFIX "cst_"

/* Base64 of RFC 4648 section 5: '+' would be a space in a query. */
static char *
url_text(struct arena *arena, const void *bytes, size_t size)
{
	char *text = arena_alloc(arena, text_base64_encoded_size(size) + 1);
	size_t length = text_base64_encode(bytes, size, text);

	while (length > 0 && text[length - 1] == '=')
		length--;
	text[length] = '\0';
	for (char *at = text; *at; at++)
		*at = *at == '+' ? '-' : *at == '/' ? '_' : *at;
	return text;
}

static bool
mac_of(const struct keyring *ring, struct arena *arena, const char *pepper, const char *content,
       uint8_t out[SHA256_BYTES])
{
	return keyring_mac(ring, pepper, arena_printf(arena, "token of a stream\n%s\n%s", pepper, content), out);
}

char *
token_seal(const struct keyring *ring, const char *content, struct arena *arena)
{
	const char *pepper = keyring_current(ring), *encoded = url_text(arena, content, strlen(content));
	uint8_t mac[SHA256_BYTES];

	(void)mac_of(ring, arena, pepper, encoded, mac);
	return arena_printf(arena, PREFIX "%s.%s.%s", pepper, encoded, url_text(arena, mac, sizeof(mac)));
}

char *
token_open(const struct keyring *ring, const char *token, struct arena *arena)
{
	size_t length = strlen(token), size;
	char *text = arena_strdup(arena, token);
	char *dot = strchr(text, '.'), *last = strrchr(text, '.');
	uint8_t expected[SHA256_BYTES], *said = arena_alloc(arena, length + 1);

	if (strncmp(text, PREFIX, strlen(PREFIX)) != 0 || !dot || dot == last)
		return NULL;
	*dot = *last = '\0';
	bool has_pepper = mac_of(ring, arena, text + strlen(PREFIX), dot + 1, expected);
	if (!text_base64_decode(last + 1, strlen(last + 1), said, &size) || size != SHA256_BYTES ||
	    !hash_equal(said, expected, SHA256_BYTES) || !has_pepper)
		return NULL;
	char *content = arena_alloc(arena, length + 1);
	return text_base64_decode(dot + 1, strlen(dot + 1), (uint8_t *)content, &size) ? content : NULL;
}
