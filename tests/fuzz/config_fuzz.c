/*
 * Any YAML file and any flags load or are refused, each fault told.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct config_option OPTIONS[] = {
    {.name = "a.text", .type = CONFIG_TEXT, .min = 0, .max = 10},
    {.name = "a.number", .type = CONFIG_INTEGER, .def = "5", .min = 1, .max = 9},
    {.name = "a.switch", .type = CONFIG_BOOL, .def = "false"},
    {.name = "b.time", .type = CONFIG_DURATION, .def = "5s"},
    {.name = "b.size", .type = CONFIG_SIZE, .def = "1MiB"},
    {.name = "b.choice", .type = CONFIG_CHOICE, .def = "x", .choices = "x|y"},
    {.name = "b.list", .type = CONFIG_LIST, .def = ""},
    {.name = NULL}};

/* The first line is a flag, the rest is the file. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *line = size ? memchr(text, '\n', size) : NULL;
	const struct config_option *const tables[] = {OPTIONS, NULL};
	char flag[256] = "--", path[64];
	struct config *config;

	if (!line || line - text > 200 || size > 16384)
		return 0;
	memcpy(flag + 2, text, (size_t)(line - text));
	flag[2 + (line - text)] = '\0';
	/* What is read from outside the fuzzer's input would make runs differ. */
	if (strncmp(flag, "--config", 8) == 0 || memmem(data, size, "config", 6))
		return 0;
	int fd = memfd_create("config", 0);
	size_t rest = size - (size_t)(line + 1 - text);
	if (write(fd, line + 1, rest) != (ssize_t)rest)
		abort();
	snprintf(path, sizeof(path), "--config=/proc/self/fd/%d", fd);
	const char *argv[] = {"corbel", path, flag, NULL};
	struct config_input input = {.tables = tables, .argc = 3, .argv = argv};
	FILE *errors = fopen("/dev/null", "w");
	struct status st = config_load(&input, errors, &config);
	if (status_ok(&st)) {
		assert(config_integer(config, "a.number") >= 1 && config_integer(config, "a.number") <= 9);
		config_print(config, errors);
		config_free(config);
	}
	(void)fclose(errors);
	close(fd);
	return 0;
}
