/*
 * snapshot_file: entries in a file, and out of it again.
 *
 *	magic, generation, time | block ... | a block of length 0
 *
 * A block is of one space and has a checksum that depends on its place and on the file's generation, so a
 * file that was cut, mixed with another or changed is told from a whole one. Numbers are in the machine's own
 * order.
 */
#ifndef CORBEL_CACHED_SNAPSHOT_FILE_H
#define CORBEL_CACHED_SNAPSHOT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine.h"

/* ---- writing ---- */

struct snapshot_writer;

struct snapshot_head {
	uint64_t generation;
	uint64_t wall_ms; /* times of entries count from then on */
};

/* Makes the file anew. Beyond `bytes_max` entries are left out. */
struct status snapshot_writer_new(const char *path, const struct snapshot_head *head, uint64_t bytes_max,
                                  struct snapshot_writer **out);
/* What follows is of this space. */
void snapshot_writer_space(struct snapshot_writer *writer, const char *tenant, const char *name);
void snapshot_writer_add(struct snapshot_writer *writer, const struct kept_entry *entry);
/* Writes out what was added; between entries, when no lock is held. False: nothing more is taken, because the
 * file is full or cannot be written. */
bool snapshot_writer_flush(struct snapshot_writer *writer);
uint64_t snapshot_writer_count(const struct snapshot_writer *writer);
/* Everything is on the disk when this is well. Frees the writer either way. */
struct status snapshot_writer_end(struct snapshot_writer *writer);

/* ---- reading ---- */

/* True when all of it is a whole file; then it may be read. */
bool snapshot_is_whole(const void *bytes, size_t size, struct snapshot_head *head);

/* Pointers hold until it returns. */
typedef void snapshot_entry_fn(void *arg, const char *tenant, const char *name,
                               const struct kept_entry *entry);
/* Calls `each` for the entries of a whole file. */
void snapshot_read(const void *bytes, size_t size, snapshot_entry_fn *each, void *arg);
/* The same for the inside of one block, whatever it is; false: something in it is not as it should be, and
 * the rest of it was left alone. */
bool snapshot_read_block(const void *bytes, size_t size, snapshot_entry_fn *each, void *arg);

#endif
