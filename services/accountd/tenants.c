/*
 * tenants: customers of the API product, and their subscriptions to plans.
 */
#include <string.h>

#include "accountd_internal.h"
#include "base/id.h"
#include "corbel/accountd.methods.gen.h"

static const struct store_sql TENANT_INSERT = {
    "tenant_insert",
    "INSERT INTO tenants (id, suspended, plan, plan_since, message) VALUES ($1, $2, $3, $4, $5)"};
static const struct store_sql TENANT_GET = {
    "tenant_get", "SELECT id, suspended, plan, plan_since, message FROM tenants WHERE id = $1"};
/* Locked until the transaction ends: of two changes the later one sees the earlier. */
static const struct store_sql TENANT_LOCK = {"tenant_lock",
                                             "UPDATE tenants SET suspended = suspended WHERE id = $1 "
                                             "RETURNING id, suspended, plan, plan_since, message"};
static const struct store_sql TENANT_LIST = {
    "tenant_list",
    "SELECT id, suspended, plan, plan_since, message FROM tenants WHERE id < $1 ORDER BY id DESC LIMIT $2"};
static const struct store_sql TENANT_UPDATE = {
    "tenant_update", "UPDATE tenants SET suspended = $2, message = $3 WHERE id = $1"};
static const struct store_sql TENANT_DELETE = {"tenant_delete", "DELETE FROM tenants WHERE id = $1"};
static const struct store_sql TENANT_SUBSCRIBE = {
    "tenant_subscribe", "UPDATE tenants SET plan = $2, plan_since = $3 WHERE id = $1"};
static const struct store_sql USAGE_FORGET = {"usage_forget", "DELETE FROM usage_days WHERE tenant_id = $1"};

static struct status
tenant_from_row(struct arena *arena, const struct store_rows *rows, size_t row, Tenant *out)
{
	const Tenant *stored = (Tenant *)unpacked(arena, &corbel__v1__tenant__descriptor, rows, row, 4);
	if (!stored)
		return status_make(STATUS_DATA_LOSS, "a stored tenant cannot be read");
	*out = *stored;
	out->id = row_text(rows, row, 0);
	out->has_suspended = true;
	out->suspended = row_i64(rows, row, 1) != 0;
	out->plan = row_text(rows, row, 2);
	return status_ok_value();
}

static struct status
tenant_find(struct call *call, const struct store_rows *rows, Tenant *out)
{
	if (rows_count(rows) == 0 || !scope_sees(call, row_text(rows, 0, 0)))
		return scope_not_found("tenant");
	return tenant_from_row(call_arena(call), rows, 0, out);
}

static struct status
no_such_plan(struct call *call, const char *name)
{
	call_violation(call, "/plan", "there is no plan '%s'", name);
	return status_make(STATUS_INVALID_ARGUMENT, "/plan: there is no plan '%s'", name);
}

struct status
tenants_create(struct call *call, const Corbel__V1__CreateTenantRequest *request, Tenant *reply)
{
	struct accountd *self = call_service(call);
	struct arena *arena = call_arena(call);
	struct id id = id_make("ten", self->env.clock, self->env.random);
	struct store_tx tx;
	struct status st = store_begin(call_store(call), &tx);

	if (!status_ok(&st))
		return st;
	reply->id = arena_strdup(arena, id.text);
	reply->name = request->name;
	reply->plan = request->plan ? request->plan : (char *)(uintptr_t) "free";
	reply->has_suspended = true;
	/* Entries of all map<string, string> fields have the same layout. */
	reply->n_metadata = request->n_metadata;
	reply->metadata = (Corbel__V1__Tenant__MetadataEntry **)(void *)request->metadata;
	reply->has_created_at = reply->has_updated_at = true;
	reply->created_at = reply->updated_at = call_now_ms(call);
	if (!plan_exists(&tx, arena, reply->plan, &st) && status_ok(&st))
		st = no_such_plan(call, reply->plan);
	if (status_ok(&st))
		st = store_exec(&tx, &TENANT_INSERT,
		                STORE_PARAMS(store_text(reply->id), store_i64(0), store_text(reply->plan),
		                             store_i64(reply->created_at), packed_value(arena, &reply->base)),
		                NULL);
	if (st.code == STATUS_FAILED_PRECONDITION)
		st = no_such_plan(call, reply->plan);
	if (status_ok(&st))
		st = tell_tenant(call, &tx, "tenant.created", reply->id, reply->name);
	return store_end(&tx, st);
}

struct status
tenants_get(struct call *call, const Corbel__V1__GetTenantRequest *request, Tenant *reply)
{
	struct store_rows *rows;
	struct status st = store_read(call_store(call), &TENANT_GET, STORE_PARAMS(store_text(request->id)), 1,
	                              call_arena(call), &rows);
	return status_ok(&st) ? tenant_find(call, rows, reply) : st;
}

struct status
tenants_list(struct call *call, const Corbel__V1__ListTenantsRequest *request,
             Corbel__V1__ListTenantsReply *reply)
{
	struct arena *arena = call_arena(call);
	struct store_rows *rows;
	struct page page;
	size_t count;
	struct status st = page_read(call, PAGE_ASKED(request), "ten", &page);

	if (status_ok(&st))
		st = page_rows(call, &TENANT_LIST, STORE_PARAMS(store_text(page.before), page_limit(&page)), &page,
		               &rows, &count);
	if (!status_ok(&st))
		return st;
	reply->tenants = ARENA_ARRAY(arena, Tenant *, count + 1);
	for (; reply->n_tenants < count && status_ok(&st); reply->n_tenants++) {
		reply->tenants[reply->n_tenants] = ARENA_NEW(arena, Tenant);
		st = tenant_from_row(arena, rows, reply->n_tenants, reply->tenants[reply->n_tenants]);
	}
	if (status_ok(&st) && rows_count(rows) > count)
		reply->next_page_token = reply->tenants[count - 1]->id;
	return st;
}

struct status
tenants_update(struct call *call, const Corbel__V1__UpdateTenantRequest *request, Tenant *reply)
{
	struct arena *arena = call_arena(call);
	struct store_rows *rows;
	struct store_tx tx;
	struct status st = store_begin(call_store(call), &tx);

	if (!status_ok(&st))
		return st;
	st = store_query(&tx, &TENANT_LOCK, STORE_PARAMS(store_text(request->id)), 1, arena, &rows);
	if (status_ok(&st))
		st = tenant_find(call, rows, reply);
	bool was_suspended = status_ok(&st) && reply->suspended;
	if (status_ok(&st) && request->has_suspended && request->suspended && strcmp(reply->id, ROOT_TENANT) == 0)
		st = status_make(STATUS_FAILED_PRECONDITION, "the tenant of the operators cannot be suspended");
	if (status_ok(&st)) {
		if (request->name)
			reply->name = request->name;
		if (request->has_suspended)
			reply->suspended = request->suspended;
		if (request->n_metadata > 0 || scope_has_null(request->nulls, request->n_nulls, "metadata")) {
			reply->n_metadata = request->n_metadata;
			reply->metadata = (Corbel__V1__Tenant__MetadataEntry **)(void *)request->metadata;
		}
		reply->updated_at = call_now_ms(call);
		st = store_exec(&tx, &TENANT_UPDATE,
		                STORE_PARAMS(store_text(reply->id), store_i64(reply->suspended),
		                             packed_value(arena, &reply->base)),
		                NULL);
	}
	if (status_ok(&st))
		st = tell_tenant(call, &tx,
		                 reply->suspended == was_suspended ? "tenant.updated"
		                 : reply->suspended                ? "tenant.suspended"
		                                                   : "tenant.reactivated",
		                 reply->id, reply->name);
	st = store_end(&tx, st);
	if (status_ok(&st))
		publish_keys_changed(call, NULL, reply->id);
	return st;
}

struct status
tenants_delete(struct call *call, const Corbel__V1__DeleteTenantRequest *request, Corbel__V1__Empty *reply)
{
	struct store_tx tx;
	int64_t changed = 0;

	(void)reply;
	if (strcmp(request->id, ROOT_TENANT) == 0)
		return status_make(STATUS_FAILED_PRECONDITION, "the tenant of the operators cannot be deleted");
	struct status st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	st = store_exec(&tx, &TENANT_DELETE, STORE_PARAMS(store_text(request->id)), &changed);
	if (status_ok(&st) && changed == 0)
		st = scope_not_found("tenant");
	if (status_ok(&st))
		st = store_exec(&tx, &USAGE_FORGET, STORE_PARAMS(store_text(request->id)), NULL);
	if (status_ok(&st))
		st = tell_tenant(call, &tx, "tenant.deleted", request->id, NULL);
	st = store_end(&tx, st);
	if (status_ok(&st))
		publish_keys_changed(call, NULL, request->id);
	return st;
}

struct status
subscriptions_get(struct call *call, const Corbel__V1__GetSubscriptionRequest *request,
                  Corbel__V1__Subscription *reply)
{
	struct store_rows *rows;
	Tenant tenant;
	struct status st = store_read(call_store(call), &TENANT_GET, STORE_PARAMS(store_text(request->tenant_id)),
	                              1, call_arena(call), &rows);
	if (status_ok(&st))
		st = tenant_find(call, rows, &tenant);
	if (!status_ok(&st))
		return st;
	reply->tenant_id = tenant.id;
	reply->plan = tenant.plan;
	reply->has_since = true;
	reply->since = row_i64(rows, 0, 3);
	return st;
}

struct status
subscriptions_set(struct call *call, const Corbel__V1__SetSubscriptionRequest *request,
                  Corbel__V1__Subscription *reply)
{
	struct store_tx tx;
	int64_t changed = 0;
	struct status st = store_begin(call_store(call), &tx);

	if (!status_ok(&st))
		return st;
	if (!plan_exists(&tx, call_arena(call), request->plan, &st) && status_ok(&st))
		st = no_such_plan(call, request->plan);
	if (status_ok(&st))
		st = store_exec(&tx, &TENANT_SUBSCRIBE,
		                STORE_PARAMS(store_text(request->tenant_id), store_text(request->plan),
		                             store_i64(call_now_ms(call))),
		                &changed);
	if (st.code == STATUS_FAILED_PRECONDITION)
		st = no_such_plan(call, request->plan);
	if (status_ok(&st) && changed == 0)
		st = scope_not_found("tenant");
	if (status_ok(&st))
		st = tell_subscription_changed(call, &tx, request->tenant_id, request->plan);
	reply->tenant_id = request->tenant_id;
	reply->plan = request->plan;
	reply->has_since = true;
	reply->since = call_now_ms(call);
	st = store_end(&tx, st);
	if (status_ok(&st))
		publish_keys_changed(call, NULL, request->tenant_id);
	return st;
}
