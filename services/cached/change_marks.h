/*
 * change_marks: which keys, tags, prefixes and spaces were changed since a snapshot of them was begun.
 *
 * A snapshot that is read after a crash must not give back what was deleted or overwritten since it was
 * written. So every change sets a bit in a file that is mapped into memory: the kernel keeps it when the
 * process is killed, a change costs no system call, and the file has one size however many changes there are.
 * Things that share a bit share its fate, so the more was changed, the more is taken for changed that was
 * not: an entry too few is given back, never one too many. A pattern marks its whole space.
 *
 * When the machine itself goes down, bits may be lost; so the file says in which boot it was written, and
 * is trusted after another one only if it was sealed.
 */
#ifndef CORBEL_CACHED_CHANGE_MARKS_H
#define CORBEL_CACHED_CHANGE_MARKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "tier.h"

struct change_marks;

/* A file without marks, belonging to the snapshot of this number. */
struct status change_marks_new(const char *path, uint64_t generation, struct change_marks **out);
/* The file that is there. FAILED_PRECONDITION: it is not that snapshot's, or cannot be trusted. */
struct status change_marks_open(const char *path, uint64_t generation, struct change_marks **out);
void change_marks_close(struct change_marks *marks);

/* A space is known by a number that is the same in every process. */
uint64_t change_marks_space(const char *tenant, const char *name);
/* Any thread. */
void change_marks_add(struct change_marks *marks, uint64_t space, const struct change *change);
/* True when the entry may have been changed. */
bool change_marks_cover(const struct change_marks *marks, uint64_t space, const struct subject *subject);

/* Nothing is added any more: everything is on the disk when this returns, and the file is trusted from then
 * on, until it is opened. */
struct status change_marks_seal(struct change_marks *marks);

#endif
