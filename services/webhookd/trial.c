/*
 * trial: one test event to one endpoint, now, past the queue.
 */
#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "corbel/webhookd.methods.gen.h"
#include "courier.h"
#include "endpoint_sink.h"
#include "sink.h"

static const struct store_sql TRIAL_ENDPOINT = {
    "trial_endpoint", "SELECT tenant_id, message, secret FROM endpoints WHERE id = $1"};

/* Shared by the worker that waits and the sink's thread. */
struct trial {
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool is_ended;
};

static void
on_ended(struct parcel *parcel)
{
	struct trial *trial = parcel->user;

	pthread_mutex_lock(&trial->lock);
	trial->is_ended = true;
	pthread_cond_signal(&trial->ended);
	pthread_mutex_unlock(&trial->lock);
}

/* A sink ends every try within its time, so this wait does too. */
static bool
send_and_wait(struct sinks *sinks, struct parcel *parcel, const Endpoint *endpoint,
              const struct signer *signer)
{
	struct trial trial = {.is_ended = false};

	pthread_mutex_init(&trial.lock, NULL);
	pthread_cond_init(&trial.ended, NULL);
	parcel->ended = on_ended;
	parcel->user = &trial;
	bool is_sent = sinks_send(sinks, parcel, endpoint, signer);
	pthread_mutex_lock(&trial.lock);
	while (is_sent && !trial.is_ended)
		pthread_cond_wait(&trial.ended, &trial.lock);
	pthread_mutex_unlock(&trial.lock);
	pthread_cond_destroy(&trial.ended);
	pthread_mutex_destroy(&trial.lock);
	return is_sent;
}

static struct parcel *
parcel_of(struct call *call, const Event *event)
{
	struct due due = {.delivery_id = "trial", .event_size = corbel__v1__event__get_packed_size(event)};
	uint8_t *bytes = arena_alloc_raw(call_arena(call), due.event_size + 1);

	corbel__v1__event__pack(event, bytes);
	due.event = bytes;
	return parcel_new(NULL, &due);
}

static struct status
try_endpoint(struct call *call, const Endpoint *endpoint, const struct signing_key *key, const char *type,
             Corbel__V1__TestEndpointReply *reply)
{
	static const char DATA[] = "{\"message\":\"a test from Corbel\"}";
	struct webhookd *self = call_service(call);
	struct id id = id_make("evt", self->env.clock, self->env.random);
	Event event = CORBEL__V1__EVENT__INIT;

	event.id = id.text;
	event.type = (char *)(uintptr_t)type;
	event.tenant_id = endpoint->tenant_id;
	event.source = (char *)(uintptr_t) "webhookd";
	event.has_timestamp = event.has_data = true;
	event.timestamp = call_now_ms(call);
	event.data = (ProtobufCBinaryData){.len = sizeof(DATA) - 1, .data = (uint8_t *)(uintptr_t)DATA};
	struct parcel *parcel = parcel_of(call, &event);
	struct signer *signer = signer_new(
	    key, NULL,
	    (struct signer_options){.with_ed25519 = endpoint->signing == CORBEL__V1__SIGNING__HMAC_AND_ED25519,
	                            .with_hub = endpoint->has_hub_signature && endpoint->hub_signature});
	struct status st = status_ok_value();
	if (!send_and_wait(courier_sinks(self->courier), parcel, endpoint, signer))
		st = status_make(STATUS_RESOURCE_EXHAUSTED, "too many deliveries are under way");
	if (status_ok(&st)) {
		/* The attempt goes with the parcel. */
		size_t size = corbel__v1__attempt__get_packed_size(parcel->attempt);
		uint8_t *bytes = arena_alloc_raw(call_arena(call), size + 1);
		struct arena_allocator allocator = arena_allocator(call_arena(call));
		ProtobufCAllocator protobuf = {
		    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};
		corbel__v1__attempt__pack(parcel->attempt, bytes);
		reply->attempt = corbel__v1__attempt__unpack(&protobuf, size, bytes);
		reply->has_success = true;
		reply->success = parcel->end == PARCEL_DELIVERED;
	}
	signer_free(signer);
	parcel_free(parcel);
	return st;
}

struct status
endpoints_test(struct call *call, const Corbel__V1__TestEndpointRequest *request,
               Corbel__V1__TestEndpointReply *reply)
{
	struct webhookd *self = call_service(call);
	struct signing_key key;
	struct store_rows *rows;
	struct status st = store_read(call_store(call), &TRIAL_ENDPOINT, STORE_PARAMS(store_text(request->id)), 1,
	                              call_arena(call), &rows);

	if (!status_ok(&st))
		return st;
	if (rows_count(rows) == 0 || !scope_sees(call, row_text(rows, 0, 0)))
		return scope_not_found("endpoint");
	Endpoint *endpoint =
	    (Endpoint *)unpacked(call_arena(call), &corbel__v1__endpoint__descriptor, rows, 0, 1);
	if (!endpoint || !secret_open(self, call_arena(call), rows, 0, 2, &key))
		return status_make(STATUS_DATA_LOSS, "the endpoint or its secret cannot be read");
	if (endpoint_is_pulled(endpoint))
		return status_make(STATUS_FAILED_PRECONDITION, "a queue is fetched from: publish an event to try it");
	st = try_endpoint(call, endpoint, &key, request->type ? request->type : "system.test.pinged", reply);
	signing_key_wipe(&key);
	return st;
}
