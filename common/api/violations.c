/*
 * json: the list of what is wrong with a request.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/json.h"
#include "field.h"

#define POINTER_NAME_MAX 128

void
pointer_add_name(struct strbuf *out, const char *name, size_t length)
{
	if (length > POINTER_NAME_MAX) {
		length = POINTER_NAME_MAX;
		while (length > 0 && ((unsigned char)name[length] & 0xC0u) == 0x80u)
			length--;
	}
	for (size_t i = 0; i < length; i++) {
		if (name[i] == '~')
			strbuf_puts(out, "~0");
		else if (name[i] == '/')
			strbuf_puts(out, "~1");
		else
			strbuf_putc(out, name[i]);
	}
}

void
violations_add(struct violations *violations, struct arena *arena, const char *pointer, const char *format,
               ...)
{
	va_list args;

	if (violations->count == VIOLATIONS_MAX) {
		violations->is_cut = true;
		return;
	}
	struct violation *item = &violations->items[violations->count++];
	item->pointer = arena_strdup(arena, pointer);
	va_start(args, format);
	item->detail = arena_vprintf(arena, format, args);
	va_end(args);
}

bool
violations_name(const struct violations *violations, const char *pointer)
{
	for (size_t i = 0; i < violations->count; i++)
		if (strcmp(violations->items[i].pointer, pointer) == 0)
			return true;
	return false;
}

struct status
violations_status(const struct violations *violations)
{
	if (violations->count == 0)
		return status_ok_value();
	const struct violation *first = &violations->items[0];
	const char *where = first->pointer[0] ? first->pointer : "the body";
	if (violations->count == 1)
		return status_make(STATUS_INVALID_ARGUMENT, "%s: %s", where, first->detail);
	return status_make(STATUS_INVALID_ARGUMENT, "%s: %s (and %zu more)", where, first->detail,
	                   violations->count - 1);
}
