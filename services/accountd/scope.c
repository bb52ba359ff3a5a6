/*
 * scope: whose things a call may touch, and what all nouns do alike.
 */
#include <string.h>

#include "accountd_internal.h"
#include "base/id.h"

struct status
scope_tenant(struct call *call, const char *named, const char **out)
{
	*out = call_tenant(call);
	if (!named || strcmp(named, *out) == 0)
		return status_ok_value();
	if (!call_is_operator(call)) {
		call_violation(call, "/tenant_id", "only operators may name another tenant");
		return status_make(STATUS_PERMISSION_DENIED, "tenant_id: only operators may name another tenant");
	}
	*out = named;
	return status_ok_value();
}

bool
scope_sees(const struct call *call, const char *tenant)
{
	return call_is_operator(call) || strcmp(call_tenant(call), tenant) == 0;
}

struct status
scope_not_found(const char *what)
{
	return status_make(STATUS_NOT_FOUND, "there is no such %s", what);
}

bool
scope_has_null(char *const *nulls, size_t count, const char *field)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(nulls[i], field) == 0)
			return true;
	return false;
}

struct store_value
packed_value(struct arena *arena, const ProtobufCMessage *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	uint8_t *bytes = arena_alloc_raw(arena, size + 1);
	protobuf_c_message_pack(message, bytes);
	return store_bytes(bytes, size);
}

ProtobufCMessage *
unpacked(struct arena *arena, const ProtobufCMessageDescriptor *descriptor, const struct store_rows *rows,
         size_t row, size_t column)
{
	struct arena_allocator allocator = arena_allocator(arena);
	ProtobufCAllocator protobuf = {
	    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};
	size_t size;
	const void *bytes = row_bytes(rows, row, column, &size);
	return protobuf_c_message_unpack(descriptor, &protobuf, size, bytes);
}

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

struct status
page_refuse(struct call *call)
{
	call_violation(call, "/page_token", "is not one that was given out");
	return status_make(STATUS_INVALID_ARGUMENT, "/page_token: is not one that was given out");
}

struct status
page_read(struct call *call, bool has_size, uint32_t size, const char *token, const char *prefix,
          struct page *out)
{
	out->size = has_size ? size : 50;
	out->before = "~"; /* after every id */
	if (!token || !token[0])
		return status_ok_value();
	/* Tenant "root" has no id of the usual form, and may end a page. */
	if (!id_is_valid(token, prefix) && !(strcmp(prefix, "ten") == 0 && strcmp(token, ROOT_TENANT) == 0))
		return page_refuse(call);
	out->before = token;
	return status_ok_value();
}
