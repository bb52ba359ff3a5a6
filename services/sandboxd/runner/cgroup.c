/*
 * cgroup: files of both versions. In the first, each controller has a tree of its own.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "runner/cgroup.h"

#define PREFIX "corbel-plugins-"

/* A kind of cgroup: what its files are called. */
struct kind {
	const char *name, *memory_limit, *memory_events;
};
static const struct kind V1 = {"version 1", "memory.limit_in_bytes", "memory.oom_control"};
static const struct kind V2 = {"version 2", "memory.max", "memory.events"};

struct cgroup {
	const struct kind *kind;
	char *memory, *pids; /* directories; the same one in version 2 */
};

/* ---------------------------------------------------------------- files */

static bool
write_number(const char *directory, const char *name, uint64_t value)
{
	char *path = mem_printf("%s/%s", directory, name), text[24];
	int length = snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool is_written = fd >= 0 && write(fd, text, (size_t)length) == length;
	int error = errno;

	if (fd >= 0)
		close(fd);
	mem_free(path);
	errno = error;
	return is_written;
}

static bool
write_word(const char *directory, const char *name, const char *word)
{
	char *path = mem_printf("%s/%s", directory, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool is_written = fd >= 0 && write(fd, word, strlen(word)) == (ssize_t)strlen(word);
	int error = errno;

	if (fd >= 0)
		close(fd);
	mem_free(path);
	errno = error;
	return is_written;
}

/* Whether a line of /proc/self/cgroup is about this controller; "" stands for version 2. */
static bool
is_about(const char *controllers, size_t length, const char *controller)
{
	size_t size = strlen(controller);

	if (size == 0)
		return length == 0;
	for (const char *at = controllers; at < controllers + length; at += strcspn(at, ",:") + 1)
		if (strcspn(at, ",:") == size && strncmp(at, controller, size) == 0)
			return true;
	return false;
}

/* This process's group below the mount of a controller; NULL: unknown. Beside the first version the second
 * may be mounted, too, without controllers: then its line is passed by. */
static char *
own_group(const struct cgroup_tree *tree, const char *controller)
{
	char line[4096], *found = NULL;
	FILE *file = fopen(tree->own, "re");

	while (file && !found && fgets(line, sizeof(line), file)) {
		char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!path || !is_about(controllers + 1, (size_t)(path - controllers - 1), controller))
			continue;
		path[1 + strcspn(path + 1, "\n")] = '\0';
		found = mem_printf("%s%s%s%s", tree->root, controller[0] ? "/" : "", controller, path + 1);
	}
	if (file)
		fclose(file);
	return found;
}

/* ---------------------------------------------------------------- make */

/* Groups of processes that were killed stay behind, empty. */
static void
clear_old(const char *parent)
{
	DIR *directory = opendir(parent);

	for (struct dirent *entry; directory && (entry = readdir(directory)) != NULL;) {
		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0)
			continue;
		pid_t owner = (pid_t)strtol(entry->d_name + strlen(PREFIX), NULL, 10);
		if (owner > 0 && kill(owner, 0) != 0 && errno == ESRCH)
			unlinkat(dirfd(directory), entry->d_name, AT_REMOVEDIR);
	}
	if (directory)
		closedir(directory);
}

/* A group of this process's below `parent`, which it takes; NULL: errno. */
static char *
make_group(char *parent, const void *owner)
{
	if (!parent) {
		errno = ENOENT;
		return NULL;
	}
	clear_old(parent);
	char *path = mem_printf("%s/" PREFIX "%d-%lx", parent, getpid(), (unsigned long)(uintptr_t)owner);
	int made = mkdir(path, 0755), error = errno;
	mem_free(parent);
	if (made == 0)
		return path;
	mem_free(path);
	errno = error;
	return NULL;
}

static bool
make_v1(struct cgroup *cgroup, const struct cgroup_tree *tree)
{
	cgroup->kind = &V1;
	cgroup->memory = make_group(own_group(tree, "memory"), cgroup);
	cgroup->pids = cgroup->memory ? make_group(own_group(tree, "pids"), cgroup) : NULL;
	return cgroup->pids != NULL;
}

/* Controllers are handed down by a group without processes of its own: a manager has to have arranged it. */
static bool
make_v2(struct cgroup *cgroup, const struct cgroup_tree *tree)
{
	char *own = own_group(tree, "");

	cgroup->kind = &V2;
	if (own)
		write_word(own, "cgroup.subtree_control", "+memory +pids");
	cgroup->memory = make_group(own, cgroup);
	cgroup->pids = cgroup->memory ? mem_strdup(cgroup->memory) : NULL;
	return cgroup->pids != NULL;
}

static bool
is_v2(const struct cgroup_tree *tree)
{
	char *path = mem_printf("%s/cgroup.controllers", tree->root);
	bool is_there = access(path, F_OK) == 0;

	mem_free(path);
	return is_there;
}

struct cgroup *
cgroup_new(struct cgroup_tree tree, uint64_t memory_bytes, uint32_t processes, char *why, size_t why_size)
{
	struct cgroup *cgroup = mem_alloc(sizeof(*cgroup));

	if ((is_v2(&tree) ? make_v2(cgroup, &tree) : make_v1(cgroup, &tree)) &&
	    write_number(cgroup->memory, cgroup->kind->memory_limit, memory_bytes) &&
	    write_number(cgroup->pids, "pids.max", processes)) {
		snprintf(why, why_size, "%s: %llu MiB, %u processes", cgroup->kind->name,
		         (unsigned long long)(memory_bytes >> 20), processes);
		return cgroup;
	}
	snprintf(why, why_size, "%s: %s", cgroup->kind->name, strerror(errno));
	cgroup_free(cgroup);
	return NULL;
}

void
cgroup_free(struct cgroup *cgroup)
{
	if (!cgroup)
		return;
	if (cgroup->memory)
		rmdir(cgroup->memory);
	if (cgroup->pids)
		rmdir(cgroup->pids);
	mem_free(cgroup->memory);
	mem_free(cgroup->pids);
	mem_free(cgroup);
}

/* ---------------------------------------------------------------- use */

bool
cgroup_add(const struct cgroup *cgroup, pid_t pid)
{
	return write_number(cgroup->memory, "cgroup.procs", (uint64_t)pid) &&
	       write_number(cgroup->pids, "cgroup.procs", (uint64_t)pid);
}

uint64_t
cgroup_kills(const struct cgroup *cgroup)
{
	char *path = mem_printf("%s/%s", cgroup->memory, cgroup->kind->memory_events), line[128];
	unsigned long long kills = 0;
	FILE *file = fopen(path, "re");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "oom_kill %llu", &kills) == 1)
			break;
	if (file)
		fclose(file);
	mem_free(path);
	return kills;
}
