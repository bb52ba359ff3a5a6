/*
 * id: UUIDv7 with a counter in rand_a, so that ids of one process and millisecond stay in order.
 */
#include "base/id.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* Milliseconds and counter of the last id, as ms << 12 | counter: ordering only, so sharing it among
 * the services of one process is harmless. */
static _Atomic uint64_t last_tick;

/* The next tick: at least the clock's, and more than the last one. A counter that overflows borrows
 * from the millisecond, as RFC 9562 section 6.2 allows. */
static uint64_t
next_tick(uint64_t now_ms)
{
	uint64_t last = atomic_load_explicit(&last_tick, memory_order_relaxed);
	uint64_t next;
	do {
		next = now_ms << 12;
		if (next <= last)
			next = last + 1;
	} while (!atomic_compare_exchange_weak(&last_tick, &last, next));
	return next;
}

struct id
id_make(const char *prefix, const struct clock *clock, const struct random *random)
{
	struct id id;
	uint8_t uuid[16];
	uint64_t tick = next_tick((uint64_t)clock_wall_ms(clock));
	uint64_t ms = tick >> 12;
	size_t length = strlen(prefix);

	assert(length >= 2 && length <= 8);
	random_fill(random, uuid + 8, 8);
	for (int i = 0; i < 6; i++)
		uuid[i] = (uint8_t)(ms >> (40 - 8 * i));
	uuid[6] = (uint8_t)(0x70u | ((tick >> 8) & 0x0Fu));
	uuid[7] = (uint8_t)tick;
	uuid[8] = (uint8_t)(0x80u | (uuid[8] & 0x3Fu));
	memcpy(id.text, prefix, length);
	id.text[length] = '_';
	text_hex_encode(uuid, sizeof(uuid), id.text + length + 1);
	id.text[length + 33] = '\0';
	return id;
}

struct id
id_before(const char *prefix, int64_t wall_ms)
{
	struct id id;

	snprintf(id.text, sizeof(id.text), "%.8s_%012llx", prefix,
	         (unsigned long long)(wall_ms > 0 ? wall_ms : 0));
	return id;
}

bool
id_is_valid(const char *text, const char *prefix)
{
	const char *underscore = strchr(text, '_');
	size_t length = underscore ? (size_t)(underscore - text) : 0;

	if (length < 2 || length > 8 || strlen(underscore + 1) != 32)
		return false;
	if (prefix && (strlen(prefix) != length || memcmp(text, prefix, length) != 0))
		return false;
	for (size_t i = 0; i < length; i++)
		if (text[i] < 'a' || text[i] > 'z')
			return false;
	return strspn(underscore + 1, "0123456789abcdef") == 32;
}
