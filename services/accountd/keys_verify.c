/*
 * keys: whether a key is good, by its text or by its id.
 */
#include <string.h>

#include "auth/key_text.h"
#include "corbel/accountd.methods.gen.h"
#include "keys_internal.h"

static const struct store_sql KEY_REHASH = {"key_rehash",
                                            "UPDATE api_keys SET pepper = $2, digest = $3 WHERE id = $1"};
static const struct store_sql KEY_FIND = {
    "key_find",
    "SELECT k.id, k.tenant_id, k.public_id, k.pepper, k.digest, k.state, k.expires_at, k.revoked_at, "
    "k.last_used_at, k.user_id, k.message, t.suspended, t.plan FROM api_keys k "
    "JOIN tenants t ON t.id = k.tenant_id WHERE k.public_id = $1"};
static const struct store_sql KEY_CHECK = {
    "key_check", "SELECT k.id, k.tenant_id, k.public_id, k.pepper, k.digest, k.state, "
                 "k.expires_at, k.revoked_at, k.last_used_at, k.user_id, k.message, "
                 "t.suspended, t.plan FROM api_keys k JOIN tenants t ON t.id = k.tenant_id "
                 "WHERE k.id = $1"};

static bool
holds_scope(const ApiKey *key, const char *scope)
{
	for (size_t i = 0; i < key->n_scopes; i++) {
		const char *held = key->scopes[i];
		size_t length = strlen(held);
		if (strcmp(held, scope) == 0 || strcmp(held, "*") == 0)
			return true;
		if (length > 2 && strcmp(held + length - 2, ".*") == 0 && strncmp(held, scope, length - 1) == 0)
			return true;
	}
	return false;
}

static const char *
why_not(const ApiKey *key, bool is_suspended, const char *scope, int64_t now_ms)
{
	switch (key_state_at(key, now_ms)) {
	case CORBEL__V1__KEY_STATE__REVOKED:
		return "revoked";
	case CORBEL__V1__KEY_STATE__EXPIRED:
		return "expired";
	case CORBEL__V1__KEY_STATE__DISABLED:
		return "disabled";
	default:
		break;
	}
	if (is_suspended)
		return "tenant_suspended";
	return scope && !holds_scope(key, scope) ? "missing_scope" : NULL;
}

static struct status
refuse(Corbel__V1__VerifyKeyReply *reply, const char *reason)
{
	reply->has_valid = true;
	reply->valid = false;
	reply->reason = (char *)(uintptr_t)reason;
	return status_ok_value();
}

/* Compares digests. An unknown key is hashed and compared too, so that both take the same time. */
static bool
is_genuine(const struct accountd *self, const struct store_rows *rows, const char *text)
{
	uint8_t digest[SHA256_BYTES], nobody[SHA256_BYTES] = {0};
	bool is_known = rows_count(rows) > 0;
	size_t size = SHA256_BYTES;
	const void *stored = is_known ? row_bytes(rows, 0, DIGEST, &size) : nobody;

	bool has_pepper = keyring_mac(self->peppers, is_known ? row_text(rows, 0, PEPPER) : "", text, digest);
	bool is_equal = hash_equal(digest, size == SHA256_BYTES ? stored : nobody, SHA256_BYTES);
	return is_known && has_pepper && is_equal;
}

/* A key under an old pepper moves to the current one; failing to do so is no reason to refuse it. */
static void
rehash(struct call *call, const char *id, const char *text)
{
	struct accountd *self = call_service(call);
	uint8_t digest[SHA256_BYTES];
	const char *pepper = keyring_current(self->peppers);
	struct store_tx tx;
	struct status st = store_begin(call_store(call), &tx);

	if (!status_ok(&st))
		return;
	(void)keyring_mac(self->peppers, pepper, text, digest);
	st = store_exec(&tx, &KEY_REHASH,
	                STORE_PARAMS(store_text(id), store_text(pepper), store_bytes(digest, sizeof(digest))),
	                NULL);
	st = store_end(&tx, st);
	if (!status_ok(&st))
		log_warn(self->env.log, "key not moved to the current pepper", LOG_TEXT("key", id), LOG_STATUS(&st));
}

static void
describe(const ApiKey *key, const char *plan, Corbel__V1__VerifyKeyReply *reply)
{
	reply->key_id = key->id;
	reply->tenant_id = key->tenant_id;
	reply->plan = (char *)(uintptr_t)plan;
	reply->n_scopes = key->n_scopes;
	reply->scopes = key->scopes;
	reply->n_limits = key->n_limits;
	reply->limits = key->limits;
	reply->has_expires_at = key->has_expires_at;
	reply->expires_at = key->expires_at;
	reply->n_metadata = key->n_metadata;
	reply->metadata = (Corbel__V1__VerifyKeyReply__MetadataEntry **)(void *)key->metadata;
	reply->name = key->name;
	reply->user_id = key->user_id;
}

struct status
keys_verify(struct call *call, const Corbel__V1__VerifyKeyRequest *request, Corbel__V1__VerifyKeyReply *reply)
{
	struct accountd *self = call_service(call);
	struct arena *arena = call_arena(call);
	struct key_text parts;
	struct store_rows *rows;
	ApiKey key;

	if (!key_text_parse(request->key, strlen(request->key), &parts))
		return refuse(reply, "malformed");
	struct status st =
	    store_read(call_store(call), &KEY_FIND, STORE_PARAMS(store_text(parts.public_id)), 1, arena, &rows);
	if (!status_ok(&st))
		return st;
	if (!is_genuine(self, rows, request->key) || !scope_sees(call, row_text(rows, 0, TENANT)))
		return refuse(reply, "unknown");
	st = key_from_row(arena, rows, 0, &key);
	if (!status_ok(&st))
		return st;
	const char *reason = why_not(&key, row_i64(rows, 0, MESSAGE + 1) != 0, request->scope, call_now_ms(call));
	describe(&key, row_text(rows, 0, MESSAGE + 2), reply);
	if (reason)
		return refuse(reply, reason);
	if (strcmp(row_text(rows, 0, PEPPER), keyring_current(self->peppers)) != 0)
		rehash(call, key.id, request->key);
	reply->has_valid = true;
	reply->valid = true;
	return status_ok_value();
}

struct status
key_check(struct call *call, const char *id, const char *scope, Corbel__V1__VerifyKeyReply *reply)
{
	struct arena *arena = call_arena(call);
	struct store_rows *rows;
	ApiKey key;
	struct status st =
	    store_read(call_store(call), &KEY_CHECK, STORE_PARAMS(store_text(id)), 1, arena, &rows);

	if (!status_ok(&st))
		return st;
	if (rows_count(rows) == 0)
		return refuse(reply, "unknown");
	st = key_from_row(arena, rows, 0, &key);
	if (!status_ok(&st))
		return st;
	const char *reason = why_not(&key, row_i64(rows, 0, MESSAGE + 1) != 0, scope, call_now_ms(call));
	describe(&key, row_text(rows, 0, MESSAGE + 2), reply);
	reply->has_valid = true;
	reply->valid = reason == NULL;
	reply->reason = (char *)(uintptr_t)reason;
	return status_ok_value();
}

struct status
keys_check(struct call *call, const Corbel__V1__CheckKeyRequest *request, Corbel__V1__VerifyKeyReply *reply)
{
	return key_check(call, request->key_id, request->scope, reply);
}
