/*
 * change_marks: see change_marks.h.
 *
 *	head, a page: magic, generation, boot, sealed | bits
 */
#include "change_marks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/hash.h"

#define MAGIC      UINT64_C(0x316b72616d626c63) /* "clbmark1", the lowest byte first */
#define HEAD_BYTES 4096u
#define BITS       (UINT64_C(1) << 23)
#define FILE_BYTES (HEAD_BYTES + BITS / 8)
#define BOOT_BYTES 37u

struct head {
	uint64_t magic, generation;
	char boot[BOOT_BYTES];
	uint8_t is_sealed;
};

struct change_marks {
	int fd;
	struct head *head;
	_Atomic uint64_t *words; /* behind the head, in the same mapping */
};

/* What kind of thing a hash is of: the same name may be a key, a tag and a prefix. */
enum sort { OF_KEY = 1, OF_TAG, OF_PREFIX, OF_SPACE };

/* ---- the file ---- */

/* "": the kernel does not tell. */
static void
read_boot(char boot[BOOT_BYTES])
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	boot[0] = '\0';
	if (file && !fgets(boot, BOOT_BYTES, file))
		boot[0] = '\0';
	if (file)
		(void)fclose(file);
}

static struct status
failed(const char *path, const char *what)
{
	return status_make(STATUS_UNAVAILABLE, "%s cannot be %s: %s", path, what, strerror(errno));
}

/* Space is taken at once: a full disk must not show when a bit is set. */
static struct status
map(const char *path, int flags, struct change_marks **out)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600), code;

	if (fd < 0)
		return failed(path, "opened");
	struct status st = status_ok_value();
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		st = failed(path, "locked");
	else if ((code = posix_fallocate(fd, 0, (off_t)FILE_BYTES)) != 0)
		st = status_make(STATUS_UNAVAILABLE, "%s gets no space on disk: %s", path, strerror(code));
	void *at =
	    status_ok(&st) ? mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
	if (status_ok(&st) && at == MAP_FAILED)
		st = failed(path, "mapped");
	if (!status_ok(&st)) {
		(void)close(fd);
		return st;
	}
	struct change_marks *marks = mem_alloc(sizeof(*marks));
	*marks = (struct change_marks){fd, at, (_Atomic uint64_t *)((char *)at + HEAD_BYTES)};
	*out = marks;
	return st;
}

void
change_marks_close(struct change_marks *marks)
{
	if (!marks)
		return;
	(void)munmap(marks->head, FILE_BYTES);
	(void)close(marks->fd);
	mem_free(marks);
}

/* The head reaches the disk before any change is acknowledged that only its bits will tell of. */
static struct status
put_in_use(struct change_marks *marks)
{
	marks->head->is_sealed = 0;
	read_boot(marks->head->boot);
	if (msync(marks->head, HEAD_BYTES, MS_SYNC) == 0 && fsync(marks->fd) == 0)
		return status_ok_value();
	return failed("the file of changes", "written");
}

static struct status
finish(struct change_marks **marks, struct status st)
{
	if (status_ok(&st))
		st = put_in_use(*marks);
	if (!status_ok(&st)) {
		change_marks_close(*marks);
		*marks = NULL;
	}
	return st;
}

struct status
change_marks_new(const char *path, uint64_t generation, struct change_marks **out)
{
	*out = NULL;
	(void)unlink(path);
	struct status st = map(path, O_CREAT | O_EXCL, out);
	if (!status_ok(&st))
		return st;
	(*out)->head->magic = MAGIC;
	(*out)->head->generation = generation;
	return finish(out, st);
}

/* Whether every bit that was set is there. */
static bool
is_trusted(const struct head *head)
{
	char boot[BOOT_BYTES];

	read_boot(boot);
	return head->is_sealed || (boot[0] && memcmp(head->boot, boot, strlen(boot) + 1) == 0);
}

struct status
change_marks_open(const char *path, uint64_t generation, struct change_marks **out)
{
	struct stat is;

	*out = NULL;
	if (stat(path, &is) != 0 || is.st_size != (off_t)FILE_BYTES)
		return status_make(STATUS_FAILED_PRECONDITION, "what was changed since it was written is not known");
	struct status st = map(path, 0, out);
	if (!status_ok(&st))
		return st;
	const struct head *head = (*out)->head;
	if (head->magic != MAGIC || head->generation != generation)
		st = status_make(STATUS_FAILED_PRECONDITION, "what was changed since it was written is not known");
	else if (!is_trusted(head))
		st = status_make(STATUS_FAILED_PRECONDITION,
		                 "the machine went down, and what was changed before may not have been kept");
	return finish(out, st);
}

struct status
change_marks_seal(struct change_marks *marks)
{
	if (msync(marks->head, FILE_BYTES, MS_SYNC) != 0 || fsync(marks->fd) != 0)
		return failed("the file of changes", "written");
	marks->head->is_sealed = 1;
	if (msync(marks->head, HEAD_BYTES, MS_SYNC) != 0 || fsync(marks->fd) != 0)
		return failed("the file of changes", "written");
	return status_ok_value();
}

/* ---- the bits ---- */

uint64_t
change_marks_space(const char *tenant, const char *name)
{
	return hash_mix64(hash_stable64(tenant, strlen(tenant), 0), hash_stable64(name, strlen(name), 0));
}

static void
set_bit(struct change_marks *marks, uint64_t space, enum sort sort, uint64_t hash)
{
	uint64_t at = hash_mix64(hash_mix64(space, sort), hash) % BITS;
	atomic_fetch_or_explicit(&marks->words[at / 64], UINT64_C(1) << at % 64, memory_order_relaxed);
}

static bool
has_bit(const struct change_marks *marks, uint64_t space, enum sort sort, uint64_t hash)
{
	uint64_t at = hash_mix64(hash_mix64(space, sort), hash) % BITS;
	return atomic_load_explicit(&marks->words[at / 64], memory_order_relaxed) >> at % 64 & 1;
}

static void
add_prefix(struct change_marks *marks, uint64_t space, const char *prefix, size_t length)
{
	length = invalidations_prefix_length(prefix, length);
	if (length == 0)
		set_bit(marks, space, OF_SPACE, 0);
	else
		set_bit(marks, space, OF_PREFIX, hash_stable64(prefix, length, 0));
}

void
change_marks_add(struct change_marks *marks, uint64_t space, const struct change *change)
{
	switch (change->kind) {
	case CHANGE_SET:
	case CHANGE_FILL:
	case CHANGE_DELETE:
	case CHANGE_EXPIRE:
		set_bit(marks, space, OF_KEY, hash_stable64(change->subject.key, change->subject.key_length, 0));
		break;
	case CHANGE_TAG:
		set_bit(marks, space, OF_TAG, change->tag);
		break;
	case CHANGE_PREFIX:
		add_prefix(marks, space, change->name, change->name_length);
		break;
	case CHANGE_GLOB:
	case CHANGE_ALL:
		set_bit(marks, space, OF_SPACE, 0);
		break;
	case CHANGE_TOUCH: /* what it was before ends earlier, and is no less true */
		break;
	}
}

static bool
prefixes_are_marked(const struct change_marks *marks, uint64_t space, const char *key, size_t length)
{
	unsigned depth = 0;

	for (size_t i = 1; i < length && depth < INVALIDATIONS_DEPTH_MAX; i++) {
		if (key[i] != '/')
			continue;
		if (has_bit(marks, space, OF_PREFIX, hash_stable64(key, i, 0)))
			return true;
		depth++;
	}
	return has_bit(marks, space, OF_PREFIX, hash_stable64(key, length, 0));
}

bool
change_marks_cover(const struct change_marks *marks, uint64_t space, const struct subject *subject)
{
	if (has_bit(marks, space, OF_SPACE, 0) ||
	    has_bit(marks, space, OF_KEY, hash_stable64(subject->key, subject->key_length, 0)))
		return true;
	for (size_t i = 0; i < subject->tag_count; i++)
		if (has_bit(marks, space, OF_TAG, subject->tags[i]))
			return true;
	return prefixes_are_marked(marks, space, subject->key, subject->key_length);
}
