/*
 * hot_checks: see hot_checks.h.
 *
 * Here is which keys are busy, and what becomes of a check of one; hot_lease asks for what is held,
 * hot_answer answers from it.
 *
 *   cold --HEAT checks in a turn of HEAT_MS--> asked --units--> spent here --fewer than half--> asked again
 *                                                    --refusal--> remembered --over--> asked again
 *                                                    --neither (another strategy, nearly used up)--> travels
 *
 * While ratelimitd is asked, checks beyond the one that waits for the lease travel.
 */
#include "hot_checks.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "hot.h"

#define BUCKETS    1024u
#define HOT_MAX    1024u /* keys */
#define HEAT_MAX   4096u /* cold keys that are watched */
#define HEAT       32u
#define HEAT_MS    128u
#define IDLE_MS    2000u
#define NAME_BYTES 1024u

struct heat {
	uint64_t hash;
	uint32_t turn, count;
};

struct hot_checks {
	struct shard *shard;
	struct hot *buckets[BUCKETS];
	size_t count;
	struct heat heat[HEAT_MAX];
	struct metric_counter *answered;
};

/* ---- life ---- */

struct hot_checks *
hot_checks_new(struct shard *shard)
{
	struct hot_checks *checks = mem_alloc(sizeof(*checks));

	checks->shard = shard;
	checks->answered = metrics_counter(
	    shard->ingress->env.metrics,
	    &(struct metric_spec){.name = "corbel_ingress_checks_held",
	                          .help = "Checks answered from leased units or remembered refusals"},
	    NULL);
	return checks;
}

static void
hot_free(struct hot *hot)
{
	arena_fini(&hot->arena);
	arena_fini(&hot->check_arena);
	mem_free(hot->name);
	mem_free(hot);
}

void
hot_checks_free(struct hot_checks *checks)
{
	for (size_t b = 0; checks && b < BUCKETS; b++) {
		while (checks->buckets[b]) {
			struct hot *hot = checks->buckets[b];
			checks->buckets[b] = hot->next;
			hot_free(hot);
		}
	}
	mem_free(checks);
}

/* ---- which checks ---- */

/* The one check of a request that can be answered from what is held; NULL: it has to travel. */
static const Corbel__V1__LimitCheck *
simple_check(const struct request *request)
{
	if (request->message->descriptor != &corbel__v1__check_request__descriptor || !request->key ||
	    request->key->principal.n_limits > 0 || request->call.idempotency_key)
		return NULL;
	const Corbel__V1__CheckRequest *message = (const void *)request->message;
	if (message->n_checks != 1 || message->tenant_id)
		return NULL;
	const Corbel__V1__LimitCheck *check = message->checks[0];
	return (check->has_cost && check->cost != 1) || check->plan ? NULL : check;
}

static const char *
key_of(const struct request *request, const Corbel__V1__LimitCheck *check)
{
	return check->key ? check->key : request->key->principal.key_id;
}

/* Appends a text with its length, so that no two lists of texts are the same bytes. */
static size_t
put(uint8_t name[NAME_BYTES], size_t at, const char *text)
{
	size_t size = text ? strlen(text) : 0;

	if (at > NAME_BYTES || size + 2 > NAME_BYTES - at)
		return NAME_BYTES + 1;
	name[at] = (uint8_t)(size >> 8);
	name[at + 1] = (uint8_t)size;
	if (size > 0)
		memcpy(name + at + 2, text, size);
	return at + 2 + size;
}

static size_t
put_name(uint8_t name[NAME_BYTES], const struct request *request, const Corbel__V1__LimitCheck *check)
{
	const Corbel__Bus__Principal *who = &request->key->principal;
	size_t size = put(name, 0, who->tenant);

	size = put(name, size, who->plan);
	size = put(name, size, check->route);
	size = put(name, size, check->limit);
	return put(name, size, key_of(request, check));
}

/* Counts a check of a cold key; true when there were many within a short time. */
static bool
is_hot(struct hot_checks *checks, uint64_t hash, uint64_t now_ms)
{
	struct heat *heat = &checks->heat[hash % HEAT_MAX];
	uint32_t turn = (uint32_t)(now_ms / HEAT_MS);

	if (heat->hash != hash || heat->turn != turn)
		*heat = (struct heat){.hash = hash, .turn = turn};
	return ++heat->count >= HEAT;
}

static struct hot *
hot_new(struct hot_checks *checks, const struct request *request, const Corbel__V1__LimitCheck *check,
        uint64_t hash, const uint8_t *name, size_t size)
{
	struct hot *hot = mem_alloc(sizeof(*hot));

	hot->shard = checks->shard;
	hot->answered = checks->answered;
	hot->hash = hash;
	hot->name = mem_array(size, 1);
	memcpy(hot->name, name, size);
	hot->name_size = size;
	snprintf(hot->tenant, sizeof(hot->tenant), "%s", request->key->principal.tenant);
	hot->want = 1;
	corbel__bus__principal__init(&hot->principal);
	hot->principal.tenant = hot->tenant;
	hot->principal.has_internal = hot->principal.internal = true;
	arena_init(&hot->arena, 1024, 1u << 20);
	arena_init(&hot->check_arena, 256, 64u << 10);
	corbel__v1__limit_check__init(&hot->check);
	hot->check.limit = arena_strdup(&hot->check_arena, check->limit);
	hot->check.key = arena_strdup(&hot->check_arena, key_of(request, check));
	hot->check.route = check->route ? arena_strdup(&hot->check_arena, check->route) : NULL;
	const char *plan = request->key->principal.plan;
	hot->check.plan = plan ? arena_strdup(&hot->check_arena, plan) : NULL;
	hot->next = checks->buckets[hash % BUCKETS];
	checks->buckets[hash % BUCKETS] = hot;
	checks->count++;
	return hot;
}

static struct hot *
hot_find(struct hot_checks *checks, const struct request *request, const Corbel__V1__LimitCheck *check,
         uint64_t now_ms)
{
	uint8_t name[NAME_BYTES];
	size_t size = put_name(name, request, check);

	if (size > NAME_BYTES)
		return NULL;
	uint64_t hash = hash_table64(name, size);
	for (struct hot *hot = checks->buckets[hash % BUCKETS]; hot; hot = hot->next)
		if (hot->hash == hash && hot->name_size == size && memcmp(hot->name, name, size) == 0)
			return hot;
	if (checks->count >= HOT_MAX || !is_hot(checks, hash, now_ms))
		return NULL;
	return hot_new(checks, request, check, hash, name, size);
}

/* ---- taking ---- */

static void
refuse(struct hot *hot, struct request *request, uint64_t now_ms)
{
	hot->refused++;
	hot->waited_ms += !hot->is_impossible && hot->retry_at_ms > now_ms ? hot->retry_at_ms - now_ms : 0;
	hot_answer(hot, request, false, now_ms);
}

static void
spend(struct hot *hot, struct request *request, uint64_t now_ms)
{
	hot->units--;
	hot->spent++;
	hot_answer(hot, request, true, now_ms);
	if (hot->units >= hot->want / 2 || hot->is_asking || hot_lease_bound(hot) < 2)
		return;
	/* A lease that is used up within a tenth of a second was too small, one that lasts half of it too large.
	 */
	if (now_ms - hot->asked_ms < 100)
		hot->want *= 2;
	else if (now_ms - hot->asked_ms > 500)
		hot->want /= 2;
	hot_ask(hot, NULL, hot->want, now_ms);
}

bool
hot_checks_take(struct hot_checks *checks, struct request *request)
{
	const Corbel__V1__LimitCheck *check = simple_check(request);
	uint64_t now_ms = shard_now_ms(checks->shard);
	struct hot *hot = check ? hot_find(checks, request, check, now_ms) : NULL;

	if (!hot)
		return false;
	hot->used_ms = now_ms;
	if (hot->units > 0 && hot->until_ms > now_ms) {
		spend(hot, request, now_ms);
	} else if (hot->refused_until_ms > now_ms) {
		refuse(hot, request, now_ms);
	} else {
		if (hot->is_asking || hot->travels_until_ms > now_ms)
			return false;
		hot_ask(hot, request, hot->want, now_ms);
		request_hold(request);
	}
	return true;
}

/* ---- ending ---- */

void
hot_checks_end(struct hot_checks *checks, const char *tenant)
{
	for (size_t b = 0; checks && b < BUCKETS; b++) {
		for (struct hot *hot = checks->buckets[b]; hot; hot = hot->next) {
			if (tenant && tenant[0] && strcmp(hot->tenant, tenant) != 0)
				continue;
			hot->units = hot->refused_until_ms = hot->travels_until_ms = 0;
			hot->is_ended = true;
		}
	}
}

void
hot_checks_tidy(struct hot_checks *checks, uint64_t now_ms)
{
	for (size_t b = 0; checks && b < BUCKETS; b++) {
		for (struct hot **slot = &checks->buckets[b]; *slot;) {
			struct hot *hot = *slot;
			bool has_news = hot->spent > 0 || hot->refused > 0;
			if (has_news && !hot->is_asking)
				hot_ask(hot, NULL, 0, now_ms);
			if (hot->is_asking || now_ms - hot->used_ms < IDLE_MS) {
				slot = &hot->next;
				continue;
			}
			*slot = hot->next;
			hot_free(hot);
			checks->count--;
		}
	}
}
