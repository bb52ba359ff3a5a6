/*
 * snapshot: see snapshot.h.
 *
 *	cached.snapshot           of generation g
 *	cached.changes.0, .1      what was changed since g was begun: the one of g's parity
 *	cached.snapshot.new       g + 1 while it is written
 *
 * While g + 1 is written, changes are noted for both: what was written already may have changed. The rename
 * decides which of them counts.
 */
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "change_marks.h"
#include "snapshot_file.h"

#define ENTRIES_AT_ONCE 32u /* under one hold of a space's lock */

struct snapshot {
	struct cached *self;
	uint64_t bytes_max;
	char *directory, *path, *new_path, *marks_paths[2];
	pthread_mutex_t writing;                 /* one at a time; guards what follows */
	uint64_t generation;                     /* of the file that is there; 0: none */
	pthread_rwlock_t lock;                   /* guards what follows */
	struct change_marks *marks, *next_marks; /* of that file, and of the one that is being written */
};

static struct snapshot *
allocate(struct cached *self)
{
	struct snapshot *snapshot = mem_alloc(sizeof(*snapshot));
	const char *directory = host_data_dir(self->env.host);

	snapshot->self = self;
	if (!self->env.redis)
		snapshot->bytes_max = config_size_bytes(self->env.config, "cached.snapshot");
	snapshot->directory = mem_strdup(directory);
	snapshot->path = mem_printf("%s/cached.snapshot", directory);
	snapshot->new_path = mem_printf("%s/cached.snapshot.new", directory);
	snapshot->marks_paths[0] = mem_printf("%s/cached.changes.0", directory);
	snapshot->marks_paths[1] = mem_printf("%s/cached.changes.1", directory);
	pthread_mutex_init(&snapshot->writing, NULL);
	pthread_rwlock_init(&snapshot->lock, NULL);
	return snapshot;
}

static void
deallocate(struct snapshot *snapshot)
{
	change_marks_close(snapshot->marks);
	pthread_mutex_destroy(&snapshot->writing);
	pthread_rwlock_destroy(&snapshot->lock);
	mem_free(snapshot->directory);
	mem_free(snapshot->path);
	mem_free(snapshot->new_path);
	mem_free(snapshot->marks_paths[0]);
	mem_free(snapshot->marks_paths[1]);
	mem_free(snapshot);
}

static uint64_t
wall_ms(const struct snapshot *snapshot)
{
	return (uint64_t)clock_wall_ms(snapshot->self->env.clock);
}

/* ---- files ---- */

static struct status
failed(const char *path, const char *what)
{
	return status_make(STATUS_UNAVAILABLE, "%s cannot be %s: %s", path, what, strerror(errno));
}

/* Names that were made or removed are so after a crash of the machine, too. */
static struct status
sync_names(const struct snapshot *snapshot)
{
	int fd = open(snapshot->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool is_synced = fd >= 0 && fsync(fd) == 0;
	struct status st = is_synced ? status_ok_value() : failed(snapshot->directory, "written");

	if (fd >= 0)
		(void)close(fd);
	return st;
}

static struct status
remove_file(const char *path, struct status st)
{
	if (status_ok(&st) && unlink(path) != 0 && errno != ENOENT)
		return failed(path, "removed");
	return st;
}

/* The snapshot first: without it the rest means nothing. */
static struct status
remove_all(const struct snapshot *snapshot)
{
	if (access(snapshot->path, F_OK) != 0 && errno == ENOENT)
		return status_ok_value();
	struct status st = remove_file(snapshot->path, status_ok_value());
	if (status_ok(&st))
		st = sync_names(snapshot);
	st = remove_file(snapshot->new_path, st);
	st = remove_file(snapshot->marks_paths[0], st);
	return remove_file(snapshot->marks_paths[1], st);
}

/* ---- reading ---- */

struct reading {
	struct snapshot *snapshot;
	uint64_t elapsed_ms, taken, left;
};

static bool
is_over(const struct kept_entry *entry)
{
	uint64_t grace_ms =
	    entry->set.grace_ms > entry->set.error_grace_ms ? entry->set.grace_ms : entry->set.error_grace_ms;
	return entry->past.fresh_ms + (int64_t)grace_ms <= 0;
}

static bool
put_back(struct reading *reading, const char *tenant, const char *name, struct kept_entry entry)
{
	const struct subject subject = {entry.set.key, entry.set.key_length, entry.set.tag_hashes,
	                                entry.set.tag_count};
	struct space *space;

	entry.past.fresh_ms -= (int64_t)reading->elapsed_ms;
	entry.past.age_ms += reading->elapsed_ms;
	entry.set.past = &entry.past;
	if (is_over(&entry) ||
	    change_marks_cover(reading->snapshot->marks, change_marks_space(tenant, name), &subject))
		return false;
	struct status st = engine_space(reading->snapshot->self->engine, tenant, name, &space);
	if (!status_ok(&st))
		return false;
	engine_set(space, &entry.set, 1);
	return entry.set.outcome == SET_STORED;
}

static void
take_entry(void *arg, const char *tenant, const char *name, const struct kept_entry *entry)
{
	struct reading *reading = arg;

	if (put_back(reading, tenant, name, *entry))
		reading->taken++;
	else
		reading->left++;
}

static struct status
read_bytes(struct snapshot *snapshot, const void *bytes, size_t size)
{
	struct log *log = snapshot->self->env.log;
	struct snapshot_head head;

	if (!snapshot_is_whole(bytes, size, &head))
		return status_make(STATUS_FAILED_PRECONDITION, "it is not whole");
	struct status st =
	    change_marks_open(snapshot->marks_paths[head.generation & 1], head.generation, &snapshot->marks);
	if (!status_ok(&st))
		return st;
	uint64_t now_ms = wall_ms(snapshot);
	struct reading reading = {.snapshot = snapshot,
	                          .elapsed_ms = now_ms > head.wall_ms ? now_ms - head.wall_ms : 0};
	snapshot_read(bytes, size, take_entry, &reading);
	snapshot->generation = head.generation;
	log_info(log, "snapshot read", LOG_U64("entries", reading.taken), LOG_U64("left_out", reading.left));
	return st;
}

static struct status
read_file(struct snapshot *snapshot, int fd)
{
	struct stat is;

	if (fstat(fd, &is) != 0)
		return failed(snapshot->path, "read");
	if (is.st_size == 0)
		return status_make(STATUS_FAILED_PRECONDITION, "it is empty");
	size_t size = (size_t)is.st_size;
	void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return failed(snapshot->path, "mapped");
	struct status st = read_bytes(snapshot, bytes, size);
	(void)munmap(bytes, size);
	return st;
}

/* A snapshot that is no good is told of, removed, and missed by nobody. */
static struct status
load(struct snapshot *snapshot)
{
	int fd = open(snapshot->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? status_ok_value() : failed(snapshot->path, "opened");
	struct status st = read_file(snapshot, fd);
	(void)close(fd);
	if (st.code != STATUS_FAILED_PRECONDITION)
		return st;
	log_warn(snapshot->self->env.log, "snapshot not read", LOG_TEXT("file", snapshot->path), LOG_STATUS(&st));
	return remove_all(snapshot);
}

/* ---- noting ---- */

static void
note(void *arg, const struct space *space, const struct change *change)
{
	struct snapshot *snapshot = arg;
	uint64_t number = change_marks_space(space_tenant(space), space_name(space));

	pthread_rwlock_rdlock(&snapshot->lock);
	if (snapshot->marks)
		change_marks_add(snapshot->marks, number, change);
	if (snapshot->next_marks)
		change_marks_add(snapshot->next_marks, number, change);
	pthread_rwlock_unlock(&snapshot->lock);
}

struct status
snapshot_open(struct cached *self, struct snapshot **out)
{
	struct snapshot *snapshot = allocate(self);
	bool is_on = snapshot->bytes_max > 0;
	struct status st = is_on ? load(snapshot) : remove_all(snapshot);

	*out = NULL;
	if (!is_on || !status_ok(&st)) {
		deallocate(snapshot);
		return st;
	}
	engine_watch(self->engine, &(struct change_watch){note, snapshot});
	*out = snapshot;
	return st;
}

/* ---- writing ---- */

/* From now on changes are noted in these, too. */
static void
begin_noting(struct snapshot *snapshot, struct change_marks *next)
{
	pthread_rwlock_wrlock(&snapshot->lock);
	snapshot->next_marks = next;
	pthread_rwlock_unlock(&snapshot->lock);
}

/* The new marks take the place of the old ones, or go when their snapshot came to nothing. */
static void
end_noting(struct snapshot *snapshot, bool is_written)
{
	pthread_rwlock_wrlock(&snapshot->lock);
	struct change_marks *next = snapshot->next_marks, *over = is_written ? snapshot->marks : next;
	if (is_written)
		snapshot->marks = next;
	snapshot->next_marks = NULL;
	pthread_rwlock_unlock(&snapshot->lock);
	change_marks_close(over);
}

static void
add_entry(void *writer, const struct kept_entry *entry)
{
	snapshot_writer_add(writer, entry);
}

static void
write_space(void *arg, struct space *space)
{
	struct snapshot_writer *writer = arg;
	uint64_t cursor = 0;
	bool is_more = true;

	snapshot_writer_space(writer, space_tenant(space), space_name(space));
	while (is_more && snapshot_writer_flush(writer))
		is_more = engine_each_entry(space, &cursor, ENTRIES_AT_ONCE, add_entry, writer);
}

static struct status
write_file(struct snapshot *snapshot, uint64_t generation)
{
	const struct snapshot_head head = {generation, wall_ms(snapshot)};
	struct snapshot_writer *writer;
	struct status st = snapshot_writer_new(snapshot->new_path, &head, snapshot->bytes_max, &writer);

	if (!status_ok(&st))
		return st;
	engine_each_space(snapshot->self->engine, NULL, write_space, writer);
	uint64_t count = snapshot_writer_count(writer);
	st = snapshot_writer_end(writer);
	if (status_ok(&st) && rename(snapshot->new_path, snapshot->path) != 0)
		st = failed(snapshot->path, "renamed");
	if (status_ok(&st))
		log_debug(snapshot->self->env.log, "snapshot written", LOG_U64("entries", count));
	return st;
}

static struct status
write_locked(struct snapshot *snapshot)
{
	uint64_t generation = snapshot->generation ? snapshot->generation + 1 : wall_ms(snapshot);
	const char *marks_path = snapshot->marks_paths[generation & 1];
	struct change_marks *next;
	struct status st = change_marks_new(marks_path, generation, &next);

	if (!status_ok(&st))
		return st;
	begin_noting(snapshot, next);
	st = write_file(snapshot, generation);
	bool is_written = status_ok(&st);
	end_noting(snapshot, is_written);
	(void)unlink(is_written ? snapshot->marks_paths[(generation + 1) & 1] : marks_path);
	if (is_written) {
		snapshot->generation = generation;
		st = sync_names(snapshot);
	}
	return st;
}

static void
write_now(struct snapshot *snapshot)
{
	pthread_mutex_lock(&snapshot->writing);
	struct status st = write_locked(snapshot);
	pthread_mutex_unlock(&snapshot->writing);
	if (!status_ok(&st))
		log_warn(snapshot->self->env.log, "snapshot not written", LOG_STATUS(&st));
}

void
snapshot_write_task(void *arg, struct store_conn *conn)
{
	struct cached *self = arg;
	(void)conn;
	write_now(self->snapshot);
}

void
snapshot_close(struct snapshot *snapshot)
{
	if (!snapshot)
		return;
	write_now(snapshot);
	struct status st = snapshot->marks ? change_marks_seal(snapshot->marks) : status_ok_value();
	if (!status_ok(&st))
		log_warn(snapshot->self->env.log, "snapshot not sealed", LOG_STATUS(&st));
	deallocate(snapshot);
}
