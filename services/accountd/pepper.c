/*
 * pepper: see pepper.h.
 */
#include "pepper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/text.h"

#define PEPPERS_MAX  16
#define PEPPER_BYTES 32

struct pepper {
	char id[33];
	uint8_t bytes[64];
	size_t size;
};

struct peppers {
	struct pepper items[PEPPERS_MAX];
	size_t count;
};

static bool
parse_one(const char *text, struct pepper *out)
{
	const char *colon = strchr(text, ':');
	size_t id = colon ? (size_t)(colon - text) : 0;
	size_t digits = colon ? strlen(colon + 1) : 0;

	if (id < 1 || id >= sizeof(out->id) || !text_is_name(text, id) || digits < 32 || digits > 128)
		return false;
	if (!text_hex_decode(colon + 1, digits, out->bytes))
		return false;
	snprintf(out->id, sizeof(out->id), "%.*s", (int)id, text);
	out->size = digits / 2;
	return true;
}

struct status
peppers_parse(const char *const *list, struct peppers **out)
{
	struct peppers *peppers = mem_alloc(sizeof(*peppers));
	for (; *list; list++) {
		if (peppers->count == PEPPERS_MAX || !parse_one(*list, &peppers->items[peppers->count])) {
			peppers_free(peppers);
			return status_make(
			    STATUS_INVALID_ARGUMENT,
			    "each pepper must be id:hex with 32 to 128 hexadecimal digits, at most %d of them",
			    PEPPERS_MAX);
		}
		peppers->count++;
	}
	if (peppers->count == 0) {
		peppers_free(peppers);
		return status_make(STATUS_INVALID_ARGUMENT, "there is no pepper");
	}
	*out = peppers;
	return status_ok_value();
}

static bool
write_scratch(const char *scratch, const struct random *random)
{
	uint8_t bytes[PEPPER_BYTES];
	char text[2 + 2 * PEPPER_BYTES + 1];
	int fd = open(scratch, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return false;
	random_fill(random, bytes, sizeof(bytes));
	memcpy(text, "1:", 2);
	text_hex_encode(bytes, sizeof(bytes), text + 2);
	text[sizeof(text) - 1] = '\n';
	bool is_ok = write(fd, text, sizeof(text)) == (ssize_t)sizeof(text) && fsync(fd) == 0;
	explicit_bzero(bytes, sizeof(bytes));
	explicit_bzero(text, sizeof(text));
	return close(fd) == 0 && is_ok;
}

/* The file's name must survive a power cut as well as its bytes: without its pepper every key is lost. */
static bool
sync_directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory = mem_printf("%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool is_ok = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		(void)close(fd);
	mem_free(directory);
	return is_ok;
}

/* Each writer has a scratch file of its own, whole and synced before it gets its name. link(), not
 * rename(): of two that start together, the first one's pepper stays. */
static struct status
write_file(const char *path, const struct random *random)
{
	char *scratch = mem_printf("%s.%016llx", path, (unsigned long long)random_u64(random));
	bool is_ok = write_scratch(scratch, random) && (link(scratch, path) == 0 || errno == EEXIST);
	int error = errno;

	(void)unlink(scratch);
	mem_free(scratch);
	if (is_ok && !sync_directory_of(path)) {
		error = errno;
		is_ok = false;
	}
	return is_ok ? status_ok_value()
	             : status_make(STATUS_INTERNAL, "cannot write the pepper to %s: %s", path, strerror(error));
}

struct status
peppers_from_file(const char *path, const struct random *random, struct peppers **out)
{
	char line[256] = {0};
	struct status st = status_ok_value();

	if (access(path, F_OK) != 0)
		st = write_file(path, random);
	if (!status_ok(&st))
		return st;
	FILE *file = fopen(path, "re");
	if (!file || !fgets(line, sizeof(line), file))
		st = status_make(STATUS_INTERNAL, "cannot read the pepper from %s", path);
	if (file)
		(void)fclose(file);
	if (!status_ok(&st))
		return st;
	line[strcspn(line, "\r\n")] = '\0';
	return status_wrap(peppers_parse((const char *const[]){line, NULL}, out), "%s", path);
}

void
peppers_free(struct peppers *peppers)
{
	if (!peppers)
		return;
	explicit_bzero(peppers, sizeof(*peppers));
	mem_free(peppers);
}

const char *
peppers_current(const struct peppers *peppers)
{
	return peppers->items[peppers->count - 1].id;
}

bool
peppers_digest(const struct peppers *peppers, const char *id, const char *key, uint8_t out[SHA256_BYTES])
{
	static const struct pepper NOBODY = {.size = PEPPER_BYTES};
	const struct pepper *pepper = &NOBODY;

	for (size_t i = 0; i < peppers->count; i++)
		if (strcmp(peppers->items[i].id, id) == 0)
			pepper = &peppers->items[i];
	hash_hmac_sha256(pepper->bytes, pepper->size, key, strlen(key), out);
	return pepper != &NOBODY;
}
