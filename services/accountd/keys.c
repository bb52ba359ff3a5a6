/*
 * keys: API keys, made and read.
 *
 * What is looked up by is in columns; the rest of a key is a packed ApiKey.
 */
#include <string.h>

#include "accountd_internal.h"
#include "auth/key_text.h"
#include "base/id.h"
#include "corbel/accountd.methods.gen.h"
#include "keys_internal.h"

static const struct store_sql KEY_INSERT = {
    "key_insert",
    "INSERT INTO api_keys (id, tenant_id, public_id, pepper, digest, state, expires_at, user_id, message, "
    "created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"};
static const struct store_sql KEY_GET = {"key_get", "SELECT " KEY_COLUMNS " FROM api_keys WHERE id = $1"};
/* 4 is EXPIRED, 5 REVOKED: see key_state_at(). */
static const struct store_sql KEY_LIST = {
    "key_list", "SELECT " KEY_COLUMNS " FROM api_keys WHERE tenant_id = $1 AND ($2 = '' OR user_id = $2) "
                "AND ($3 = 0 OR CASE WHEN state <> 5 AND expires_at <= $4 THEN 4 ELSE state END = $3) "
                "AND id < $5 ORDER BY id DESC LIMIT $6"};
static const struct store_sql USER_TENANT = {"key_user_tenant", "SELECT tenant_id FROM users WHERE id = $1"};

struct store_value
key_optional_time(bool has, int64_t ms)
{
	return has ? store_i64(ms) : store_null();
}

Corbel__V1__KeyState
key_state_at(const ApiKey *key, int64_t now_ms)
{
	bool has_ended = key->has_expires_at && key->expires_at <= now_ms;
	return key->state != CORBEL__V1__KEY_STATE__REVOKED && has_ended ? CORBEL__V1__KEY_STATE__EXPIRED
	                                                                 : key->state;
}

struct status
key_from_row(struct arena *arena, const struct store_rows *rows, size_t row, ApiKey *out)
{
	const ApiKey *stored = (ApiKey *)unpacked(arena, &corbel__v1__api_key__descriptor, rows, row, MESSAGE);
	if (!stored)
		return status_make(STATUS_DATA_LOSS, "a stored key cannot be read");
	*out = *stored;
	out->id = row_text(rows, row, ID);
	out->tenant_id = row_text(rows, row, TENANT);
	out->has_state = true;
	out->state = (Corbel__V1__KeyState)row_i64(rows, row, STATE);
	out->has_expires_at = !row_is_null(rows, row, EXPIRES);
	out->expires_at = row_i64(rows, row, EXPIRES);
	out->has_revoked_at = !row_is_null(rows, row, REVOKED);
	out->revoked_at = row_i64(rows, row, REVOKED);
	out->has_last_used_at = !row_is_null(rows, row, LAST_USED);
	out->last_used_at = row_i64(rows, row, LAST_USED);
	out->user_id = row_text(rows, row, USER);
	return status_ok_value();
}

struct status
key_find(struct call *call, const struct store_rows *rows, ApiKey *out)
{
	if (rows_count(rows) == 0 || !scope_sees(call, row_text(rows, 0, TENANT)))
		return scope_not_found("key");
	return key_from_row(call_arena(call), rows, 0, out);
}

struct status
key_issue(struct accountd *self, struct store_tx *tx, struct arena *arena, ApiKey *key, const char *prefix,
          const char *text, const char **secret)
{
	struct id id = id_make("key", self->env.clock, self->env.random);
	uint8_t digest[SHA256_BYTES];
	char made[KEY_TEXT_MAX];
	struct key_text parts;

	if (!text) {
		key_text_make(prefix, key->environment, self->env.random, made, &parts);
		text = made;
	} else if (!key_text_parse(text, strlen(text), &parts)) {
		return status_make(STATUS_INVALID_ARGUMENT, "the given key is not one");
	}
	key->id = arena_strdup(arena, id.text);
	key->start = arena_strdup(arena, parts.start);
	key->has_state = true;
	key->state = CORBEL__V1__KEY_STATE__ACTIVE;
	*secret = arena_strdup(arena, text);
	const char *pepper = keyring_current(self->peppers);
	(void)keyring_mac(self->peppers, pepper, text, digest);
	return store_exec(
	    tx, &KEY_INSERT,
	    STORE_PARAMS(store_text(key->id), store_text(key->tenant_id), store_text(parts.public_id),
	                 store_text(pepper), store_bytes(digest, sizeof(digest)), store_i64(key->state),
	                 key_optional_time(key->has_expires_at, key->expires_at), store_text(key->user_id),
	                 packed_value(arena, &key->base), store_i64(key->created_at)),
	    NULL);
}

struct status
key_check_scopes(struct call *call, char *const *scopes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (call_has_scope(call, scopes[i]))
			continue;
		call_violation(call, arena_printf(call_arena(call), "/scopes/%zu", i),
		               "is more than the calling key holds");
		return status_make(STATUS_PERMISSION_DENIED, "scope '%s' is more than the calling key holds",
		                   scopes[i]);
	}
	return status_ok_value();
}

struct status
key_check_limits(struct call *call, Corbel__V1__PlanLimit *const *limits, size_t count, bool is_changed)
{
	if (!is_changed || call_is_operator(call))
		return limits_check(call, limits, count);
	call_violation(call, "/limits", "only operators may set the limits of a key");
	return status_make(STATUS_PERMISSION_DENIED, "/limits: only operators may set the limits of a key");
}

struct status
key_check_expiry(struct call *call, bool has_expiry, int64_t expires_at)
{
	if (!has_expiry || expires_at > call_now_ms(call))
		return status_ok_value();
	call_violation(call, "/expires_at", "must lie in the future");
	return status_make(STATUS_INVALID_ARGUMENT, "/expires_at: must lie in the future");
}

/* A key's user is one of its tenant's. */
static struct status
check_user(struct call *call, struct store_tx *tx, const char *user_id, const char *tenant)
{
	struct store_rows *rows;
	if (!user_id)
		return status_ok_value();
	struct status st =
	    store_query(tx, &USER_TENANT, STORE_PARAMS(store_text(user_id)), 1, call_arena(call), &rows);
	if (!status_ok(&st) || (rows_count(rows) > 0 && strcmp(row_text(rows, 0, 0), tenant) == 0))
		return st;
	call_violation(call, "/user_id", "the tenant has no such user");
	return status_make(STATUS_INVALID_ARGUMENT, "/user_id: the tenant has no such user");
}

static void
key_from_request(struct call *call, const Corbel__V1__CreateKeyRequest *request, const char *tenant,
                 ApiKey *key)
{
	static char *DEFAULT_SCOPES[] = {(char *)(uintptr_t) "ratelimits.check"};

	corbel__v1__api_key__init(key);
	key->tenant_id = (char *)(uintptr_t)tenant;
	key->name = request->name;
	key->environment = request->environment ? request->environment : (char *)(uintptr_t) "live";
	key->n_scopes = request->n_scopes ? request->n_scopes : 1;
	key->scopes = request->n_scopes ? request->scopes : DEFAULT_SCOPES;
	key->has_expires_at = request->has_expires_at;
	key->expires_at = request->expires_at;
	key->n_limits = request->n_limits;
	key->limits = request->limits;
	key->n_metadata = request->n_metadata;
	key->metadata = (Corbel__V1__ApiKey__MetadataEntry **)(void *)request->metadata;
	key->user_id = request->user_id;
	key->has_created_at = true;
	key->created_at = call_now_ms(call);
}

struct status
keys_create(struct call *call, const Corbel__V1__CreateKeyRequest *request, Corbel__V1__CreatedKey *reply)
{
	struct arena *arena = call_arena(call);
	ApiKey *key = ARENA_NEW(arena, ApiKey);
	const char *tenant, *secret = NULL;
	struct store_tx tx;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = key_check_expiry(call, request->has_expires_at, request->expires_at);
	if (status_ok(&st))
		st = key_check_limits(call, request->limits, request->n_limits, request->n_limits > 0);
	if (status_ok(&st)) {
		key_from_request(call, request, tenant, key);
		st = key_check_scopes(call, key->scopes, key->n_scopes);
	}
	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	st = check_user(call, &tx, key->user_id, tenant);
	if (status_ok(&st))
		st = key_issue(call_service(call), &tx, arena, key, request->prefix ? request->prefix : "cb", NULL,
		               &secret);
	if (st.code == STATUS_FAILED_PRECONDITION)
		st = scope_not_found("tenant");
	if (status_ok(&st))
		st = tell_key_created(call, &tx, key);
	reply->key = key;
	reply->secret = (char *)(uintptr_t)secret;
	return store_end(&tx, st);
}

struct status
keys_get(struct call *call, const Corbel__V1__GetKeyRequest *request, ApiKey *reply)
{
	struct store_rows *rows;
	struct status st = store_read(call_store(call), &KEY_GET, STORE_PARAMS(store_text(request->id)), 1,
	                              call_arena(call), &rows);
	if (status_ok(&st))
		st = key_find(call, rows, reply);
	if (status_ok(&st))
		reply->state = key_state_at(reply, call_now_ms(call));
	return st;
}

struct status
keys_list(struct call *call, const Corbel__V1__ListKeysRequest *request, Corbel__V1__ListKeysReply *reply)
{
	struct arena *arena = call_arena(call);
	struct store_rows *rows;
	struct page page;
	size_t count;
	const char *tenant;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = page_read(call, PAGE_ASKED(request), "key", &page);
	if (status_ok(&st))
		st = page_rows(call, &KEY_LIST,
		               STORE_PARAMS(store_text(tenant), store_text(request->user_id ? request->user_id : ""),
		                            store_i64(request->has_state ? request->state : 0),
		                            store_i64(call_now_ms(call)), store_text(page.before), page_limit(&page)),
		               &page, &rows, &count);
	if (!status_ok(&st))
		return st;
	reply->keys = ARENA_ARRAY(arena, ApiKey *, count + 1);
	for (; reply->n_keys < count && status_ok(&st); reply->n_keys++) {
		ApiKey *key = reply->keys[reply->n_keys] = ARENA_NEW(arena, ApiKey);
		st = key_from_row(arena, rows, reply->n_keys, key);
		if (status_ok(&st))
			key->state = key_state_at(key, call_now_ms(call));
	}
	if (status_ok(&st) && rows_count(rows) > count)
		reply->next_page_token = reply->keys[count - 1]->id;
	return st;
}
