/*
 * stream_handshake: see stream_handshake.h.
 */
#include "stream_handshake.h"

#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "base/text.h"

#define KEY_LENGTH 24u /* base64 of 16 bytes */
#define KEY_BYTES  16u

bool
stream_list_has(const char *list, const char *token)
{
	size_t length = strlen(token);

	while (list && *list) {
		list += strspn(list, " \t,");
		size_t size = strcspn(list, ",");
		const char *next = list + size;
		while (size > 0 && (list[size - 1] == ' ' || list[size - 1] == '\t'))
			size--;
		if (size == length && strncasecmp(list, token, length) == 0)
			return true;
		list = next;
	}
	return false;
}

static bool
is_key(const char *text)
{
	uint8_t bytes[KEY_LENGTH];
	size_t size;

	return text && strnlen(text, KEY_LENGTH + 1) == KEY_LENGTH &&
	       text_base64_decode(text, KEY_LENGTH, bytes, &size) && size == KEY_BYTES;
}

enum stream_handshake_result
stream_handshake_check(const struct stream_handshake *handshake)
{
	if (!stream_list_has(handshake->upgrade, "websocket"))
		return HANDSHAKE_NONE;
	if (!handshake->version || strcmp(handshake->version, "13") != 0)
		return HANDSHAKE_OTHER_VERSION;
	return is_key(handshake->key) && stream_list_has(handshake->connection, "upgrade") ? HANDSHAKE_GOOD
	                                                                                   : HANDSHAKE_BAD;
}

void
stream_handshake_accept(const char *key, char out[STREAM_ACCEPT_SIZE])
{
	static const char GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 section 1.3 */
	char text[KEY_LENGTH + sizeof(GUID)];
	uint8_t digest[SHA1_BYTES];

	memcpy(text, key, KEY_LENGTH);
	memcpy(text + KEY_LENGTH, GUID, sizeof(GUID));
	hash_sha1(text, sizeof(text) - 1, digest);
	out[text_base64_encode(digest, sizeof(digest), out)] = '\0';
}
