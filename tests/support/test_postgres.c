/*
 * test_postgres: initdb once a build, a copy of its result for each server.
 *
 * PostgreSQL refuses to run as root, so root runs it as user postgres or nobody, who then owns the
 * data. SIGQUIT is its "immediate shutdown": the postmaster takes its processes along, which is why
 * it is the death signal.
 */
#include "support/test_postgres.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "support/test_process.h"

#define START_MS 30000u

struct owner {
	uid_t uid; /* 0: as the caller */
	gid_t gid;
};

static void
fail(const char *what, const char *log)
{
	fprintf(stderr, "test_postgres: %s\n", what);
	if (log)
		test_process_print_log(log);
	abort();
}

static struct owner
find_owner(void)
{
	if (geteuid() != 0)
		return (struct owner){0};
	const struct passwd *user = getpwnam("postgres");
	if (!user)
		user = getpwnam("nobody");
	if (!user)
		fail("no user postgres or nobody to run it as", NULL);
	return (struct owner){.uid = user->pw_uid, .gid = user->pw_gid};
}

/* The newest server under /usr/lib/postgresql, or wherever pg_config points. */
static void
find_bin(char *out, size_t size)
{
	glob_t found;
	FILE *config;

	if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0) {
		snprintf(out, size, "%s", found.gl_pathv[found.gl_pathc - 1]);
		*strrchr(out, '/') = '\0';
		globfree(&found);
		return;
	}
	config = popen("pg_config --bindir 2>/dev/null", "r");
	if (!config || !fgets(out, (int)size, config))
		fail("no PostgreSQL server found (package postgresql)", NULL);
	out[strcspn(out, "\n")] = '\0';
	pclose(config);
}

/* Runs a program to its end; true when it succeeded. */
static bool
run(const char *const *argv, struct owner as, const char *log)
{
	int status;
	pid_t pid = test_process_start(&(struct test_process_options){
	    .argv = argv, .log_path = log, .death_signal = SIGKILL, .uid = as.uid, .gid = as.gid});

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return false;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void
copy(const char *from, const char *to)
{
	const char *const argv[] = {"/bin/cp", "-a", "--reflink=auto", from, to, NULL};

	if (!run(argv, (struct owner){0}, NULL))
		fail("copying a data directory failed", NULL);
}

static void
give(const char *path, struct owner to)
{
	char user[32];
	const char *const argv[] = {"/bin/chown", "-R", user, path, NULL};

	snprintf(user, sizeof(user), "%u:%u", to.uid, to.gid);
	if (to.uid && !run(argv, (struct owner){0}, NULL))
		fail("giving the data directory to its user failed", NULL);
}

/* build/bin/component/x_test → build/postgres-template */
static void
template_path(char *out, size_t size)
{
	char program[3800];
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);

	if (length <= 0)
		fail("/proc/self/exe cannot be read", NULL);
	program[length] = '\0';
	for (int i = 0; i < 3; i++)
		*strrchr(program, '/') = '\0';
	snprintf(out, size, "%s/postgres-template", program);
}

static void
make_template(const char *path, const char *bin, struct owner owner)
{
	struct test_dir dir;
	char data[128], log[128], initdb[256], partial[4200];
	const char *const argv[] = {initdb, "-D",   data,         "-U",        "corbel",          "-A", "trust",
	                            "-E",   "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1", NULL};

	test_dir_make(&dir);
	give(dir.path, owner);
	snprintf(data, sizeof(data), "%s/data", dir.path);
	snprintf(log, sizeof(log), "%s/log", dir.path);
	snprintf(initdb, sizeof(initdb), "%s/initdb", bin);
	if (!run(argv, owner, log))
		fail("initdb failed", log);
	snprintf(partial, sizeof(partial), "%s.%d", path, getpid());
	copy(data, partial);
	if (rename(partial, path) != 0)
		fail("the template cannot be put in its place", NULL);
	test_dir_remove(&dir);
}

/* One of several tests that start at the same time makes the template, the others wait. */
static void
ensure_template(const char *path, const char *bin, struct owner owner)
{
	char lock_path[4200];

	snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
	int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX) != 0)
		fail("the template cannot be locked", NULL);
	if (access(path, F_OK) != 0)
		make_template(path, bin, owner);
	close(lock);
}

void
test_postgres_restart(struct test_postgres *pg)
{
	char port[8];
	struct owner owner = find_owner();
	const char *const argv[] = {pg->program,
	                            "-D",
	                            pg->data,
	                            "-p",
	                            port,
	                            "-k",
	                            pg->dir.path,
	                            "-c",
	                            "listen_addresses=127.0.0.1",
	                            "-c",
	                            "fsync=off",
	                            "-c",
	                            "shared_buffers=16MB",
	                            "-c",
	                            "max_connections=60",
	                            "-c",
	                            "autovacuum=off",
	                            "-c",
	                            "max_wal_size=64MB",
	                            "-c",
	                            "jit=off",
	                            NULL};

	snprintf(port, sizeof(port), "%u", pg->port);
	const struct test_process_options options = {
	    .argv = argv, .log_path = pg->log, .death_signal = SIGQUIT, .uid = owner.uid, .gid = owner.gid};
	pg->pid = test_process_start(&options);
	for (uint64_t deadline = test_now_ms() + START_MS; PQping(pg->url) != PQPING_OK; test_pause()) {
		/* After a SIGKILL its children hold the shared memory for a moment, and a new server gives up. */
		if (!test_process_is_alive(pg->pid) && test_now_ms() < deadline)
			pg->pid = test_process_start(&options);
		if (test_now_ms() > deadline)
			fail("the server did not start", pg->log);
	}
}

struct test_postgres *
test_postgres_start(void)
{
	struct test_postgres *pg = mem_alloc(sizeof(*pg));
	struct owner owner = find_owner();
	char bin[160], path[4096];

	find_bin(bin, sizeof(bin));
	template_path(path, sizeof(path));
	ensure_template(path, bin, owner);
	test_dir_make(&pg->dir);
	snprintf(pg->data, sizeof(pg->data), "%s/data", pg->dir.path);
	snprintf(pg->log, sizeof(pg->log), "%s/log", pg->dir.path);
	snprintf(pg->program, sizeof(pg->program), "%s/postgres", bin);
	copy(path, pg->data);
	give(pg->dir.path, owner);
	pg->port = test_free_port();
	snprintf(pg->url, sizeof(pg->url), "postgresql://corbel@127.0.0.1:%u/postgres", pg->port);
	test_postgres_restart(pg);
	return pg;
}

static pid_t
parent_of(pid_t pid)
{
	char path[32];
	int parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *file = fopen(path, "r");
	if (!file)
		return 0;
	if (fscanf(file, "%*d (%*[^)]) %*c %d", &parent) != 1)
		parent = 0;
	fclose(file);
	return parent;
}

/* Each server process is a child of the postmaster, in a session of its own. */
static void
signal_children(pid_t parent, int signal)
{
	DIR *processes = opendir("/proc");

	for (struct dirent *entry; processes && (entry = readdir(processes)) != NULL;) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (pid <= 0 || parent_of(pid) != parent)
			continue;
		if (signal == SIGSTOP)
			test_process_freeze(pid);
		else
			kill(pid, signal);
	}
	if (processes)
		closedir(processes);
}

void
test_postgres_freeze(struct test_postgres *pg)
{
	test_process_freeze(pg->pid);
	signal_children(pg->pid, SIGSTOP);
}

void
test_postgres_thaw(struct test_postgres *pg)
{
	signal_children(pg->pid, SIGCONT);
	kill(pg->pid, SIGCONT);
}

void
test_postgres_kill(struct test_postgres *pg)
{
	test_process_freeze(pg->pid); /* so that it does not start others meanwhile */
	signal_children(pg->pid, SIGKILL);
	test_process_end(pg->pid, SIGKILL);
	pg->pid = 0;
}

void
test_postgres_shut_down(struct test_postgres *pg)
{
	test_process_end(pg->pid, SIGINT);
	pg->pid = 0;
}

void
test_postgres_stop(struct test_postgres *pg)
{
	if (pg->pid)
		test_process_end(pg->pid, SIGQUIT);
	test_dir_remove(&pg->dir);
	mem_free(pg);
}
