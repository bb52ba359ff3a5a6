/*
 * crowd: see crowd.h.
 */
#include "crowd.h"

#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"

#define BUCKETS 1024u

struct member {
	struct member *next;
	struct address address;
	unsigned count; /* never 0 */
};

struct crowd {
	struct member *buckets[BUCKETS];
};

struct crowd *
crowd_new(void)
{
	return mem_alloc(sizeof(struct crowd));
}

void
crowd_free(struct crowd *crowd)
{
	for (size_t i = 0; crowd && i < BUCKETS; i++) {
		while (crowd->buckets[i]) {
			struct member *member = crowd->buckets[i];
			crowd->buckets[i] = member->next;
			mem_free(member);
		}
	}
	mem_free(crowd);
}

/* The link that leads to the address's member, or to NULL where it would be. */
static struct member **
slot_of(const struct crowd *crowd, const struct address *address)
{
	uint64_t hash = hash_table64(address->bytes, sizeof(address->bytes));
	struct member *const *slot = &crowd->buckets[hash % BUCKETS];

	while (*slot && ((*slot)->address.is_v6 != address->is_v6 ||
	                 memcmp((*slot)->address.bytes, address->bytes, sizeof(address->bytes)) != 0))
		slot = &(*slot)->next;
	return (struct member **)(uintptr_t)slot;
}

unsigned
crowd_count(const struct crowd *crowd, const struct address *address)
{
	const struct member *member = *slot_of(crowd, address);
	return member ? member->count : 0;
}

void
crowd_enter(struct crowd *crowd, const struct address *address)
{
	struct member **slot = slot_of(crowd, address);

	if (!*slot) {
		*slot = mem_alloc(sizeof(**slot));
		(*slot)->address = *address;
	}
	(*slot)->count++;
}

void
crowd_leave(struct crowd *crowd, const struct address *address)
{
	struct member **slot = slot_of(crowd, address), *member = *slot;

	assert(member);
	if (--member->count > 0)
		return;
	*slot = member->next;
	mem_free(member);
}
