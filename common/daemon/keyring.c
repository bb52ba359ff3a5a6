/*
 * keyring: see keyring.h.
 */
#include "daemon/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/text.h"

#define SECRETS_MAX  16
#define SECRET_BYTES 32

struct secret {
	char id[33];
	uint8_t bytes[64];
	size_t size;
};

struct keyring {
	struct secret items[SECRETS_MAX];
	size_t count;
};

static bool
parse_one(const char *text, struct secret *out)
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
keyring_parse(const char *const *list, struct keyring **out)
{
	struct keyring *ring = mem_alloc(sizeof(*ring));
	for (; *list; list++) {
		if (ring->count == SECRETS_MAX || !parse_one(*list, &ring->items[ring->count])) {
			keyring_free(ring);
			return status_make(
			    STATUS_INVALID_ARGUMENT,
			    "each secret must be id:hex with 32 to 128 hexadecimal digits, at most %d of them",
			    SECRETS_MAX);
		}
		ring->count++;
	}
	if (ring->count == 0) {
		keyring_free(ring);
		return status_make(STATUS_INVALID_ARGUMENT, "there is no secret");
	}
	*out = ring;
	return status_ok_value();
}

static bool
write_scratch(const char *scratch, const struct random *random)
{
	uint8_t bytes[SECRET_BYTES];
	char text[2 + 2 * SECRET_BYTES + 1];
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

/* The file's name must survive a power cut as well as its bytes: without it all that is kept under it is
 * lost. */
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
 * rename(): of two that start together, the first one's secret stays. */
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
	             : status_make(STATUS_INTERNAL, "cannot write the secret to %s: %s", path, strerror(error));
}

struct status
keyring_from_file(const char *path, const struct random *random, struct keyring **out)
{
	char line[256] = {0};
	struct status st = status_ok_value();

	if (access(path, F_OK) != 0)
		st = write_file(path, random);
	if (!status_ok(&st))
		return st;
	FILE *file = fopen(path, "re");
	if (!file || !fgets(line, sizeof(line), file))
		st = status_make(STATUS_INTERNAL, "cannot read the secret from %s", path);
	if (file)
		(void)fclose(file);
	if (!status_ok(&st))
		return st;
	line[strcspn(line, "\r\n")] = '\0';
	return status_wrap(keyring_parse((const char *const[]){line, NULL}, out), "%s", path);
}

void
keyring_free(struct keyring *ring)
{
	if (!ring)
		return;
	explicit_bzero(ring, sizeof(*ring));
	mem_free(ring);
}

const char *
keyring_current(const struct keyring *ring)
{
	return ring->items[ring->count - 1].id;
}

bool
keyring_mac(const struct keyring *ring, const char *id, const char *text, uint8_t out[SHA256_BYTES])
{
	static const struct secret NOBODY = {.size = SECRET_BYTES};
	const struct secret *secret = &NOBODY;

	for (size_t i = 0; i < ring->count; i++)
		if (strcmp(ring->items[i].id, id) == 0)
			secret = &ring->items[i];
	hash_hmac_sha256(secret->bytes, secret->size, text, strlen(text), out);
	return secret != &NOBODY;
}

/* "a,b" as a list. */
static struct status
parse_text(const char *text, struct keyring **out)
{
	char *copy = mem_strdup(text), *rest = copy;
	const char *list[SECRETS_MAX + 2] = {NULL};
	size_t count = 0;

	for (char *item; (item = strsep(&rest, ", ")) != NULL && count <= SECRETS_MAX;)
		if (item[0])
			list[count++] = item;
	struct status st = keyring_parse(list, out);
	explicit_bzero(copy, strlen(text));
	mem_free(copy);
	return st;
}

struct status
keyring_load(const struct service_env *env, const char *option, const char *file, struct keyring **out)
{
	const char *text = config_text(env->config, option);

	if (text)
		return status_wrap(parse_text(text, out), "%s", option);
	if (store_is_postgres(env->store))
		return status_make(STATUS_INVALID_ARGUMENT,
		                   "%s must be set when the store is PostgreSQL, since all replicas need the same; "
		                   "make one with: echo 1:$(openssl rand -hex 32)",
		                   option);
	char *path = mem_printf("%s/%s", host_data_dir(env->host), file);
	struct status st = keyring_from_file(path, env->random, out);
	mem_free(path);
	return st;
}
