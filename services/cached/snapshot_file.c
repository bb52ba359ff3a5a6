/*
 * snapshot_file: writing; see snapshot_file.h and snapshot_layout.h.
 */
#include "snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/hash.h"
#include "snapshot_layout.h"

#define BLOCK_BYTES (1u << 20) /* a block is closed when it has so many */

struct snapshot_writer {
	int fd;
	uint64_t generation, index, bytes, bytes_max, count;
	char *block;
	size_t length, capacity;
	size_t space_length; /* of what a block of this space begins with */
	bool is_full;
	int error;
};

static void
write_all(struct snapshot_writer *writer, const void *bytes, size_t length)
{
	for (size_t at = 0; at < length && writer->error == 0;) {
		ssize_t written = write(writer->fd, (const char *)bytes + at, length - at);
		if (written > 0)
			at += (size_t)written;
		else if (written == 0 || errno != EINTR)
			writer->error = written == 0 ? EIO : errno;
	}
	writer->bytes += length;
}

struct status
snapshot_writer_new(const char *path, const struct snapshot_head *head, uint64_t bytes_max,
                    struct snapshot_writer **out)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	*out = NULL;
	if (fd < 0)
		return status_make(STATUS_UNAVAILABLE, "%s cannot be made: %s", path, strerror(errno));
	struct snapshot_writer *writer = mem_alloc(sizeof(*writer));
	writer->fd = fd;
	writer->generation = head->generation;
	writer->bytes_max = bytes_max;
	struct file_head file = {LAYOUT_MAGIC, head->generation, head->wall_ms, 0};
	file.checksum = layout_head_checksum(&file);
	write_all(writer, &file, sizeof(file));
	*out = writer;
	return status_ok_value();
}

static void
append(struct snapshot_writer *writer, const void *bytes, size_t length)
{
	if (writer->length + length > writer->capacity) {
		writer->capacity = 2 * (writer->length + length);
		writer->block = mem_resize(writer->block, writer->capacity, 1);
	}
	if (length > 0)
		memcpy(writer->block + writer->length, bytes, length);
	writer->length += length;
}

static void
write_block(struct snapshot_writer *writer)
{
	struct block_head head = {
	    .length = (uint32_t)writer->length,
	    .checksum = layout_checksum(writer->block, writer->length, writer->generation, writer->index++)};

	write_all(writer, &head, sizeof(head));
	write_all(writer, writer->block, writer->length);
}

bool
snapshot_writer_flush(struct snapshot_writer *writer)
{
	if (writer->length > writer->space_length && writer->length >= BLOCK_BYTES) {
		write_block(writer);
		writer->length = writer->space_length;
	}
	return !writer->is_full && writer->error == 0;
}

static void
append_name(struct snapshot_writer *writer, const char *name)
{
	uint8_t length = (uint8_t)strlen(name);
	append(writer, &length, 1);
	append(writer, name, length);
}

void
snapshot_writer_space(struct snapshot_writer *writer, const char *tenant, const char *name)
{
	if (writer->length > writer->space_length)
		write_block(writer);
	writer->length = 0;
	append_name(writer, tenant);
	append_name(writer, name);
	writer->space_length = writer->length;
}

void
snapshot_writer_add(struct snapshot_writer *writer, const struct kept_entry *entry)
{
	const struct set *set = &entry->set;
	struct entry_head head = {.fresh_ms = entry->past.fresh_ms,
	                          .age_ms = entry->past.age_ms,
	                          .grace_ms = (uint32_t)set->grace_ms,
	                          .error_grace_ms = (uint32_t)set->error_grace_ms,
	                          .delta_ms = entry->past.delta_ms,
	                          .value_length = (uint32_t)set->value_length,
	                          .key_length = (uint16_t)set->key_length,
	                          .type_length = (uint8_t)strlen(set->content_type),
	                          .tag_count = (uint8_t)set->tag_count,
	                          .is_negative = set->is_negative};
	size_t length = sizeof(head) + set->value_length + set->key_length;

	writer->is_full = writer->is_full || writer->bytes + writer->length + length > writer->bytes_max;
	if (writer->is_full)
		return;
	append(writer, &head, sizeof(head));
	append(writer, set->tag_hashes, set->tag_count * sizeof(uint64_t));
	append(writer, set->key, set->key_length);
	append(writer, set->content_type, head.type_length);
	append(writer, set->value, set->value_length);
	writer->count++;
}

uint64_t
snapshot_writer_count(const struct snapshot_writer *writer)
{
	return writer->count;
}

struct status
snapshot_writer_end(struct snapshot_writer *writer)
{
	const struct block_head last = {0};

	if (writer->length > writer->space_length)
		write_block(writer);
	write_all(writer, &last, sizeof(last));
	if (writer->error == 0 && fsync(writer->fd) != 0)
		writer->error = errno;
	if (close(writer->fd) != 0 && writer->error == 0)
		writer->error = errno;
	int error = writer->error;
	mem_free(writer->block);
	mem_free(writer);
	return error ? status_make(STATUS_UNAVAILABLE, "a snapshot cannot be written: %s", strerror(error))
	             : status_ok_value();
}
