/*
 * Any text as a token is none; as the content of one it comes back, and any other byte in the token is
 * noticed.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "accountd/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
alter(const struct keyring *ring, const char *token, const char *content, size_t at, struct arena *arena)
{
	char *other = arena_strdup(arena, token);

	at %= strlen(token);
	other[at] = other[at] == 'x' ? 'y' : 'x';
	const char *opened = token_open(ring, other, arena);
	/* The last digit of a base64 text may stand for fewer bits than it has. */
	assert(!opened || (strcmp(opened, content) == 0 && at + 1 == strlen(token)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const SECRETS[] = {"1:000102030405060708090a0b0c0d0e0f", NULL};
	struct keyring *ring;
	struct arena arena;
	struct status st = keyring_parse(SECRETS, &ring);

	assert(status_ok(&st));
	arena_init(&arena, 4096, SIZE_MAX);
	char *text = arena_alloc(&arena, size + 1);
	if (size)
		memcpy(text, data, size);
	assert(!token_open(ring, text, &arena));
	char *token = token_seal(ring, text, &arena);
	const char *opened = token_open(ring, token, &arena);
	assert(opened && strcmp(opened, text) == 0);
	alter(ring, token, text, size ? data[0] : 0, &arena);
	arena_fini(&arena);
	keyring_free(ring);
	return 0;
}
