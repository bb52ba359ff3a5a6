/*
 * The plain form of any target is an absolute path without ambiguous parts, and its own plain form.
 */
#include <assert.h>
#include <string.h>

#include "ingress/forward_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
assert_plain(const char *path)
{
	assert(path[0] == '/');
	assert(!strstr(path, "//") && !strstr(path, "/./") && !strstr(path, "/../"));
	size_t length = strlen(path);
	assert(length < 2 || strcmp(path + length - 2, "/.") != 0);
	assert(length < 3 || strcmp(path + length - 3, "/..") != 0);
	for (; *path; path++)
		assert(*path > ' ' && *path < 0x7F && *path != '?' && *path != '#');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena;

	if (size > 8192)
		return 0;
	arena_init(&arena, 4096, 4u << 20);
	char *target = arena_strndup(&arena, (const char *)data, size);
	const char *plain = forward_plain_path(&arena, target);
	assert_plain(plain);
	assert(strcmp(forward_plain_path(&arena, plain), plain) == 0);
	arena_fini(&arena);
	return 0;
}
