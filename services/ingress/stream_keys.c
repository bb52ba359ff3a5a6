/*
 * stream_keys: the keys that streams were opened with. What accountd says of a key ends its streams.
 *
 * A key is known by its id alone, and accountd is asked whether it is still good: when its first stream opens
 * (news of it may have come before it was known here), when there is news of it or of its tenant, and when
 * news may have been lost. Until accountd can be asked its streams go on.
 */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "stream.h"

#define BUCKETS       1024u
#define WAIT_MS       3000u
#define RETRY_MS      1000u
#define CHECKS_A_TICK 200u
#define SCOPE         "events.read"

struct stream_key {
	struct stream_key *next; /* in its bucket */
	LIST_ENTRY(stream_key) of_all;
	struct stream_keys *keys;
	char *id, *tenant;
	struct stream_list streams;
	bool has_end;
	int64_t ends_at_ms; /* wall time */
	bool is_doubted, is_asking, is_abandoned;
	uint64_t ask_at_ms;
	struct pool_call call;
	struct arena arena;
};

struct stream_keys {
	struct streams *streams;
	struct stream_key *buckets[BUCKETS];
	LIST_HEAD(, stream_key) all;
	Corbel__Bus__Principal self; /* asks as another daemon */
};

struct stream_keys *
stream_keys_new(struct streams *streams)
{
	struct stream_keys *keys = mem_alloc(sizeof(*keys));

	keys->streams = streams;
	LIST_INIT(&keys->all);
	corbel__bus__principal__init(&keys->self);
	keys->self.tenant = (char *)(uintptr_t) "root";
	keys->self.has_internal = keys->self.internal = true;
	return keys;
}

/* Every stream has left before, and every question has ended. */
void
stream_keys_free(struct stream_keys *keys)
{
	mem_free(keys);
}

static struct stream_key **
slot_of(struct stream_keys *keys, const char *id)
{
	struct stream_key **slot = &keys->buckets[hash_table64(id, strlen(id)) % BUCKETS];

	while (*slot && strcmp((*slot)->id, id) != 0)
		slot = &(*slot)->next;
	return slot;
}

static void
key_free(struct stream_key *key)
{
	mem_free(key->id);
	mem_free(key->tenant);
	mem_free(key);
}

/* ---- asking ---- */

static Corbel__V1__VerifyKeyReply *
unpack(struct stream_key *key)
{
	const struct pool_call *call = &key->call;
	struct arena_allocator allocator = arena_allocator(&key->arena);
	ProtobufCAllocator protobuf = {
	    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};

	if (call->code != STATUS_OK || !call->reply || call->reply->code != 0)
		return NULL;
	return corbel__v1__verify_key_reply__unpack(&protobuf, call->reply->payload.len,
	                                            call->reply->payload.data);
}

static void
end_all(struct stream_key *key, const char *reason)
{
	struct stream *stream;

	/* Each leaves the list as it ends; the last one takes the key with it. */
	while ((stream = LIST_FIRST(&key->streams))) {
		bool is_last = LIST_NEXT(stream, of_key) == NULL;
		stream_finish(stream, &STREAM_END_REVOKED, reason);
		if (is_last)
			return;
	}
}

static void
conclude(struct stream_key *key, const Corbel__V1__VerifyKeyReply *reply)
{
	if (!reply) {
		key->is_doubted = true;
		key->ask_at_ms = streams_now_ms(key->keys->streams) + RETRY_MS;
		return;
	}
	key->has_end = reply->has_expires_at;
	key->ends_at_ms = reply->expires_at;
	if (!reply->valid)
		end_all(key, reply->reason);
}

static void
answered(struct pool_call *call)
{
	struct stream_key *key = call->user;
	const Corbel__V1__VerifyKeyReply *reply = unpack(key);
	struct arena arena = key->arena; /* the key may be freed before the reply is read to its end */

	key->is_asking = false;
	if (key->is_abandoned)
		key_free(key);
	else
		conclude(key, reply);
	arena_fini(&arena);
}

static void
ask(struct stream_key *key)
{
	Corbel__V1__CheckKeyRequest question = CORBEL__V1__CHECK_KEY_REQUEST__INIT;
	struct streams *streams = key->keys->streams;

	arena_init(&key->arena, 512, 1u << 20);
	question.key_id = key->id;
	question.scope = (char *)(uintptr_t)SCOPE;
	size_t size = corbel__v1__check_key_request__get_packed_size(&question);
	uint8_t *bytes = arena_alloc_raw(&key->arena, size + 1);
	corbel__v1__check_key_request__pack(&question, bytes);
	key->is_doubted = false;
	key->is_asking = true;
	key->call = (struct pool_call){.method = KEYS_CHECK->id,
	                               .deadline_mono_ms = streams_now_ms(streams) + WAIT_MS,
	                               .principal = &key->keys->self,
	                               .payload = bytes,
	                               .payload_size = size,
	                               .done = answered,
	                               .user = key};
	port_call(streams->port, streams->ingress->accounts, &key->call);
}

/* An answer that is on its way may be older than the doubt, so there is another question behind it. */
static void
doubt(struct stream_key *key)
{
	key->is_doubted = true;
	key->ask_at_ms = 0;
	if (!key->is_asking)
		ask(key);
}

/* ---- streams ---- */

void
stream_keys_join(struct stream_keys *keys, struct stream *stream, const struct stream_offer *offer)
{
	struct stream_key **slot = slot_of(keys, offer->key_id), *key = *slot;
	bool is_new = !key;

	if (is_new) {
		key = *slot = mem_alloc(sizeof(*key));
		key->keys = keys;
		key->id = mem_strdup(offer->key_id);
		key->tenant = mem_strdup(offer->key_tenant);
		key->has_end = offer->has_end;
		key->ends_at_ms = offer->ends_at_ms;
		LIST_INIT(&key->streams);
		LIST_INSERT_HEAD(&keys->all, key, of_all);
	}
	stream->key = key;
	LIST_INSERT_HEAD(&key->streams, stream, of_key);
	if (is_new)
		doubt(key);
}

void
stream_keys_leave(struct stream *stream)
{
	struct stream_key *key = stream->key;

	if (!key)
		return;
	LIST_REMOVE(stream, of_key);
	stream->key = NULL;
	if (!LIST_EMPTY(&key->streams))
		return;
	*slot_of(key->keys, key->id) = key->next;
	LIST_REMOVE(key, of_all);
	if (key->is_asking)
		key->is_abandoned = true;
	else
		key_free(key);
}

void
stream_keys_notice(struct stream_keys *keys, const struct notice *notice)
{
	struct stream_key *key;

	if (notice->key_id[0]) {
		key = *slot_of(keys, notice->key_id);
		if (key)
			doubt(key);
		return;
	}
	LIST_FOREACH(key, &keys->all, of_all)
	if (notice->is_doubt)
		key->is_doubted = true; /* the ticks ask, a few at a time */
	else if (strcmp(key->tenant, notice->tenant_id) == 0)
		doubt(key);
}

void
stream_keys_tick(struct stream_keys *keys, uint64_t now_ms)
{
	int64_t wall = clock_wall_ms(keys->streams->ingress->env.clock);
	size_t asked = 0;

	for (struct stream_key *key = LIST_FIRST(&keys->all), *next; key; key = next) {
		next = LIST_NEXT(key, of_all);
		if (key->has_end && key->ends_at_ms <= wall) {
			end_all(key, "expired");
		} else if (key->is_doubted && !key->is_asking && key->ask_at_ms <= now_ms && asked < CHECKS_A_TICK) {
			ask(key);
			asked++;
		}
	}
}
