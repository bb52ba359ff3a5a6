/*
 * call: what handlers ask of a call, and what they add to its reply.
 */
#include "daemon/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/authorize.h"
#include "daemon/call_internal.h"

static const Corbel__Bus__Principal *
principal(const struct call *call)
{
	return call->wire->call->principal;
}

static const char *
text_or_empty(const char *text)
{
	return text ? text : "";
}

void *
call_service(const struct call *call)
{
	return call->dispatcher->options.self;
}

struct arena *
call_arena(const struct call *call)
{
	return call->arena;
}

const struct api_method *
call_method(const struct call *call)
{
	return call->bound->method;
}

const ProtobufCMessage *
call_request(const struct call *call)
{
	return call->request;
}

ProtobufCMessage *
call_reply(const struct call *call)
{
	return call->reply;
}

struct store_conn *
call_store(const struct call *call)
{
	return call->conn;
}

const char *
call_tenant(const struct call *call)
{
	return principal(call) ? text_or_empty(principal(call)->tenant) : "";
}

const char *
call_key_id(const struct call *call)
{
	return principal(call) ? text_or_empty(principal(call)->key_id) : "";
}

const char *
call_plan(const struct call *call)
{
	return principal(call) ? text_or_empty(principal(call)->plan) : "";
}

const Corbel__Bus__Principal *
call_principal(const struct call *call)
{
	return principal(call);
}

size_t
call_key_limits(const struct call *call, const ProtobufCBinaryData **out)
{
	*out = principal(call) ? principal(call)->limits : NULL;
	return principal(call) ? principal(call)->n_limits : 0;
}

bool
call_is_operator(const struct call *call)
{
	return principal_is_operator(principal(call));
}

bool
call_is_internal(const struct call *call)
{
	return principal(call) && principal(call)->internal;
}

bool
call_has_scope(const struct call *call, const char *scope)
{
	return principal_has_scope(principal(call), scope);
}

const char *
call_request_id(const struct call *call)
{
	return text_or_empty(call->wire->call->request_id);
}

const char *
call_idempotency_key(const struct call *call)
{
	const char *key = call->wire->call->idempotency_key;
	return key && *key ? key : NULL;
}

const struct trace_context *
call_trace(const struct call *call)
{
	return &call->trace;
}

const char *
call_traceparent(const struct call *call)
{
	return call->wire->call->traceparent;
}

const struct clock *
call_clock(const struct call *call)
{
	return call->dispatcher->options.clock;
}

int64_t
call_now_ms(const struct call *call)
{
	return call->wall_ms;
}

uint64_t
call_deadline_mono_ms(const struct call *call)
{
	return call->wire->deadline_mono_ms;
}

bool
call_has_expired(const struct call *call)
{
	uint64_t deadline = call->wire->deadline_mono_ms;
	return deadline && clock_mono_ms(call_clock(call)) >= deadline;
}

void
call_violation(struct call *call, const char *pointer, const char *format, ...)
{
	Corbel__Bus__Reply *reply = &call->wire->reply;
	va_list args;

	if (reply->n_violations == VIOLATIONS_MAX)
		return;
	if (!reply->violations)
		reply->violations = ARENA_ARRAY(call->arena, Corbel__Bus__Violation *, VIOLATIONS_MAX);
	Corbel__Bus__Violation *violation = ARENA_NEW(call->arena, Corbel__Bus__Violation);
	corbel__bus__violation__init(violation);
	violation->pointer = arena_strdup(call->arena, pointer);
	va_start(args, format);
	violation->detail = arena_vprintf(call->arena, format, args);
	va_end(args);
	reply->violations[reply->n_violations++] = violation;
}

void
call_retry_after_ms(struct call *call, uint32_t ms)
{
	call->wire->reply.has_retry_after_ms = true;
	call->wire->reply.retry_after_ms = ms;
}

void
call_problem(struct call *call, const char *problem)
{
	call->wire->reply.problem = arena_strdup(call->arena, problem);
}

void
call_header(struct call *call, const char *name, const char *value)
{
	Corbel__Bus__Reply *reply = &call->wire->reply;

	if (reply->n_headers == CALL_HEADERS_MAX)
		return;
	if (!reply->headers)
		reply->headers = ARENA_ARRAY(call->arena, Corbel__Bus__Header *, CALL_HEADERS_MAX);
	Corbel__Bus__Header *header = ARENA_NEW(call->arena, Corbel__Bus__Header);
	corbel__bus__header__init(header);
	header->name = (char *)(uintptr_t)name;
	header->value = (char *)(uintptr_t)value;
	reply->headers[reply->n_headers++] = header;
}
