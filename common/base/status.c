/*
 * status: building and naming outcomes.
 */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const NAMES[STATUS_CODES] = {
    "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
};

/* A cut must not split a UTF-8 character: steps back over continuation bytes and the lead byte that
 * has lost them. */
static void
cut_at_character(char *text, size_t written)
{
	if (written < STATUS_MESSAGE_MAX)
		return;
	size_t end = STATUS_MESSAGE_MAX - 1;
	size_t lead = end;
	while (lead > 0 && ((unsigned char)text[lead - 1] & 0xC0u) == 0x80u)
		lead--;
	if (lead > 0 && (unsigned char)text[lead - 1] >= 0xC0u) {
		unsigned char first = (unsigned char)text[lead - 1];
		size_t need = first >= 0xF0u ? 4 : first >= 0xE0u ? 3 : 2;
		if (end - (lead - 1) < need)
			end = lead - 1;
	}
	text[end] = '\0';
}

struct status
status_make(enum status_code code, const char *format, ...)
{
	struct status st;
	va_list args;

	st.code = code;
	va_start(args, format);
	int written = vsnprintf(st.message, sizeof(st.message), format, args);
	va_end(args);
	cut_at_character(st.message, written < 0 ? 0 : (size_t)written);
	return st;
}

struct status
status_wrap(struct status st, const char *format, ...)
{
	struct status wrapped;
	char context[STATUS_MESSAGE_MAX];
	va_list args;

	if (status_ok(&st))
		return st;
	va_start(args, format);
	if (vsnprintf(context, sizeof(context), format, args) < 0)
		context[0] = '\0';
	va_end(args);
	wrapped.code = st.code;
	int written = snprintf(wrapped.message, sizeof(wrapped.message), "%s: %s", context, st.message);
	cut_at_character(wrapped.message, written < 0 ? 0 : (size_t)written);
	return wrapped;
}

const char *
status_code_name(enum status_code code)
{
	return (unsigned)code < STATUS_CODES ? NAMES[code] : NAMES[STATUS_UNKNOWN];
}

enum status_code
status_code_from_wire(unsigned wire)
{
	return wire < STATUS_CODES ? (enum status_code)wire : STATUS_UNKNOWN;
}
