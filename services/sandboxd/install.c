/*
 * install: putting a version in force: of a tenant's own plugin, or of one that is shared, which the tenant
 * then has a copy of. What its owner does to the original later changes no copy.
 */
#include <string.h>

#include "corbel/sandboxd.methods.gen.h"
#include "sandboxd_internal.h"

static const struct store_sql COPY_LOCK = {
    "plugin_copy_lock", "UPDATE plugins SET disabled = disabled WHERE tenant_id = $1 AND source_id = $2"
                        " RETURNING " PLUGIN_COLUMNS};

typedef Corbel__V1__InstallPluginRequest InstallPluginRequest;

static struct status
install_own(struct call *call, struct store_tx *tx, const InstallPluginRequest *request, Plugin *plugin)
{
	uint32_t wanted = request->has_version ? request->version : plugin->latest_version;
	PluginVersion version;
	struct status st = version_read(tx, call_arena(call), plugin->id, wanted, &version);

	if (status_ok(&st)) {
		plugin_put_in_force(call, plugin, wanted);
		st = plugin_save(call, tx, plugin);
	}
	return status_ok(&st) ? tell_plugin(call, tx, "sandbox.plugin.installed", plugin) : st;
}

/* The tenant's copy of it, or the beginning of one. */
static struct status
find_copy(struct call *call, struct store_tx *tx, const char *tenant, const Plugin *source, bool *is_new,
          Plugin *out)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &COPY_LOCK, STORE_PARAMS(store_text(tenant), store_text(source->id)),
	                               1, call_arena(call), &rows);

	*is_new = status_ok(&st) && rows_count(rows) == 0;
	if (!status_ok(&st) || !*is_new)
		return status_ok(&st) ? plugin_from_row(call_arena(call), rows, 0, out) : st;
	plugin_begin(call, tenant, out);
	out->name = source->name;
	out->description = source->description;
	out->source_id = source->id;
	return plugin_insert(call, tx, out);
}

static struct status
install_copy(struct call *call, struct store_tx *tx, const char *tenant, const Plugin *source, Plugin *out)
{
	PluginVersion version;
	bool is_new;

	if (!source->has_installed_version)
		return status_make(STATUS_FAILED_PRECONDITION, "no version of the shared plugin is in force");
	struct status st = version_read(tx, call_arena(call), source->id, source->installed_version, &version);
	if (status_ok(&st))
		st = find_copy(call, tx, tenant, source, &is_new, out);
	bool has_it = status_ok(&st) && !is_new && out->source_version == source->installed_version;
	if (status_ok(&st) && !has_it)
		st = version_add(call, tx, out, &version);
	if (!status_ok(&st))
		return st;
	out->has_source_version = true;
	out->source_version = source->installed_version;
	plugin_put_in_force(call, out, out->latest_version);
	st = plugin_save(call, tx, out);
	return status_ok(&st) ? tell_plugin(call, tx, "sandbox.plugin.installed", out) : st;
}

struct status
plugins_install(struct call *call, const InstallPluginRequest *request, Plugin *reply)
{
	const char *tenant, *id;
	bool is_own;
	Plugin plugin;
	struct store_tx tx;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = plugin_named(call, call_store(call), tenant, request->id, &id);
	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	st = plugin_lock_seen(call, &tx, id, &is_own, &plugin);
	bool is_copied = status_ok(&st) && plugin.shared && strcmp(plugin.tenant_id, tenant) != 0;
	if (is_copied) {
		st = install_copy(call, &tx, tenant, &plugin, reply);
	} else if (status_ok(&st)) {
		*reply = plugin;
		st = install_own(call, &tx, request, reply);
	}
	return plugin_commit(call, &tx, st, status_ok(&st) ? reply->id : id);
}
