/*
 * Any bytes are a collector's reply: a count comes out, and nothing is read beyond the end. And any Accept
 * header chooses a format, any text loses its passwords.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "telemetry/otlp.h"
#include "telemetry/redact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char out[512];

	if (size < 1 || size > 65536)
		return 0;
	const char *body = (const char *)data + 1;
	assert(otlp_rejected(data[0] & 1 ? OTLP_JSON : OTLP_PROTOBUF, body, size - 1) <= INT64_MAX);
	char *text = calloc(1, size); /* not strndup(): strict checks of strings want its source to end in NUL */
	memcpy(text, body, size - 1);
	(void)metric_format_for(text);
	const char *seen = redact_urls(text, out, sizeof(out));
	assert(seen == text || strlen(seen) < sizeof(out));
	free(text);
	return 0;
}
