/*
 * bootstrap: what a store needs before the first call: the operators' tenant, the example plans, and a
 * key to begin with.
 *
 * Several replicas may start at once: inserting the tenant "root" decides who does it, in one transaction
 * with the rest.
 */
#include <stdio.h>
#include <string.h>

#include "accountd_internal.h"
#include "base/id.h"

static const struct store_sql ROOT_GET = {"root_get", "SELECT id FROM tenants WHERE id = 'root'"};
static const struct store_sql ROOT_INSERT = {
    "root_insert",
    "INSERT INTO tenants (id, suspended, plan, plan_since, message) VALUES ($1, 0, 'unlimited', $2, $3) "
    "ON CONFLICT (id) DO NOTHING"};

static struct status
insert_root(struct store_tx *tx, struct arena *arena, int64_t now_ms, int64_t *is_new)
{
	Tenant root = CORBEL__V1__TENANT__INIT;
	root.id = (char *)(uintptr_t)ROOT_TENANT;
	root.name = (char *)(uintptr_t) "Operators";
	root.has_created_at = root.has_updated_at = true;
	root.created_at = root.updated_at = now_ms;
	return store_exec(tx, &ROOT_INSERT,
	                  STORE_PARAMS(store_text(root.id), store_i64(now_ms), packed_value(arena, &root.base)),
	                  is_new);
}

static struct status
issue_admin_key(struct accountd *self, struct store_tx *tx, struct arena *arena, int64_t now_ms,
                const char **secret)
{
	ApiKey key = CORBEL__V1__API_KEY__INIT;
	char *scopes[1] = {(char *)(uintptr_t) "*"};

	key.tenant_id = (char *)(uintptr_t)ROOT_TENANT;
	key.name = (char *)(uintptr_t) "first admin key";
	key.environment = (char *)(uintptr_t) "live";
	key.n_scopes = 1;
	key.scopes = scopes;
	key.has_created_at = true;
	key.created_at = now_ms;
	return key_issue(self, tx, arena, &key, "cb", config_text(self->env.config, "accountd.bootstrap_key"),
	                 secret);
}

static struct status
bootstrap_with(struct accountd *self, struct store_conn *conn, struct arena *arena, const char **secret)
{
	int64_t now_ms = clock_wall_ms(self->env.clock), is_new = 0;
	struct store_rows *rows;
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	st = store_query(&tx, &ROOT_GET, NULL, 0, 1, arena, &rows);
	if (status_ok(&st) && rows_count(rows) > 0)
		return store_end(&tx, st);
	/* The tenant refers to its plan, so the plans come first. */
	st = plans_seed(&tx, now_ms);
	if (status_ok(&st))
		st = insert_root(&tx, arena, now_ms, &is_new);
	if (status_ok(&st) && is_new)
		st = issue_admin_key(self, &tx, arena, now_ms, secret);
	return store_end(&tx, st);
}

struct status
bootstrap(struct accountd *self)
{
	const char *secret = NULL;
	struct store_conn *conn;
	struct arena arena;
	struct status st = store_take(self->env.store, 5000, &conn);

	if (!status_ok(&st))
		return st;
	arena_init(&arena, 4096, 1u << 20);
	st = bootstrap_with(self, conn, &arena, &secret);
	/* A key that the operator gave is his already; one that was made is shown this once. */
	if (status_ok(&st) && secret && !config_text(self->env.config, "accountd.bootstrap_key"))
		host_announce(self->env.host, "first admin key", secret);
	store_put(self->env.store, conn);
	arena_fini(&arena);
	return status_wrap(st, "first start");
}
