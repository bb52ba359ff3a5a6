/*
 * Any text is a schema or refused, and any data fits it or not, in bounded time. The two are split at the
 * first NUL byte. Data that fits still does when it is read again, and a refusal has a reason.
 */
#include <assert.h>
#include <string.h>

#include "schema/json_value.h"
#include "schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct schema *schema, const char *text, size_t length, struct arena *arena)
{
	struct violations found = {.count = 0}, again = {.count = 0};
	bool is_good = schema_check_text(schema, text, length, "/data", arena, &found);

	assert(is_good == (found.count == 0));
	assert(schema_check_text(schema, text, length, "/data", arena, &again) == is_good);
	assert(again.count == found.count);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct violations found = {.count = 0};
	struct arena arena;

	const uint8_t *end = size ? memchr(data, 0, size) : NULL;
	if (!end || size > 64u << 10)
		return 0;
	size_t length = (size_t)(end - data);
	arena_init(&arena, 4096, 64u << 20);
	struct schema *schema = schema_compile((const char *)data, length, "", &arena, &found);
	assert((schema != NULL) == (found.count == 0));
	if (schema)
		check(schema, (const char *)end + 1, size - length - 1, &arena);
	schema_free(schema);
	arena_fini(&arena);
	return 0;
}
