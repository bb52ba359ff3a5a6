/*
 * secrets: signing keys at rest. A column holds the id of the keyring's secret, a NUL, and the sealed key.
 */
#include <string.h>

#include "daemon/keyring.h"
#include "daemon/seal.h"
#include "webhookd_internal.h"

#define PURPOSE "webhook signing keys"

struct store_value
secret_seal(const struct webhookd *self, struct arena *arena, const struct signing_key *signing)
{
	const char *id = keyring_current(self->keyring);
	uint8_t key[SHA256_BYTES], packed[SIGNING_KEY_PACKED_MAX];
	size_t size, head = strlen(id) + 1;

	(void)keyring_mac(self->keyring, id, PURPOSE, key);
	const uint8_t *sealed =
	    seal_close(key, self->env.random, packed, signing_key_pack(signing, packed), arena, &size);
	uint8_t *column = arena_alloc_raw(arena, head + size);
	memcpy(column, id, head);
	memcpy(column + head, sealed, size);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(packed, sizeof(packed));
	return store_bytes(column, head + size);
}

bool
secret_open(const struct webhookd *self, struct arena *arena, const struct store_rows *rows, size_t row,
            size_t column, struct signing_key *out)
{
	size_t size, opened_size = 0;
	const char *bytes = row_bytes(rows, row, column, &size);
	size_t id = bytes ? strnlen(bytes, size) : 0;
	uint8_t key[SHA256_BYTES];

	if (!bytes || id == size || !keyring_mac(self->keyring, bytes, PURPOSE, key))
		return false;
	uint8_t *packed = seal_open(key, bytes + id + 1, size - id - 1, arena, &opened_size);
	explicit_bzero(key, sizeof(key));
	if (!packed)
		return false;
	bool is_key = signing_key_unpack(packed, opened_size, out);
	explicit_bzero(packed, opened_size);
	return is_key;
}
