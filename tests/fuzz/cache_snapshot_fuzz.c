/*
 * Whatever a snapshot's file holds, reading it stays inside of it, and hands out only entries within the
 * engine's bounds. The bytes are taken for a whole file, and for the inside of a block, which a checksum
 * would keep most inputs from.
 */
#include <assert.h>
#include <string.h>

#include "cached/snapshot_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned
sum_up(const void *bytes, size_t length)
{
	unsigned sum = 0;

	for (size_t i = 0; i < length; i++)
		sum += ((const unsigned char *)bytes)[i];
	return sum;
}

/* Every byte that is handed out is read. */
static void
take(void *arg, const char *tenant, const char *name, const struct kept_entry *entry)
{
	const struct set *set = &entry->set;
	unsigned *sum = arg;

	assert(strlen(tenant) > 0 && strlen(tenant) <= ENGINE_NAME_MAX);
	assert(strlen(name) > 0 && strlen(name) <= ENGINE_NAME_MAX);
	assert(set->key_length > 0 && set->key_length <= ENGINE_KEY_MAX && set->tag_count <= ENGINE_TAGS_MAX);
	assert(strlen(set->content_type) <= ENGINE_TYPE_MAX);
	*sum += sum_up(set->key, set->key_length) + sum_up(set->value, set->value_length) +
	        sum_up(set->tag_hashes, set->tag_count * sizeof(set->tag_hashes[0]));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct snapshot_head head;
	unsigned sum = 0;

	if (snapshot_is_whole(data, size, &head))
		snapshot_read(data, size, take, &sum);
	(void)snapshot_read_block(data, size, take, &sum);
	return 0;
}
