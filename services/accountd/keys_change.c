/*
 * keys_change: API keys, changed until their end.
 *
 *   ACTIVE --update disabled--> DISABLED --update enabled--> ACTIVE
 *   ACTIVE --rotate--> ROTATED (works until its grace ends, can only be revoked) --> EXPIRED
 *   any --revoke--> REVOKED, for good
 *
 * EXPIRED is not stored: it follows from the time.
 */
#include <string.h>

#include "accountd_internal.h"
#include "corbel/accountd.methods.gen.h"
#include "keys_internal.h"

#define ROTATE_GRACE_MS UINT64_C(86400000)

/* The row stays locked until the transaction ends, so that an update cannot undo a revocation that it did
 * not see, and of two rotations one sees the other. */
static const struct store_sql KEY_LOCK = {
    "key_lock", "UPDATE api_keys SET state = state WHERE id = $1 RETURNING " KEY_COLUMNS};
static const struct store_sql KEY_UPDATE = {
    "key_update",
    "UPDATE api_keys SET state = $2, expires_at = $3, revoked_at = $4, message = $5 WHERE id = $1"};

static struct status
key_write(struct store_tx *tx, struct arena *arena, const ApiKey *key)
{
	return store_exec(tx, &KEY_UPDATE,
	                  STORE_PARAMS(store_text(key->id), store_i64(key->state),
	                               key_optional_time(key->has_expires_at, key->expires_at),
	                               key_optional_time(key->has_revoked_at, key->revoked_at),
	                               packed_value(arena, &key->base)),
	                  NULL);
}

/* A revoked key is final. A rotated one ends with its grace: nothing but revoking it ends that sooner or
 * later. */
static struct status
check_changeable(const Corbel__V1__UpdateKeyRequest *request, const ApiKey *key)
{
	bool has_life = request->has_disabled || request->has_expires_at ||
	                scope_has_null(request->nulls, request->n_nulls, "expires_at");

	if (key->state == CORBEL__V1__KEY_STATE__REVOKED)
		return status_make(STATUS_FAILED_PRECONDITION, "the key is revoked");
	if (key->state == CORBEL__V1__KEY_STATE__ROTATED && has_life)
		return status_make(STATUS_FAILED_PRECONDITION,
		                   "the key was rotated and ends with its grace period; revoke it to end it now");
	return status_ok_value();
}

static struct status
key_patch(struct call *call, const Corbel__V1__UpdateKeyRequest *request, ApiKey *key)
{
	struct status st = check_changeable(request, key);

	if (!status_ok(&st))
		return st;
	if (request->name || scope_has_null(request->nulls, request->n_nulls, "name"))
		key->name = request->name;
	if (request->has_expires_at || scope_has_null(request->nulls, request->n_nulls, "expires_at")) {
		key->has_expires_at = request->has_expires_at;
		key->expires_at = request->expires_at;
	}
	if (request->n_limits > 0 || scope_has_null(request->nulls, request->n_nulls, "limits")) {
		key->n_limits = request->n_limits;
		key->limits = request->limits;
	}
	if (request->n_metadata > 0 || scope_has_null(request->nulls, request->n_nulls, "metadata")) {
		key->n_metadata = request->n_metadata;
		key->metadata = (Corbel__V1__ApiKey__MetadataEntry **)(void *)request->metadata;
	}
	if (request->has_disabled)
		key->state = request->disabled ? CORBEL__V1__KEY_STATE__DISABLED : CORBEL__V1__KEY_STATE__ACTIVE;
	if (request->n_scopes > 0) {
		key->n_scopes = request->n_scopes;
		key->scopes = request->scopes;
		return key_check_scopes(call, key->scopes, key->n_scopes);
	}
	return status_ok_value();
}

/* Reads a key, lets `change` alter it, writes it back, and tells everybody. */
static struct status
key_change(struct call *call, const char *id,
           struct status (*change)(struct call *call, const void *request, ApiKey *key), const void *request,
           ApiKey *reply)
{
	struct store_rows *rows;
	struct store_tx tx;
	struct status st = store_begin(call_store(call), &tx);

	if (!status_ok(&st))
		return st;
	st = store_query(&tx, &KEY_LOCK, STORE_PARAMS(store_text(id)), 1, call_arena(call), &rows);
	if (status_ok(&st))
		st = key_find(call, rows, reply);
	if (status_ok(&st))
		st = change(call, request, reply);
	if (status_ok(&st))
		st = key_write(&tx, call_arena(call), reply);
	if (status_ok(&st))
		st = tell_key_changed(call, &tx, reply);
	if (status_ok(&st))
		reply->state = key_state_at(reply, call_now_ms(call));
	st = store_end(&tx, st);
	if (status_ok(&st))
		publish_keys_changed(call, reply->id, NULL);
	return st;
}

static struct status
apply_update(struct call *call, const void *request, ApiKey *key)
{
	return key_patch(call, request, key);
}

struct status
keys_update(struct call *call, const Corbel__V1__UpdateKeyRequest *request, ApiKey *reply)
{
	struct status st = key_check_expiry(call, request->has_expires_at, request->expires_at);
	bool has_limits = request->n_limits > 0 || scope_has_null(request->nulls, request->n_nulls, "limits");
	if (status_ok(&st))
		st = key_check_limits(call, request->limits, request->n_limits, has_limits);
	return status_ok(&st) ? key_change(call, request->id, apply_update, request, reply) : st;
}

static struct status
apply_revoke(struct call *call, const void *request, ApiKey *key)
{
	(void)request;
	/* Final and idempotent: the first time of revocation is kept. */
	if (key->state == CORBEL__V1__KEY_STATE__REVOKED)
		return status_ok_value();
	key->state = CORBEL__V1__KEY_STATE__REVOKED;
	key->has_revoked_at = true;
	key->revoked_at = call_now_ms(call);
	return status_ok_value();
}

struct status
keys_revoke(struct call *call, const Corbel__V1__RevokeKeyRequest *request, ApiKey *reply)
{
	return key_change(call, request->id, apply_revoke, request, reply);
}

/* The successor: a new identity with what the old key was allowed. */
static void
successor_of(struct call *call, const ApiKey *old, ApiKey *out)
{
	*out = *old;
	out->id = out->start = out->rotated_to = NULL;
	out->has_revoked_at = out->has_last_used_at = false;
	out->has_created_at = true;
	out->created_at = call_now_ms(call);
}

static struct status
rotate(struct call *call, struct store_tx *tx, const Corbel__V1__RotateKeyRequest *request, ApiKey *old,
       Corbel__V1__CreatedKey *reply)
{
	struct arena *arena = call_arena(call);
	uint64_t grace_ms = request->has_grace_ms ? request->grace_ms : ROTATE_GRACE_MS;
	int64_t until = call_now_ms(call) + (int64_t)grace_ms;
	size_t prefix = strcspn(old->start ? old->start : "cb_", "_");
	const char *secret;

	if (key_state_at(old, call_now_ms(call)) != CORBEL__V1__KEY_STATE__ACTIVE)
		return status_make(STATUS_FAILED_PRECONDITION, "only an active key can be rotated");
	reply->key = ARENA_NEW(arena, ApiKey);
	successor_of(call, old, reply->key);
	struct status st = key_issue(
	    call_service(call), tx, arena, reply->key,
	    arena_strndup(arena, old->start ? old->start : "cb", old->start ? prefix : 2), NULL, &secret);
	if (!status_ok(&st))
		return st;
	reply->secret = (char *)(uintptr_t)secret;
	old->state = CORBEL__V1__KEY_STATE__ROTATED;
	old->rotated_to = reply->key->id;
	if (!old->has_expires_at || old->expires_at > until)
		old->expires_at = until;
	old->has_expires_at = true;
	return key_write(tx, arena, old);
}

struct status
keys_rotate(struct call *call, const Corbel__V1__RotateKeyRequest *request, Corbel__V1__CreatedKey *reply)
{
	ApiKey old;
	struct store_rows *rows;
	struct store_tx tx;
	struct status st = store_begin(call_store(call), &tx);

	if (!status_ok(&st))
		return st;
	st = store_query(&tx, &KEY_LOCK, STORE_PARAMS(store_text(request->id)), 1, call_arena(call), &rows);
	if (status_ok(&st))
		st = key_find(call, rows, &old);
	if (status_ok(&st))
		st = key_check_scopes(call, old.scopes, old.n_scopes);
	if (status_ok(&st))
		st = rotate(call, &tx, request, &old, reply);
	if (status_ok(&st))
		st = tell_key_rotated(call, &tx, &old);
	st = store_end(&tx, st);
	if (status_ok(&st))
		publish_keys_changed(call, old.id, NULL);
	return st;
}
