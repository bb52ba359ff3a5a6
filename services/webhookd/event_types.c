/*
 * event_types: handlers of the types that tenants register, beside Corbel's own.
 */
#include <string.h>

#include "corbel/webhookd.methods.gen.h"
#include "schema/schema.h"
#include "types.h"

#define TYPES_MAX 1000

typedef Corbel__V1__EventType EventType;

static const struct store_sql TYPE_GET = {
    "type_get", "SELECT message FROM event_types WHERE tenant_id = $1 AND name = $2 AND deleted = 0"};
static const struct store_sql TYPE_LIST = {
    "type_list", "SELECT message FROM event_types WHERE tenant_id = $1 AND name > $2 AND deleted = 0"
                 " ORDER BY name LIMIT $3"};
static const struct store_sql TYPE_COUNT = {
    "type_count", "SELECT COUNT(*) FROM event_types WHERE tenant_id = $1 AND deleted = 0"};
static const struct store_sql TYPE_CHANGE = {
    "type_change", "UPDATE type_changes SET last = last + 1 WHERE id = 1 RETURNING last"};
static const struct store_sql TYPE_PUT = {
    "type_put",
    "INSERT INTO event_types (tenant_id, name, change, deleted, message) VALUES ($1, $2, $3, 0, $4)"
    " ON CONFLICT (tenant_id, name) DO UPDATE SET change = excluded.change, deleted = 0,"
    " message = excluded.message"};
static const struct store_sql TYPE_DELETE = {
    "type_delete", "UPDATE event_types SET change = $3, deleted = 1 WHERE tenant_id = $1 AND name = $2"
                   " AND deleted = 0"};

static void
type_from_catalogue(const struct catalogue_type *from, EventType *out)
{
	corbel__v1__event_type__init(out);
	out->name = (char *)(uintptr_t)from->name;
	out->description = (char *)(uintptr_t)from->description;
	out->has_schema = out->has_example = out->has_version = out->has_builtin = true;
	out->schema.data = (uint8_t *)(uintptr_t)from->schema_json;
	out->schema.len = from->schema_length;
	out->example.data = (uint8_t *)(uintptr_t)from->example_json;
	out->example.len = from->example_length;
	out->version = CATALOGUE_SCHEMA_VERSION;
	out->builtin = true;
}

static struct status
type_from_row(struct arena *arena, const struct store_rows *rows, size_t row, EventType *out)
{
	const EventType *stored = (EventType *)unpacked(arena, &corbel__v1__event_type__descriptor, rows, row, 0);
	if (!stored)
		return status_make(STATUS_DATA_LOSS, "a stored event type cannot be read");
	*out = *stored;
	return status_ok_value();
}

struct status
event_types_get(struct call *call, const Corbel__V1__GetEventTypeRequest *request, EventType *reply)
{
	struct webhookd *self = call_service(call);
	struct store_rows *rows;
	const char *tenant;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = store_read(call_store(call), &TYPE_GET,
		                STORE_PARAMS(store_text(tenant), store_text(request->name)), 1, call_arena(call),
		                &rows);
	if (!status_ok(&st))
		return st;
	if (rows_count(rows) > 0)
		return type_from_row(call_arena(call), rows, 0, reply);
	const struct catalogue_type *builtin = catalogue_find(types_catalogue(self->types), request->name);
	if (!builtin)
		return scope_not_found("event type");
	type_from_catalogue(builtin, reply);
	return st;
}

/* Both lists go by name; of one name the tenant's own comes first and hides the other. */
static struct status
merge(struct call *call, const struct store_rows *rows, const char *after, size_t size,
      Corbel__V1__ListEventTypesReply *reply)
{
	struct webhookd *self = call_service(call);
	const struct catalogue *catalogue = types_catalogue(self->types);
	struct arena *arena = call_arena(call);
	struct status st = status_ok_value();
	size_t at = 0, row = 0;

	while (at < catalogue_count(catalogue) && strcmp(catalogue_at(catalogue, at)->name, after) <= 0)
		at++;
	reply->types = ARENA_ARRAY(arena, EventType *, size + 1);
	while (reply->n_types <= size && status_ok(&st)) {
		const struct catalogue_type *builtin =
		    at < catalogue_count(catalogue) ? catalogue_at(catalogue, at) : NULL;
		EventType *own = row < rows_count(rows) ? ARENA_NEW(arena, EventType) : NULL, *next;
		if (own)
			st = type_from_row(arena, rows, row, own);
		if (!status_ok(&st) || (!own && !builtin))
			break;
		int order = !own ? 1 : !builtin ? -1 : strcmp(own->name, builtin->name);
		next = order <= 0 ? own : ARENA_NEW(arena, EventType);
		if (order > 0)
			type_from_catalogue(builtin, next);
		row += order <= 0;
		at += order >= 0;
		reply->types[reply->n_types++] = next;
	}
	if (reply->n_types > size)
		reply->next_page_token = reply->types[--reply->n_types - 1]->name;
	return st;
}

struct status
event_types_list(struct call *call, const Corbel__V1__ListEventTypesRequest *request,
                 Corbel__V1__ListEventTypesReply *reply)
{
	size_t size = request->has_page_size ? request->page_size : 50;
	const char *after = request->page_token ? request->page_token : "", *tenant;
	struct store_rows *rows;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = store_read(call_store(call), &TYPE_LIST,
		                STORE_PARAMS(store_text(tenant), store_text(after), store_i64((int64_t)size + 1)),
		                size + 1, call_arena(call), &rows);
	return status_ok(&st) ? merge(call, rows, after, size, reply) : st;
}

/* ---- changes ---- */

static struct status
refuse(struct call *call, const struct violations *violations)
{
	for (size_t i = 0; i < violations->count; i++)
		call_violation(call, violations->items[i].pointer, "%s", violations->items[i].detail);
	return violations_status(violations);
}

/* The schema has to be one, and the example has to fit it. */
static struct status
check(struct call *call, const Corbel__V1__PutEventTypeRequest *request)
{
	struct arena *arena = call_arena(call);
	struct violations *violations = ARENA_NEW(arena, struct violations);

	if (!request->has_schema)
		return status_ok_value();
	struct schema *schema =
	    schema_compile((const char *)request->schema.data, request->schema.len, "/schema", arena, violations);
	if (schema && request->has_example)
		(void)schema_check_text(schema, (const char *)request->example.data, request->example.len, "/example",
		                        arena, violations);
	schema_free(schema);
	return violations->count > 0 ? refuse(call, violations) : status_ok_value();
}

static struct status
next_change(struct call *call, struct store_tx *tx, int64_t *out)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &TYPE_CHANGE, NULL, 0, 1, call_arena(call), &rows);
	*out = status_ok(&st) ? row_i64(rows, 0, 0) : 0;
	return st;
}

/* What it was before decides the version; the lock on the changes lets one at a time. */
static struct status
put(struct call *call, struct store_tx *tx, const char *tenant, EventType *type)
{
	struct arena *arena = call_arena(call);
	struct store_rows *rows, *count;
	EventType before;
	int64_t change;
	struct status st = next_change(call, tx, &change);

	if (status_ok(&st))
		st = store_query(tx, &TYPE_GET, STORE_PARAMS(store_text(tenant), store_text(type->name)), 1, arena,
		                 &rows);
	if (status_ok(&st))
		st = store_query(tx, &TYPE_COUNT, STORE_PARAMS(store_text(tenant)), 1, arena, &count);
	if (!status_ok(&st))
		return st;
	if (rows_count(rows) == 0 && row_i64(count, 0, 0) >= TYPES_MAX)
		return status_make(STATUS_FAILED_PRECONDITION, "a tenant has at most %d event types", TYPES_MAX);
	if (rows_count(rows) > 0)
		st = type_from_row(arena, rows, 0, &before);
	type->has_version = true;
	type->version = rows_count(rows) > 0 && status_ok(&st) ? before.version + 1 : 1;
	if (status_ok(&st))
		st = store_exec(tx, &TYPE_PUT,
		                STORE_PARAMS(store_text(tenant), store_text(type->name), store_i64(change),
		                             packed_value(arena, &type->base)),
		                NULL);
	return st;
}

struct status
event_types_put(struct call *call, const Corbel__V1__PutEventTypeRequest *request, EventType *reply)
{
	struct webhookd *self = call_service(call);
	const char *tenant;
	struct store_tx tx;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = check(call, request);
	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	reply->name = request->name;
	reply->description = request->description;
	reply->has_schema = request->has_schema;
	reply->schema = request->schema;
	reply->has_example = request->has_example;
	reply->example = request->example;
	st = store_end(&tx, put(call, &tx, tenant, reply));
	if (status_ok(&st))
		(void)types_refresh(self->types, call_store(call)); /* else within a second */
	return st;
}

struct status
event_types_delete(struct call *call, const Corbel__V1__DeleteEventTypeRequest *request,
                   Corbel__V1__Empty *reply)
{
	struct webhookd *self = call_service(call);
	int64_t change, changed = 0;
	const char *tenant;
	struct store_tx tx;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	(void)reply;
	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	st = next_change(call, &tx, &change);
	if (status_ok(&st))
		st = store_exec(&tx, &TYPE_DELETE,
		                STORE_PARAMS(store_text(tenant), store_text(request->name), store_i64(change)),
		                &changed);
	if (status_ok(&st) && changed == 0)
		st = scope_not_found("event type");
	st = store_end(&tx, st);
	if (status_ok(&st))
		(void)types_refresh(self->types, call_store(call));
	return st;
}
