/*
 * entry: how an entry lies in memory: 24 bytes, and behind them what it has of tags, type, key and value.
 *
 * Times are milliseconds of the engine's own, which begin with it.
 */
#ifndef CORBEL_CACHED_ENTRY_H
#define CORBEL_CACHED_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENTRY_VALUE_MAX      ((1u << 21) - 1)
#define ENTRY_KEY_LIMIT      ((1u << 11) - 1)
#define ENTRY_TIME_MAX       ((UINT64_C(1) << 40) - 1)
#define ENTRY_UNIT_BYTES     16u /* that sizes are counted in */
#define ENTRY_STORED_UNIT_MS 64u /* that stored_ms is kept in, rounded down: nine years in 32 bits */
/* Of an entry, beside its block: what eviction knows of it, its words in the index (eight bytes at seven to
 * nine tenths), its mark among the ghosts. */
#define ENTRY_TABLES_BYTES (14u + 11u + 3u)

struct entry;
struct heap;

/* An entry spread out; pointers into it, or to what it shall be made of. */
struct entry_parts {
	uint64_t version;  /* below 2^48 */
	uint64_t fresh_ms; /* until then; at most ENTRY_TIME_MAX */
	uint64_t stored_ms;
	uint32_t grace_ms, error_grace_ms; /* from fresh_ms on */
	uint32_t delta_ms;                 /* that it took to make the value; 0: not known */
	bool is_negative;
	const char *key;
	const char *type;
	const void *value;
	const void *tags; /* hashes, 8 bytes each, not aligned */
	size_t key_length, type_length, value_length, tag_count;
};

/* entry_free() frees it. */
struct entry *entry_new(struct heap *heap, const struct entry_parts *parts);
void entry_free(struct heap *heap, struct entry *entry);
void entry_read(const struct entry *entry, struct entry_parts *parts);

bool entry_has_key(const struct entry *entry, const char *key, size_t length);
uint64_t entry_version(const struct entry *entry);
bool entry_is_negative(const struct entry *entry);
/* While others read the entry, too. */
void entry_set_fresh(struct entry *entry, uint64_t fresh_ms);
/* Its number with the eviction; set before others find the entry. */
uint32_t entry_number(const struct entry *entry);
void entry_set_number(struct entry *entry, uint32_t number);
/* What it costs, the allocator's part and that of the tables included, in units. */
uint32_t entry_units(const struct entry *entry);
/* In bytes, before it is made: as much or a little more. */
uint64_t entry_bytes_for(const struct entry_parts *parts);
/* It will be read soon. */
void entry_prefetch(const struct entry *entry);

#endif
