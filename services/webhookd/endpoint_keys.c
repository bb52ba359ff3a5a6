/*
 * endpoint_keys: showing and replacing the keys of endpoints. See endpoint_keys.h.
 */
#include "endpoint_keys.h"

#include <string.h>

#include "corbel/webhookd.methods.gen.h"
#include "endpoint_check.h"
#include "endpoint_sink.h"

#define GRACE_MS INT64_C(86400000)

static const struct store_sql SECRET_GET = {
    "secret_get", "SELECT tenant_id, secret, previous_until, message FROM endpoints WHERE id = $1"};
static const struct store_sql SECRET_ROTATE = {
    "secret_rotate", "UPDATE endpoints SET previous_secret = secret, previous_until = $2, secret = $3,"
                     " version = version + 1 WHERE id = $1"};

/* The key of a request, or a new one. */
struct status
key_choose(struct call *call, const char *given, struct signing_key *out)
{
	struct webhookd *self = call_service(call);

	if (!given) {
		signing_key_make(self->env.random, out);
		return status_ok_value();
	}
	struct status st = signing_key_parse(given, strlen(given), self->env.random, out);
	return status_ok(&st) ? st : endpoint_refuse(call, "/secret", st.message);
}

char *
key_secret_text(struct arena *arena, const struct signing_key *key)
{
	char *text = arena_alloc(arena, SIGNING_KEY_TEXT_MAX);
	signing_key_secret_text(key, text);
	return text;
}

char *
key_public_text(struct arena *arena, const struct signing_key *key)
{
	char *text = arena_alloc(arena, SIGNING_KEY_TEXT_MAX);
	signing_key_public_text(key, text);
	return text;
}

static struct status
refuse_unsigned(void)
{
	return status_make(STATUS_FAILED_PRECONDITION, "only endpoints of the sink HTTP sign, with a secret");
}

struct status
endpoints_secret(struct call *call, const Corbel__V1__GetSecretRequest *request,
                 Corbel__V1__EndpointSecret *reply)
{
	struct webhookd *self = call_service(call);
	struct signing_key key;
	struct store_rows *rows;
	struct status st = store_read(call_store(call), &SECRET_GET, STORE_PARAMS(store_text(request->id)), 1,
	                              call_arena(call), &rows);

	if (!status_ok(&st))
		return st;
	if (rows_count(rows) == 0 || !scope_sees(call, row_text(rows, 0, 0)))
		return scope_not_found("endpoint");
	const Endpoint *endpoint =
	    (Endpoint *)unpacked(call_arena(call), &corbel__v1__endpoint__descriptor, rows, 0, 3);
	if (endpoint && !endpoint_is_signed(endpoint))
		return refuse_unsigned();
	if (!secret_open(self, call_arena(call), rows, 0, 1, &key))
		return status_make(STATUS_DATA_LOSS, "the secret was kept under a secret of webhookd.secrets that is "
		                                     "no longer there");
	reply->secret = key_secret_text(call_arena(call), &key);
	signing_key_wipe(&key);
	reply->has_previous_until = !row_is_null(rows, 0, 2) && row_i64(rows, 0, 2) > call_now_ms(call);
	reply->previous_until = row_i64(rows, 0, 2);
	log_info(self->env.log, "signing secret shown", LOG_TEXT("endpoint", request->id),
	         LOG_TEXT("key_id", call_key_id(call)), LOG_TEXT("request_id", call_request_id(call)));
	return st;
}

struct status
endpoints_rotate_secret(struct call *call, const Corbel__V1__RotateSecretRequest *request,
                        Corbel__V1__EndpointSecret *reply)
{
	struct webhookd *self = call_service(call);
	struct arena *arena = call_arena(call);
	struct signing_key key;
	Endpoint endpoint;
	struct store_tx tx;
	struct status st = key_choose(call, request->secret, &key);

	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	reply->secret = key_secret_text(arena, &key);
	reply->has_previous_until = true;
	reply->previous_until =
	    call_now_ms(call) + (request->has_grace_ms ? (int64_t)request->grace_ms : GRACE_MS);
	st = endpoint_lock(call, &tx, request->id, &endpoint);
	if (status_ok(&st) && !endpoint_is_signed(&endpoint))
		st = refuse_unsigned();
	if (status_ok(&st))
		st = store_exec(&tx, &SECRET_ROTATE,
		                STORE_PARAMS(store_text(request->id), store_i64(reply->previous_until),
		                             secret_seal(self, arena, &key)),
		                NULL);
	if (status_ok(&st)) {
		endpoint.public_key = key_public_text(arena, &key);
		st = endpoint_save(&tx, arena, &endpoint, call_now_ms(call));
	}
	if (status_ok(&st))
		st = tell_rotated(self, &tx, arena, &endpoint, reply->previous_until);
	signing_key_wipe(&key);
	return store_end(&tx, st);
}
