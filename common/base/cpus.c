/*
 * cpus: see cpus.h.
 */
#include "base/cpus.h"

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static bool
read_line(const char *root, const char *name, char *out, size_t size)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	bool has_line = fgets(out, (int)size, file) != NULL;
	(void)fclose(file);
	if (has_line)
		out[strcspn(out, "\n")] = '\0';
	return has_line;
}

/* Rounded up: half a processor is one. 0: no quota. */
static size_t
share(const char *quota, size_t quota_length, const char *period)
{
	uint64_t part, whole;

	if (!text_to_u64(quota, quota_length, &part) || !text_to_u64(period, strlen(period), &whole) ||
	    whole == 0)
		return 0;
	return (size_t)((part + whole - 1) / whole);
}

/* "max 100000" or "150000 100000". */
static size_t
quota_of_version_2(const char *root)
{
	char line[128];

	if (!read_line(root, "cpu.max", line, sizeof(line)))
		return 0;
	size_t length = strcspn(line, " ");
	return line[length] == ' ' ? share(line, length, line + length + 1) : 0;
}

static size_t
quota_of_version_1(const char *root)
{
	char quota[64], period[64];

	if (!read_line(root, "cpu/cpu.cfs_quota_us", quota, sizeof(quota)) ||
	    !read_line(root, "cpu/cpu.cfs_period_us", period, sizeof(period)))
		return 0;
	return share(quota, strlen(quota), period);
}

static size_t
processors(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return 1;
	int count = CPU_COUNT(&set);
	return count > 0 ? (size_t)count : 1;
}

size_t
cpus_available(const char *root)
{
	const char *where = root ? root : "/sys/fs/cgroup";
	size_t count = processors(), quota = quota_of_version_2(where);

	if (quota == 0)
		quota = quota_of_version_1(where);
	return quota > 0 && quota < count ? quota : count;
}
