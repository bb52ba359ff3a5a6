/*
 * call: what a handler knows of the call it serves, beside its request message.
 *
 * Valid until the handler returns (or, for a batch handler, until call_end()). All memory that a
 * reply points at comes from call_arena().
 */
#ifndef CORBEL_DAEMON_CALL_H
#define CORBEL_DAEMON_CALL_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/status.h"
#include "corbel/bus.pb-c.h"
#include "store/store.h"
#include "telemetry/trace.h"

struct call;

void *call_service(const struct call *call); /* the service's own structure */
struct arena *call_arena(const struct call *call);
const struct api_method *call_method(const struct call *call);
const ProtobufCMessage *call_request(const struct call *call);
ProtobufCMessage *call_reply(const struct call *call);

/* The worker's connection to the service's store. Slow methods of services with a store only. A call
 * that carries an idempotency key is recorded in the transaction that the handler commits, so the
 * reply is filled in before store_end(), and a handler has one writing transaction. */
struct store_conn *call_store(const struct call *call);

/* Who calls. "" when nobody was authenticated (public methods). */
const char *call_tenant(const struct call *call);
const char *call_key_id(const struct call *call);
const char *call_plan(const struct call *call);
/* All of it, to call another replica as the same caller; NULL when nobody was authenticated. */
const Corbel__Bus__Principal *call_principal(const struct call *call);
/* Limits of the caller's key alone, each a packed PlanLimit; returns their number. */
size_t call_key_limits(const struct call *call, const ProtobufCBinaryData **out);
bool call_is_operator(const struct call *call); /* tenant "root", or internal */
bool call_is_internal(const struct call *call); /* another daemon, on its own behalf */
bool call_has_scope(const struct call *call, const char *scope);
const char *call_request_id(const struct call *call);
const char *call_idempotency_key(const struct call *call); /* NULL: none */
const struct trace_context *call_trace(const struct call *call);
/* As the caller sent it: no other call of its has the same. NULL: none. */
const char *call_traceparent(const struct call *call);

const struct clock *call_clock(const struct call *call);
int64_t call_now_ms(const struct call *call); /* wall time, the same during the whole call */
uint64_t call_deadline_mono_ms(const struct call *call);
bool call_has_expired(const struct call *call);

/* Details of a failure or headers of a success; texts are copied. */
void call_violation(struct call *call, const char *pointer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void call_retry_after_ms(struct call *call, uint32_t ms);
/* Slug of an RFC 9457 problem type, such as "quota-exceeded". */
void call_problem(struct call *call, const char *problem);
/* A response header for HTTP callers; for structured fields that a method owns (RateLimit …). Name and value
 * are not copied: they stay until the call has ended. */
void call_header(struct call *call, const char *name, const char *value);

/* For batch handlers only: ends one call with its outcome, from any thread. */
void call_end(struct call *call, struct status st);

#endif
