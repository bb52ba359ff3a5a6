/*
 * versions: what a plugin was and is. They never change; which one is in force is the plugin's.
 */
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "corbel/sandboxd.methods.gen.h"
#include "sandboxd_internal.h"
#include "schema/schema.h"

#define KEPT 50 /* newest versions, beside the installed one and the one before */

static const struct store_sql VERSION_INSERT = {
    "version_insert",
    "INSERT INTO plugin_versions (plugin_id, version, code, message) VALUES ($1, $2, $3, $4)"};
static const struct store_sql VERSION_GET = {
    "version_get", "SELECT code, message FROM plugin_versions WHERE plugin_id = $1 AND version = $2"};
static const struct store_sql VERSION_LIST = {
    "version_list",
    "SELECT message FROM plugin_versions WHERE plugin_id = $1 ORDER BY version DESC LIMIT $2"};
static const struct store_sql VERSION_PRUNE = {
    "version_prune", "DELETE FROM plugin_versions WHERE plugin_id = $1 AND version <= $2 AND version <> $3"
                     " AND version <> $4"};
static const struct store_sql OWNER_OF = {"version_owner", "SELECT tenant_id FROM plugins WHERE id = $1"};

/* ---- reading ---- */

static struct status
version_from_row(struct arena *arena, const struct store_rows *rows, size_t row, size_t column,
                 PluginVersion *out)
{
	const PluginVersion *stored =
	    (const void *)unpacked(arena, &corbel__v1__plugin_version__descriptor, rows, row, column);
	if (!stored)
		return status_make(STATUS_DATA_LOSS, "a stored version of a plugin cannot be read");
	*out = *stored;
	return status_ok_value();
}

static struct status
take_row(struct arena *arena, const struct store_rows *rows, PluginVersion *out)
{
	size_t size;

	if (rows_count(rows) == 0)
		return scope_not_found("version of the plugin");
	struct status st = version_from_row(arena, rows, 0, 1, out);
	const void *code = row_bytes(rows, 0, 0, &size);
	if (status_ok(&st))
		out->code = arena_strndup(arena, code, size);
	return st;
}

struct status
version_read(struct store_tx *tx, struct arena *arena, const char *plugin_id, uint32_t version,
             PluginVersion *out)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &VERSION_GET, STORE_PARAMS(store_text(plugin_id), store_i64(version)),
	                               1, arena, &rows);
	return status_ok(&st) ? take_row(arena, rows, out) : st;
}

/* The plugin of that id or name is there and the caller sees it. */
static struct status
find_owner(struct call *call, const char *named, const char **id)
{
	struct store_rows *rows;
	struct status st = plugin_named_own(call, named, id);

	if (status_ok(&st))
		st = store_read(call_store(call), &OWNER_OF, STORE_PARAMS(store_text(*id)), 1, call_arena(call),
		                &rows);
	if (status_ok(&st) && (rows_count(rows) == 0 || !scope_sees(call, row_text(rows, 0, 0))))
		st = scope_not_found("plugin");
	return st;
}

struct status
plugins_get_version(struct call *call, const Corbel__V1__PluginVersionRequest *request, PluginVersion *reply)
{
	struct store_rows *rows;
	const char *id;
	struct status st = find_owner(call, request->id, &id);

	if (status_ok(&st))
		st =
		    store_read(call_store(call), &VERSION_GET,
		               STORE_PARAMS(store_text(id), store_i64(request->version)), 1, call_arena(call), &rows);
	return status_ok(&st) ? take_row(call_arena(call), rows, reply) : st;
}

struct status
plugins_list_versions(struct call *call, const Corbel__V1__ListPluginVersionsRequest *request,
                      Corbel__V1__ListPluginVersionsReply *reply)
{
	struct arena *arena = call_arena(call);
	struct store_rows *rows;
	const char *id;
	struct status st = find_owner(call, request->id, &id);

	if (status_ok(&st))
		st = store_read(call_store(call), &VERSION_LIST, STORE_PARAMS(store_text(id), store_i64(KEPT + 2)),
		                KEPT + 2, arena, &rows);
	if (!status_ok(&st))
		return st;
	reply->versions = ARENA_ARRAY(arena, PluginVersion *, rows_count(rows) + 1);
	for (size_t row = 0; row < rows_count(rows) && status_ok(&st); row++) {
		PluginVersion *version = ARENA_NEW(arena, PluginVersion);
		st = version_from_row(arena, rows, row, 0, version);
		reply->versions[reply->n_versions++] = version;
	}
	return st;
}

/* ---- adding ---- */

static char *
digest_of(struct arena *arena, const char *code)
{
	uint8_t digest[SHA256_BYTES];
	char *text = arena_alloc(arena, 2 * sizeof(digest) + 1);

	hash_sha256(code, strlen(code), digest);
	text_hex_encode(digest, sizeof(digest), text);
	return text;
}

struct status
version_add(struct call *call, struct store_tx *tx, Plugin *plugin, PluginVersion *version)
{
	struct arena *arena = call_arena(call);
	const char *code = version->code;

	version->plugin_id = plugin->id;
	version->has_version = version->has_created_at = true;
	version->version = plugin->latest_version + 1;
	version->created_at = call_now_ms(call);
	version->digest = digest_of(arena, code);
	version->code = NULL; /* in a column of its own */
	plugin->has_latest_version = true;
	plugin->latest_version = version->version;
	struct status st =
	    store_exec(tx, &VERSION_INSERT,
	               STORE_PARAMS(store_text(plugin->id), store_i64(version->version),
	                            store_bytes(code, strlen(code)), packed_value(arena, &version->base)),
	               NULL);
	version->code = (char *)(uintptr_t)code;
	if (status_ok(&st) && version->version > KEPT)
		st = store_exec(tx, &VERSION_PRUNE,
		                STORE_PARAMS(store_text(plugin->id), store_i64((int64_t)version->version - KEPT),
		                             store_i64(plugin->installed_version),
		                             store_i64(plugin->previous_version)),
		                NULL);
	return st;
}

/* ---- checking ---- */

static void
check_schema(struct call *call, const char *pointer, bool is_there, const ProtobufCBinaryData *text,
             bool *is_wrong)
{
	struct violations found = {.count = 0};

	if (!is_there)
		return;
	struct schema *schema =
	    schema_compile((const char *)text->data, text->len, pointer, call_arena(call), &found);
	schema_free(schema);
	for (size_t i = 0; i < found.count; i++)
		call_violation(call, found.items[i].pointer, "%s", found.items[i].detail);
	*is_wrong = *is_wrong || !schema;
}

static void
complain_of_code(struct call *call, const PluginRun *run)
{
	for (size_t i = 0; i < run->n_violations; i++) {
		const Corbel__V1__CodeViolation *one = run->violations[i];
		const char *hint = one->hint && *one->hint ? arena_printf(call_arena(call), "; %s", one->hint) : "";
		call_violation(call, "/code", "line %u, column %u: %s%s", one->line, one->column,
		               one->reason ? one->reason : "may not run", hint);
	}
	if (run->n_violations == 0)
		call_violation(call, "/code", "%s", run->message ? run->message : "cannot be checked");
}

struct status
version_check(struct call *call, const PluginVersion *version)
{
	const PluginRun *run;
	bool is_wrong = false;

	check_schema(call, "/input_schema", version->has_input_schema, &version->input_schema, &is_wrong);
	check_schema(call, "/output_schema", version->has_output_schema, &version->output_schema, &is_wrong);
	struct status st = code_check(call_service(call), call_arena(call), call_tenant(call), version->code,
	                              strlen(version->code), &run);
	if (!status_ok(&st))
		return st;
	if (run->outcome != CORBEL__V1__RUN_OUTCOME__OK) {
		complain_of_code(call, run);
		is_wrong = true;
	}
	return is_wrong ? status_make(STATUS_INVALID_ARGUMENT, "the plugin cannot be taken as it is") : st;
}
