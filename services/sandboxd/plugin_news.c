/*
 * plugin_news: what sandboxd tells the event log of plugins, in the transaction of the change.
 */
#include "sandboxd_internal.h"

struct status
tell_plugin(struct call *call, struct store_tx *tx, const char *type, const Plugin *plugin)
{
	const struct sandboxd *self = call_service(call);
	const char *by = call_key_id(call);
	bool is_installed = plugin->has_installed_version;

	return outbox_add(
	    self->env.outbox, tx, call_arena(call),
	    &(struct outbox_event){
	        .tenant = plugin->tenant_id,
	        .type = type,
	        .subject = plugin->id,
	        .fields = (const struct outbox_field[]){
	            {.name = "id", .text = plugin->id},
	            {.name = "name", .text = plugin->name},
	            {.name = "latest_version", .type = OUTBOX_I64, .number = plugin->latest_version},
	            {.name = "by", .text = by && by[0] ? by : NULL},
	            {.name = is_installed ? "installed_version" : NULL,
	             .type = OUTBOX_I64,
	             .number = plugin->installed_version},
	            {.name = NULL}}});
}
