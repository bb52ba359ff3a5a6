/*
 * sealed: headers of origins at rest. A column holds the id of the keyring's secret, a NUL, and the sealed
 * message.
 */
#include <string.h>

#include "cached_internal.h"
#include "daemon/keyring.h"
#include "daemon/seal.h"

#define PURPOSE "cache origin headers"

typedef Corbel__V1__CacheOrigin Origin;

struct status
headers_seal(const struct cached *self, struct arena *arena, const Origin *origin, struct store_value *out)
{
	Origin kept = CORBEL__V1__CACHE_ORIGIN__INIT;
	uint8_t key[SHA256_BYTES];

	*out = store_null();
	if (!origin || origin->n_headers == 0)
		return status_ok_value();
	if (!self->keyring)
		return status_make(STATUS_FAILED_PRECONDITION,
		                   "headers of origins need option cached.secrets, which they are sealed under");
	const char *id = keyring_current(self->keyring);
	size_t head = strlen(id) + 1, size;
	kept.n_headers = origin->n_headers;
	kept.headers = origin->headers;
	size_t packed = corbel__v1__cache_origin__get_packed_size(&kept);
	uint8_t *bytes = arena_alloc_raw(arena, packed + 1);
	corbel__v1__cache_origin__pack(&kept, bytes);
	(void)keyring_mac(self->keyring, id, PURPOSE, key);
	const uint8_t *sealed = seal_close(key, self->env.random, bytes, packed, arena, &size);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(bytes, packed);
	uint8_t *column = arena_alloc_raw(arena, head + size);
	memcpy(column, id, head);
	memcpy(column + head, sealed, size);
	*out = store_bytes(column, head + size);
	return status_ok_value();
}

bool
headers_open(const struct cached *self, struct arena *arena, const struct store_rows *rows, size_t row,
             size_t column, Origin *origin)
{
	struct arena_allocator memory = arena_allocator(arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	uint8_t key[SHA256_BYTES];
	size_t size, opened_size = 0;
	const char *bytes = row_bytes(rows, row, column, &size);

	if (row_is_null(rows, row, column))
		return true;
	size_t id = bytes ? strnlen(bytes, size) : 0;
	if (!bytes || id == size || !self->keyring || !keyring_mac(self->keyring, bytes, PURPOSE, key))
		return false;
	uint8_t *opened = seal_open(key, bytes + id + 1, size - id - 1, arena, &opened_size);
	explicit_bzero(key, sizeof(key));
	Origin *kept = opened ? corbel__v1__cache_origin__unpack(&allocator, opened_size, opened) : NULL;
	if (!kept)
		return false;
	origin->n_headers = kept->n_headers;
	origin->headers = kept->headers;
	return true;
}
