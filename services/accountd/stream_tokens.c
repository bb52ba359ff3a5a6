/*
 * stream_tokens: what a browser opens a stream with, in place of a key.
 * A token is not stored (token.h): every replica that has the peppers can tell a genuine one, and the key
 * that made it is looked up each time.
 */
#include <string.h>

#include "accountd_internal.h"
#include "base/text.h"
#include "corbel/accountd.methods.gen.h"
#include "events/pattern.h"
#include "token.h"

#define TTL_DEFAULT_MS UINT64_C(60000)
#define SCOPE          "events.read"

typedef Corbel__V1__StreamToken StreamToken;

/* ---- making ---- */

static struct status
check_types(struct call *call, const Corbel__V1__CreateStreamTokenRequest *request)
{
	struct status first = status_ok_value();

	for (size_t i = 0; i < request->n_types; i++) {
		struct status st = pattern_check(request->types[i], strlen(request->types[i]));
		if (status_ok(&st))
			continue;
		const char *pointer = arena_printf(call_arena(call), "/types/%zu", i);
		call_violation(call, pointer, "%s", st.message);
		if (status_ok(&first))
			first = status_wrap(st, "%s", pointer);
	}
	return first;
}

/* A line each: the key, the end in milliseconds, and the patterns. None of them has line ends. */
static const char *
content_of(struct call *call, const Corbel__V1__CreateStreamTokenRequest *request, int64_t expires_at)
{
	struct strbuf text;

	strbuf_init(&text, call_arena(call));
	strbuf_puts(&text, call_key_id(call));
	strbuf_putc(&text, '\n');
	strbuf_i64(&text, expires_at);
	for (size_t i = 0; i < request->n_types; i++) {
		strbuf_putc(&text, '\n');
		strbuf_puts(&text, request->types[i]);
	}
	return text.data;
}

struct status
stream_tokens_create(struct call *call, const Corbel__V1__CreateStreamTokenRequest *request,
                     StreamToken *reply)
{
	const struct accountd *self = call_service(call);
	struct status st = check_types(call, request);

	if (!status_ok(&st))
		return st;
	if (!call_key_id(call)[0])
		return status_make(STATUS_FAILED_PRECONDITION, "a token is made with a key");
	reply->has_expires_at = true;
	reply->expires_at = call_now_ms(call) + (int64_t)(request->has_ttl_ms ? request->ttl_ms : TTL_DEFAULT_MS);
	reply->token = token_seal(self->peppers, content_of(call, request, reply->expires_at), call_arena(call));
	return st;
}

/* ---- verifying ---- */

/* Cuts the first line off; NULL: there is none. */
static char *
next_line(char **rest)
{
	char *line = *rest;

	if (!line)
		return NULL;
	char *end = strchr(line, '\n');
	if (end)
		*end = '\0';
	*rest = end ? end + 1 : NULL;
	return line;
}

struct status
stream_tokens_verify(struct call *call, const Corbel__V1__VerifyStreamTokenRequest *request,
                     Corbel__V1__VerifyStreamTokenReply *reply)
{
	const struct accountd *self = call_service(call);
	struct arena *arena = call_arena(call);
	char *rest = token_open(self->peppers, request->token, arena), *line;
	const char *id = next_line(&rest), *end = next_line(&rest);
	int64_t expires_at;

	reply->key = ARENA_NEW(arena, Corbel__V1__VerifyKeyReply);
	corbel__v1__verify_key_reply__init(reply->key);
	reply->key->has_valid = true;
	if (!end || !text_to_i64(end, strlen(end), &expires_at) || expires_at <= call_now_ms(call)) {
		reply->key->reason = (char *)(uintptr_t)(end ? "expired" : "unknown");
		return status_ok_value();
	}
	reply->types = ARENA_ARRAY(arena, char *, strlen(request->token));
	while ((line = next_line(&rest)))
		reply->types[reply->n_types++] = line;
	return key_check(call, id, SCOPE, reply->key);
}
