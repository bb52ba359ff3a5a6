/*
 * signature: how a receiver knows that a delivery is ours. Standard Webhooks 1.0.0.
 *
 * An endpoint has one signing key: a secret of 24 to 64 bytes, which the receiver holds too (HMAC-SHA-256,
 * "v1"), and the seed of an Ed25519 key (RFC 8032, "v1a"), of which the receiver gets the public half. The
 * seed is random and not derived from the secret: who has the secret cannot make Ed25519 signatures. Every
 * key has both from the start, so that an endpoint can turn to Ed25519 later; they rotate together.
 *
 * What is signed is "id.timestamp.body". The parts could be told apart in two ways if the id had a dot, so
 * an id with one is not signed.
 *
 * A leaf. A signer never changes: any thread may sign with it.
 */
#ifndef CORBEL_EVENTS_SIGNATURE_H
#define CORBEL_EVENTS_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/random.h"
#include "base/status.h"
#include "base/text.h"

#define SIGNING_SECRET_MIN     24u /* bytes */
#define SIGNING_SECRET_MAX     64u
#define SIGNING_SEED_BYTES     32u
#define SIGNING_KEY_TEXT_MAX   96u /* with the NUL */
#define SIGNING_KEY_PACKED_MAX 98u
#define SIGNATURE_ID_MAX       128u

struct signing_key {
	uint8_t secret[SIGNING_SECRET_MAX];
	size_t secret_length;
	uint8_t seed[SIGNING_SEED_BYTES]; /* of the Ed25519 key */
};

/* A new key: a secret of 32 random bytes. `random` is fit for secrets. */
void signing_key_make(const struct random *random, struct signing_key *out);
/* From "whsec_" and base64 of the secret; the seed is made. INVALID_ARGUMENT never repeats the text. */
struct status signing_key_parse(const char *text, size_t length, const struct random *random,
                                struct signing_key *out);
/* "whsec_…", as the receiver needs it. */
void signing_key_secret_text(const struct signing_key *key, char out[SIGNING_KEY_TEXT_MAX]);
/* "whpk_…": the public half of the Ed25519 key. */
void signing_key_public_text(const struct signing_key *key, char out[SIGNING_KEY_TEXT_MAX]);

/* The key as bytes, to be sealed and stored; returns how many. */
size_t signing_key_pack(const struct signing_key *key, uint8_t out[SIGNING_KEY_PACKED_MAX]);
/* False when the bytes are no packed key. */
bool signing_key_unpack(const uint8_t *bytes, size_t length, struct signing_key *out);
/* Forgets the secret parts, in a way that the compiler keeps. */
void signing_key_wipe(struct signing_key *key);

struct signer;

struct signer_options {
	bool with_ed25519; /* "v1a" beside each "v1" */
	bool with_hub;     /* X-Hub-Signature-256, too */
};

/* Signs with `current`, and with `previous` beside it during a rotation (NULL otherwise). Copies the keys. */
struct signer *signer_new(const struct signing_key *current, const struct signing_key *previous,
                          struct signer_options options);
/* Another one with the same keys, for who needs it longer. */
struct signer *signer_copy(const struct signer *signer);
void signer_free(struct signer *signer); /* NULL is allowed; forgets the keys */

struct signed_message {
	const char *id;      /* webhook-id: the same for every attempt */
	int64_t timestamp_s; /* webhook-timestamp: of this attempt, Unix seconds */
	const void *body;
	size_t body_length;
};

/* Adds the value of webhook-signature: tokens with one space between, the current key's first. The body is
 * read where it lies, except by Ed25519, which OpenSSL computes over one piece of memory only.
 * INVALID_ARGUMENT when the id is empty, too long, has a dot or anything but visible ASCII, or the time is
 * negative. */
struct status signer_sign(const struct signer *signer, const struct signed_message *message,
                          struct strbuf *out);

#define SIGNATURE_HUB_MAX 72 /* with the NUL */
/* The value of X-Hub-Signature-256, GitHub's form: over the body alone, keyed with the secret's text as the
 * receiver was given it ("whsec_…"). It holds one signature, so during a rotation it is the current key's.
 * False: not asked for. */
bool signer_hub(const struct signer *signer, const void *body, size_t length, char out[SIGNATURE_HUB_MAX]);
/* The same with any key. */
void signature_hub(const void *key, size_t key_length, const void *body, size_t length,
                   char out[SIGNATURE_HUB_MAX]);

#endif
