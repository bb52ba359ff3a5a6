/*
 * hash: digests, keyed digests, checksums and comparison without timing leaks.
 *
 * SHA-2 and HMAC come from OpenSSL, CRC-32 from zlib, XXH3 from libxxhash.
 */
#ifndef CORBEL_BASE_HASH_H
#define CORBEL_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hasher;

#define SHA1_BYTES   20
#define SHA256_BYTES 32

/* For protocols that name it and do not rely on it, such as WebSocket's handshake. */
void hash_sha1(const void *bytes, size_t length, uint8_t out[SHA1_BYTES]);
void hash_sha256(const void *bytes, size_t length, uint8_t out[SHA256_BYTES]);
/* The same for one text after the other, by one thread: OpenSSL looks an algorithm up for each hash_sha256(),
 * which takes longer than the digest of a short text. */
struct hasher *hasher_new(void);
void hasher_free(struct hasher *hasher);
void hasher_sha256(struct hasher *hasher, const void *bytes, size_t length, uint8_t out[SHA256_BYTES]);
void hash_hmac_sha256(const void *key, size_t key_length, const void *bytes, size_t length,
                      uint8_t out[SHA256_BYTES]);
/* CRC-32 of ISO-HDLC (zlib, gzip). */
uint32_t hash_crc32(const void *bytes, size_t length);

/* Time depends on the length only. */
bool hash_equal(const void *a, const void *b, size_t length);

/* XXH3, the same in every process and on every machine: for rendezvous hashing. */
uint64_t hash_stable64(const void *bytes, size_t length, uint64_t seed);
/* XXH3 with a seed chosen at process start: for tables whose keys come from outside. */
uint64_t hash_table64(const void *bytes, size_t length);
/* Mixes two hashes into one: rendezvous weight of (key, node). */
uint64_t hash_mix64(uint64_t a, uint64_t b);

#endif
