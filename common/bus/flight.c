/*
 * flight: what a call becomes when it leaves its caller, and the memory of it.
 *
 * A port keeps the flights that are over and uses them again: a busy one allocates nothing for a call.
 */
#include "flight.h"

#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "wire.h"

#define SPARE_MAX   256u
#define SPARE_BYTES 512u /* of what travels; larger flights are not kept */

bool
flight_let_go(struct flight *flight)
{
	if (atomic_fetch_sub(&flight->holders, 1) != 1)
		return false;
	replies_release(flight->replies);
	if (flight->replica)
		replica_release(flight->replica);
	return true;
}

/* ---- memory ---- */

static struct flight *
get(struct hangar *hangar, size_t size)
{
	struct flight *flight = hangar->first;
	size_t capacity = size > SPARE_BYTES ? size : SPARE_BYTES;

	if (!flight || size > SPARE_BYTES) {
		flight = mem_alloc(sizeof(*flight) + capacity);
	} else {
		hangar->first = flight->next;
		hangar->count--;
		memset(flight, 0, sizeof(*flight));
	}
	flight->capacity = capacity;
	return flight;
}

void
hangar_put(struct hangar *hangar, struct flight *flight)
{
	if (flight->capacity != SPARE_BYTES || hangar->count >= SPARE_MAX) {
		mem_free(flight);
		return;
	}
	flight->next = hangar->first;
	hangar->first = flight;
	hangar->count++;
}

void
hangar_fini(struct hangar *hangar)
{
	while (hangar->first) {
		struct flight *flight = hangar->first;
		hangar->first = flight->next;
		mem_free(flight);
	}
}

/* ---- packing ---- */

static size_t
bytes_size(size_t size)
{
	return 1 + varint_size(size) + size;
}

static size_t
text_size(const char *text)
{
	return text ? bytes_size(strlen(text)) : 0;
}

static uint8_t *
put_bytes(uint8_t *out, unsigned tag, const void *bytes, size_t size)
{
	*out++ = (uint8_t)(tag << 3 | 2);
	out = put_varint(out, size);
	if (size)
		memcpy(out, bytes, size);
	return out + size;
}

static uint8_t *
put_text(uint8_t *out, unsigned tag, const char *text)
{
	return text ? put_bytes(out, tag, text, strlen(text)) : out;
}

static size_t
principal_size(const struct pool_call *call)
{
	if (call->packed_principal)
		return call->packed_principal->len;
	return call->principal ? corbel__bus__principal__get_packed_size(call->principal) : 0;
}

static uint8_t *
put_principal(uint8_t *out, const struct pool_call *call, size_t size)
{
	if (call->packed_principal)
		return put_bytes(out, 5, call->packed_principal->data, size);
	if (!call->principal)
		return out;
	*out++ = 5 << 3 | 2;
	out = put_varint(out, size);
	return out + corbel__bus__principal__pack(call->principal, out);
}

/* What of a Call (corbel/bus.proto) does not depend on when and in which place it is sent. */
static uint8_t *
put_call(uint8_t *out, const struct pool_call *call, size_t principal)
{
	*out++ = 2 << 3 | 5;
	for (int i = 0; i < 4; i++)
		*out++ = (uint8_t)(call->method >> (8 * i));
	out = put_text(out, 3, call->request_id);
	out = put_text(out, 4, call->traceparent);
	out = put_principal(out, call, principal);
	out = put_text(out, 6, call->idempotency_key);
	return put_bytes(out, 7, call->payload, call->payload_size);
}

struct flight *
flight_new(struct hangar *hangar, const struct pool_call *call)
{
	size_t principal = principal_size(call);
	bool has_principal = call->packed_principal || call->principal;
	size_t size = 5 + text_size(call->request_id) + text_size(call->traceparent) +
	              (has_principal ? bytes_size(principal) : 0) + text_size(call->idempotency_key) +
	              bytes_size(call->payload_size);
	struct flight *flight = get(hangar, size);
	const uint8_t *end = put_call(flight->bytes, call, principal);

	assert((size_t)(end - flight->bytes) == size);
	flight->size = size;
	flight->deadline_ms = call->deadline_mono_ms;
	flight->kind = call->is_fast ? LANE_FAST : call->is_waiting ? LANE_WAITING : LANE_SLOW;
	flight->has_route = call->has_route;
	flight->route = call->route;
	flight->only = call->node ? hash_stable64(call->node, strlen(call->node), 0) : 0;
	return flight;
}
