/*
 * Any bytes are a traceparent or refused; one that is accepted is written as it was read, but for its version
 * and the flags that are not known.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "telemetry/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct trace_context context, again;
	char out[TRACEPARENT_LENGTH + 1];

	if (!trace_context_parse(text, size, &context))
		return 0;
	assert(context.is_set && size >= TRACEPARENT_LENGTH);
	trace_context_format(&context, out);
	assert(memcmp(out + 2, text + 2, TRACEPARENT_LENGTH - 4) == 0);
	assert(trace_context_parse(out, TRACEPARENT_LENGTH, &again));
	assert(again.is_sampled == context.is_sampled);
	return 0;
}
