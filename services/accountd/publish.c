/*
 * publish: tells other daemons what they have to forget.
 */
#include "accountd_internal.h"

void
publish_keys_changed(struct call *call, const char *key_id, const char *tenant_id)
{
	struct accountd *self = call_service(call);
	Corbel__V1__KeysChanged changed = CORBEL__V1__KEYS_CHANGED__INIT;
	char *keys[1] = {(char *)(uintptr_t)key_id}, *tenants[1] = {(char *)(uintptr_t)tenant_id};

	changed.n_key_ids = key_id != NULL;
	changed.key_ids = keys;
	changed.n_tenant_ids = tenant_id != NULL;
	changed.tenant_ids = tenants;
	size_t size = corbel__v1__keys_changed__get_packed_size(&changed);
	uint8_t *bytes = arena_alloc_raw(call_arena(call), size + 1);
	corbel__v1__keys_changed__pack(&changed, bytes);
	publisher_send(self->env.publisher, "keys", bytes, size);
}

void
publish_plans_changed(struct call *call, const char *name)
{
	struct accountd *self = call_service(call);
	Corbel__V1__PlansChanged changed = CORBEL__V1__PLANS_CHANGED__INIT;
	char *names[1] = {(char *)(uintptr_t)name};

	changed.n_names = 1;
	changed.names = names;
	size_t size = corbel__v1__plans_changed__get_packed_size(&changed);
	uint8_t *bytes = arena_alloc_raw(call_arena(call), size + 1);
	corbel__v1__plans_changed__pack(&changed, bytes);
	publisher_send(self->env.publisher, "plans", bytes, size);
}
