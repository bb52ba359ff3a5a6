/*
 * receipt: see receipt.h.
 */
#include "receipt.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

void
receipt_format(const char *delivery_id, uint32_t number, char out[RECEIPT_MAX])
{
	snprintf(out, RECEIPT_MAX, "%.*s.%u", ID_MAX - 1, delivery_id, number);
}

bool
receipt_parse(const char *text, size_t length, struct receipt *out)
{
	const char *dot = memchr(text, '.', length);
	size_t id = dot ? (size_t)(dot - text) : 0, digits = dot ? length - id - 1 : 0;
	uint64_t number;

	if (id == 0 || id >= sizeof(out->delivery_id) || digits == 0 || dot[1] == '0' ||
	    memchr(text, '\0', length))
		return false;
	if (!text_to_u64(dot + 1, digits, &number) || number > UINT32_MAX)
		return false;
	memcpy(out->delivery_id, text, id);
	out->delivery_id[id] = '\0';
	out->number = (uint32_t)number;
	return true;
}
