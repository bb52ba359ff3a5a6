/*
 * key_cache: keys that were verified lately, good and bad.
 *
 * A key is known by the first 16 bytes of its SHA-256; its text is not kept. A miss asks accountd once,
 * however many requests wait for the same key. accountd's publications drop what changed. When one may have
 * been lost (a gap, a new publisher, silence) every entry is in doubt: its next use asks again, and believes
 * it only if accountd cannot be reached. In any case an entry ends after ingress.key_ttl. An answer that was
 * on its way while something was dropped or doubted is used for those who waited and not kept.
 */
#include <stdio.h>
#include <string.h>

#include "auth/key_text.h"
#include "base/hash.h"
#include "ingress_internal.h"

#define BUCKETS     16384u
#define ENTRIES_MAX 100000u
#define BAD_MS      5000u
#define VERIFY_MS   3000u
/* Who has a doubted entry to fall back on waits less, and not for each request. */
#define REVERIFY_MS 500u
#define DOUBT_MS    1000u

/* A question on its way to accountd, and who waits for the answer. */
struct inquiry {
	struct inquiry *next;
	struct key_cache *cache;
	uint8_t digest[16];
	uint64_t generation;
	struct request *waiting;
	struct pool_call call;
	struct arena arena;
};

struct key_cache {
	struct shard *shard;
	struct key_entry *buckets[BUCKETS];
	struct key_entry *newest, *oldest;
	size_t count;
	uint64_t generation; /* rises with every drop and doubt */
	uint64_t doubted;    /* entries of earlier generations are in doubt */
	struct inquiry *inquiries;
	struct hasher *hasher;
	Corbel__Bus__Principal self; /* asks as another daemon */
};

struct key_cache *
key_cache_new(struct shard *shard)
{
	struct key_cache *cache = mem_alloc(sizeof(*cache));
	cache->shard = shard;
	cache->hasher = hasher_new();
	corbel__bus__principal__init(&cache->self);
	cache->self.tenant = (char *)(uintptr_t) "root";
	cache->self.has_internal = cache->self.internal = true;
	return cache;
}

void
key_entry_release(struct key_entry *entry)
{
	if (--entry->holders > 0)
		return;
	arena_fini(&entry->arena);
	mem_free(entry);
}

static struct key_entry **
bucket_of(struct key_cache *cache, const uint8_t digest[16])
{
	uint32_t index;
	memcpy(&index, digest, sizeof(index));
	return &cache->buckets[index % BUCKETS];
}

static void
use_unlink(struct key_cache *cache, struct key_entry *entry)
{
	if (entry->newer)
		entry->newer->older = entry->older;
	else
		cache->newest = entry->older;
	if (entry->older)
		entry->older->newer = entry->newer;
	else
		cache->oldest = entry->newer;
	entry->newer = entry->older = NULL;
}

static void
use_link(struct key_cache *cache, struct key_entry *entry)
{
	entry->older = cache->newest;
	if (cache->newest)
		cache->newest->newer = entry;
	else
		cache->oldest = entry;
	cache->newest = entry;
}

static void
forget(struct key_cache *cache, struct key_entry *entry)
{
	struct key_entry **slot = bucket_of(cache, entry->digest);
	while (*slot != entry)
		slot = &(*slot)->next;
	*slot = entry->next;
	use_unlink(cache, entry);
	cache->count--;
	key_entry_release(entry);
}

void
key_cache_free(struct key_cache *cache)
{
	if (!cache)
		return;
	while (cache->newest)
		forget(cache, cache->newest);
	hasher_free(cache->hasher);
	mem_free(cache);
}

static bool
is_in_doubt(const struct key_cache *cache, const struct key_entry *entry, uint64_t now_ms)
{
	return entry->generation < cache->doubted && entry->ask_at_ms <= now_ms;
}

static struct key_entry *
lookup(struct key_cache *cache, const uint8_t digest[16], uint64_t now_ms)
{
	for (struct key_entry *entry = *bucket_of(cache, digest); entry; entry = entry->next) {
		if (memcmp(entry->digest, digest, 16) != 0)
			continue;
		if (entry->until_ms > now_ms)
			return entry;
		forget(cache, entry);
		return NULL;
	}
	return NULL;
}

static void
keep(struct key_cache *cache, struct key_entry *entry)
{
	struct key_entry **bucket = bucket_of(cache, entry->digest);
	if (cache->count == ENTRIES_MAX)
		forget(cache, cache->oldest);
	entry->next = *bucket;
	*bucket = entry;
	use_link(cache, entry);
	entry->holders++;
	cache->count++;
}

void
key_cache_notice(struct key_cache *cache, const struct notice *notice)
{
	cache->generation++;
	if (notice->is_doubt) {
		cache->doubted = cache->generation;
		return;
	}
	for (struct key_entry *entry = cache->newest, *older; entry; entry = older) {
		older = entry->older;
		if ((notice->key_id[0] && entry->principal.key_id &&
		     strcmp(entry->principal.key_id, notice->key_id) == 0) ||
		    (notice->tenant_id[0] && entry->principal.tenant &&
		     strcmp(entry->principal.tenant, notice->tenant_id) == 0))
			forget(cache, entry);
	}
}

/* ---- answers ---- */

static char *
copy(struct arena *arena, const char *text)
{
	return text ? arena_strdup(arena, text) : NULL;
}

/* The limits of the key alone travel with its calls. */
static void
take_limits(struct key_entry *entry, const Corbel__V1__VerifyKeyReply *reply)
{
	Corbel__Bus__Principal *who = &entry->principal;

	who->n_limits = reply->n_limits;
	who->limits = ARENA_ARRAY(&entry->arena, ProtobufCBinaryData, reply->n_limits + 1);
	entry->limit_names = ARENA_ARRAY(&entry->arena, const char *, reply->n_limits + 1);
	for (size_t i = 0; i < reply->n_limits; i++) {
		const Corbel__V1__PlanLimit *limit = reply->limits[i];
		who->limits[i].len = corbel__v1__plan_limit__get_packed_size(limit);
		who->limits[i].data = arena_alloc_raw(&entry->arena, who->limits[i].len + 1);
		corbel__v1__plan_limit__pack(limit, who->limits[i].data);
		entry->limit_names[i] = copy(&entry->arena, limit->resource);
	}
}

/* It goes with each of the key's calls. */
static void
pack_principal(struct key_entry *entry)
{
	size_t size = corbel__bus__principal__get_packed_size(&entry->principal);

	entry->packed.data = arena_alloc_raw(&entry->arena, size + 1);
	entry->packed.len = corbel__bus__principal__pack(&entry->principal, entry->packed.data);
}

struct key_entry *
key_entry_new(struct shard *shard, const Corbel__V1__VerifyKeyReply *reply)
{
	struct key_entry *entry = mem_alloc(sizeof(*entry));
	uint64_t now = shard_now_ms(shard), ttl = shard->ingress->settings.key_ttl_ms;

	if (!reply->valid && ttl > BAD_MS)
		ttl = BAD_MS;
	arena_init(&entry->arena, 512, 1u << 20);
	entry->holders = 1;
	entry->is_valid = reply->valid;
	corbel__bus__principal__init(&entry->principal);
	entry->principal.tenant = copy(&entry->arena, reply->tenant_id);
	entry->principal.key_id = copy(&entry->arena, reply->key_id);
	entry->principal.plan = copy(&entry->arena, reply->plan);
	entry->principal.n_scopes = reply->n_scopes;
	entry->principal.scopes = ARENA_ARRAY(&entry->arena, char *, reply->n_scopes + 1);
	for (size_t i = 0; i < reply->n_scopes; i++)
		entry->principal.scopes[i] = copy(&entry->arena, reply->scopes[i]);
	take_limits(entry, reply);
	pack_principal(entry);
	entry->has_end = reply->has_expires_at;
	entry->ends_at_ms = reply->expires_at;
	if (reply->has_expires_at) {
		int64_t left = reply->expires_at - clock_wall_ms(shard->ingress->env.clock);
		ttl = left <= 0 ? 0 : (uint64_t)left < ttl ? (uint64_t)left : ttl;
	}
	entry->until_ms = now + ttl;
	return entry;
}

void
key_refuse(struct request *request)
{
	uint64_t retry_ms = 0;
	if (!address_take(request->shard->addresses, &request->peer, shard_now_ms(request->shard), &retry_ms)) {
		respond_limited(request, "anonymous", retry_ms, false);
		return;
	}
	counter_add(request->shard->ingress->unauthenticated, 1);
	/* One text for every kind of bad key: a guesser learns nothing. */
	respond_problem(request, "unauthenticated", "the API key is not valid");
}

static void
admit(struct request *request, struct key_entry *entry)
{
	if (!entry->is_valid) {
		key_refuse(request);
		return;
	}
	request->key = entry;
	entry->holders++;
	usage_add(request->shard->ingress->usage, entry, false);
	request->authenticated(request);
}

static void
inquiry_end(struct inquiry *inquiry)
{
	struct inquiry **slot = &inquiry->cache->inquiries;
	while (*slot != inquiry)
		slot = &(*slot)->next;
	*slot = inquiry->next;
}

static Corbel__V1__VerifyKeyReply *
unpack(struct inquiry *inquiry)
{
	const struct pool_call *call = &inquiry->call;
	struct arena_allocator allocator = arena_allocator(&inquiry->arena);
	ProtobufCAllocator protobuf = {
	    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};
	if (call->code != STATUS_OK || !call->reply || call->reply->code != 0)
		return NULL;
	return corbel__v1__verify_key_reply__unpack(&protobuf, call->reply->payload.len,
	                                            call->reply->payload.data);
}

/* What the inquiry ends with, held by the caller: the answer, or without one the entry that was in doubt, or
 * NULL. */
static struct key_entry *
conclude(struct inquiry *inquiry)
{
	struct key_cache *cache = inquiry->cache;
	uint64_t now = shard_now_ms(cache->shard);
	const Corbel__V1__VerifyKeyReply *reply = unpack(inquiry);
	struct key_entry *old = lookup(cache, inquiry->digest, now);

	if (!reply) {
		if (!old)
			return NULL;
		old->ask_at_ms = now + DOUBT_MS;
		old->holders++;
		return old;
	}
	struct key_entry *entry = key_entry_new(cache->shard, reply);
	entry->generation = inquiry->generation;
	memcpy(entry->digest, inquiry->digest, sizeof(entry->digest));
	if (old)
		forget(cache, old);
	if (inquiry->generation == cache->generation)
		keep(cache, entry);
	return entry;
}

static void
answered(struct pool_call *call)
{
	struct inquiry *inquiry = call->user;
	struct key_entry *entry = conclude(inquiry);
	struct status st = pool_call_status(call);

	inquiry_end(inquiry);
	for (struct request *request = inquiry->waiting, *next; request; request = next) {
		next = request->next;
		request->next = NULL;
		if (entry) {
			admit(request, entry);
		} else {
			if (status_ok(&st))
				st = status_make(STATUS_INTERNAL, "the verification of the key cannot be read");
			if (request->unverified)
				request->unverified(request, &st);
			else
				respond_status(request, &st);
		}
	}
	if (entry)
		key_entry_release(entry);
	arena_fini(&inquiry->arena);
	mem_free(inquiry);
}

static void
ask(struct key_cache *cache, struct request *request, const uint8_t digest[16], const char *text,
    size_t length, uint32_t wait_ms)
{
	struct inquiry *inquiry = mem_alloc(sizeof(*inquiry));
	Corbel__V1__VerifyKeyRequest question = CORBEL__V1__VERIFY_KEY_REQUEST__INIT;

	inquiry->cache = cache;
	inquiry->generation = cache->generation;
	memcpy(inquiry->digest, digest, sizeof(inquiry->digest));
	inquiry->waiting = request;
	inquiry->next = cache->inquiries;
	cache->inquiries = inquiry;
	arena_init(&inquiry->arena, 2048, 1u << 20);
	question.key = arena_strndup(&inquiry->arena, text, length);
	size_t size = corbel__v1__verify_key_request__get_packed_size(&question);
	uint8_t *bytes = arena_alloc_raw(&inquiry->arena, size + 1);
	corbel__v1__verify_key_request__pack(&question, bytes);
	inquiry->call = (struct pool_call){.method = KEYS_VERIFY->id,
	                                   .deadline_mono_ms = shard_now_ms(cache->shard) + wait_ms,
	                                   .request_id = request->request_id,
	                                   .traceparent = request->traceparent,
	                                   .principal = &cache->self,
	                                   .payload = bytes,
	                                   .payload_size = size,
	                                   .done = answered,
	                                   .user = inquiry};
	request_wait(request);
	port_call(cache->shard->port, cache->shard->ingress->accounts, &inquiry->call);
}

void
key_cache_authenticate(struct key_cache *cache, struct request *request, const char *text, size_t length)
{
	uint8_t digest[SHA256_BYTES];
	struct key_text parts;
	uint64_t now = cache->shard->turn_ms, retry_ms;

	struct key_entry *entry = NULL;
	if (length < KEY_TEXT_MAX) {
		hasher_sha256(cache->hasher, text, length, digest);
		entry = lookup(cache, digest, now);
	}
	/* What is in the cache has been parsed. */
	if (!entry && !key_text_parse(text, length, &parts)) {
		key_refuse(request);
		return;
	}
	if (entry && !is_in_doubt(cache, entry, now)) {
		use_unlink(cache, entry);
		use_link(cache, entry);
		admit(request, entry);
		return;
	}
	if (!entry && !address_has(cache->shard->addresses, &request->peer, now, &retry_ms)) {
		respond_limited(request, "anonymous", retry_ms, false);
		return;
	}
	for (struct inquiry *inquiry = cache->inquiries; inquiry; inquiry = inquiry->next) {
		if (memcmp(inquiry->digest, digest, sizeof(inquiry->digest)) != 0)
			continue;
		request->next = inquiry->waiting;
		inquiry->waiting = request;
		request_wait(request);
		return;
	}
	ask(cache, request, digest, text, length, entry ? REVERIFY_MS : VERIFY_MS);
}
