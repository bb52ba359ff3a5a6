/*
 * events: what accountd tells the event log, in the transaction of the change. What happens within a tenant
 * goes to the tenant's log; what happens to a tenant, to the operators'.
 */
#include "accountd_internal.h"
#include "daemon/outbox.h"

static struct status
tell(struct call *call, struct store_tx *tx, const char *tenant, const char *type, const char *subject,
     const struct outbox_field *fields)
{
	const struct accountd *self = call_service(call);
	return outbox_add(
	    self->env.outbox, tx, call_arena(call),
	    &(struct outbox_event){.tenant = tenant, .type = type, .subject = subject, .fields = fields});
}

struct status
tell_key_created(struct call *call, struct store_tx *tx, const ApiKey *key)
{
	return tell(
	    call, tx, key->tenant_id, "security.apikey.created", key->id,
	    (const struct outbox_field[]){
	        {.name = "id", .text = key->id},
	        {.name = "name", .text = key->name},
	        {.name = "scopes", .type = OUTBOX_TEXTS, .texts = key->scopes, .number = (int64_t)key->n_scopes},
	        {.name = "expires_at", .type = OUTBOX_TIME, .number = key->has_expires_at ? key->expires_at : 0},
	        {.name = NULL}});
}

struct status
tell_key_changed(struct call *call, struct store_tx *tx, const ApiKey *key)
{
	if (key->has_revoked_at)
		return tell(call, tx, key->tenant_id, "security.apikey.revoked", key->id,
		            (const struct outbox_field[]){
		                {.name = "id", .text = key->id},
		                {.name = "name", .text = key->name},
		                {.name = "revoked_at", .type = OUTBOX_TIME, .number = key->revoked_at},
		                {.name = NULL}});
	return tell(
	    call, tx, key->tenant_id, "security.apikey.updated", key->id,
	    (const struct outbox_field[]){
	        {.name = "id", .text = key->id},
	        {.name = "name", .text = key->name},
	        {.name = "scopes", .type = OUTBOX_TEXTS, .texts = key->scopes, .number = (int64_t)key->n_scopes},
	        {.name = NULL}});
}

struct status
tell_key_rotated(struct call *call, struct store_tx *tx, const ApiKey *old)
{
	return tell(
	    call, tx, old->tenant_id, "security.apikey.rotated", old->id,
	    (const struct outbox_field[]){
	        {.name = "id", .text = old->id},
	        {.name = "name", .text = old->name},
	        {.name = "rotated_to", .text = old->rotated_to},
	        {.name = "expires_at", .type = OUTBOX_TIME, .number = old->has_expires_at ? old->expires_at : 0},
	        {.name = NULL}});
}

struct status
tell_subscription_changed(struct call *call, struct store_tx *tx, const char *tenant, const char *plan)
{
	return tell(
	    call, tx, tenant, "subscription.changed", tenant,
	    (const struct outbox_field[]){{.name = "tenant_id", .text = tenant},
	                                  {.name = "plan", .text = plan},
	                                  {.name = "since", .type = OUTBOX_TIME, .number = call_now_ms(call)},
	                                  {.name = NULL}});
}

struct status
tell_user(struct call *call, struct store_tx *tx, const char *type, const User *user)
{
	return tell(call, tx, user->tenant_id, type, user->id,
	            (const struct outbox_field[]){{.name = "id", .text = user->id},
	                                          {.name = "email", .text = user->email},
	                                          {.name = "name", .text = user->name},
	                                          {.name = NULL}});
}

struct status
tell_tenant(struct call *call, struct store_tx *tx, const char *type, const char *id, const char *name)
{
	return tell(call, tx, ROOT_TENANT, type, id,
	            (const struct outbox_field[]){
	                {.name = "id", .text = id}, {.name = "name", .text = name}, {.name = NULL}});
}
