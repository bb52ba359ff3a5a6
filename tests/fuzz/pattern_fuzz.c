/*
 * Any two texts: a pattern and a type, split at the first line end. A type matches itself, "**" matches every
 * type, and whatever matches lies in the pattern's range.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "events/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_in_range(const char *pattern, const char *type)
{
	struct pattern_range range;
	pattern_range(pattern, &range);
	if (range.is_exact)
		return strcmp(type, range.from) == 0;
	return strcmp(type, range.from) >= 0 && (range.to[0] == '\0' || strcmp(type, range.to) < 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char pattern[300], type[300];

	const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
	if (!end || size >= sizeof(pattern))
		return 0;
	size_t length = (size_t)(end - data), rest = size - length - 1;
	memcpy(pattern, data, length);
	pattern[length] = '\0';
	memcpy(type, end + 1, rest);
	type[rest] = '\0';
	struct status pattern_st = pattern_check(pattern, length), type_st = event_type_check(type, rest);
	if (!status_ok(&type_st))
		return 0;
	assert(pattern_matches(type, type) && pattern_matches("**", type));
	if (status_ok(&pattern_st) && pattern_matches(pattern, type))
		assert(is_in_range(pattern, type));
	return 0;
}
