/*
 * lease_cache: units of plan limits, taken from ratelimitd in advance and spent here.
 *
 * One lease for each (tenant, limit): a hot tenant's calls cost one call to ratelimitd for many. A key with
 * a limit of its own has its own lease. A lease ends within a second of when it was asked for and never
 * outlives its window, so that what is admitted in a window never exceeds the limit; what was not spent is
 * lost to that window. Of strategies whose units cannot be kept, only what calls wait for is taken. A refusal
 * is remembered until more can be admitted, and for a second at most: limits may be raised meanwhile.
 * While ratelimitd is away calls are admitted and counted: Corbel's own limits protect it, they do not
 * bill.
 */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "http/ratelimit_headers.h"
#include "ingress_internal.h"

#define BUCKETS        4096u
#define ENTRIES_MAX    50000u
#define ASK_MS         1000u
#define REFUSED_MS     1000u /* for how long a refusal is believed, at most */
#define NONE_MS        1000u /* for how long "no such limit" is believed */
#define CHUNK_MAX      10000u
#define NAME_MAX_BYTES 160u

struct lease {
	struct lease *next;
	char name[NAME_MAX_BYTES]; /* tenant or key, plan and limit */
	struct lease_cache *cache;
	uint64_t units, until_ms;    /* to spend */
	uint64_t unlimited_until_ms; /* there is no such limit, or nobody to ask */
	uint64_t refused_until_ms;
	uint64_t want;        /* units to ask for next: grows while they are spent */
	uint64_t retry_at_ms; /* as told to callers */
	uint64_t asked_ms;
	size_t waiting_count, asked_for; /* now; when ratelimitd was asked */
	bool is_asking, is_impossible;
	uint64_t quota, window_ms, remaining, reset_at_ms; /* as last told; quota 0: not told */
	struct request *waiting, **last;
	struct pool_call call;
	struct arena arena;
	Corbel__Bus__Principal principal;
};

struct lease_cache {
	struct shard *shard;
	struct lease *buckets[BUCKETS];
	size_t count;
	struct metric_counter *asked, *unchecked;
};

struct lease_cache *
lease_cache_new(struct shard *shard)
{
	struct metrics *metrics = shard->ingress->env.metrics;
	struct lease_cache *cache = mem_alloc(sizeof(*cache));
	cache->shard = shard;
	cache->asked = metrics_counter(
	    metrics,
	    &(struct metric_spec){.name = "corbel_ingress_leases", .help = "Leases of plan limits asked for"},
	    NULL);
	cache->unchecked =
	    metrics_counter(metrics,
	                    &(struct metric_spec){.name = "corbel_ingress_unchecked",
	                                          .help = "Calls admitted because ratelimitd could not be asked"},
	                    NULL);
	return cache;
}

static void
lease_free(struct lease *lease)
{
	arena_fini(&lease->arena);
	mem_free(lease);
}

void
lease_cache_free(struct lease_cache *cache)
{
	for (size_t b = 0; cache && b < BUCKETS; b++) {
		while (cache->buckets[b]) {
			struct lease *lease = cache->buckets[b];
			cache->buckets[b] = lease->next;
			lease_free(lease);
		}
	}
	mem_free(cache);
}

/* Leases that nothing depends on any more go when there are too many. */
static void
drop_idle(struct lease_cache *cache, uint64_t now_ms)
{
	for (size_t b = 0; b < BUCKETS; b++) {
		for (struct lease **slot = &cache->buckets[b]; *slot;) {
			struct lease *lease = *slot;
			if (lease->is_asking || lease->until_ms > now_ms || lease->refused_until_ms > now_ms) {
				slot = &lease->next;
				continue;
			}
			*slot = lease->next;
			lease_free(lease);
			cache->count--;
		}
	}
}

/* The limit of that name of the caller's key alone; NULL: the key shares its tenant's. */
static ProtobufCBinaryData *
own_limit(const struct key_entry *key, const char *limit)
{
	for (size_t i = 0; i < key->principal.n_limits; i++)
		if (strcmp(key->limit_names[i], limit) == 0)
			return &key->principal.limits[i];
	return NULL;
}

/* Whom the limit counts. */
static const char *
subject_of(const struct request *request, const char *limit)
{
	const Corbel__Bus__Principal *who = &request->key->principal;
	return own_limit(request->key, limit) ? who->key_id : who->tenant;
}

/* Appends a word; what does not fit is cut. */
static size_t
put_word(char name[NAME_MAX_BYTES], size_t at, const char *word)
{
	size_t size = strnlen(word, NAME_MAX_BYTES - 1 - at);
	memcpy(name + at, word, size);
	name[at + size] = '\0';
	return at + size;
}

static size_t
put_name(char name[NAME_MAX_BYTES], const struct request *request, const char *limit)
{
	const char *plan = request->key->principal.plan;
	size_t size = put_word(name, 0, subject_of(request, limit));

	size = put_word(name, size, " ");
	size = put_word(name, size, plan ? plan : "");
	size = put_word(name, size, " ");
	return put_word(name, size, limit);
}

static struct lease *
lease_for(struct lease_cache *cache, const struct request *request, const char *limit, uint64_t now_ms)
{
	char name[NAME_MAX_BYTES];
	size_t size = put_name(name, request, limit);
	struct lease **bucket = &cache->buckets[hash_table64(name, size) % BUCKETS];

	for (struct lease *lease = *bucket; lease; lease = lease->next)
		if (strcmp(lease->name, name) == 0)
			return lease;
	if (cache->count >= ENTRIES_MAX)
		drop_idle(cache, now_ms);
	struct lease *lease = mem_alloc(sizeof(*lease));
	memcpy(lease->name, name, size + 1);
	lease->cache = cache;
	lease->want = 1;
	lease->last = &lease->waiting;
	arena_init(&lease->arena, 1024, 1u << 20);
	lease->next = *bucket;
	*bucket = lease;
	cache->count++;
	return lease;
}

static const char *
limit_of(const struct lease *lease)
{
	return strrchr(lease->name, ' ') + 1;
}

static void
put_headers(const struct lease *lease, struct request *request, uint64_t now_ms)
{
	if (lease->quota == 0)
		return;
	uint64_t left = lease->until_ms > now_ms ? lease->units : 0;
	uint64_t more_ms = lease->reset_at_ms > now_ms ? lease->reset_at_ms - now_ms : 0;
	ratelimit_policy_add(&request->policy, limit_of(lease), lease->quota, lease->window_ms);
	ratelimit_add(&request->ratelimit, limit_of(lease), lease->remaining + left, more_ms);
}

static void
refuse(const struct lease *lease, struct request *request, uint64_t now_ms)
{
	uint64_t retry_ms = lease->retry_at_ms > now_ms ? lease->retry_at_ms - now_ms : 1;
	usage_add(request->shard->ingress->usage, request->key, true);
	put_headers(lease, request, now_ms);
	respond_limited(request, limit_of(lease), retry_ms, lease->is_impossible);
}

static void
spend(struct lease *lease, struct request *request, uint64_t now_ms)
{
	lease->units--;
	put_headers(lease, request, now_ms);
	request->granted(request);
}

/* Settles the request from what is at hand; false when ratelimitd must be asked. */
static bool
settle(struct lease *lease, struct request *request, uint64_t now_ms)
{
	if (lease->unlimited_until_ms > now_ms) {
		request->granted(request);
		return true;
	}
	if (lease->until_ms > now_ms && lease->units > 0) {
		spend(lease, request, now_ms);
		return true;
	}
	if (lease->refused_until_ms > now_ms) {
		refuse(lease, request, now_ms);
		return true;
	}
	return false;
}

static void ask(struct lease *lease, const struct request *request);

/* Takes what ratelimitd answered into the lease. */
static void
learn(struct lease *lease, const Corbel__V1__LeaseReply *reply, uint64_t now_ms)
{
	const Corbel__V1__LimitState *state = reply->state;
	bool was_spent = lease->units == 0;

	lease->units = reply->granted;
	/* ratelimitd counted from when it decided, which was later than this. */
	lease->until_ms = lease->asked_ms + reply->valid_ms;
	lease->quota = state ? state->quota : 0;
	lease->window_ms = state ? state->window_ms : 0;
	lease->remaining = state ? state->remaining : 0;
	lease->reset_at_ms = now_ms + (state ? state->reset_ms : 0);
	lease->is_impossible = lease->quota == 0;
	/* Ask for more while it is used up, at most a twentieth of the limit, so that little is stranded. */
	uint64_t most = lease->quota / 20 > CHUNK_MAX ? CHUNK_MAX : lease->quota / 20;
	lease->want = was_spent ? lease->want * 2 : lease->want / 2;
	lease->want = lease->want > most ? most : lease->want;
	lease->want = lease->want < 1 ? 1 : lease->want;
	if (reply->granted > 0)
		return;
	uint64_t retry_ms = state && state->has_retry_after_ms ? state->retry_after_ms : REFUSED_MS;
	lease->retry_at_ms = now_ms + retry_ms;
	lease->refused_until_ms = now_ms + (retry_ms < REFUSED_MS ? retry_ms : REFUSED_MS);
}

static void
wait_in_line(struct lease *lease, struct request *request)
{
	request->next = NULL;
	*lease->last = request;
	lease->last = &request->next;
	lease->waiting_count++;
}

/* Those who waited when ratelimitd was asked have their units at the time of its decision, whenever its
 * answer came. */
static void
settle_waiting(struct lease *lease, uint64_t now_ms)
{
	struct request *request = lease->waiting;
	size_t entitled = lease->asked_for;

	lease->waiting = NULL;
	lease->last = &lease->waiting;
	lease->waiting_count = 0;
	for (struct request *next; request; request = next) {
		next = request->next;
		request->next = NULL;
		if (entitled > 0 && lease->units > 0) {
			entitled--;
			spend(lease, request, now_ms);
		} else if (!settle(lease, request, now_ms)) {
			wait_in_line(lease, request);
		}
	}
}

static void
answered(struct pool_call *call)
{
	struct lease *lease = call->user;
	struct lease_cache *cache = lease->cache;
	uint64_t now_ms = shard_now_ms(cache->shard);
	struct arena_allocator allocator = arena_allocator(&lease->arena);
	ProtobufCAllocator protobuf = {
	    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};
	Corbel__V1__LeaseReply *reply = NULL;
	bool is_undefined = call->code == STATUS_OK && call->reply && call->reply->code == STATUS_NOT_FOUND;

	lease->is_asking = false;
	if (call->code == STATUS_OK && call->reply && call->reply->code == 0)
		reply =
		    corbel__v1__lease_reply__unpack(&protobuf, call->reply->payload.len, call->reply->payload.data);
	if (reply) {
		learn(lease, reply, now_ms);
	} else {
		/* Not limited, or nobody to ask: look again soon. */
		lease->unlimited_until_ms = now_ms + (is_undefined ? NONE_MS : ASK_MS);
		lease->quota = 0;
		if (!is_undefined)
			counter_add(cache->unchecked, 1);
	}
	settle_waiting(lease, now_ms);
	/* More waited than was granted: ask again for the rest. */
	if (lease->waiting)
		ask(lease, lease->waiting);
}

/* The key may be forgotten before ratelimitd answers. */
static void
copy_own_limit(struct lease *lease, const struct request *request)
{
	const ProtobufCBinaryData *own = own_limit(request->key, limit_of(lease));
	if (!own)
		return;
	lease->principal.limits = ARENA_NEW(&lease->arena, ProtobufCBinaryData);
	lease->principal.limits->data = arena_memdup(&lease->arena, own->data, own->len);
	lease->principal.limits->len = own->len;
	lease->principal.n_limits = 1;
}

static void
ask(struct lease *lease, const struct request *request)
{
	struct shard *shard = lease->cache->shard;
	const Corbel__Bus__Principal *who = &request->key->principal;
	Corbel__V1__LeaseRequest question = CORBEL__V1__LEASE_REQUEST__INIT;
	Corbel__V1__LimitCheck check = CORBEL__V1__LIMIT_CHECK__INIT;

	arena_reset(&lease->arena);
	check.limit = arena_strdup(&lease->arena, limit_of(lease));
	/* A tenant's keys share its plan's limits on Corbel's own API, unless a key has its own. */
	check.key = arena_strdup(&lease->arena, subject_of(request, check.limit));
	check.plan = who->plan ? arena_strdup(&lease->arena, who->plan) : NULL;
	question.check = &check;
	question.has_units = true;
	question.units = lease->want;
	question.has_waiting = true;
	question.waiting = lease->waiting_count;
	question.tenant_id = arena_strdup(&lease->arena, who->tenant);
	corbel__bus__principal__init(&lease->principal);
	lease->principal.tenant = question.tenant_id;
	lease->principal.has_internal = lease->principal.internal = true;
	copy_own_limit(lease, request);
	size_t size = corbel__v1__lease_request__get_packed_size(&question);
	uint8_t *bytes = arena_alloc_raw(&lease->arena, size + 1);
	corbel__v1__lease_request__pack(&question, bytes);
	lease->call = (struct pool_call){.method = RATELIMITS_LEASE->id,
	                                 .is_fast = true,
	                                 .has_route = true,
	                                 .route = hash_stable64(check.key, strlen(check.key), 0),
	                                 .deadline_mono_ms = shard_now_ms(shard) + ASK_MS,
	                                 .principal = &lease->principal,
	                                 .payload = bytes,
	                                 .payload_size = size,
	                                 .done = answered,
	                                 .user = lease};
	lease->is_asking = true;
	lease->asked_ms = shard_now_ms(shard);
	lease->asked_for = lease->waiting_count;
	counter_add(lease->cache->asked, 1);
	port_call(shard->port, shard->ingress->ratelimits, &lease->call);
}

void
lease_take(struct lease_cache *cache, struct request *request, const char *limit,
           void (*next)(struct request *request))
{
	uint64_t now_ms = shard_now_ms(cache->shard);
	struct lease *lease = lease_for(cache, request, limit, now_ms);

	request->granted = next;
	if (!lease->waiting && settle(lease, request, now_ms))
		return;
	wait_in_line(lease, request);
	request_wait(request);
	if (!lease->is_asking)
		ask(lease, request);
}
