/*
 * snapshot_read: reading; see snapshot_file.h. Whatever a block says is checked against what is left of it
 * and against the engine's bounds before it is used.
 */
#include <string.h>

#include "snapshot_file.h"
#include "snapshot_layout.h"

struct reader {
	const char *at;
	size_t left;
};

static const char *
take(struct reader *reader, size_t length)
{
	const char *at = reader->at;

	if (length > reader->left)
		return NULL;
	reader->at += length;
	reader->left -= length;
	return at;
}

/* A copy, as the bytes lie at any address. */
static bool
take_into(struct reader *reader, void *out, size_t length)
{
	const char *at = take(reader, length);

	if (at && length > 0)
		memcpy(out, at, length);
	return at != NULL;
}

bool
snapshot_is_whole(const void *bytes, size_t size, struct snapshot_head *head)
{
	struct reader reader = {bytes, size};
	struct file_head file;
	struct block_head block;

	if (!take_into(&reader, &file, sizeof(file)) || file.magic != LAYOUT_MAGIC ||
	    file.checksum != layout_head_checksum(&file))
		return false;
	*head = (struct snapshot_head){file.generation, file.wall_ms};
	for (uint64_t index = 0; take_into(&reader, &block, sizeof(block)); index++) {
		if (block.length == 0)
			return reader.left == 0 && block.unused == 0 && block.checksum == 0;
		const char *inside = take(&reader, block.length);
		if (!inside || block.unused != 0 ||
		    block.checksum != layout_checksum(inside, block.length, file.generation, index))
			return false;
	}
	return false;
}

/* A name behind its length; `out` has ENGINE_NAME_MAX + 1 bytes. */
static bool
take_name(struct reader *reader, char *out)
{
	uint8_t length;

	if (!take_into(reader, &length, 1) || length == 0 || length > ENGINE_NAME_MAX ||
	    !take_into(reader, out, length))
		return false;
	out[length] = '\0';
	return strlen(out) == length;
}

static bool
is_sane(const struct entry_head *head)
{
	return head->key_length > 0 && head->key_length <= ENGINE_KEY_MAX &&
	       head->type_length <= ENGINE_TYPE_MAX && head->tag_count <= ENGINE_TAGS_MAX &&
	       head->is_negative <= 1 && head->fresh_ms < INT64_MAX / 4 && head->fresh_ms > INT64_MIN / 4;
}

/* An entry and what its parts point into. */
struct unpacked {
	struct kept_entry entry;
	uint64_t tags[ENGINE_TAGS_MAX];
	char type[ENGINE_TYPE_MAX + 1];
};

static bool
take_entry(struct reader *reader, struct unpacked *out)
{
	struct entry_head head;

	if (!take_into(reader, &head, sizeof(head)) || !is_sane(&head) ||
	    !take_into(reader, out->tags, head.tag_count * sizeof(uint64_t)))
		return false;
	const char *key = take(reader, head.key_length);
	if (!key || !take_into(reader, out->type, head.type_length))
		return false;
	out->type[head.type_length] = '\0';
	const char *value = take(reader, head.value_length);
	out->entry = (struct kept_entry){.set = {.key = key,
	                                         .key_length = head.key_length,
	                                         .value = value,
	                                         .value_length = head.value_length,
	                                         .content_type = out->type,
	                                         .tag_hashes = out->tags,
	                                         .tag_count = head.tag_count,
	                                         .grace_ms = head.grace_ms,
	                                         .error_grace_ms = head.error_grace_ms,
	                                         .is_negative = head.is_negative},
	                                 .past = {head.age_ms, head.fresh_ms, head.delta_ms}};
	return value != NULL;
}

bool
snapshot_read_block(const void *bytes, size_t size, snapshot_entry_fn *each, void *arg)
{
	struct reader reader = {bytes, size};
	char tenant[ENGINE_NAME_MAX + 1], name[ENGINE_NAME_MAX + 1];
	struct unpacked unpacked;

	if (!take_name(&reader, tenant) || !take_name(&reader, name))
		return false;
	while (reader.left > 0) {
		if (!take_entry(&reader, &unpacked))
			return false;
		each(arg, tenant, name, &unpacked.entry);
	}
	return true;
}

void
snapshot_read(const void *bytes, size_t size, snapshot_entry_fn *each, void *arg)
{
	struct reader reader = {bytes, size};
	struct file_head file;
	struct block_head block;

	(void)take_into(&reader, &file, sizeof(file));
	while (take_into(&reader, &block, sizeof(block)) && block.length > 0) {
		const char *inside = take(&reader, block.length);
		if (inside)
			(void)snapshot_read_block(inside, block.length, each, arg);
	}
}
