/*
 * signer: an endpoint's keys, ready to sign. See signature.h.
 *
 * OpenSSL's objects are made once for a signer; a signature copies the keyed HMAC state, which costs less
 * than keying it again and lets threads share it.
 */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "events/signature.h"

#define KEYS_MAX      2u
#define ED25519_BYTES 64u

struct prepared_key {
	EVP_MAC_CTX *hmac; /* keyed, never used itself: copied */
	EVP_PKEY *ed25519; /* NULL: not wanted */
};

struct signer {
	size_t key_count;
	struct prepared_key keys[KEYS_MAX];
	char hub_key[SIGNING_KEY_TEXT_MAX]; /* "": not wanted */
};

/* OpenSSL fails here only when it has no memory or was built without what we need. */
static void
require(bool is_done)
{
	if (is_done)
		return;
	fputs("OpenSSL cannot sign\n", stderr);
	abort();
}

static EVP_MAC_CTX *
hmac_prepare(const struct signing_key *key)
{
	OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0),
	                       OSSL_PARAM_construct_end()};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

	require(mac != NULL);
	EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
	EVP_MAC_free(mac);
	require(context && EVP_MAC_init(context, key->secret, key->secret_length, params) == 1);
	return context;
}

static void
signer_add_key(struct signer *signer, const struct signing_key *key, bool with_ed25519)
{
	struct prepared_key *prepared = &signer->keys[signer->key_count++];

	prepared->hmac = hmac_prepare(key);
	if (!with_ed25519)
		return;
	prepared->ed25519 = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->seed, sizeof(key->seed));
	require(prepared->ed25519 != NULL);
}

struct signer *
signer_new(const struct signing_key *current, const struct signing_key *previous,
           struct signer_options options)
{
	struct signer *signer = mem_alloc(sizeof(*signer));

	signer_add_key(signer, current, options.with_ed25519);
	if (previous)
		signer_add_key(signer, previous, options.with_ed25519);
	if (options.with_hub)
		signing_key_secret_text(current, signer->hub_key);
	return signer;
}

struct signer *
signer_copy(const struct signer *signer)
{
	struct signer *copy = mem_alloc(sizeof(*copy));

	*copy = *signer;
	for (size_t i = 0; i < signer->key_count; i++) {
		copy->keys[i].hmac = EVP_MAC_CTX_dup(signer->keys[i].hmac);
		require(copy->keys[i].hmac != NULL);
		if (copy->keys[i].ed25519)
			require(EVP_PKEY_up_ref(copy->keys[i].ed25519) == 1);
	}
	return copy;
}

void
signer_free(struct signer *signer)
{
	if (!signer)
		return;
	for (size_t i = 0; i < signer->key_count; i++) {
		EVP_MAC_CTX_free(signer->keys[i].hmac);
		EVP_PKEY_free(signer->keys[i].ed25519);
	}
	OPENSSL_cleanse(signer, sizeof(*signer));
	mem_free(signer);
}

/* ---- signing ---- */

static struct status
message_check(const struct signed_message *message)
{
	size_t length = strlen(message->id);

	if (length == 0 || length > SIGNATURE_ID_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "webhook-id must have 1 to %u bytes", SIGNATURE_ID_MAX);
	for (size_t i = 0; i < length; i++) {
		if (message->id[i] <= ' ' || message->id[i] >= 0x7F || message->id[i] == '.')
			return status_make(STATUS_INVALID_ARGUMENT, "webhook-id must be visible ASCII without a dot");
	}
	if (message->timestamp_s < 0)
		return status_make(STATUS_INVALID_ARGUMENT, "webhook-timestamp must not be negative");
	return status_ok_value();
}

static void
add_token(struct strbuf *out, const char *version, const uint8_t *bytes, size_t length)
{
	if (out->length > 0 && out->data[out->length - 1] != ' ')
		strbuf_putc(out, ' ');
	strbuf_puts(out, version);
	strbuf_putc(out, ',');
	char *at = strbuf_grow(out, text_base64_encoded_size(length));
	if (at)
		text_base64_encode(bytes, length, at);
}

static void
sign_hmac(const struct prepared_key *key, const struct strbuf *head, const struct signed_message *message,
          struct strbuf *out)
{
	uint8_t digest[SHA256_BYTES];
	size_t written = 0;
	EVP_MAC_CTX *context = EVP_MAC_CTX_dup(key->hmac);

	require(context && EVP_MAC_update(context, (const uint8_t *)head->data, head->length) == 1 &&
	        EVP_MAC_update(context, message->body, message->body_length) == 1 &&
	        EVP_MAC_final(context, digest, &written, sizeof(digest)) == 1);
	EVP_MAC_CTX_free(context);
	add_token(out, "v1", digest, written);
}

static void
sign_ed25519(const struct prepared_key *key, const uint8_t *signed_bytes, size_t length, struct strbuf *out)
{
	uint8_t signature[ED25519_BYTES];
	size_t written = sizeof(signature);
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	require(context && EVP_DigestSignInit(context, NULL, NULL, NULL, key->ed25519) == 1 &&
	        EVP_DigestSign(context, signature, &written, signed_bytes, length) == 1);
	EVP_MD_CTX_free(context);
	add_token(out, "v1a", signature, written);
}

static uint8_t *
one_piece(const struct strbuf *head, const struct signed_message *message)
{
	uint8_t *all = mem_alloc(head->length + message->body_length);
	memcpy(all, head->data, head->length);
	if (message->body_length > 0)
		memcpy(all + head->length, message->body, message->body_length);
	return all;
}

struct status
signer_sign(const struct signer *signer, const struct signed_message *message, struct strbuf *out)
{
	struct strbuf head;
	uint8_t *all = NULL;
	struct status st = message_check(message);

	if (!status_ok(&st))
		return st;
	strbuf_init(&head, NULL);
	strbuf_printf(&head, "%s.%lld.", message->id, (long long)message->timestamp_s);
	if (signer->keys[0].ed25519)
		all = one_piece(&head, message);
	for (size_t i = 0; i < signer->key_count; i++) {
		sign_hmac(&signer->keys[i], &head, message, out);
		if (all)
			sign_ed25519(&signer->keys[i], all, head.length + message->body_length, out);
	}
	mem_free(all);
	strbuf_fini(&head);
	return st;
}

bool
signer_hub(const struct signer *signer, const void *body, size_t length, char out[SIGNATURE_HUB_MAX])
{
	if (!signer->hub_key[0])
		return false;
	signature_hub(signer->hub_key, strlen(signer->hub_key), body, length, out);
	return true;
}
