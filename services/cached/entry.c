/*
 * entry: see entry.h.
 *
 *	version:48 key_length:11 flags:5 | fresh:40 value_length:24 | stored:32 | number:32 | and behind it:
 *	graces delta tags type key value
 *
 * What is behind the head is there if its flag says so: graces (4 + 4 bytes), delta (4), tags (a count and 8
 * bytes each), type (a length and its bytes).
 */
#include "entry.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "heap.h"

#define IS_NEGATIVE 1u
#define HAS_GRACES  2u
#define HAS_DELTA   4u
#define HAS_TAGS    8u
#define HAS_TYPE    16u

/* Beside what the block holds. */
#define TABLES_BYTES (ENTRY_TABLES_BYTES + HEAP_BLOCK_BYTES)
#define PREFETCHED   192u
#define LINE         64u

struct entry {
	uint64_t version : 48;
	uint64_t key_length : 11;
	uint64_t flags : 5;
	_Atomic uint64_t fresh; /* fresh_ms:40 value_length:24; the time alone changes while the entry is read */
	uint32_t stored;
	uint32_t number;
	unsigned char rest[];
};

_Static_assert(offsetof(struct entry, rest) == 24, "what an entry's head costs");

#define LENGTH_BITS 24u
_Static_assert(ENTRY_VALUE_MAX < 1u << LENGTH_BITS, "a value's length has its place");

static uint64_t
fresh_of(const struct entry *entry)
{
	return atomic_load_explicit(&entry->fresh, memory_order_relaxed);
}

static void
put_fresh(struct entry *entry, uint64_t fresh_ms, uint64_t value_length)
{
	uint64_t kept_ms = fresh_ms < ENTRY_TIME_MAX ? fresh_ms : ENTRY_TIME_MAX;
	atomic_store_explicit(&entry->fresh, kept_ms << LENGTH_BITS | value_length, memory_order_relaxed);
}

static uint64_t
value_length_of(uint64_t fresh)
{
	return fresh & ((1u << LENGTH_BITS) - 1);
}

static unsigned
flags_of(const struct entry_parts *parts)
{
	return (parts->is_negative ? IS_NEGATIVE : 0) |
	       (parts->grace_ms || parts->error_grace_ms ? HAS_GRACES : 0) | (parts->delta_ms ? HAS_DELTA : 0) |
	       (parts->tag_count ? HAS_TAGS : 0) | (parts->type_length ? HAS_TYPE : 0);
}

static size_t
rest_bytes(const struct entry_parts *parts)
{
	unsigned flags = flags_of(parts);
	return (flags & HAS_GRACES ? 8u : 0u) + (flags & HAS_DELTA ? 4u : 0u) +
	       (flags & HAS_TAGS ? 1u + 8u * parts->tag_count : 0u) +
	       (flags & HAS_TYPE ? 1u + parts->type_length : 0u) + parts->key_length + parts->value_length;
}

uint64_t
entry_bytes_for(const struct entry_parts *parts)
{
	size_t bytes = offsetof(struct entry, rest) + rest_bytes(parts);

	/* Rounded up, a remainder that is too small for a block of its own, and rounded to units. */
	return bytes + TABLES_BYTES + 3 * ENTRY_UNIT_BYTES;
}

static unsigned char *
put(unsigned char *at, const void *bytes, size_t length)
{
	if (length > 0)
		memcpy(at, bytes, length);
	return at + length;
}

static unsigned char *
put_counted(unsigned char *at, size_t count, const void *bytes, size_t length)
{
	*at = (unsigned char)count;
	return put(at + 1, bytes, length);
}

struct entry *
entry_new(struct heap *heap, const struct entry_parts *parts)
{
	size_t bytes = offsetof(struct entry, rest) + rest_bytes(parts);
	struct entry *entry = heap_alloc(heap, bytes);
	unsigned flags = flags_of(parts);
	unsigned char *at = entry->rest;

	assert(parts->key_length <= ENTRY_KEY_LIMIT && parts->value_length <= ENTRY_VALUE_MAX);
	assert(parts->tag_count <= UINT8_MAX && parts->type_length <= UINT8_MAX);
	entry->version = parts->version & ((UINT64_C(1) << 48) - 1);
	entry->key_length = parts->key_length & ENTRY_KEY_LIMIT;
	entry->flags = flags & 31u;
	entry->stored = (uint32_t)(parts->stored_ms / ENTRY_STORED_UNIT_MS);
	put_fresh(entry, parts->fresh_ms, parts->value_length);
	if (flags & HAS_GRACES) {
		at = put(at, &parts->grace_ms, 4);
		at = put(at, &parts->error_grace_ms, 4);
	}
	if (flags & HAS_DELTA)
		at = put(at, &parts->delta_ms, 4);
	if (flags & HAS_TAGS)
		at = put_counted(at, parts->tag_count, parts->tags, 8 * parts->tag_count);
	if (flags & HAS_TYPE)
		at = put_counted(at, parts->type_length, parts->type, parts->type_length);
	at = put(at, parts->key, parts->key_length);
	put(at, parts->value, parts->value_length);
	return entry;
}

void
entry_free(struct heap *heap, struct entry *entry)
{
	heap_release(heap, entry);
}

void
entry_read(const struct entry *entry, struct entry_parts *parts)
{
	unsigned flags = entry->flags;
	const unsigned char *at = entry->rest;
	uint64_t fresh = fresh_of(entry);

	*parts = (struct entry_parts){.version = entry->version,
	                              .fresh_ms = fresh >> LENGTH_BITS,
	                              .stored_ms = (uint64_t)entry->stored * ENTRY_STORED_UNIT_MS,
	                              .is_negative = flags & IS_NEGATIVE,
	                              .key_length = entry->key_length,
	                              .value_length = value_length_of(fresh)};
	if (flags & HAS_GRACES) {
		memcpy(&parts->grace_ms, at, 4);
		memcpy(&parts->error_grace_ms, at + 4, 4);
		at += 8;
	}
	if (flags & HAS_DELTA) {
		memcpy(&parts->delta_ms, at, 4);
		at += 4;
	}
	if (flags & HAS_TAGS) {
		parts->tag_count = *at;
		parts->tags = at + 1;
		at += 1 + 8 * parts->tag_count;
	}
	if (flags & HAS_TYPE) {
		parts->type_length = *at;
		parts->type = (const char *)at + 1;
		at += 1 + parts->type_length;
	}
	parts->key = (const char *)at;
	parts->value = at + parts->key_length;
}

/* Where the key is, without reading the rest. */
static const unsigned char *
key_of(const struct entry *entry)
{
	unsigned flags = entry->flags;
	const unsigned char *at = entry->rest + (flags & HAS_GRACES ? 8 : 0) + (flags & HAS_DELTA ? 4 : 0);

	if (flags & HAS_TAGS)
		at += 1 + 8 * (size_t)*at;
	if (flags & HAS_TYPE)
		at += 1 + (size_t)*at;
	return at;
}

/* The head says where the key is, the value is behind it: all of that comes at once, and not one line after
 * the other. */
bool
entry_has_key(const struct entry *entry, const char *key, size_t length)
{
	entry_prefetch(entry);
	return entry->key_length == length && memcmp(key_of(entry), key, length) == 0;
}

uint64_t
entry_version(const struct entry *entry)
{
	return entry->version;
}

bool
entry_is_negative(const struct entry *entry)
{
	return entry->flags & IS_NEGATIVE;
}

void
entry_set_fresh(struct entry *entry, uint64_t fresh_ms)
{
	put_fresh(entry, fresh_ms, value_length_of(fresh_of(entry)));
}

uint32_t
entry_number(const struct entry *entry)
{
	return entry->number;
}

void
entry_set_number(struct entry *entry, uint32_t number)
{
	entry->number = number;
}

uint32_t
entry_units(const struct entry *entry)
{
	size_t bytes = heap_block_size(entry) + TABLES_BYTES;
	return (uint32_t)((bytes + ENTRY_UNIT_BYTES - 1) / ENTRY_UNIT_BYTES);
}

void
entry_prefetch(const struct entry *entry)
{
	for (size_t i = 0; i < PREFETCHED; i += LINE)
		__builtin_prefetch((const char *)entry + i);
}
