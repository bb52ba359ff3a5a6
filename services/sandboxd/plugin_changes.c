/*
 * plugin_changes: changes of a plugin that touch no version: rollback, enable, disable, delete.
 */
#include "corbel/sandboxd.methods.gen.h"
#include "sandboxd_internal.h"

static const struct store_sql DELETE = {"plugin_delete", "DELETE FROM plugins WHERE id = $1"};

struct change_of {
	const char *event;
	struct status (*apply)(struct call *call, Plugin *plugin);
};

static struct status
apply(struct call *call, const char *named, const struct change_of *what, Plugin *reply)
{
	const char *id;
	struct store_tx tx;
	struct status st = plugin_named_own(call, named, &id);

	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	st = plugin_lock(call, &tx, id, reply);
	if (status_ok(&st))
		st = what->apply(call, reply);
	if (status_ok(&st))
		st = plugin_save(call, &tx, reply);
	if (status_ok(&st))
		st = tell_plugin(call, &tx, what->event, reply);
	return plugin_commit(call, &tx, st, id);
}

static struct status
roll_back(struct call *call, Plugin *plugin)
{
	if (!plugin->has_previous_version)
		return status_make(STATUS_FAILED_PRECONDITION, "no other version of the plugin was in force before");
	plugin_put_in_force(call, plugin, plugin->previous_version);
	return status_ok_value();
}

static struct status
enable(struct call *call, Plugin *plugin)
{
	(void)call;
	plugin->has_disabled = true;
	plugin->disabled = false;
	return status_ok_value();
}

static struct status
disable(struct call *call, Plugin *plugin)
{
	(void)call;
	plugin->has_disabled = plugin->disabled = true;
	return status_ok_value();
}

struct status
plugins_rollback(struct call *call, const Corbel__V1__GetPluginRequest *request, Plugin *reply)
{
	return apply(call, request->id, &(struct change_of){"sandbox.plugin.installed", roll_back}, reply);
}

struct status
plugins_enable(struct call *call, const Corbel__V1__GetPluginRequest *request, Plugin *reply)
{
	return apply(call, request->id, &(struct change_of){"sandbox.plugin.enabled", enable}, reply);
}

struct status
plugins_disable(struct call *call, const Corbel__V1__GetPluginRequest *request, Plugin *reply)
{
	return apply(call, request->id, &(struct change_of){"sandbox.plugin.disabled", disable}, reply);
}

struct status
plugins_delete(struct call *call, const Corbel__V1__GetPluginRequest *request, Corbel__V1__Empty *reply)
{
	const char *id;
	struct store_tx tx;
	Plugin plugin;
	struct status st = plugin_named_own(call, request->id, &id);

	(void)reply;
	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	st = plugin_lock(call, &tx, id, &plugin);
	if (status_ok(&st))
		st = store_exec(&tx, &DELETE, STORE_PARAMS(store_text(id)), NULL);
	if (status_ok(&st))
		st = tell_plugin(call, &tx, "sandbox.plugin.deleted", &plugin);
	return plugin_commit(call, &tx, st, id);
}
