/*
 * redact: see redact.h.
 */
#include "telemetry/redact.h"

#include <string.h>

bool
redact_is_secret_name(const char *name)
{
	static const char *const SECRETS[] = {"password",      "secret", "api_key",
	                                      "authorization", "pepper", "cookie"};
	size_t length = strlen(name);

	for (size_t i = 0; i < sizeof(SECRETS) / sizeof(SECRETS[0]); i++) {
		size_t size = strlen(SECRETS[i]);
		if (length < size || strcmp(name + length - size, SECRETS[i]) != 0)
			continue;
		if (length == size || name[length - size - 1] == '_' || name[length - size - 1] == '.')
			return true;
	}
	return false;
}

/* The password of the first URL with one at or behind `at`; NULL when there is none. User information ends
 * at the last '@' before the path, as RFC 3986 section 3.2 has it. */
static const char *
find_password(const char *at, size_t *length)
{
	while ((at = strstr(at, "://")) != NULL) {
		at += 3;
		size_t authority = strcspn(at, "/?# \t\r\n\"'");
		const char *end = memrchr(at, '@', authority);
		const char *colon = end ? memchr(at, ':', (size_t)(end - at)) : NULL;
		if (!colon)
			continue;
		*length = (size_t)(end - colon - 1);
		return colon + 1;
	}
	return NULL;
}

static char *
append(char *out, const char *limit, const char *text, size_t length)
{
	size_t room = (size_t)(limit - out);
	if (length > room)
		length = room;
	memcpy(out, text, length);
	return out + length;
}

const char *
redact_urls(const char *text, char *out, size_t size)
{
	size_t length;
	const char *password = find_password(text, &length), *limit = out + size - 1;
	char *at = out;

	if (!password)
		return text;
	while (password) {
		at = append(at, limit, text, (size_t)(password - text));
		at = append(at, limit, REDACTED, sizeof(REDACTED) - 1);
		text = password + length;
		password = find_password(text, &length);
	}
	at = append(at, limit, text, strlen(text));
	*at = '\0';
	return out;
}
