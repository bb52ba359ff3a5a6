/*
 * endpoints: where events are sent.
 *
 * Whatever changes which events an endpoint gets happens under its tenant's log: an event goes to the
 * endpoints as they were when it was recorded.
 */
#include <string.h>

#include "base/id.h"
#include "clearing.h"
#include "corbel/webhookd.methods.gen.h"
#include "endpoint_check.h"
#include "endpoint_keys.h"
#include "endpoint_sink.h"
#include "notice.h"

#define ENDPOINTS_MAX   1000 /* of a tenant */
#define PAYLOAD_VERSION 1    /* of the body in sink_http.c */

#define COLUMNS "id, tenant_id, disabled, message"

static const struct store_sql ENDPOINT_INSERT = {
    "endpoint_insert", "INSERT INTO endpoints (id, tenant_id, disabled, next_at, "
                       "owner, owner_token, owner_until, secret, version,"
                       " message, pulled) VALUES ($1, $2, $7, $3, '', 0, 0, $4, 1, $5, $6)"};
static const struct store_sql ENDPOINT_GET = {"endpoint_get",
                                              "SELECT " COLUMNS " FROM endpoints WHERE id = $1"};
static const struct store_sql ENDPOINT_COUNT = {"endpoint_count",
                                                "SELECT COUNT(*) FROM endpoints WHERE tenant_id = $1"};
static const struct store_sql ENDPOINT_LIST = {
    "endpoint_list",
    "SELECT " COLUMNS " FROM endpoints WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"};
/* Raising the version makes the replica that delivers to it read it again. */
static const struct store_sql ENDPOINT_UPDATE = {
    "endpoint_update",
    "UPDATE endpoints SET disabled = $2, message = $3, version = version + 1 WHERE id = $1"};
static const struct store_sql ENDPOINT_DELETE = {"endpoint_delete", "DELETE FROM endpoints WHERE id = $1"};
/* Whoever delivers to it loses it with the change. */
static const struct store_sql ENDPOINT_REST = {
    "endpoint_rest", "UPDATE endpoints SET next_at = $2, failing_since = NULL, owner = '', owner_until = 0,"
                     " owner_token = owner_token + 1 WHERE id = $1"};
/* ---- rows ---- */

static struct status
endpoint_from_row(struct arena *arena, const struct store_rows *rows, size_t row, Endpoint *out)
{
	const Endpoint *stored = (Endpoint *)unpacked(arena, &corbel__v1__endpoint__descriptor, rows, row, 3);
	if (!stored)
		return status_make(STATUS_DATA_LOSS, "a stored endpoint cannot be read");
	*out = *stored;
	out->id = row_text(rows, row, 0);
	out->tenant_id = row_text(rows, row, 1);
	out->has_disabled = true;
	out->disabled = row_i64(rows, row, 2) != 0;
	return status_ok_value();
}

static struct status
endpoint_find(struct call *call, const struct store_rows *rows, Endpoint *out)
{
	if (rows_count(rows) == 0 || !scope_sees(call, row_text(rows, 0, 1)))
		return scope_not_found("endpoint");
	return endpoint_from_row(call_arena(call), rows, 0, out);
}

/* ---- create, read ---- */

static void
endpoint_from_request(const Corbel__V1__CreateEndpointRequest *request, Endpoint *out)
{
	out->has_sink = true;
	out->sink = request->sink ? request->sink : CORBEL__V1__SINK__HTTP;
	out->stream = request->stream;
	out->callback = request->callback;
	out->plugin = request->plugin;
	out->transform = request->transform;
	out->has_stream_max_len = request->has_stream_max_len;
	out->stream_max_len = request->stream_max_len;
	out->url = request->url;
	out->description = request->description;
	out->filter = request->filter;
	out->n_headers = request->n_headers;
	out->headers = (Corbel__V1__Endpoint__HeadersEntry **)(void *)request->headers;
	out->has_rate_per_second = request->has_rate_per_second;
	out->rate_per_second = request->rate_per_second;
	out->has_concurrency = request->has_concurrency;
	out->concurrency = request->concurrency;
	out->n_retry_ms = request->n_retry_ms;
	out->retry_ms = request->retry_ms;
	out->has_timeout_ms = request->has_timeout_ms;
	out->timeout_ms = request->timeout_ms;
	out->has_ordered = request->has_ordered;
	out->ordered = request->ordered;
	out->has_signing = request->has_signing;
	out->signing = request->signing;
	out->has_hub_signature = request->has_hub_signature;
	out->hub_signature = request->hub_signature;
	out->has_disable_after_ms = request->has_disable_after_ms;
	out->disable_after_ms = request->disable_after_ms;
	out->n_metadata = request->n_metadata;
	out->metadata = (Corbel__V1__Endpoint__MetadataEntry **)(void *)request->metadata;
	out->n_contacts = request->n_contacts;
	out->contacts = request->contacts;
	out->has_format = request->has_format;
	out->format = request->format;
	out->order_by = request->order_by;
	out->has_handshake = request->has_handshake;
	out->handshake = request->handshake;
	out->has_payload_version = true;
	out->payload_version = request->has_payload_version ? request->payload_version : PAYLOAD_VERSION;
}

/* Nothing is sent to it before its receiver has agreed. */
static void
await_consent(Endpoint *endpoint)
{
	endpoint->has_consented_at = endpoint->has_allowed_per_minute = false;
	endpoint->has_disabled = endpoint->has_disabled_reason = endpoint->disabled = true;
	endpoint->disabled_reason = CORBEL__V1__DISABLED_REASON__UNCONSENTED;
}

static struct status
insert(struct call *call, struct store_tx *tx, const Endpoint *endpoint, const struct signing_key *key)
{
	struct webhookd *self = call_service(call);
	struct arena *arena = call_arena(call);
	struct log_state log;
	struct store_rows *rows;
	struct status st = log_lock(tx, arena, endpoint->tenant_id, &log);

	if (status_ok(&st))
		st = store_query(tx, &ENDPOINT_COUNT, STORE_PARAMS(store_text(endpoint->tenant_id)), 1, arena, &rows);
	if (status_ok(&st) && row_i64(rows, 0, 0) >= ENDPOINTS_MAX)
		st = status_make(STATUS_FAILED_PRECONDITION, "a tenant has at most %d endpoints", ENDPOINTS_MAX);
	if (status_ok(&st))
		st = store_exec(tx, &ENDPOINT_INSERT,
		                STORE_PARAMS(store_text(endpoint->id), store_text(endpoint->tenant_id),
		                             store_i64(NEVER_MS), secret_seal(self, arena, key),
		                             packed_value(arena, &endpoint->base),
		                             store_i64(endpoint_is_pulled(endpoint)), store_i64(endpoint->disabled)),
		                NULL);
	if (status_ok(&st))
		st = tell_endpoint(self, tx, arena, "endpoint.created", endpoint);
	return status_ok(&st) ? log_bump_endpoints(tx, endpoint->tenant_id) : st;
}

struct status
endpoints_create(struct call *call, const Corbel__V1__CreateEndpointRequest *request,
                 Corbel__V1__CreateEndpointReply *reply)
{
	struct webhookd *self = call_service(call);
	struct arena *arena = call_arena(call);
	Endpoint *endpoint = ARENA_NEW(arena, Endpoint);
	const char *tenant;
	struct signing_key key;
	struct store_tx tx;

	corbel__v1__endpoint__init(endpoint);
	endpoint_from_request(request, endpoint);
	struct status st = scope_tenant(call, request->tenant_id, &tenant);
	if (status_ok(&st))
		st = endpoint_check(call, endpoint);
	if (status_ok(&st) && request->secret && !endpoint_is_signed(endpoint))
		st = endpoint_refuse(call, "/secret", "is for the sink HTTP, whose deliveries are signed");
	if (status_ok(&st))
		st = key_choose(call, request->secret, &key);
	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	endpoint->id = arena_strdup(arena, id_make("ep", self->env.clock, self->env.random).text);
	endpoint->tenant_id = (char *)(uintptr_t)tenant;
	endpoint->has_created_at = endpoint->has_updated_at = true;
	endpoint->created_at = endpoint->updated_at = call_now_ms(call);
	endpoint->has_disabled = true;
	if (endpoint->handshake)
		await_consent(endpoint);
	reply->endpoint = endpoint;
	if (endpoint_is_signed(endpoint)) {
		endpoint->public_key = key_public_text(arena, &key);
		reply->secret = key_secret_text(arena, &key);
	}
	st = store_end(&tx, insert(call, &tx, endpoint, &key));
	signing_key_wipe(&key);
	return st;
}

struct status
endpoints_get(struct call *call, const Corbel__V1__GetEndpointRequest *request, Endpoint *reply)
{
	struct store_rows *rows;
	struct status st = store_read(call_store(call), &ENDPOINT_GET, STORE_PARAMS(store_text(request->id)), 1,
	                              call_arena(call), &rows);
	return status_ok(&st) ? endpoint_find(call, rows, reply) : st;
}

struct status
endpoints_list(struct call *call, const Corbel__V1__ListEndpointsRequest *request,
               Corbel__V1__ListEndpointsReply *reply)
{
	struct arena *arena = call_arena(call);
	struct store_rows *rows;
	const char *tenant;
	struct page page;
	size_t count;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = page_read(call, PAGE_ASKED(request), "ep", &page);
	if (status_ok(&st))
		st = page_rows(call, &ENDPOINT_LIST,
		               STORE_PARAMS(store_text(tenant), store_text(page.before), page_limit(&page)), &page,
		               &rows, &count);
	if (!status_ok(&st))
		return st;
	reply->endpoints = ARENA_ARRAY(arena, Endpoint *, count + 1);
	for (; reply->n_endpoints < count && status_ok(&st); reply->n_endpoints++) {
		reply->endpoints[reply->n_endpoints] = ARENA_NEW(arena, Endpoint);
		st = endpoint_from_row(arena, rows, reply->n_endpoints, reply->endpoints[reply->n_endpoints]);
	}
	if (status_ok(&st) && rows_count(rows) > count)
		reply->next_page_token = reply->endpoints[count - 1]->id;
	return st;
}

/* ---- change ---- */

/* Reads the endpoint, then locks its log and reads it again: the log comes first everywhere. */
struct status
endpoint_lock(struct call *call, struct store_tx *tx, const char *id, Endpoint *out)
{
	struct log_state log;
	struct store_rows *rows;
	struct status st =
	    store_query(tx, &ENDPOINT_GET, STORE_PARAMS(store_text(id)), 1, call_arena(call), &rows);

	if (status_ok(&st))
		st = endpoint_find(call, rows, out);
	if (status_ok(&st))
		st = log_lock(tx, call_arena(call), out->tenant_id, &log);
	if (status_ok(&st))
		st = store_query(tx, &ENDPOINT_GET, STORE_PARAMS(store_text(id)), 1, call_arena(call), &rows);
	return status_ok(&st) ? endpoint_find(call, rows, out) : st;
}

struct status
endpoint_save(struct store_tx *tx, struct arena *arena, Endpoint *endpoint, int64_t now_ms)
{
	endpoint->has_updated_at = true;
	endpoint->updated_at = now_ms;
	struct status st = store_exec(tx, &ENDPOINT_UPDATE,
	                              STORE_PARAMS(store_text(endpoint->id), store_i64(endpoint->disabled),
	                                           packed_value(arena, &endpoint->base)),
	                              NULL);
	return status_ok(&st) ? log_bump_endpoints(tx, endpoint->tenant_id) : st;
}

#define TAKE_SCALAR(field)                                                                                   \
	do {                                                                                                     \
		if (request->has_##field || scope_has_null(request->nulls, request->n_nulls, #field)) {              \
			out->has_##field = request->has_##field;                                                         \
			out->field = request->field;                                                                     \
		}                                                                                                    \
	} while (0)
#define TAKE_LIST(field)                                                                                     \
	do {                                                                                                     \
		if (request->n_##field > 0 || scope_has_null(request->nulls, request->n_nulls, #field)) {            \
			out->n_##field = request->n_##field;                                                             \
			out->field = (void *)request->field;                                                             \
		}                                                                                                    \
	} while (0)

static void
take_changes(const Corbel__V1__UpdateEndpointRequest *request, Endpoint *out)
{
	if (request->url)
		out->url = request->url;
	if (request->description || scope_has_null(request->nulls, request->n_nulls, "description"))
		out->description = request->description;
	if (request->filter || scope_has_null(request->nulls, request->n_nulls, "filter"))
		out->filter = request->filter;
	TAKE_LIST(headers);
	TAKE_LIST(retry_ms);
	TAKE_LIST(metadata);
	TAKE_LIST(contacts);
	TAKE_SCALAR(rate_per_second);
	TAKE_SCALAR(concurrency);
	TAKE_SCALAR(timeout_ms);
	TAKE_SCALAR(stream_max_len);
	TAKE_SCALAR(ordered);
	TAKE_SCALAR(signing);
	TAKE_SCALAR(hub_signature);
	TAKE_SCALAR(disable_after_ms);
	TAKE_SCALAR(format);
	TAKE_SCALAR(handshake);
	if (request->order_by || scope_has_null(request->nulls, request->n_nulls, "order_by"))
		out->order_by = request->order_by;
	if (request->transform || scope_has_null(request->nulls, request->n_nulls, "transform"))
		out->transform = request->transform;
	if (request->has_payload_version)
		out->payload_version = request->payload_version;
}

static struct status
set_disabled(const struct webhookd *self, struct store_tx *tx, struct arena *arena, Endpoint *endpoint,
             Corbel__V1__DisabledReason reason, int64_t now_ms)
{
	endpoint->has_disabled = true;
	endpoint->disabled = reason != 0;
	endpoint->has_disabled_reason = endpoint->disabled;
	endpoint->disabled_reason = reason;
	struct status st = endpoint_save(tx, arena, endpoint, now_ms);
	if (status_ok(&st))
		st = endpoint->disabled ? clearing_skip(tx, arena, endpoint->id, now_ms)
		                        : clearing_check(tx, arena, endpoint->id);
	if (status_ok(&st))
		st =
		    store_exec(tx, &ENDPOINT_REST, STORE_PARAMS(store_text(endpoint->id), store_i64(NEVER_MS)), NULL);
	if (status_ok(&st))
		st = tell_endpoint(self, tx, arena, endpoint->disabled ? "endpoint.disabled" : "endpoint.enabled",
		                   endpoint);
	return st;
}

/* What follows from a change for a receiver that is asked first: another URL is another one. */
static struct status
save_changes(struct call *call, struct store_tx *tx, const Endpoint *before, Endpoint *after)
{
	bool is_another = !after->url || !before->url || strcmp(before->url, after->url) != 0;

	if (!after->handshake || (before->handshake && !is_another))
		return endpoint_save(tx, call_arena(call), after, call_now_ms(call));
	await_consent(after);
	return set_disabled(call_service(call), tx, call_arena(call), after,
	                    CORBEL__V1__DISABLED_REASON__UNCONSENTED, call_now_ms(call));
}

struct status
endpoints_update(struct call *call, const Corbel__V1__UpdateEndpointRequest *request, Endpoint *reply)
{
	Endpoint before;
	struct store_tx tx;
	struct status st = store_begin(call_store(call), &tx);

	if (!status_ok(&st))
		return st;
	st = endpoint_lock(call, &tx, request->id, reply);
	if (status_ok(&st)) {
		before = *reply;
		take_changes(request, reply);
		st = endpoint_check(call, reply);
	}
	if (status_ok(&st))
		st = save_changes(call, &tx, &before, reply);
	if (status_ok(&st))
		st = tell_endpoint(call_service(call), &tx, call_arena(call), "endpoint.updated", reply);
	return store_end(&tx, st);
}

struct status
endpoints_delete(struct call *call, const Corbel__V1__DeleteEndpointRequest *request,
                 Corbel__V1__Empty *reply)
{
	Endpoint endpoint;
	struct store_tx tx;
	struct status st = store_begin(call_store(call), &tx);

	(void)reply;
	if (!status_ok(&st))
		return st;
	st = endpoint_lock(call, &tx, request->id, &endpoint);
	if (status_ok(&st))
		st = store_exec(&tx, &ENDPOINT_DELETE, STORE_PARAMS(store_text(request->id)), NULL);
	if (status_ok(&st))
		st = clearing_forget(&tx, call_arena(call), request->id);
	if (status_ok(&st))
		st = log_bump_endpoints(&tx, endpoint.tenant_id);
	if (status_ok(&st))
		st = tell_endpoint(call_service(call), &tx, call_arena(call), "endpoint.deleted", &endpoint);
	return store_end(&tx, st);
}

struct status
endpoint_disable(const struct webhookd *self, struct store_tx *tx, struct arena *arena, const char *id,
                 Corbel__V1__DisabledReason reason, int64_t since_ms, int64_t now_ms)
{
	struct store_rows *rows;
	Endpoint endpoint;
	struct status st = store_query(tx, &ENDPOINT_GET, STORE_PARAMS(store_text(id)), 1, arena, &rows);

	if (!status_ok(&st) || rows_count(rows) == 0)
		return st;
	st = endpoint_from_row(arena, rows, 0, &endpoint);
	if (!status_ok(&st) || endpoint.disabled)
		return st;
	st = set_disabled(self, tx, arena, &endpoint, reason, now_ms);
	return status_ok(&st) ? notice_disabled(self, tx, arena, &endpoint, since_ms, now_ms) : st;
}

struct status
endpoint_agree(struct call *call, struct store_tx *tx, Endpoint *endpoint)
{
	if (endpoint->disabled_reason != CORBEL__V1__DISABLED_REASON__UNCONSENTED)
		return endpoint_save(tx, call_arena(call), endpoint, call_now_ms(call));
	return set_disabled(call_service(call), tx, call_arena(call), endpoint, 0, call_now_ms(call));
}

static struct status
switch_endpoint(struct call *call, const char *id, Corbel__V1__DisabledReason reason, Endpoint *reply)
{
	struct store_tx tx;
	struct status st = reason == 0 ? clearing_finish(call, id) : status_ok_value();

	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	st = endpoint_lock(call, &tx, id, reply);
	if (status_ok(&st) && reason == 0 && reply->handshake && !reply->has_consented_at)
		st = status_make(STATUS_FAILED_PRECONDITION, "the receiver has not agreed; handshake first");
	if (status_ok(&st) && reply->disabled != (reason != 0))
		st = set_disabled(call_service(call), &tx, call_arena(call), reply, reason, call_now_ms(call));
	return store_end(&tx, st);
}

struct status
endpoints_enable(struct call *call, const Corbel__V1__EnableEndpointRequest *request, Endpoint *reply)
{
	return switch_endpoint(call, request->id, 0, reply);
}

struct status
endpoints_disable(struct call *call, const Corbel__V1__DisableEndpointRequest *request, Endpoint *reply)
{
	return switch_endpoint(call, request->id, CORBEL__V1__DISABLED_REASON__BY_REQUEST, reply);
}
