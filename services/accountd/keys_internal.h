/*
 * keys: their rows, shared by keys.c and keys_verify.c.
 */
#ifndef CORBEL_ACCOUNTD_KEYS_INTERNAL_H
#define CORBEL_ACCOUNTD_KEYS_INTERNAL_H

#include "accountd_internal.h"

/* What key_from_row() reads; a query may select more behind it. */
#define KEY_COLUMNS                                                                                          \
	"id, tenant_id, public_id, pepper, digest, state, expires_at, revoked_at, last_used_at, user_id, "       \
	"message"

enum column { ID, TENANT, PUBLIC_ID, PEPPER, DIGEST, STATE, EXPIRES, REVOKED, LAST_USED, USER, MESSAGE };

/* The key points into the rows and the arena. */
struct status key_from_row(struct arena *arena, const struct store_rows *rows, size_t row, ApiKey *out);
/* What a key's state is at a time. */
Corbel__V1__KeyState key_state_at(const ApiKey *key, int64_t now_ms);

#endif
