/*
 * change_journal: see change_journal.h.
 */
#include "change_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/hash.h"

static const char MAGIC[8] = {'c', 'l', 'b', 'p', 'e', 'n', 'd', '1'};

struct record {
	uint32_t checksum; /* of all that follows */
	uint8_t kind, tenant_length, space_length, zero;
	uint32_t name_length;
};

#define CHECKED_FROM offsetof(struct record, kind)

struct change_journal {
	char *path;
	int fd;
	size_t bytes, bytes_max; /* committed, with the magic; at most */
	char *added;             /* not committed yet */
	size_t added_bytes, capacity;
};

/* ---- reading ---- */

static bool
is_kept(unsigned kind)
{
	return kind == OP_DELETE || kind == OP_EXPIRE || (kind >= OP_TAG && kind <= OP_ALL);
}

/* How long the record is that the bytes begin with; 0: it is not whole, or not one. */
static size_t
record_size(const char *bytes, size_t left, struct record *record)
{
	if (left < sizeof(*record))
		return 0;
	memcpy(record, bytes, sizeof(*record));
	if (!is_kept(record->kind) || record->zero != 0 || record->name_length > ENGINE_KEY_MAX ||
	    record->tenant_length > ENGINE_NAME_MAX || record->space_length > ENGINE_NAME_MAX ||
	    record->tenant_length == 0 || record->space_length == 0)
		return 0;
	size_t size = sizeof(*record) + record->tenant_length + record->space_length + record->name_length;
	bool is_whole = size <= left && record->checksum == hash_crc32(bytes + CHECKED_FROM, size - CHECKED_FROM);
	return is_whole ? size : 0;
}

static bool
take_name(char out[ENGINE_NAME_MAX + 1], const char *text, size_t length)
{
	memcpy(out, text, length);
	out[length] = '\0';
	return !memchr(text, '\0', length);
}

size_t
change_journal_read(const void *bytes, size_t size, journal_change_fn *each, void *arg)
{
	char tenant[ENGINE_NAME_MAX + 1], space[ENGINE_NAME_MAX + 1], name[ENGINE_KEY_MAX + 1];
	const char *start = bytes;
	struct record record;
	size_t at = sizeof(MAGIC), length;

	if (size < sizeof(MAGIC) || memcmp(bytes, MAGIC, sizeof(MAGIC)) != 0)
		return 0;
	for (; (length = record_size(start + at, size - at, &record)) > 0; at += length) {
		const char *text = start + at + sizeof(record);
		if (!take_name(tenant, text, record.tenant_length) ||
		    !take_name(space, text + record.tenant_length, record.space_length))
			break;
		memcpy(name, text + record.tenant_length + record.space_length, record.name_length);
		name[record.name_length] = '\0';
		each(arg,
		     &(struct journal_change){(enum op_kind)record.kind, tenant, space, name, record.name_length});
	}
	return at;
}

/* ---- the file ---- */

static struct status
failed(const char *path, const char *what)
{
	return status_make(STATUS_UNAVAILABLE, "%s cannot be %s: %s", path, what, strerror(errno));
}

static bool
write_all(int fd, const char *bytes, size_t length, size_t offset)
{
	for (size_t at = 0; at < length;) {
		ssize_t written = pwrite(fd, bytes + at, length - at, (off_t)(offset + at));
		if (written > 0)
			at += (size_t)written;
		else if (written == 0 || errno != EINTR)
			return false;
	}
	return true;
}

static bool
read_all(int fd, char *bytes, size_t length)
{
	for (size_t at = 0; at < length;) {
		ssize_t got = pread(fd, bytes + at, length - at, (off_t)at);
		if (got > 0)
			at += (size_t)got;
		else if (got == 0 || errno != EINTR)
			return false;
	}
	return true;
}

/* The name is there after a crash of the machine, too. */
static bool
sync_directory(const char *path)
{
	char *directory = mem_strdup(path), *slash = strrchr(directory, '/');

	if (slash)
		*slash = '\0';
	int fd = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool is_synced = fd >= 0 && fsync(fd) == 0;
	if (fd >= 0)
		(void)close(fd);
	mem_free(directory);
	return is_synced;
}

static struct status
begin(struct change_journal *journal)
{
	if (!write_all(journal->fd, MAGIC, sizeof(MAGIC), 0) || fsync(journal->fd) != 0 ||
	    !sync_directory(journal->path))
		return failed(journal->path, "written");
	journal->bytes = sizeof(MAGIC);
	return status_ok_value();
}

static struct status
read_back(struct change_journal *journal, size_t size, journal_change_fn *each, void *arg, size_t *cut)
{
	char *bytes = mem_alloc(size);
	struct status st = status_ok_value();

	if (!read_all(journal->fd, bytes, size))
		st = failed(journal->path, "read");
	else if ((journal->bytes = change_journal_read(bytes, size, each, arg)) == 0)
		st = status_make(STATUS_FAILED_PRECONDITION, "%s is nothing that this version reads", journal->path);
	else if (journal->bytes < size && ftruncate(journal->fd, (off_t)journal->bytes) != 0)
		st = failed(journal->path, "cut");
	*cut = size - journal->bytes;
	mem_free(bytes);
	return st;
}

/* A file that is shorter than its magic was being made when that ended. */
static struct status
load(struct change_journal *journal, journal_change_fn *each, void *arg, size_t *cut)
{
	struct stat is;

	if (flock(journal->fd, LOCK_EX | LOCK_NB) != 0)
		return status_make(STATUS_UNAVAILABLE, "%s is another process's", journal->path);
	if (fstat(journal->fd, &is) != 0)
		return failed(journal->path, "read");
	if ((size_t)is.st_size < sizeof(MAGIC))
		return begin(journal);
	return read_back(journal, (size_t)is.st_size, each, arg, cut);
}

struct status
change_journal_open(const char *path, size_t bytes_max, journal_change_fn *each, void *arg, size_t *cut,
                    struct change_journal **out)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	*out = NULL;
	*cut = 0;
	if (fd < 0)
		return failed(path, "opened");
	struct change_journal *journal = mem_alloc(sizeof(*journal));
	journal->path = mem_strdup(path);
	journal->fd = fd;
	journal->bytes_max = bytes_max;
	struct status st = load(journal, each, arg, cut);
	if (status_ok(&st))
		*out = journal;
	else
		change_journal_close(journal);
	return st;
}

void
change_journal_close(struct change_journal *journal)
{
	if (!journal)
		return;
	(void)close(journal->fd);
	mem_free(journal->added);
	mem_free(journal->path);
	mem_free(journal);
}

/* ---- writing ---- */

static void
append(struct change_journal *journal, const void *bytes, size_t length)
{
	if (journal->added_bytes + length > journal->capacity) {
		journal->capacity = 2 * (journal->added_bytes + length);
		journal->added = mem_resize(journal->added, journal->capacity, 1);
	}
	if (length > 0)
		memcpy(journal->added + journal->added_bytes, bytes, length);
	journal->added_bytes += length;
}

void
change_journal_add(struct change_journal *journal, const struct journal_change *change)
{
	size_t at = journal->added_bytes;
	struct record record = {.kind = (uint8_t)change->kind,
	                        .tenant_length = (uint8_t)strlen(change->tenant),
	                        .space_length = (uint8_t)strlen(change->space),
	                        .name_length = (uint32_t)change->length};

	append(journal, &record, sizeof(record));
	append(journal, change->tenant, record.tenant_length);
	append(journal, change->space, record.space_length);
	append(journal, change->name, change->length);
	record.checksum =
	    hash_crc32(journal->added + at + CHECKED_FROM, journal->added_bytes - at - CHECKED_FROM);
	memcpy(journal->added + at, &record, sizeof(record));
}

static struct status
too_large(const struct change_journal *journal)
{
	return status_make(STATUS_RESOURCE_EXHAUSTED, "%s has its %zu bytes", journal->path, journal->bytes_max);
}

/* What is behind the end again is cut off, lest it be read as committed. */
struct status
change_journal_commit(struct change_journal *journal)
{
	size_t bytes = journal->added_bytes;
	struct status st = status_ok_value();

	journal->added_bytes = 0;
	if (bytes > journal->bytes_max || journal->bytes > journal->bytes_max - bytes)
		return too_large(journal);
	if (!write_all(journal->fd, journal->added, bytes, journal->bytes) || fdatasync(journal->fd) != 0)
		st = failed(journal->path, "written");
	if (status_ok(&st))
		journal->bytes += bytes;
	else
		(void)ftruncate(journal->fd, (off_t)journal->bytes);
	return st;
}

/* The new file takes the name, and the lock on it, when it is whole. */
static struct status
write_anew(struct change_journal *journal, const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return failed(path, "opened");
	bool is_written = flock(fd, LOCK_EX | LOCK_NB) == 0 && write_all(fd, MAGIC, sizeof(MAGIC), 0) &&
	                  write_all(fd, journal->added, journal->added_bytes, sizeof(MAGIC)) && fsync(fd) == 0 &&
	                  rename(path, journal->path) == 0;
	if (!is_written) {
		struct status st = failed(path, "written");
		(void)close(fd);
		return st;
	}
	(void)close(journal->fd);
	journal->fd = fd;
	journal->bytes = sizeof(MAGIC) + journal->added_bytes;
	return sync_directory(journal->path) ? status_ok_value() : failed(journal->path, "written");
}

struct status
change_journal_replace(struct change_journal *journal)
{
	if (journal->added_bytes > journal->bytes_max - sizeof(MAGIC)) {
		journal->added_bytes = 0;
		return too_large(journal);
	}
	char *path = mem_printf("%s.new", journal->path);
	struct status st = write_anew(journal, path);
	journal->added_bytes = 0;
	mem_free(path);
	return st;
}

struct status
change_journal_clear(struct change_journal *journal)
{
	if (journal->bytes > sizeof(MAGIC) && ftruncate(journal->fd, sizeof(MAGIC)) != 0)
		return failed(journal->path, "cut");
	journal->bytes = sizeof(MAGIC);
	return status_ok_value();
}
