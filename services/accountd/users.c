/*
 * users: people of a tenant.
 */
#include <string.h>

#include "accountd_internal.h"
#include "base/id.h"
#include "corbel/accountd.methods.gen.h"

static const struct store_sql USER_INSERT = {
    "user_insert", "INSERT INTO users (id, tenant_id, email, message) VALUES ($1, $2, $3, $4)"};
static const struct store_sql USER_GET = {"user_get", "SELECT message FROM users WHERE id = $1"};
/* Locked until the transaction ends: of two changes the later one sees the earlier. */
static const struct store_sql USER_LOCK = {"user_lock",
                                           "UPDATE users SET email = email WHERE id = $1 RETURNING message"};
static const struct store_sql USER_LIST = {
    "user_list", "SELECT message FROM users WHERE tenant_id = $1 AND ($2 = '' OR email = $2) AND id < $3 "
                 "ORDER BY id DESC LIMIT $4"};
static const struct store_sql USER_UPDATE = {"user_update",
                                             "UPDATE users SET email = $2, message = $3 WHERE id = $1"};
static const struct store_sql USER_DELETE = {"user_delete", "DELETE FROM users WHERE id = $1"};

static struct status
user_from_row(struct arena *arena, const struct store_rows *rows, size_t row, User *out)
{
	const User *stored = (User *)unpacked(arena, &corbel__v1__user__descriptor, rows, row, 0);
	if (!stored)
		return status_make(STATUS_DATA_LOSS, "a stored user cannot be read");
	*out = *stored;
	return status_ok_value();
}

/* The user of a row, if the caller may see it. */
static struct status
user_find(struct call *call, const struct store_rows *rows, User *out)
{
	if (rows_count(rows) == 0)
		return scope_not_found("user");
	struct status st = user_from_row(call_arena(call), rows, 0, out);
	if (status_ok(&st) && !scope_sees(call, out->tenant_id)) {
		corbel__v1__user__init(out);
		return scope_not_found("user");
	}
	return st;
}

static struct status
address_taken(struct call *call, struct status st)
{
	if (st.code != STATUS_ALREADY_EXISTS)
		return st;
	call_violation(call, "/email", "another user of the tenant has this address");
	return status_make(STATUS_ALREADY_EXISTS, "another user of the tenant has this address");
}

struct status
users_create(struct call *call, const Corbel__V1__CreateUserRequest *request, User *reply)
{
	struct accountd *self = call_service(call);
	struct arena *arena = call_arena(call);
	struct id id = id_make("usr", self->env.clock, self->env.random);
	const char *tenant;
	struct store_tx tx;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	reply->id = arena_strdup(arena, id.text);
	reply->tenant_id = (char *)(uintptr_t)tenant;
	reply->email = request->email;
	reply->name = request->name;
	reply->has_role = reply->has_disabled = true;
	reply->role = request->has_role ? request->role : CORBEL__V1__ROLE__MEMBER;
	reply->n_metadata = request->n_metadata;
	reply->metadata = (Corbel__V1__User__MetadataEntry **)(void *)request->metadata;
	reply->has_created_at = reply->has_updated_at = true;
	reply->created_at = reply->updated_at = call_now_ms(call);
	st = store_exec(&tx, &USER_INSERT,
	                STORE_PARAMS(store_text(reply->id), store_text(tenant), store_text(reply->email),
	                             packed_value(arena, &reply->base)),
	                NULL);
	if (st.code == STATUS_FAILED_PRECONDITION)
		st = scope_not_found("tenant");
	if (status_ok(&st))
		st = tell_user(call, &tx, "user.created", reply);
	return store_end(&tx, address_taken(call, st));
}

struct status
users_get(struct call *call, const Corbel__V1__GetUserRequest *request, User *reply)
{
	struct store_rows *rows;
	struct status st = store_read(call_store(call), &USER_GET, STORE_PARAMS(store_text(request->id)), 1,
	                              call_arena(call), &rows);
	return status_ok(&st) ? user_find(call, rows, reply) : st;
}

struct status
users_list(struct call *call, const Corbel__V1__ListUsersRequest *request, Corbel__V1__ListUsersReply *reply)
{
	struct arena *arena = call_arena(call);
	struct store_rows *rows;
	struct page page;
	size_t count;
	const char *tenant;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = page_read(call, PAGE_ASKED(request), "usr", &page);
	if (status_ok(&st))
		st = page_rows(call, &USER_LIST,
		               STORE_PARAMS(store_text(tenant), store_text(request->email ? request->email : ""),
		                            store_text(page.before), page_limit(&page)),
		               &page, &rows, &count);
	if (!status_ok(&st))
		return st;
	reply->users = ARENA_ARRAY(arena, User *, count + 1);
	for (; reply->n_users < count && status_ok(&st); reply->n_users++) {
		reply->users[reply->n_users] = ARENA_NEW(arena, User);
		st = user_from_row(arena, rows, reply->n_users, reply->users[reply->n_users]);
	}
	if (status_ok(&st) && rows_count(rows) > count)
		reply->next_page_token = reply->users[count - 1]->id;
	return st;
}

static void
user_patch(const Corbel__V1__UpdateUserRequest *request, User *user)
{
	if (request->email)
		user->email = request->email;
	if (request->name || scope_has_null(request->nulls, request->n_nulls, "name"))
		user->name = request->name;
	if (request->has_role)
		user->role = request->role;
	if (request->has_disabled)
		user->disabled = request->disabled;
	if (request->n_metadata > 0 || scope_has_null(request->nulls, request->n_nulls, "metadata")) {
		user->n_metadata = request->n_metadata;
		user->metadata = (Corbel__V1__User__MetadataEntry **)(void *)request->metadata;
	}
}

struct status
users_update(struct call *call, const Corbel__V1__UpdateUserRequest *request, User *reply)
{
	struct store_rows *rows;
	struct store_tx tx;
	struct status st = store_begin(call_store(call), &tx);

	if (!status_ok(&st))
		return st;
	st = store_query(&tx, &USER_LOCK, STORE_PARAMS(store_text(request->id)), 1, call_arena(call), &rows);
	if (status_ok(&st))
		st = user_find(call, rows, reply);
	if (status_ok(&st)) {
		user_patch(request, reply);
		reply->updated_at = call_now_ms(call);
		st = store_exec(&tx, &USER_UPDATE,
		                STORE_PARAMS(store_text(reply->id), store_text(reply->email),
		                             packed_value(call_arena(call), &reply->base)),
		                NULL);
	}
	if (status_ok(&st))
		st = tell_user(call, &tx, "user.updated", reply);
	return store_end(&tx, address_taken(call, st));
}

struct status
users_delete(struct call *call, const Corbel__V1__DeleteUserRequest *request, Corbel__V1__Empty *reply)
{
	User user;
	struct store_rows *rows;
	struct store_tx tx;
	struct status st = store_begin(call_store(call), &tx);

	(void)reply;
	if (!status_ok(&st))
		return st;
	st = store_query(&tx, &USER_LOCK, STORE_PARAMS(store_text(request->id)), 1, call_arena(call), &rows);
	if (status_ok(&st))
		st = user_find(call, rows, &user);
	if (status_ok(&st))
		st = store_exec(&tx, &USER_DELETE, STORE_PARAMS(store_text(request->id)), NULL);
	if (status_ok(&st))
		st = tell_user(call, &tx, "user.deleted", &user);
	return store_end(&tx, st);
}
