/*
 * accountd: the service's structure, and what its files share.
 */
#ifndef CORBEL_ACCOUNTD_INTERNAL_H
#define CORBEL_ACCOUNTD_INTERNAL_H

#include "corbel/contract.gen.h"
#include "daemon/service.h"
#include "pepper.h"

struct accountd {
	struct service_env env;
	struct peppers *peppers;
};

#define ROOT_TENANT "root"

typedef Corbel__V1__Tenant Tenant;
typedef Corbel__V1__User User;
typedef Corbel__V1__Plan Plan;
typedef Corbel__V1__ApiKey ApiKey;

/* ---- scope.c: what all nouns do alike ---- */
/* The tenant a request is for: the caller's own, or for operators the one they name. */
struct status scope_tenant(struct call *call, const char *named, const char **out);
/* May the caller see what belongs to `tenant`? */
bool scope_sees(const struct call *call, const char *tenant);
struct status scope_not_found(const char *what);
bool scope_has_null(char *const *nulls, size_t count, const char *field);
/* A message for a BYTEA column, packed in the call's arena. */
struct store_value packed_value(struct arena *arena, const ProtobufCMessage *message);
/* A column's bytes as a message, in the arena; NULL when they are not one. */
ProtobufCMessage *unpacked(struct arena *arena, const ProtobufCMessageDescriptor *descriptor,
                           const struct store_rows *rows, size_t row, size_t column);
/* Tells ingresses that cached verifications must go: a key's, or a tenant's. NULL: none. */
void publish_keys_changed(struct call *call, const char *key_id, const char *tenant_id);
void publish_plans_changed(struct call *call, const char *name);

/* Pages go from the newest id down; a token is the last id of the page before. */
struct page {
	uint32_t size;
	const char *before;
};
/* For a token that was never given out. */
struct status page_refuse(struct call *call);
struct status page_read(struct call *call, bool has_size, uint32_t size, const char *token,
                        const char *prefix, struct page *out);

/* ---- plans.c ---- */
bool plan_exists(struct store_tx *tx, struct arena *arena, const char *name, struct status *st);
/* A resource has one limit in a plan, and one of a key's own. */
struct status limits_check(struct call *call, Corbel__V1__PlanLimit *const *limits, size_t count);
struct status plans_seed(struct store_tx *tx, int64_t now_ms);

/* ---- keys.c ---- */
/* Makes a key and stores it in the transaction; the secret's text is made in the arena. */
struct status key_issue(struct accountd *self, struct store_tx *tx, struct arena *arena, ApiKey *key,
                        const char *prefix, const char *text, const char **secret);

/* ---- bootstrap.c ---- */
/* First start: tenant root, the default plans, and the first admin key. */
struct status bootstrap(struct accountd *self);

#endif
