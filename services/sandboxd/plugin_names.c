/*
 * plugin_names: plugins by the names that their tenants gave them, wherever callers may say an id.
 *
 * A name never changes, and no id is given twice: what a name stood for may be gone when the id is used, but
 * is never another plugin.
 */
#include "sandboxd_internal.h"

/* Only the tenant "root" shares, so there are two at most; the tenant's own comes first. */
static const struct store_sql NAMED = {
    "plugin_named", "SELECT id FROM plugins WHERE tenant_id IN ($1, 'root') AND name = $2"
                    " AND (tenant_id = $1 OR shared = 1) ORDER BY CASE WHEN tenant_id = $1 THEN 0 ELSE 1 END"
                    " LIMIT 1"};

struct status
plugin_named(struct call *call, struct store_conn *conn, const char *tenant, const char *text,
             const char **id)
{
	struct store_rows *rows;

	*id = text;
	if (id_is_valid(text, "plg"))
		return status_ok_value();
	struct status st = store_read(conn, &NAMED, STORE_PARAMS(store_text(tenant), store_text(text)), 1,
	                              call_arena(call), &rows);
	if (status_ok(&st) && rows_count(rows) == 0)
		st = scope_not_found("plugin");
	if (status_ok(&st))
		*id = row_text(rows, 0, 0);
	return st;
}

struct status
plugin_named_own(struct call *call, const char *text, const char **id)
{
	return plugin_named(call, call_store(call), call_tenant(call), text, id);
}
