/*
 * process_stats: reads /proc/self. What cannot be read keeps its last value.
 */
#include "daemon/process_stats.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/arena.h"

struct process_stats {
	pthread_mutex_t lock; /* one refresh at a time: the CPU counter is read and then moved */
	struct metric_counter *cpu_us;
	struct metric_gauge *resident_bytes, *open_fds, *max_fds, *threads;
};

struct process_stats *
process_stats_new(struct metrics *metrics, const struct clock *clock)
{
	static const struct metric_spec cpu = {
	    .name = "process_cpu_seconds", .help = "CPU time spent.", .unit = "seconds", .per_unit = 1000000};
	static const struct metric_spec resident = {
	    .name = "process_resident_memory_bytes", .help = "Resident memory.", .unit = "bytes"};
	static const struct metric_spec open_files = {.name = "process_open_fds",
	                                              .help = "Open file descriptors."};
	static const struct metric_spec max_files = {.name = "process_max_fds",
	                                             .help = "File descriptors at most."};
	static const struct metric_spec threads = {.name = "process_threads", .help = "Threads."};
	static const struct metric_spec start = {
	    .name = "process_start_time_seconds", .help = "Start of the process since 1970.", .unit = "seconds"};
	static const char *const labels[] = {"version", NULL};
	static const struct metric_spec build = {
	    .name = "corbel_build_info", .help = "1, with the version as a label.", .labels = labels};
	const char *version = CORBEL_VERSION;
	struct process_stats *self = mem_alloc(sizeof(*self));

	pthread_mutex_init(&self->lock, NULL);
	self->cpu_us = metrics_counter(metrics, &cpu, NULL);
	self->resident_bytes = metrics_gauge(metrics, &resident, NULL);
	self->open_fds = metrics_gauge(metrics, &open_files, NULL);
	self->max_fds = metrics_gauge(metrics, &max_files, NULL);
	self->threads = metrics_gauge(metrics, &threads, NULL);
	gauge_set(metrics_gauge(metrics, &start, NULL), clock_wall_ms(clock) / 1000);
	gauge_set(metrics_gauge(metrics, &build, &version), 1);
	return self;
}

void
process_stats_free(struct process_stats *self)
{
	if (!self)
		return;
	pthread_mutex_destroy(&self->lock);
	mem_free(self);
}

static uint64_t
as_us(struct timeval time)
{
	return (uint64_t)time.tv_sec * 1000000u + (uint64_t)time.tv_usec;
}

static void
refresh_cpu(struct process_stats *self)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) != 0)
		return;
	uint64_t now_us = as_us(usage.ru_utime) + as_us(usage.ru_stime), told_us = counter_value(self->cpu_us);
	if (now_us > told_us)
		counter_add(self->cpu_us, now_us - told_us);
}

static void
refresh_memory(struct process_stats *self)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long long pages;

	if (!file)
		return;
	if (fscanf(file, "%*d %lld", &pages) == 1)
		gauge_set(self->resident_bytes, pages * sysconf(_SC_PAGESIZE));
	fclose(file);
}

/* Entries of a directory of /proc/self; -1 when it cannot be read. */
static int64_t
count_entries(const char *path)
{
	DIR *dir = opendir(path);
	int64_t count = 0;

	if (!dir)
		return -1;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

void
process_stats_refresh(struct process_stats *self)
{
	struct rlimit files;
	int64_t fds = count_entries("/proc/self/fd"), threads = count_entries("/proc/self/task");

	pthread_mutex_lock(&self->lock);
	refresh_cpu(self);
	pthread_mutex_unlock(&self->lock);
	refresh_memory(self);
	if (fds > 0)
		gauge_set(self->open_fds, fds - 1); /* without the one that we looked with */
	if (threads > 0)
		gauge_set(self->threads, threads);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		gauge_set(self->max_fds, (int64_t)files.rlim_cur);
}
