/*
 * hash: thin layer over OpenSSL, zlib and libxxhash.
 */
#include "base/hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
/* Compiled in: most of what is hashed is so short that a call of the library takes as long as the hash. */
#define XXH_INLINE_ALL
#include <xxhash.h>
#include <zlib.h>

#include "base/arena.h"
#include "base/random.h"

void
hash_sha1(const void *bytes, size_t length, uint8_t out[SHA1_BYTES])
{
	SHA1(bytes, length, out);
}

void
hash_sha256(const void *bytes, size_t length, uint8_t out[SHA256_BYTES])
{
	SHA256(bytes, length, out);
}

struct hasher {
	EVP_MD_CTX *context;
};

static void
die_without(const char *digest)
{
	fprintf(stderr, "%s is not available\n", digest);
	abort();
}

struct hasher *
hasher_new(void)
{
	struct hasher *hasher = mem_alloc(sizeof(*hasher));
	EVP_MD *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);

	hasher->context = EVP_MD_CTX_new();
	if (!sha256 || !hasher->context || !EVP_DigestInit_ex(hasher->context, sha256, NULL))
		die_without("SHA-256");
	EVP_MD_free(sha256); /* the context holds it */
	return hasher;
}

void
hasher_free(struct hasher *hasher)
{
	if (hasher)
		EVP_MD_CTX_free(hasher->context);
	mem_free(hasher);
}

void
hasher_sha256(struct hasher *hasher, const void *bytes, size_t length, uint8_t out[SHA256_BYTES])
{
	/* Without a digest the context begins again with the one it has. */
	if (!EVP_DigestInit_ex(hasher->context, NULL, NULL) ||
	    !EVP_DigestUpdate(hasher->context, bytes, length) || !EVP_DigestFinal_ex(hasher->context, out, NULL))
		die_without("SHA-256");
}

void
hash_hmac_sha256(const void *key, size_t key_length, const void *bytes, size_t length,
                 uint8_t out[SHA256_BYTES])
{
	unsigned written = 0;
	if (!HMAC(EVP_sha256(), key, (int)key_length, bytes, length, out, &written))
		die_without("HMAC-SHA-256");
}

uint32_t
hash_crc32(const void *bytes, size_t length)
{
	return (uint32_t)crc32_z(0, bytes, length);
}

bool
hash_equal(const void *a, const void *b, size_t length)
{
	return CRYPTO_memcmp(a, b, length) == 0;
}

uint64_t
hash_stable64(const void *bytes, size_t length, uint64_t seed)
{
	return XXH3_64bits_withSeed(bytes, length, seed);
}

/* The seed is drawn once, before main(), and never changes: a constant of the process. */
static uint64_t table_seed;

__attribute__((constructor)) static void
draw_table_seed(void)
{
	table_seed = random_u64(random_system());
}

uint64_t
hash_table64(const void *bytes, size_t length)
{
	return XXH3_64bits_withSeed(bytes, length, table_seed);
}

uint64_t
hash_mix64(uint64_t a, uint64_t b)
{
	/* The finaliser of MurmurHash3 over both words. */
	uint64_t h = a ^ (b * 0x9E3779B97F4A7C15u);
	h ^= h >> 33;
	h *= 0xFF51AFD7ED558CCDu;
	h ^= h >> 33;
	h *= 0xC4CEB9FE1A85EC53u;
	return h ^ (h >> 33);
}
