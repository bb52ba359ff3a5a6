/*
 * accountd: the service's structure, and what its files share.
 */
#ifndef CORBEL_ACCOUNTD_INTERNAL_H
#define CORBEL_ACCOUNTD_INTERNAL_H

#include "corbel/contract.gen.h"
#include "daemon/scope.h"
#include "daemon/service.h"
#include "daemon/keyring.h"

struct accountd {
	struct service_env env;
	struct keyring *peppers;
};

#define ROOT_TENANT "root"

typedef Corbel__V1__Tenant Tenant;
typedef Corbel__V1__User User;
typedef Corbel__V1__Plan Plan;
typedef Corbel__V1__ApiKey ApiKey;

/* ---- events.c: for the event log, in the transaction of the change ---- */
struct status tell_key_created(struct call *call, struct store_tx *tx, const ApiKey *key);
struct status tell_key_changed(struct call *call, struct store_tx *tx, const ApiKey *key);
struct status tell_key_rotated(struct call *call, struct store_tx *tx, const ApiKey *old);
struct status tell_subscription_changed(struct call *call, struct store_tx *tx, const char *tenant,
                                        const char *plan);
struct status tell_user(struct call *call, struct store_tx *tx, const char *type, const User *user);
struct status tell_tenant(struct call *call, struct store_tx *tx, const char *type, const char *id,
                          const char *name);

/* ---- publish.c ---- */
/* Tells ingresses that cached verifications must go: a key's, or a tenant's. NULL: none. */
void publish_keys_changed(struct call *call, const char *key_id, const char *tenant_id);
void publish_plans_changed(struct call *call, const char *name);

/* ---- plans.c ---- */
bool plan_exists(struct store_tx *tx, struct arena *arena, const char *name, struct status *st);
/* A resource has one limit in a plan, and one of a key's own. */
struct status limits_check(struct call *call, Corbel__V1__PlanLimit *const *limits, size_t count);
struct status plans_seed(struct store_tx *tx, int64_t now_ms);

/* ---- keys.c ---- */
/* Makes a key and stores it in the transaction; the secret's text is made in the arena. */
struct status key_issue(struct accountd *self, struct store_tx *tx, struct arena *arena, ApiKey *key,
                        const char *prefix, const char *text, const char **secret);
/* Whether the key of that id is good now. `scope` may be NULL. */
struct status key_check(struct call *call, const char *id, const char *scope,
                        Corbel__V1__VerifyKeyReply *reply);

/* ---- bootstrap.c ---- */
/* First start: tenant root, the default plans, and the first admin key. */
struct status bootstrap(struct accountd *self);

#endif
