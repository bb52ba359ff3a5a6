/*
 * scope: see scope.h.
 */
#include "daemon/scope.h"

#include <string.h>

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
	out->size = has_size ? size : PAGE_SIZE_DEFAULT;
	out->before = "~"; /* after every id */
	if (!token || !token[0])
		return status_ok_value();
	/* The operators' tenant has no id of the usual form, and may end a page. */
	if (!id_is_valid(token, prefix) && strcmp(token, "root") != 0)
		return page_refuse(call);
	out->before = token;
	return status_ok_value();
}

struct store_value
page_limit(const struct page *page)
{
	return store_i64((int64_t)page->size + 1);
}

struct status
page_rows(struct call *call, const struct store_sql *sql, const struct store_value *params,
          size_t param_count, const struct page *page, struct store_rows **rows, size_t *count)
{
	struct status st = store_read(call_store(call), sql, params, param_count, (size_t)page->size + 1,
	                              call_arena(call), rows);

	if (status_ok(&st))
		*count = rows_count(*rows) > page->size ? page->size : rows_count(*rows);
	return st;
}
