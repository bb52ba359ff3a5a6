/*
 * snapshot_layout: how a snapshot lies in its file, for its writer and its reader.
 */
#ifndef CORBEL_CACHED_SNAPSHOT_LAYOUT_H
#define CORBEL_CACHED_SNAPSHOT_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

#define LAYOUT_MAGIC UINT64_C(0x3170616e736c6263) /* "cblsnap1", the lowest byte first */

struct file_head {
	uint64_t magic, generation, wall_ms;
	uint64_t checksum; /* of what is before it */
};

/* In front of each block; all zero: the end. A block is the tenant's and the space's name, each behind its
 * length in a byte, and entries. */
struct block_head {
	uint32_t length, unused;
	uint64_t checksum;
};

/* In front of each entry's tags, key, type and value. */
struct entry_head {
	int64_t fresh_ms;
	uint64_t age_ms;
	uint32_t grace_ms, error_grace_ms, delta_ms, value_length;
	uint16_t key_length;
	uint8_t type_length, tag_count, is_negative, unused[3];
};

_Static_assert(sizeof(struct file_head) == 32 && sizeof(struct block_head) == 16 &&
                   sizeof(struct entry_head) == 40,
               "no gaps");

static inline uint64_t
layout_head_checksum(const struct file_head *head)
{
	return hash_stable64(head, offsetof(struct file_head, checksum), 0);
}

static inline uint64_t
layout_checksum(const void *bytes, size_t length, uint64_t generation, uint64_t index)
{
	return hash_stable64(bytes, length, hash_mix64(generation, index));
}

#endif
