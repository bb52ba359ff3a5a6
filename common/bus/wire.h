/*
 * wire: numbers as protobuf writes them, for messages of the bus that are put together by hand.
 */
#ifndef CORBEL_BUS_WIRE_H
#define CORBEL_BUS_WIRE_H

#include <stddef.h>
#include <stdint.h>

static inline size_t
varint_size(uint64_t value)
{
	size_t size = 1;
	while (value >= 0x80) {
		value >>= 7;
		size++;
	}
	return size;
}

/* Returns the end of what was written. */
static inline uint8_t *
put_varint(uint8_t *out, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		*out++ = (uint8_t)(value | 0x80);
	*out++ = (uint8_t)value;
	return out;
}

#endif
