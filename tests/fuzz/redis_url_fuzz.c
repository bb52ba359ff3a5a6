/*
 * Any text is a Redis address or refused; what is accepted is complete.
 */
#include <assert.h>
#include <string.h>

#include "redis/redis_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct redis_url url;
	char text[512];

	if (size >= sizeof(text))
		return 0;
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	struct status st = redis_url_parse(text, &url);
	assert(!status_ok(&st) || (!url.host != !url.path && (url.path || url.port > 0)));
	redis_url_fini(&url);
	return 0;
}
