/*
 * call: a request of the contract, from JSON to the bus and back.
 */
#include <stdio.h>
#include <string.h>

#include "api/raw.h"
#include "base/hash.h"
#include "cloudevents.h"
#include "daemon/authorize.h"
#include "hot_checks.h"

#define IDEMPOTENCY_KEY_MAX 255u

static void send_call(struct request *request, const struct api_method *method);

/* The value of a route_by path ("checks.key") as text; NULL when the request has none. */
static const char *
route_value(const ProtobufCMessage *message, const char *path)
{
	while (message) {
		size_t length = strcspn(path, ".");
		const ProtobufCFieldDescriptor *field = NULL;
		for (unsigned i = 0; i < message->descriptor->n_fields && !field; i++)
			if (strncmp(message->descriptor->fields[i].name, path, length) == 0 &&
			    message->descriptor->fields[i].name[length] == '\0')
				field = &message->descriptor->fields[i];
		if (!field)
			return NULL;
		const char *at = (const char *)message + field->offset;
		const void *pointer;
		memcpy(&pointer, at, sizeof(pointer));
		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			size_t count;
			memcpy(&count, (const char *)message + field->quantifier_offset, sizeof(count));
			if (count == 0)
				return NULL;
			memcpy(&pointer, pointer, sizeof(pointer));
		}
		if (field->type == PROTOBUF_C_TYPE_STRING)
			return pointer;
		if (field->type != PROTOBUF_C_TYPE_MESSAGE)
			return NULL;
		message = pointer;
		path += length + (path[length] == '.');
	}
	return NULL;
}

/* What is held of limits may be wrong from now on: before the call, so that nothing held is spent behind it,
 * and after it, so that nothing from before it stays. An operator's call that names no tenant may be about
 * any. */
static void
end_held(const struct request *request)
{
	const struct ingress *ingress = request->shard->ingress;
	const Corbel__Bus__Principal *who = request->key ? &request->key->principal : NULL;
	const char *named = route_value(request->message, "tenant_id");
	const char *tenant = named ? named : !who || principal_is_operator(who) ? "" : who->tenant;
	struct notice notice = {.has_changed_limits = true};

	snprintf(notice.tenant_id, sizeof(notice.tenant_id), "%s", tenant);
	for (size_t i = 0; i < ingress->shard_count; i++)
		if (&ingress->shards[i] != request->shard)
			shard_tell(&ingress->shards[i], &notice);
	hot_checks_end(request->shard->hot, tenant);
}

/* What could not be answered at once is asked again, of the method that waits. */
static const struct api_method *
waiting_method(const struct request *request, const Corbel__Bus__Reply *reply)
{
	bool must_wait =
	    reply->code == STATUS_UNAVAILABLE && reply->problem && strcmp(reply->problem, "must-wait") == 0;

	if (!must_wait || !request->method->or_waits || request->call.method != request->method->id)
		return NULL;
	return request->is_orphan ? NULL : api_method_by_name(request->method->or_waits);
}

static void
completed(struct pool_call *call)
{
	struct request *request = call->user;

	if (call->code == STATUS_OK && call->reply) {
		const struct api_method *waiting = waiting_method(request, call->reply);
		if (waiting) {
			send_call(request, waiting);
			return;
		}
	}
	if (request->method->ends_held)
		end_held(request);
	if (call->code == STATUS_OK && call->reply) {
		respond_reply(request, call->reply);
		return;
	}
	struct status st = pool_call_status(call);
	respond_status(request, &st);
}

static void
set_route(struct request *request)
{
	const char *by = request->method->route_by;
	if (!by[0])
		return;
	const char *value = route_value(request->message, by);
	if (!value && request->key)
		value = request->key->principal.key_id;
	request->call.has_route = value != NULL;
	request->call.route = value ? hash_stable64(value, strlen(value), 0) : 0;
}

/* A quoted structured-field string or bare text; NULL with an answer given when it is neither. */
static bool
take_idempotency_key(struct request *request)
{
	const char *text = request_header(request, "Idempotency-Key");
	size_t length = text ? strlen(text) : 0;

	if (!text || request->verb == API_GET)
		return true;
	if (length >= 2 && text[0] == '"' && text[length - 1] == '"') {
		text = arena_strndup(&request->arena, text + 1, length - 2);
		length -= 2;
	}
	bool is_good = length >= 1 && length <= IDEMPOTENCY_KEY_MAX;
	for (size_t i = 0; i < length && is_good; i++)
		is_good = text[i] > ' ' && text[i] < 0x7F;
	if (!is_good) {
		respond_problem(request, "invalid-argument",
		                "Idempotency-Key must be 1 to 255 visible ASCII characters");
		return false;
	}
	request->call.idempotency_key = text;
	return true;
}

struct pool *
call_pool(const struct ingress *ingress, const char *daemon)
{
	for (size_t i = 0; i < ingress->target_count; i++)
		if (strcmp(ingress->targets[i].daemon, daemon) == 0)
			return ingress->targets[i].pool;
	return NULL;
}

static void
send_call(struct request *request, const struct api_method *method)
{
	struct ingress *ingress = request->shard->ingress;
	struct pool_call *call = &request->call;
	size_t size = protobuf_c_message_get_packed_size(request->message);
	uint8_t *bytes = arena_alloc_raw(&request->arena, size + 1);

	protobuf_c_message_pack(request->message, bytes);
	call->method = method->id;
	call->is_fast = method->is_fast;
	call->is_waiting = method->is_waiting;
	set_route(request);
	call->deadline_mono_ms = request->shard->turn_ms + method->deadline_ms;
	call->request_id = request->request_id;
	call->traceparent = request->traceparent;
	call->principal = request->key ? &request->key->principal : NULL;
	call->packed_principal = request->key ? &request->key->packed : NULL;
	call->payload = bytes;
	call->payload_size = size;
	call->done = completed;
	call->user = request;
	if (call->is_fast)
		request_hold(request);
	else
		request_wait(request);
	port_call(request->shard->port, call_pool(ingress, method->daemon), call);
}

static bool
is_json(const char *type)
{
	size_t length = strcspn(type, ";");
	while (length > 0 && type[length - 1] == ' ')
		length--;
	return (length == 16 && strncasecmp(type, "application/json", 16) == 0) ||
	       (length > 5 && strncasecmp(type, "application/", 12) == 0 &&
	        strncasecmp(type + length - 5, "+json", 5) == 0);
}

/* Whether nothing is said of the request that cannot be kept to; answers otherwise. To write in spite of a
 * condition would lose what another wrote. */
static bool
check_terms(struct request *request)
{
	bool may_depend = request->method->raw_body || request->verb == API_DELETE;
	const char *coding = request->body_size > 0 ? request_header(request, "Content-Encoding") : NULL;

	if (coding && strcasecmp(coding, "identity") != 0) {
		respond_problem(request, "unsupported-media-type", "the body must be without a Content-Encoding");
		return false;
	}
	if (may_depend && (request_header(request, "If-Match") || request_header(request, "If-None-Match"))) {
		respond_problem(request, "invalid-argument", "this method takes no If-Match and no If-None-Match");
		return false;
	}
	return true;
}

/* Whether the body is of a type and place that can be read; answers when it is not. */
static bool
check_body(struct request *request)
{
	const char *type = request_header(request, "Content-Type");

	if (request->said_as != CLOUDEVENT_NONE || request->method->raw_body || request->body_size == 0)
		return true;
	if (type && !is_json(type)) {
		respond_problem(request, "unsupported-media-type", "the body must be application/json");
		return false;
	}
	if (request->verb == API_GET || request->verb == API_DELETE) {
		respond_problem(request, "invalid-argument", "this method takes no body");
		return false;
	}
	return true;
}

static struct status
read_body(struct request *request, struct violations *violations)
{
	const char *text = request->body_size > 0 ? request->body : "{}";
	size_t length = request->body_size > 0 ? request->body_size : 2;

	if (request->method->raw_body) {
		const char *type = request_header(request, "Content-Type");
		request->message =
		    raw_to_message(request->method, type ? arena_strdup(&request->arena, type) : NULL,
		                   request->body_size > 0 ? request->body : "", request->body_size, &request->arena);
		return status_ok_value();
	}
	if (request->said_as == CLOUDEVENT_NONE)
		return json_to_message(text, length, request->method->request, &request->arena, violations,
		                       &request->message);
	request->message = cloudevents_read(request, violations);
	return violations_status(violations);
}

static void
validate(struct request *request, struct violations *violations)
{
	size_t before = violations->count;

	api_validate(request->message, request->method->request, &request->arena, violations);
	for (size_t i = before; i < violations->count && request->said_as != CLOUDEVENT_NONE; i++)
		violations->items[i].pointer =
		    cloudevent_pointer(violations->items[i].pointer, request->said_as, &request->arena);
}

/* Body, path and query into the request message; answers and returns false when they are wrong. */
static bool
decode(struct request *request)
{
	const struct api_message *rules = request->method->request;
	struct violations *violations = ARENA_NEW(&request->arena, struct violations);

	cloudevents_look(request);
	const char *known = request->method->raw_answer ? request_header(request, "If-None-Match") : NULL;
	request->if_none_match = known ? arena_strdup(&request->arena, known) : NULL;
	if (!check_terms(request) || !check_body(request))
		return false;
	struct status st = read_body(request, violations);
	if (!request->message) {
		if (violations->count == 0)
			violations_add(violations, &request->arena, "", "%s", st.message);
		respond_violations(request, violations);
		return false;
	}
	routes_bind_path(&request->match, request->message, &request->arena, violations);
	bool takes_query = request->verb == API_GET || request->verb == API_DELETE || request->method->raw_body;
	if (request->query && takes_query)
		routes_bind_query(request->query, strlen(request->query), rules, request->message, &request->arena,
		                  violations);
	validate(request, violations);
	if (violations->count == 0)
		return true;
	respond_violations(request, violations);
	return false;
}

void
call_send(struct request *request)
{
	send_call(request, request->method);
}

static void
dispatch(struct request *request)
{
	struct hot_checks *hot = request->shard->hot;

	if (request->method->ends_held)
		end_held(request);
	if (!hot || !request->method->spends_held || !hot_checks_take(hot, request))
		call_send(request);
}

static void
decode_and_send(struct request *request)
{
	if (take_idempotency_key(request) && decode(request))
		dispatch(request);
}

static void
take_plan_limit(struct request *request)
{
	if (request->method->plan_limit && request->key)
		lease_take(request->shard->leases, request, request->method->plan_limit, decode_and_send);
	else
		decode_and_send(request);
}

void
call_begin(struct request *request)
{
	static const char *const LIMITS[] = {NULL, "api.read", "api.write", "api.heavy"};
	const char *limit = LIMITS[request->method->cost];
	struct status st = authorize(request->method, request->key ? &request->key->principal : NULL);

	if (status_ok(&st) && atomic_load(&request->shard->ingress->is_closing))
		st = status_make(STATUS_UNAVAILABLE, "this ingress is stopping");
	if (!status_ok(&st)) {
		respond_status(request, &st);
		return;
	}
	if (limit && request->key)
		lease_take(request->shard->leases, request, limit, take_plan_limit);
	else
		take_plan_limit(request);
}
