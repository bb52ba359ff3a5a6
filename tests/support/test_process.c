/*
 * test_process: fork, drop privileges, bind the child's life to ours, exec.
 */
#include "support/test_process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define END_MS         10000u
#define LOG_TAIL_BYTES 4096

static void
die(const char *what)
{
	perror(what);
	abort();
}

/* Between fork and exec. The death signal comes last: a change of user clears it. */
static void
become(const struct test_process_options *options, pid_t parent)
{
	sigset_t none;

	if (options->log_path) {
		int fd = open(options->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		if (fd >= 0) {
			dup2(fd, STDOUT_FILENO);
			dup2(fd, STDERR_FILENO);
		}
	}
	if (options->uid && (setgroups(0, NULL) != 0 || setgid(options->gid) != 0 || setuid(options->uid) != 0 ||
	                     chdir("/") != 0))
		_exit(126);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	prctl(PR_SET_PDEATHSIG, options->death_signal);
	if (getppid() != parent)
		_exit(125);
	execv(options->argv[0], (char *const *)(uintptr_t)options->argv);
	_exit(127);
}

pid_t
test_process_start(const struct test_process_options *options)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid < 0)
		die("test_process: fork");
	if (pid == 0)
		become(options, parent);
	return pid;
}

bool
test_process_is_alive(pid_t pid)
{
	pid_t got = waitpid(pid, NULL, WNOHANG);
	return got == 0 || (got < 0 && errno == EINTR);
}

/* The state of a thread as in proc(5); 'X' when it is gone. */
static char
thread_state(pid_t pid, const char *thread)
{
	char path[64], line[512];

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/stat", pid, thread);
	FILE *file = fopen(path, "r");
	bool is_there = file && fgets(line, sizeof(line), file);
	const char *name_end = is_there ? strrchr(line, ')') : NULL;
	if (file)
		fclose(file);
	return name_end && name_end[1] == ' ' ? name_end[2] : 'X';
}

static bool
stands_still(pid_t pid)
{
	char path[32];
	bool is_still = true;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *threads = opendir(path);
	for (struct dirent *entry; is_still && threads && (entry = readdir(threads)) != NULL;)
		is_still = entry->d_name[0] == '.' || strchr("TtZX", thread_state(pid, entry->d_name));
	if (threads)
		closedir(threads);
	return is_still;
}

void
test_process_freeze(pid_t pid)
{
	kill(pid, SIGSTOP);
	while (!stands_still(pid))
		test_pause();
}

void
test_process_end(pid_t pid, int signal)
{
	uint64_t deadline = test_now_ms() + END_MS;

	kill(pid, signal);
	kill(pid, SIGCONT);
	while (test_process_is_alive(pid)) {
		if (test_now_ms() > deadline)
			kill(pid, SIGKILL);
		test_pause();
	}
}

void
test_process_print_log(const char *log_path)
{
	char tail[LOG_TAIL_BYTES + 1];
	FILE *file = fopen(log_path, "r");

	if (!file)
		return;
	if (fseek(file, -LOG_TAIL_BYTES, SEEK_END) != 0)
		rewind(file);
	size_t size = fread(tail, 1, LOG_TAIL_BYTES, file);
	tail[size] = '\0';
	fclose(file);
	fprintf(stderr, "---- end of %s\n%s----\n", log_path, tail);
}

uint16_t
test_free_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) != 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &size) != 0)
		die("test_process: no free port");
	close(fd);
	return ntohs(at.sin_port);
}

uint64_t
test_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* Since the machine started. */
static uint64_t
starved_ms(void)
{
	char line[256];
	FILE *file = fopen("/proc/pressure/cpu", "r");
	bool is_there = file && fgets(line, sizeof(line), file);
	const char *total = is_there ? strstr(line, "total=") : NULL;

	if (file)
		fclose(file);
	return total ? strtoull(total + strlen("total="), NULL, 10) / 1000 : 0;
}

uint64_t
test_calm_ms(void)
{
	static _Atomic uint64_t latest; /* the kernel adds up now and then, and never takes back */
	uint64_t now = test_now_ms(), starved = starved_ms(), calm = now > starved ? now - starved : 0;
	uint64_t before = atomic_load(&latest);

	while (before < calm && !atomic_compare_exchange_weak(&latest, &before, calm))
		;
	return before < calm ? calm : before;
}

void
test_pause(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}
