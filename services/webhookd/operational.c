/*
 * operational: what webhookd tells the log of itself, in the transaction of the change.
 *
 * A delivery of such an event tells nothing when it fails, and no endpoint hears of its own failures: else
 * two endpoints that fail could keep each other busy for ever.
 */
#include <string.h>

#include "daemon/outbox.h"
#include "webhookd_internal.h"

static const char *
reason_name(Corbel__V1__DisabledReason reason)
{
	const ProtobufCEnumValue *value =
	    protobuf_c_enum_descriptor_get_value(&corbel__v1__disabled_reason__descriptor, (int)reason);
	return value ? value->name : NULL;
}

struct status
tell_endpoint(const struct webhookd *self, struct store_tx *tx, struct arena *arena, const char *type,
              const Endpoint *endpoint)
{
	return outbox_add(self->env.outbox, tx, arena,
	                  &(struct outbox_event){
	                      .tenant = endpoint->tenant_id,
	                      .type = type,
	                      .subject = endpoint->id,
	                      .fields = (const struct outbox_field[]){
	                          {.name = "id", .text = endpoint->id},
	                          {.name = "url", .text = endpoint->url},
	                          {.name = "reason",
	                           .text = endpoint->disabled ? reason_name(endpoint->disabled_reason) : NULL},
	                          {.name = NULL}}});
}

struct status
tell_rotated(const struct webhookd *self, struct store_tx *tx, struct arena *arena, const Endpoint *endpoint,
             int64_t previous_until)
{
	return outbox_add(
	    self->env.outbox, tx, arena,
	    &(struct outbox_event){.tenant = endpoint->tenant_id,
	                           .type = "endpoint.secret.rotated",
	                           .subject = endpoint->id,
	                           .fields = (const struct outbox_field[]){
	                               {.name = "id", .text = endpoint->id},
	                               {.name = "url", .text = endpoint->url},
	                               {.name = "previous_until", .type = OUTBOX_TIME, .number = previous_until},
	                               {.name = NULL}}});
}

/* The status comes last, where the list can end before it. */
struct status
tell_attempt(const struct webhookd *self, struct store_tx *tx, struct arena *arena, const char *type,
             const struct tried *what)
{
	return outbox_add(
	    self->env.outbox, tx, arena,
	    &(struct outbox_event){
	        .tenant = what->tenant,
	        .type = type,
	        .subject = what->endpoint_id,
	        .fields = (const struct outbox_field[]){
	            {.name = "delivery_id", .text = what->delivery_id},
	            {.name = "endpoint_id", .text = what->endpoint_id},
	            {.name = "event_id", .text = what->event_id},
	            {.name = "event_type", .text = what->event_type},
	            {.name = "attempts", .type = OUTBOX_I64, .number = what->attempts},
	            {.name = "error", .text = what->error},
	            {.name = "next_at", .type = OUTBOX_TIME, .number = what->next_at},
	            {.name = what->status > 0 ? "status" : NULL, .type = OUTBOX_I64, .number = what->status},
	            {.name = NULL}}});
}

#define FAILING_AFTER 4u /* failed tries */

const char *
news_of_try(const char *event_type, uint32_t tries, bool is_success, bool is_last)
{
	if (is_operational(event_type))
		return NULL;
	if (is_success)
		return tries > FAILING_AFTER ? "message.attempt.recovered" : NULL;
	if (is_last)
		return "message.attempt.exhausted";
	return tries == FAILING_AFTER ? "message.attempt.failing" : NULL;
}

bool
is_operational(const char *type)
{
	return strncmp(type, "message.", 8) == 0 || strncmp(type, "endpoint.", 9) == 0;
}
