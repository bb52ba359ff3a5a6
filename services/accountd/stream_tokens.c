/*
 * stream_tokens: what a browser opens a stream with, in place of a key.
 *
 *   cst_PEPPER.CONTENT.MAC     PEPPER: id of the secret; CONTENT: base64url of what it is good for;
 *                              MAC: base64url of an HMAC-SHA-256 over the text below
 *
 * A token is not stored: every replica that has the peppers can tell a genuine one, and the key that made it
 * is looked up each time. What is authenticated begins with words and a line end, so it can never be the text
 * of a key, which the same secrets authenticate.
 */
#include <string.h>

#include "accountd_internal.h"
#include "base/text.h"
#include "corbel/accountd.methods.gen.h"
#include "events/pattern.h"

#define PREFIX         "cst_"
#define TTL_DEFAULT_MS UINT64_C(60000)
#define SCOPE          "events.read"

typedef Corbel__V1__StreamToken StreamToken;

/* ---- text ---- */

/* Base64 of RFC 4648 section 5: '+' would be a space in a query. */
static char *
url_text(struct arena *arena, const void *bytes, size_t size)
{
	char *text = arena_alloc(arena, text_base64_encoded_size(size) + 1);
	size_t length = text_base64_encode(bytes, size, text);

	while (length > 0 && text[length - 1] == '=')
		length--;
	text[length] = '\0';
	for (char *at = text; *at; at++)
		*at = *at == '+' ? '-' : *at == '/' ? '_' : *at;
	return text;
}

static bool
mac_of(const struct accountd *self, struct arena *arena, const char *pepper, const char *content,
       uint8_t out[SHA256_BYTES])
{
	return keyring_mac(self->peppers, pepper,
	                   arena_printf(arena, "token of a stream\n%s\n%s", pepper, content), out);
}

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

/* A line each: the key, the end in milliseconds, and the patterns. Neither has line ends. */
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
	return url_text(call_arena(call), text.data, text.length);
}

struct status
stream_tokens_create(struct call *call, const Corbel__V1__CreateStreamTokenRequest *request,
                     StreamToken *reply)
{
	const struct accountd *self = call_service(call);
	struct arena *arena = call_arena(call);
	const char *pepper = keyring_current(self->peppers);
	uint8_t mac[SHA256_BYTES];
	struct status st = check_types(call, request);

	if (!status_ok(&st))
		return st;
	if (!call_key_id(call)[0])
		return status_make(STATUS_FAILED_PRECONDITION, "a token is made with a key");
	reply->has_expires_at = true;
	reply->expires_at = call_now_ms(call) + (int64_t)(request->has_ttl_ms ? request->ttl_ms : TTL_DEFAULT_MS);
	const char *content = content_of(call, request, reply->expires_at);
	(void)mac_of(self, arena, pepper, content, mac);
	reply->token = arena_printf(arena, PREFIX "%s.%s.%s", pepper, content, url_text(arena, mac, sizeof(mac)));
	return st;
}

/* ---- verifying ---- */

/* The content of a genuine token, NUL-terminated; NULL: it is none. */
static char *
open_token(const struct accountd *self, struct arena *arena, const char *token)
{
	size_t length = strlen(token), size;
	char *text = arena_strdup(arena, token);
	char *dot = strchr(text, '.'), *last = strrchr(text, '.');
	uint8_t expected[SHA256_BYTES], *said = arena_alloc(arena, length + 1);

	if (strncmp(text, PREFIX, strlen(PREFIX)) != 0 || !dot || dot == last)
		return NULL;
	*dot = *last = '\0';
	bool has_pepper = mac_of(self, arena, text + strlen(PREFIX), dot + 1, expected);
	if (!text_base64_decode(last + 1, strlen(last + 1), said, &size) || size != SHA256_BYTES ||
	    !hash_equal(said, expected, SHA256_BYTES) || !has_pepper)
		return NULL;
	char *content = arena_alloc(arena, length + 1);
	return text_base64_decode(dot + 1, strlen(dot + 1), (uint8_t *)content, &size) ? content : NULL;
}

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
	struct arena *arena = call_arena(call);
	char *rest = open_token(call_service(call), arena, request->token), *line;
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
