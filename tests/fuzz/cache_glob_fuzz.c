/*
 * Any pattern, a line end, and any key: what the pattern says is what a table of all its beginnings and all
 * the key's says, and a pattern that is refused breaks one of the written bounds.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "cached/glob.h"

#define KEY_MAX 512u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A pattern without its backslashes: literal[i] says that symbols[i] stands for itself. */
struct plain {
	uint8_t symbols[GLOB_MAX];
	bool literal[GLOB_MAX];
	size_t length;
};

static bool
plain_of(const uint8_t *pattern, size_t length, struct plain *plain)
{
	plain->length = 0;
	for (size_t i = 0; i < length; i++) {
		bool is_literal = pattern[i] == '\\';
		if (is_literal && ++i == length)
			return false;
		plain->literal[plain->length] = is_literal;
		plain->symbols[plain->length++] = pattern[i];
	}
	return true;
}

/* matched[j]: the pattern so far matches the key's first j bytes. */
static bool
matches_slowly(const struct plain *plain, const uint8_t *key, size_t length)
{
	bool matched[KEY_MAX + 1] = {true};

	for (size_t i = 0; i < plain->length; i++) {
		bool is_star = plain->symbols[i] == '*' && !plain->literal[i];
		bool is_any = plain->symbols[i] == '?' && !plain->literal[i];
		if (is_star) {
			for (size_t j = 1; j <= length; j++)
				matched[j] = matched[j] || matched[j - 1];
			continue;
		}
		for (size_t j = length; j > 0; j--)
			matched[j] = matched[j - 1] && (is_any || key[j - 1] == plain->symbols[i]);
		matched[0] = false;
	}
	return matched[length];
}

/* More than GLOB_RUN_MAX symbols between two stars. */
static bool
has_long_run(const struct plain *plain)
{
	bool is_after_star = false;
	size_t run = 0;

	for (size_t i = 0; i < plain->length; i++) {
		bool is_star = plain->symbols[i] == '*' && !plain->literal[i];
		if (is_star && is_after_star && run > GLOB_RUN_MAX)
			return true;
		is_after_star = is_after_star || is_star;
		run = is_star ? 0 : run + 1;
	}
	return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
	size_t length = end ? (size_t)(end - data) : 0, key_length = end ? size - length - 1 : 0;
	struct plain plain;
	struct glob *glob;

	if (!end || key_length > KEY_MAX || length > GLOB_MAX)
		return 0;
	bool is_whole = plain_of(data, length, &plain);
	struct status st = glob_new((const char *)data, length, &glob);
	if (!status_ok(&st)) {
		assert(length == 0 || !is_whole || has_long_run(&plain));
		return 0;
	}
	assert(is_whole && !has_long_run(&plain));
	assert(glob_matches(glob, (const char *)end + 1, key_length) ==
	       matches_slowly(&plain, end + 1, key_length));
	glob_free(glob);
	return 0;
}
