/*
 * Any bytes are a key or refused; what is accepted has the parts it says, and ends with its checksum.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "auth/key_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct key_text parts;

	if (size > KEY_TEXT_MAX || !key_text_parse(text, size, &parts))
		return 0;
	size_t start = strlen(parts.start);
	assert(strlen(parts.public_id) == KEY_PUBLIC_ID);
	assert(size == start + 1 + KEY_SECRET + KEY_CHECKSUM && memcmp(text, parts.start, start) == 0);
	assert(strcmp(parts.start + start - KEY_PUBLIC_ID, parts.public_id) == 0);
	return 0;
}
