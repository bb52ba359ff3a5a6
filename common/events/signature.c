/*
 * signature: signing keys as text and bytes. What signs with them is in signer.c.
 */
#include "events/signature.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define SECRET_PREFIX     "whsec_"
#define PUBLIC_PREFIX     "whpk_"
#define MADE_BYTES        32u
#define PACKED_VERSION    1u
#define BASE64_SECRET_MAX 88u

void
signing_key_make(const struct random *random, struct signing_key *out)
{
	memset(out, 0, sizeof(*out));
	out->secret_length = MADE_BYTES;
	random_fill(random, out->secret, MADE_BYTES);
	random_fill(random, out->seed, sizeof(out->seed));
}

/* ---- text ---- */

static struct status
secret_decode(const char *text, size_t length, struct signing_key *out)
{
	uint8_t bytes[BASE64_SECRET_MAX];
	size_t count = 0;

	if (length > BASE64_SECRET_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "the secret must have at most %u bytes",
		                   SIGNING_SECRET_MAX);
	if (!text_base64_decode(text, length, bytes, &count))
		return status_make(STATUS_INVALID_ARGUMENT, "what follows \"" SECRET_PREFIX "\" must be base64");
	if (count >= SIGNING_SECRET_MIN && count <= SIGNING_SECRET_MAX) {
		memcpy(out->secret, bytes, count);
		out->secret_length = count;
	}
	OPENSSL_cleanse(bytes, sizeof(bytes));
	if (out->secret_length == 0)
		return status_make(STATUS_INVALID_ARGUMENT, "the secret has %zu bytes; it must have %u to %u", count,
		                   SIGNING_SECRET_MIN, SIGNING_SECRET_MAX);
	return status_ok_value();
}

struct status
signing_key_parse(const char *text, size_t length, const struct random *random, struct signing_key *out)
{
	const size_t prefix = strlen(SECRET_PREFIX);

	memset(out, 0, sizeof(*out));
	if (length < prefix || memcmp(text, SECRET_PREFIX, prefix) != 0)
		return status_make(STATUS_INVALID_ARGUMENT, "a secret must begin with \"" SECRET_PREFIX "\"");
	struct status st = secret_decode(text + prefix, length - prefix, out);
	if (status_ok(&st))
		random_fill(random, out->seed, sizeof(out->seed));
	return st;
}

static void
prefixed_base64(const char *prefix, const uint8_t *bytes, size_t length, char out[SIGNING_KEY_TEXT_MAX])
{
	size_t start = strlen(prefix);
	memcpy(out, prefix, start);
	out[start + text_base64_encode(bytes, length, out + start)] = '\0';
}

void
signing_key_secret_text(const struct signing_key *key, char out[SIGNING_KEY_TEXT_MAX])
{
	prefixed_base64(SECRET_PREFIX, key->secret, key->secret_length, out);
}

void
signing_key_public_text(const struct signing_key *key, char out[SIGNING_KEY_TEXT_MAX])
{
	uint8_t bytes[32];
	size_t length = sizeof(bytes);
	EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->seed, sizeof(key->seed));

	if (!pair || EVP_PKEY_get_raw_public_key(pair, bytes, &length) != 1) {
		fputs("Ed25519 is not available\n", stderr);
		abort();
	}
	EVP_PKEY_free(pair);
	prefixed_base64(PUBLIC_PREFIX, bytes, length, out);
}

/* ---- bytes: version, length of the secret, secret, seed ---- */

size_t
signing_key_pack(const struct signing_key *key, uint8_t out[SIGNING_KEY_PACKED_MAX])
{
	out[0] = PACKED_VERSION;
	out[1] = (uint8_t)key->secret_length;
	memcpy(out + 2, key->secret, key->secret_length);
	memcpy(out + 2 + key->secret_length, key->seed, sizeof(key->seed));
	return 2 + key->secret_length + sizeof(key->seed);
}

bool
signing_key_unpack(const uint8_t *bytes, size_t length, struct signing_key *out)
{
	memset(out, 0, sizeof(*out));
	if (length < 2 || bytes[0] != PACKED_VERSION || bytes[1] < SIGNING_SECRET_MIN ||
	    bytes[1] > SIGNING_SECRET_MAX || length != 2u + bytes[1] + sizeof(out->seed))
		return false;
	out->secret_length = bytes[1];
	memcpy(out->secret, bytes + 2, out->secret_length);
	memcpy(out->seed, bytes + 2 + out->secret_length, sizeof(out->seed));
	return true;
}

void
signing_key_wipe(struct signing_key *key)
{
	OPENSSL_cleanse(key, sizeof(*key));
}

/* ---- GitHub's form ---- */

void
signature_hub(const void *key, size_t key_length, const void *body, size_t length,
              char out[SIGNATURE_HUB_MAX])
{
	uint8_t digest[SHA256_BYTES];

	hash_hmac_sha256(key, key_length, body, length, digest);
	memcpy(out, "sha256=", 7);
	text_hex_encode(digest, sizeof(digest), out + 7);
	out[7 + 2 * sizeof(digest)] = '\0';
}
