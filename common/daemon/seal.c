/*
 * seal: AES-256-GCM by OpenSSL. Failing to encrypt is a programming error; failing to open is not.
 */
#include "daemon/seal.h"

#include <assert.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdbool.h>

#define NONCE_BYTES 12
#define TAG_BYTES   16

uint8_t *
seal_close(const uint8_t key[SEAL_KEY_BYTES], const struct random *random, const void *bytes, size_t size,
           struct arena *arena, size_t *sealed_size)
{
	uint8_t *sealed = arena_alloc_raw(arena, NONCE_BYTES + size + TAG_BYTES);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int written = 0, rest = 0;

	assert(ctx && size <= INT_MAX);
	random_fill(random, sealed, NONCE_BYTES);
	bool is_done =
	    EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, sealed) == 1 &&
	    EVP_EncryptUpdate(ctx, sealed + NONCE_BYTES, &written, bytes, (int)size) == 1 &&
	    EVP_EncryptFinal_ex(ctx, sealed + NONCE_BYTES + written, &rest) == 1 &&
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, sealed + NONCE_BYTES + size) == 1;
	EVP_CIPHER_CTX_free(ctx);
	assert(is_done);
	(void)is_done;
	*sealed_size = NONCE_BYTES + size + TAG_BYTES;
	return sealed;
}

uint8_t *
seal_open(const uint8_t key[SEAL_KEY_BYTES], const void *sealed, size_t sealed_size, struct arena *arena,
          size_t *size)
{
	const uint8_t *bytes = sealed;
	uint8_t tag[TAG_BYTES];
	int written = 0, rest = 0;

	if (sealed_size < NONCE_BYTES + TAG_BYTES || sealed_size > INT_MAX)
		return NULL;
	*size = sealed_size - NONCE_BYTES - TAG_BYTES;
	for (size_t i = 0; i < TAG_BYTES; i++)
		tag[i] = bytes[NONCE_BYTES + *size + i];
	uint8_t *opened = arena_alloc_raw(arena, *size + 1);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	assert(ctx);
	bool is_ours = EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, bytes) == 1 &&
	               EVP_DecryptUpdate(ctx, opened, &written, bytes + NONCE_BYTES, (int)*size) == 1 &&
	               EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1 &&
	               EVP_DecryptFinal_ex(ctx, opened + written, &rest) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return is_ours ? opened : NULL;
}
