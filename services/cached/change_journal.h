/*
 * change_journal: changes that the other replicas are still to be told of, on disk.
 *
 *	magic | record ... ; a record: checksum:4 kind:1 tenant:1 namespace:1 0 name:4, and the three texts
 *
 * What was committed is there after a kill -9 and after a crash of the machine. The end of a file that was
 * being written then is cut off: nobody was told that it was done. Numbers are in the machine's own order.
 *
 * One thread.
 */
#ifndef CORBEL_CACHED_CHANGE_JOURNAL_H
#define CORBEL_CACHED_CHANGE_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "errands.h"

struct change_journal;

struct journal_change {
	enum op_kind kind; /* OP_DELETE, OP_EXPIRE, OP_TAG, OP_PREFIX, OP_GLOB or OP_ALL */
	const char *tenant, *space;
	const char *name;
	size_t length;
};
typedef void journal_change_fn(void *arg, const struct journal_change *change);

/* Calls `each` for every whole record of a file's bytes and returns how many bytes these take, with the
 * magic; 0: it is no journal of this version. Texts hold until `each` returns. */
size_t change_journal_read(const void *bytes, size_t size, journal_change_fn *each, void *arg);

/* Opens or makes the file, which nobody else may have open, and calls `each` for what it has. At most
 * `bytes_max` are written. `*cut` is how many bytes were cut off its end. */
struct status change_journal_open(const char *path, size_t bytes_max, journal_change_fn *each, void *arg,
                                  size_t *cut, struct change_journal **out);
void change_journal_close(struct change_journal *journal);

/* To be written by the next commit; everything is copied. */
void change_journal_add(struct change_journal *journal, const struct journal_change *change);
/* On disk when it is well; else nothing of it is. RESOURCE_EXHAUSTED: it would be larger than it may be. */
struct status change_journal_commit(struct change_journal *journal);
/* What was added takes the place of everything that was committed before, or nothing changes. */
struct status change_journal_replace(struct change_journal *journal);
/* Nothing of what was committed is needed any more. */
struct status change_journal_clear(struct change_journal *journal);

#endif
