/*
 * A template that is accepted asks the host that it names, whatever the key is; a header that is found lies
 * in the head. The first line is the template, the second the key, the rest an answer's head.
 */
#include <assert.h>
#include <string.h>

#include "cached/origin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next line as a text of its own. */
static char *
next_line(struct arena *arena, const char **at, const char *end)
{
	const char *stop = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;
	size_t length = (size_t)((stop ? stop : end) - *at);
	char *out = arena_alloc(arena, length + 1);

	memcpy(out, *at, length);
	*at = stop ? stop + 1 : end;
	return out;
}

static void
try_url(const char *template, const char *key, struct arena *arena)
{
	char *url = origin_is_template(template) ? origin_url(template, key, arena) : NULL;

	if (!url)
		return;
	const char *host = strstr(template, "://") + 3;
	size_t same = (size_t)(host - template) + strcspn(host, "/?");
	assert(memcmp(url, template, same + 1) == 0);
	for (const char *p = url; *p; p++)
		assert((unsigned char)*p > ' ' && (unsigned char)*p < 0x7F);
	const char *up = strstr(url + same, "/../");
	assert(!up || up >= url + same + strcspn(url + same, "?#"));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data, *end = at + size;
	struct arena arena;

	arena_init(&arena, 4096, 16u << 20);
	const char *template = next_line(&arena, &at, end), *key = next_line(&arena, &at, end);
	try_url(template, key, &arena);
	const char *value = origin_header(at, (size_t)(end - at), "Content-Type", &arena);
	assert(!value || strlen(value) <= (size_t)(end - at));
	(void)origin_is_header(key, template);
	arena_fini(&arena);
	return 0;
}
