/*
 * measure: the clock of a process, and lines of /proc.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runner/measure.h"

#define FILE_MAX 4096

uint64_t
measure_cpu_us(pid_t pid)
{
	clockid_t clock;
	struct timespec used;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
		return 0;
	return (uint64_t)used.tv_sec * 1000000u + (uint64_t)used.tv_nsec / 1000u;
}

static bool
read_proc(pid_t pid, const char *name, char text[FILE_MAX])
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, FILE_MAX - 1);
	if (fd >= 0)
		close(fd);
	text[got > 0 ? got : 0] = '\0';
	return got > 0;
}

/* The number behind "label", which is in KiB. */
static uint64_t
bytes_behind(const char *text, const char *label)
{
	const char *at = strstr(text, label);

	return at ? strtoull(at + strlen(label), NULL, 10) * 1024u : 0;
}

uint64_t
measure_peak_bytes(pid_t pid)
{
	char text[FILE_MAX];

	return read_proc(pid, "status", text) ? bytes_behind(text, "VmHWM:") : 0;
}

uint64_t
measure_own_bytes(pid_t pid)
{
	char text[FILE_MAX];

	if (!read_proc(pid, "smaps_rollup", text))
		return 0;
	return bytes_behind(text, "Private_Clean:") + bytes_behind(text, "Private_Dirty:");
}
