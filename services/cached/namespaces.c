/*
 * namespaces: definitions as SQL rows and as messages.
 */
#include <string.h>

#include "base/text.h"
#include "cached_internal.h"
#include "corbel/cached.methods.gen.h"
#include "daemon/scope.h"

typedef Corbel__V1__CacheNamespace Namespace;

static const struct store_sql COUNT = {"namespace_count",
                                       "SELECT COUNT(*) FROM namespaces WHERE tenant_id = $1"};
static const struct store_sql INSERT = {"namespace_insert",
                                        "INSERT INTO namespaces (tenant_id, name, definition, created_at, "
                                        "updated_at, origin_headers) VALUES ($1, $2, $3, $4, $4, $5)"};
static const struct store_sql GET = {"namespace_get",
                                     "SELECT definition FROM namespaces WHERE tenant_id = $1 AND name = $2"};
/* Locked until the transaction ends: of two changes the later one sees the earlier. */
static const struct store_sql LOCK = {"namespace_lock",
                                      "UPDATE namespaces SET updated_at = $3 WHERE tenant_id = $1 AND name = "
                                      "$2 RETURNING definition, origin_headers"};
static const struct store_sql UPDATE = {
    "namespace_update",
    "UPDATE namespaces SET definition = $3, origin_headers = $4 WHERE tenant_id = $1 AND name = $2"};
static const struct store_sql LIST = {
    "namespace_list",
    "SELECT definition FROM namespaces WHERE tenant_id = $1 AND name > $2 ORDER BY name LIMIT $3"};
static const struct store_sql DELETE = {
    "namespace_delete", "DELETE FROM namespaces WHERE tenant_id = $1 AND name = $2 RETURNING name"};
static const struct store_sql ALL = {"namespace_all",
                                     "SELECT tenant_id, definition, origin_headers FROM namespaces"};
static const struct store_sql VERSION_GET = {"namespace_version",
                                             "SELECT version FROM namespaces_version WHERE id = 1"};
static const struct store_sql VERSION_RAISE = {
    "namespace_version_raise", "UPDATE namespaces_version SET version = version + 1 WHERE id = 1"};

static struct status
not_found(const char *name)
{
	return status_make(STATUS_NOT_FOUND, "namespace '%s' is not defined", name);
}

static Namespace *
from_row(const struct store_rows *rows, size_t row, size_t column, struct arena *arena)
{
	return (Namespace *)unpacked(arena, &corbel__v1__cache_namespace__descriptor, rows, row, column);
}

static struct status
first_row(const struct store_rows *rows, const char *name, struct arena *arena, Namespace *out)
{
	if (rows_count(rows) == 0)
		return not_found(name);
	const Namespace *found = from_row(rows, 0, 0, arena);
	if (!found)
		return status_make(STATUS_DATA_LOSS, "the definition of namespace '%s' cannot be read", name);
	*out = *found;
	return status_ok_value();
}

/* ---- keeping memory up to date ---- */

struct status
namespaces_refresh(struct cached *self, struct store_conn *conn)
{
	struct store_rows *rows;
	struct arena arena;
	int64_t version = 0;

	arena_init(&arena, 64u << 10, 512u << 20);
	pthread_mutex_lock(&self->refresh_lock);
	/* The version is read before the rows: a change in between is seen the next time. */
	struct status st = store_read(conn, &VERSION_GET, NULL, 0, 1, &arena, &rows);
	if (status_ok(&st) && rows_count(rows) > 0)
		version = row_i64(rows, 0, 0);
	if (status_ok(&st) && version != definitions_version(self->definitions)) {
		st = store_read(conn, &ALL, NULL, 0, DEFINITIONS_MAX, &arena, &rows);
		struct definition_table *table = status_ok(&st) ? definition_table_new(version) : NULL;
		for (size_t row = 0; table && row < rows_count(rows); row++) {
			Namespace *definition = from_row(rows, row, 1, &arena);
			if (definition && definition->origin &&
			    !headers_open(self, &arena, rows, row, 2, definition->origin)) {
				log_error(self->env.log, "headers of an origin cannot be read: is their secret there?",
				          LOG_TEXT("tenant", row_text(rows, row, 0)),
				          LOG_TEXT("namespace", definition->name));
				definition->origin = NULL;
			}
			if (definition && definition->name)
				definition_table_add(table, row_text(rows, row, 0), definition);
		}
		if (table) {
			definitions_put(self->definitions, table);
			spaces_configure(self);
		}
	}
	pthread_mutex_unlock(&self->refresh_lock);
	arena_fini(&arena);
	return st;
}

void
namespaces_refresh_task(void *arg, struct store_conn *conn)
{
	struct cached *self = arg;
	if (!conn)
		return;
	struct status st = namespaces_refresh(self, conn);
	if (!status_ok(&st))
		log_warn(self->env.log, "definitions of namespaces not refreshed", LOG_STATUS(&st));
}

/* Commits, then brings this replica up to date and tells the others. */
static struct status
commit(struct call *call, struct store_tx *tx, struct status st)
{
	struct cached *self = call_service(call);

	if (status_ok(&st))
		st = store_exec(tx, &VERSION_RAISE, NULL, 0, NULL);
	st = store_end(tx, st);
	if (!status_ok(&st))
		return st;
	namespaces_refresh_task(self, call_store(call));
	publisher_send(self->env.publisher, "namespaces", "", 0);
	return st;
}

/* ---- handlers ---- */

static struct status
check_count(struct call *call, struct store_tx *tx, const char *tenant)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &COUNT, STORE_PARAMS(store_text(tenant)), 1, call_arena(call), &rows);

	if (!status_ok(&st) || row_i64(rows, 0, 0) < DEFINITIONS_NAMESPACES_MAX)
		return st;
	return status_make(STATUS_RESOURCE_EXHAUSTED, "the tenant has %u namespaces, the most it can define",
	                   DEFINITIONS_NAMESPACES_MAX);
}

struct status
cache_namespaces_create(struct call *call, const Corbel__V1__CreateCacheNamespaceRequest *request,
                        Namespace *reply)
{
	struct arena *arena = call_arena(call);
	Corbel__V1__CacheOrigin *origin = NULL;
	struct store_value headers;
	const char *tenant;
	struct store_tx tx;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st) && !request->namespace_->name) {
		call_violation(call, "/namespace/name", "is required");
		st = status_make(STATUS_INVALID_ARGUMENT, "/namespace/name: is required");
	}
	if (status_ok(&st))
		st = origin_take(call, "/namespace", request->namespace_->origin, NULL, &origin);
	if (status_ok(&st))
		st = headers_seal(call_service(call), arena, origin, &headers);
	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	*reply = *request->namespace_;
	reply->origin = origin_shown(arena, origin);
	reply->tenant_id = (char *)(uintptr_t)tenant;
	reply->has_created_at = reply->has_updated_at = true;
	reply->created_at = reply->updated_at = call_now_ms(call);
	st = check_count(call, &tx, tenant);
	if (status_ok(&st))
		st =
		    store_exec(&tx, &INSERT,
		               STORE_PARAMS(store_text(tenant), store_text(reply->name),
		                            packed_value(arena, &reply->base), store_i64(reply->created_at), headers),
		               NULL);
	if (st.code == STATUS_ALREADY_EXISTS)
		st = status_make(STATUS_ALREADY_EXISTS, "namespace '%s' is already defined", reply->name);
	return commit(call, &tx, st);
}

struct status
cache_namespaces_get(struct call *call, const Corbel__V1__CacheNamespaceRequest *request, Namespace *reply)
{
	struct store_rows *rows;
	const char *tenant;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = store_read(call_store(call), &GET,
		                STORE_PARAMS(store_text(tenant), store_text(request->namespace_)), 1,
		                call_arena(call), &rows);
	return status_ok(&st) ? first_row(rows, request->namespace_, call_arena(call), reply) : st;
}

struct status
cache_namespaces_list(struct call *call, const Corbel__V1__ListCacheNamespacesRequest *request,
                      Corbel__V1__ListCacheNamespacesReply *reply)
{
	struct arena *arena = call_arena(call);
	size_t size = request->has_page_size ? request->page_size : 50;
	const char *tenant, *after = request->page_token ? request->page_token : "";
	struct store_rows *rows;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st) && after[0] && !text_is_name(after, strlen(after)))
		st = page_refuse(call);
	if (status_ok(&st))
		st = store_read(call_store(call), &LIST,
		                STORE_PARAMS(store_text(tenant), store_text(after), store_i64((int64_t)size + 1)),
		                size + 1, arena, &rows);
	if (!status_ok(&st))
		return st;
	size_t count = rows_count(rows) > size ? size : rows_count(rows);
	reply->namespaces = ARENA_ARRAY(arena, Namespace *, count + 1);
	for (size_t row = 0; row < count; row++) {
		Namespace *found = from_row(rows, row, 0, arena);
		if (found)
			reply->namespaces[reply->n_namespaces++] = found;
	}
	if (rows_count(rows) > size && reply->n_namespaces > 0)
		reply->next_page_token = reply->namespaces[reply->n_namespaces - 1]->name;
	return st;
}

/* Lays the fields that are present over the definition; nulls give defaults back. */
static void
patch(const Corbel__V1__UpdateCacheNamespaceRequest *request, Namespace *to)
{
#define LAY(field)                                                                                           \
	if (request->has_##field || scope_has_null(request->nulls, request->n_nulls, #field)) {                  \
		to->has_##field = request->has_##field;                                                              \
		to->field = request->field;                                                                          \
	}
	LAY(ttl_ms)
	LAY(grace_ms)
	LAY(error_grace_ms)
	LAY(outage_ms)
	LAY(negative_ttl_ms)
	LAY(max_bytes)
	LAY(max_entries)
	LAY(max_value_bytes)
#undef LAY
	if (request->description || scope_has_null(request->nulls, request->n_nulls, "description"))
		to->description = request->description;
}

/* The origin after a change: `headers` is what its column then holds. */
static struct status
patch_origin(struct call *call, const Corbel__V1__UpdateCacheNamespaceRequest *request,
             const struct store_rows *rows, Namespace *to, struct store_value *headers)
{
	const struct cached *self = call_service(call);
	struct arena *arena = call_arena(call);
	Corbel__V1__CacheOrigin *origin = to->origin;
	bool is_removed = scope_has_null(request->nulls, request->n_nulls, "origin");
	bool is_open = !origin || headers_open(self, arena, rows, 0, 1, origin);
	struct status st = status_ok_value();

	if (request->origin)
		st = origin_take(call, "", request->origin, is_open ? to->origin : NULL, &origin);
	else if (is_removed)
		origin = NULL;
	else if (!is_open)
		st = status_make(STATUS_FAILED_PRECONDITION,
		                 "the headers of the origin cannot be read: give the origin anew, or null");
	if (status_ok(&st))
		st = headers_seal(self, arena, origin, headers);
	to->origin = origin_shown(arena, origin);
	return st;
}

struct status
cache_namespaces_update(struct call *call, const Corbel__V1__UpdateCacheNamespaceRequest *request,
                        Namespace *reply)
{
	struct arena *arena = call_arena(call);
	struct store_rows *rows;
	struct store_value headers;
	const char *tenant;
	struct store_tx tx;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	st = store_query(
	    &tx, &LOCK,
	    STORE_PARAMS(store_text(tenant), store_text(request->namespace_), store_i64(call_now_ms(call))), 1,
	    arena, &rows);
	if (status_ok(&st))
		st = first_row(rows, request->namespace_, arena, reply);
	if (status_ok(&st))
		st = patch_origin(call, request, rows, reply, &headers);
	if (status_ok(&st)) {
		patch(request, reply);
		reply->updated_at = call_now_ms(call);
		st = store_exec(&tx, &UPDATE,
		                STORE_PARAMS(store_text(tenant), store_text(request->namespace_),
		                             packed_value(arena, &reply->base), headers),
		                NULL);
	}
	return commit(call, &tx, st);
}

/* Replicas may hold what this one has not seen. */
static struct status
empty(struct cached *self, const char *tenant, const char *name)
{
	struct op op = op_on(OP_ALL, "");
	struct errand errand = {.ops = &op, .count = 1};
	struct status st = status_ok_value();

	if (self->fleet)
		st = space_make(self, tenant, name, &errand.space);
	else
		errand.space = engine_find_space(self->engine, tenant, name);
	if (status_ok(&st))
		errand_run_wait(self, &errand);
	return st;
}

struct status
cache_namespaces_delete(struct call *call, const Corbel__V1__CacheNamespaceRequest *request,
                        Corbel__V1__Empty *reply)
{
	struct cached *self = call_service(call);
	struct store_rows *rows;
	const char *tenant;
	struct store_tx tx;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	(void)reply;
	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	st = store_query(&tx, &DELETE, STORE_PARAMS(store_text(tenant), store_text(request->namespace_)), 1,
	                 call_arena(call), &rows);
	if (status_ok(&st) && rows_count(rows) == 0)
		st = not_found(request->namespace_);
	st = commit(call, &tx, st);
	return status_ok(&st) ? empty(self, tenant, request->namespace_) : st;
}
