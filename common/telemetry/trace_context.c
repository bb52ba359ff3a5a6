/*
 * trace: W3C trace context, and the ids that the current thread works for.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "telemetry/current.h"
#include "telemetry/trace.h"

static bool
has_capital(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] >= 'A' && text[i] <= 'Z')
			return true;
	return false;
}

static bool
is_zero(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (bytes[i])
			return false;
	return true;
}

bool
trace_context_parse(const char *text, size_t length, struct trace_context *out)
{
	uint8_t version, flags;

	*out = (struct trace_context){.is_set = false};
	if (length < TRACEPARENT_LENGTH || text[2] != '-' || text[35] != '-' || text[52] != '-')
		return false;
	if (has_capital(text, TRACEPARENT_LENGTH))
		return false;
	if (!text_hex_decode(text, 2, &version) || version == 0xFF)
		return false;
	if (length > TRACEPARENT_LENGTH && (version == 0 || text[TRACEPARENT_LENGTH] != '-'))
		return false;
	if (!text_hex_decode(text + 3, 32, out->trace_id) || !text_hex_decode(text + 36, 16, out->span_id) ||
	    !text_hex_decode(text + 53, 2, &flags))
		return false;
	out->is_sampled = (flags & 1) != 0;
	out->is_set =
	    !is_zero(out->trace_id, sizeof(out->trace_id)) && !is_zero(out->span_id, sizeof(out->span_id));
	return out->is_set;
}

void
trace_context_format(const struct trace_context *context, char out[TRACEPARENT_LENGTH + 1])
{
	out[0] = out[1] = '0';
	out[2] = '-';
	text_hex_encode(context->trace_id, sizeof(context->trace_id), out + 3);
	out[35] = '-';
	text_hex_encode(context->span_id, sizeof(context->span_id), out + 36);
	memcpy(out + 52, context->is_sampled ? "-01" : "-00", 4);
}

static _Thread_local struct {
	bool has_trace;
	uint8_t trace_id[16];
	char request_id[64];
} current;

void
trace_set_current(const struct trace_context *context, const char *request_id)
{
	current.has_trace = context && context->is_set;
	if (current.has_trace)
		memcpy(current.trace_id, context->trace_id, sizeof(current.trace_id));
	current.request_id[0] = '\0';
	if (request_id)
		snprintf(current.request_id, sizeof(current.request_id), "%s", request_id);
}

bool
current_trace_id(char out[TRACE_ID_TEXT])
{
	if (!current.has_trace)
		return false;
	text_hex_encode(current.trace_id, sizeof(current.trace_id), out);
	out[TRACE_ID_TEXT - 1] = '\0';
	return true;
}

const char *
current_request_id(void)
{
	return current.request_id;
}
