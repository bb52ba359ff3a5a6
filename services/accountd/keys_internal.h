/*
 * keys: their rows and their rules, shared by the files of that name.
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
/* The key of a row if the caller may see it, with its stored state. */
struct status key_find(struct call *call, const struct store_rows *rows, ApiKey *out);
/* What a key's state is at a time. */
Corbel__V1__KeyState key_state_at(const ApiKey *key, int64_t now_ms);

struct store_value key_optional_time(bool has, int64_t ms);

/* A key gives away no more than its maker has. */
struct status key_check_scopes(struct call *call, char *const *scopes, size_t count);
/* A key's limits win over its plan's, so a tenant that set its own would leave its plan. */
struct status key_check_limits(struct call *call, Corbel__V1__PlanLimit *const *limits, size_t count,
                               bool is_changed);
struct status key_check_expiry(struct call *call, bool has_expiry, int64_t expires_at);

#endif
