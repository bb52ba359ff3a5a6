/*
 * plugins: what a tenant has, and which version of it is in force.
 */
#include <string.h>

#include "base/id.h"
#include "corbel/sandboxd.methods.gen.h"
#include "sandboxd_internal.h"

#define PLUGINS_MAX 1000 /* of a tenant */

static const struct store_sql COUNT = {"plugin_count", "SELECT COUNT(*) FROM plugins WHERE tenant_id = $1"};
static const struct store_sql INSERT = {"plugin_insert", "INSERT INTO plugins (" PLUGIN_COLUMNS
                                                         ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"};
static const struct store_sql GET = {"plugin_get", "SELECT " PLUGIN_COLUMNS " FROM plugins WHERE id = $1"};
/* Locked until the transaction ends: of two changes the later one sees the earlier. */
static const struct store_sql LOCK = {
    "plugin_lock", "UPDATE plugins SET disabled = disabled WHERE id = $1 RETURNING " PLUGIN_COLUMNS};
static const struct store_sql SAVE = {
    "plugin_save",
    "UPDATE plugins SET shared = $2, disabled = $3, installed = $4, message = $5 WHERE id = $1"};
static const struct store_sql LIST = {
    "plugin_list",
    "SELECT " PLUGIN_COLUMNS " FROM plugins WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"};
static const struct store_sql LIST_SHARED = {
    "plugin_list_shared",
    "SELECT " PLUGIN_COLUMNS " FROM plugins WHERE shared = 1 AND id < $1 ORDER BY id DESC LIMIT $2"};

/* ---- rows ---- */

struct status
plugin_from_row(struct arena *arena, const struct store_rows *rows, size_t row, Plugin *out)
{
	const Plugin *stored =
	    (const void *)unpacked(arena, &corbel__v1__plugin__descriptor, rows, row, PLUGIN_MESSAGE);
	if (!stored)
		return status_make(STATUS_DATA_LOSS, "a stored plugin cannot be read");
	*out = *stored;
	return status_ok_value();
}

/* A shared plugin is there for everybody to look at. */
static struct status
plugin_find(struct call *call, const struct store_rows *rows, bool is_shared_seen, Plugin *out)
{
	bool is_seen = rows_count(rows) > 0 && (scope_sees(call, row_text(rows, 0, PLUGIN_TENANT)) ||
	                                        (is_shared_seen && row_i64(rows, 0, PLUGIN_SHARED) != 0));
	return is_seen ? plugin_from_row(call_arena(call), rows, 0, out) : scope_not_found("plugin");
}

struct status
plugin_lock(struct call *call, struct store_tx *tx, const char *id, Plugin *out)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &LOCK, STORE_PARAMS(store_text(id)), 1, call_arena(call), &rows);
	return status_ok(&st) ? plugin_find(call, rows, false, out) : st;
}

struct status
plugin_lock_seen(struct call *call, struct store_tx *tx, const char *id, bool *is_own, Plugin *out)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &LOCK, STORE_PARAMS(store_text(id)), 1, call_arena(call), &rows);

	if (status_ok(&st))
		st = plugin_find(call, rows, true, out);
	*is_own = status_ok(&st) && scope_sees(call, out->tenant_id);
	return st;
}

static struct status
have_room(struct call *call, struct store_tx *tx, const char *tenant)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &COUNT, STORE_PARAMS(store_text(tenant)), 1, call_arena(call), &rows);
	if (status_ok(&st) && row_i64(rows, 0, 0) >= PLUGINS_MAX)
		st = status_make(STATUS_RESOURCE_EXHAUSTED, "the tenant has %d plugins, the most that it can have",
		                 PLUGINS_MAX);
	return st;
}

struct status
plugin_insert(struct call *call, struct store_tx *tx, Plugin *plugin)
{
	struct status st = have_room(call, tx, plugin->tenant_id);

	if (status_ok(&st))
		st = store_exec(tx, &INSERT,
		                STORE_PARAMS(store_text(plugin->id), store_text(plugin->tenant_id),
		                             store_text(plugin->name), store_i64(plugin->shared),
		                             store_i64(plugin->disabled), store_i64(plugin->installed_version),
		                             store_text(plugin->source_id),
		                             packed_value(call_arena(call), &plugin->base)),
		                NULL);
	if (st.code == STATUS_ALREADY_EXISTS)
		st = status_make(STATUS_ALREADY_EXISTS, "plugin '%s' exists already", plugin->name);
	return st;
}

struct status
plugin_save(struct call *call, struct store_tx *tx, Plugin *plugin)
{
	plugin->has_updated_at = true;
	plugin->updated_at = call_now_ms(call);
	return store_exec(tx, &SAVE,
	                  STORE_PARAMS(store_text(plugin->id), store_i64(plugin->shared),
	                               store_i64(plugin->disabled), store_i64(plugin->installed_version),
	                               packed_value(call_arena(call), &plugin->base)),
	                  NULL);
}

struct status
plugin_commit(struct call *call, struct store_tx *tx, struct status st, const char *id)
{
	struct sandboxd *self = call_service(call);

	st = store_end(tx, st);
	if (!status_ok(&st))
		return st;
	library_forget(self->library, id);
	publisher_send(self->env.publisher, "plugins", id, strlen(id));
	return st;
}

/* ---- creating, changing ---- */

static struct status
refuse(struct call *call, const char *pointer, const char *why)
{
	call_violation(call, pointer, "%s", why);
	return status_make(STATUS_INVALID_ARGUMENT, "%s: %s", pointer, why);
}

/* What is shared is every tenant's to run: the operators' own only. */
static struct status
may_share(struct call *call, const char *tenant, bool is_shared)
{
	if (!is_shared || (call_is_operator(call) && strcmp(tenant, "root") == 0))
		return status_ok_value();
	return refuse(call, "/shared", "only operators may share plugins, and only those of the tenant 'root'");
}

void
plugin_put_in_force(struct call *call, Plugin *plugin, uint32_t version)
{
	if (plugin->has_installed_version && plugin->installed_version != version) {
		plugin->has_previous_version = true;
		plugin->previous_version = plugin->installed_version;
	}
	plugin->has_installed_version = plugin->has_installed_at = true;
	plugin->installed_version = version;
	plugin->installed_at = call_now_ms(call);
}

void
plugin_begin(struct call *call, const char *tenant, Plugin *out)
{
	const struct sandboxd *self = call_service(call);

	out->id = arena_strdup(call_arena(call), id_make("plg", self->env.clock, self->env.random).text);
	out->tenant_id = arena_strdup(call_arena(call), tenant);
	out->has_disabled = out->has_created_at = out->has_updated_at = true;
	out->created_at = out->updated_at = call_now_ms(call);
}

static void
version_of_create(const Corbel__V1__CreatePluginRequest *request, PluginVersion *out)
{
	corbel__v1__plugin_version__init(out);
	out->label = request->label;
	out->code = request->code;
	out->limits = request->limits;
	out->has_input_schema = request->has_input_schema;
	out->input_schema = request->input_schema;
	out->has_output_schema = request->has_output_schema;
	out->output_schema = request->output_schema;
}

/* The plugin is inserted last, whole; its versions refer to it, so their rows come after. */
static struct status
add_with_version(struct call *call, struct store_tx *tx, Plugin *plugin, PluginVersion *version,
                 bool is_installed)
{
	struct status st = plugin_insert(call, tx, plugin);

	if (status_ok(&st))
		st = version_add(call, tx, plugin, version);
	if (status_ok(&st) && is_installed)
		plugin_put_in_force(call, plugin, version->version);
	if (status_ok(&st))
		st = plugin_save(call, tx, plugin);
	if (status_ok(&st))
		st = tell_plugin(call, tx, "sandbox.plugin.created", plugin);
	if (status_ok(&st) && is_installed)
		st = tell_plugin(call, tx, "sandbox.plugin.installed", plugin);
	return st;
}

struct status
plugins_create(struct call *call, const Corbel__V1__CreatePluginRequest *request, Plugin *reply)
{
	PluginVersion version;
	const char *tenant;
	struct store_tx tx;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	version_of_create(request, &version);
	if (status_ok(&st))
		st = may_share(call, tenant, request->shared);
	if (status_ok(&st))
		st = version_check(call, &version);
	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	plugin_begin(call, tenant, reply);
	reply->name = request->name;
	reply->description = request->description;
	reply->has_shared = reply->shared = request->shared;
	st = add_with_version(call, &tx, reply, &version, request->install);
	return plugin_commit(call, &tx, st, reply->id);
}

/* The newest version with what the request changes of it; false: nothing. */
static bool
version_of_update(const Corbel__V1__UpdatePluginRequest *request, PluginVersion *version)
{
	bool drops_input = scope_has_null(request->nulls, request->n_nulls, "input_schema");
	bool drops_output = scope_has_null(request->nulls, request->n_nulls, "output_schema");
	bool drops_limits = scope_has_null(request->nulls, request->n_nulls, "limits");
	bool is_new = request->code || request->limits || request->has_input_schema ||
	              request->has_output_schema || drops_input || drops_output || drops_limits;

	if (request->code)
		version->code = request->code;
	if (request->limits || drops_limits)
		version->limits = request->limits;
	if (request->has_input_schema || drops_input) {
		version->has_input_schema = request->has_input_schema;
		version->input_schema = request->input_schema;
	}
	if (request->has_output_schema || drops_output) {
		version->has_output_schema = request->has_output_schema;
		version->output_schema = request->output_schema;
	}
	version->label = request->label;
	return is_new;
}

static struct status
change(struct call *call, struct store_tx *tx, const Corbel__V1__UpdatePluginRequest *request, Plugin *plugin)
{
	struct arena *arena = call_arena(call);
	PluginVersion version;
	struct status st = may_share(call, plugin->tenant_id, request->shared);

	if (request->description || scope_has_null(request->nulls, request->n_nulls, "description"))
		plugin->description = request->description;
	if (request->has_shared)
		plugin->has_shared = plugin->shared = request->shared;
	if (status_ok(&st))
		st = version_read(tx, arena, plugin->id, plugin->latest_version, &version);
	if (status_ok(&st) && version_of_update(request, &version))
		st = version_add(call, tx, plugin, &version);
	if (status_ok(&st) && request->install)
		plugin_put_in_force(call, plugin, plugin->latest_version);
	if (status_ok(&st))
		st = plugin_save(call, tx, plugin);
	if (status_ok(&st))
		st = tell_plugin(call, tx, request->install ? "sandbox.plugin.installed" : "sandbox.plugin.updated",
		                 plugin);
	return st;
}

/* What it brings is checked before the transaction: a check takes a while. */
static struct status
check_update(struct call *call, const Corbel__V1__UpdatePluginRequest *request)
{
	PluginVersion version = CORBEL__V1__PLUGIN_VERSION__INIT;

	version_of_update(request, &version);
	if (!version.code)
		version.code = (char *)(uintptr_t) "result = None";
	bool brings = request->code || request->has_input_schema || request->has_output_schema;
	return brings ? version_check(call, &version) : status_ok_value();
}

struct status
plugins_update(struct call *call, const Corbel__V1__UpdatePluginRequest *request, Plugin *reply)
{
	const char *id;
	struct store_tx tx;
	struct status st = check_update(call, request);

	if (status_ok(&st))
		st = plugin_named_own(call, request->id, &id);
	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	st = plugin_lock(call, &tx, id, reply);
	if (status_ok(&st))
		st = change(call, &tx, request, reply);
	return plugin_commit(call, &tx, st, id);
}

/* ---- reading ---- */

struct status
plugins_get(struct call *call, const Corbel__V1__GetPluginRequest *request, Plugin *reply)
{
	const char *id;
	struct store_rows *rows;
	struct status st = plugin_named_own(call, request->id, &id);

	if (status_ok(&st))
		st = store_read(call_store(call), &GET, STORE_PARAMS(store_text(id)), 1, call_arena(call), &rows);
	return status_ok(&st) ? plugin_find(call, rows, true, reply) : st;
}

static struct status
read_page(struct call *call, const char *tenant, bool is_shared, const struct page *page,
          struct store_rows **rows, size_t *count)
{
	if (is_shared)
		return page_rows(call, &LIST_SHARED, STORE_PARAMS(store_text(page->before), page_limit(page)), page,
		                 rows, count);
	return page_rows(call, &LIST,
	                 STORE_PARAMS(store_text(tenant), store_text(page->before), page_limit(page)), page, rows,
	                 count);
}

struct status
plugins_list(struct call *call, const Corbel__V1__ListPluginsRequest *request,
             Corbel__V1__ListPluginsReply *reply)
{
	struct arena *arena = call_arena(call);
	struct store_rows *rows;
	const char *tenant;
	struct page page;
	size_t count;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = page_read(call, PAGE_ASKED(request), "plg", &page);
	if (status_ok(&st))
		st = read_page(call, tenant, request->shared, &page, &rows, &count);
	if (!status_ok(&st))
		return st;
	reply->plugins = ARENA_ARRAY(arena, Plugin *, count + 1);
	for (; reply->n_plugins < count && status_ok(&st); reply->n_plugins++) {
		reply->plugins[reply->n_plugins] = ARENA_NEW(arena, Plugin);
		st = plugin_from_row(arena, rows, reply->n_plugins, reply->plugins[reply->n_plugins]);
	}
	if (status_ok(&st) && rows_count(rows) > count)
		reply->next_page_token = reply->plugins[count - 1]->id;
	return st;
}
