/*
 * Any value of Retry-After is a time within the bound; a later now never makes the time to wait longer.
 */
#include <assert.h>

#include "outbound/retry_after.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int64_t NOW_MS = INT64_C(1700000000000);
	const char *text = (const char *)data;
	uint64_t wait_ms = retry_after_ms(text, size, NOW_MS);

	assert(wait_ms <= RETRY_AFTER_MAX_MS);
	assert(retry_after_ms(text, size, NOW_MS + 1000) <= wait_ms);
	return 0;
}
