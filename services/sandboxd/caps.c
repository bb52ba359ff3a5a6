/*
 * caps: see caps.h.
 */
#include "caps.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"

#define REFRESH_MS 1000u
#define EVERY_MS   30000u
#define CALL_MS    2000u
#define COUNT_MS   500u
#define PLANS_MAX  1000u
#define TENANTS    1024u  /* places for plans of tenants */
#define FRESH_MS   30000u /* of a tenant's plan */

struct plan_of {
	char tenant[72], plan[72];
	uint64_t read_mono_ms;
};

struct plan_caps {
	const char *name;
	struct caps caps;
};

struct plan_table {
	struct service_env env;
	const struct service *service;
	struct subscriber *changes;
	_Atomic bool is_stale;
	pthread_mutex_t refresh_lock; /* one refresh at a time */
	uint64_t loaded_mono_ms;      /* under it */
	pthread_mutex_t lock;         /* guards what follows; a leaf */
	struct arena arena;           /* of the plans */
	struct plan_caps *plans;
	size_t count;
	struct plan_of tenants[TENANTS];
};

/* ---- caps ---- */

void
caps_init(struct caps *caps)
{
	corbel__v1__plugin_limits__init(&caps->limits);
	caps->at_once = 0;
	caps->queued = CAPS_QUEUED;
	caps->are_counted = false;
	caps->plan[0] = '\0';
}

static uint32_t
as_u32(uint64_t number)
{
	return number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
}

void
caps_lower(struct caps *caps, const char *resource, uint64_t limit)
{
	Corbel__V1__PluginLimits *limits = &caps->limits;

	/* A run needs something: 0 is the least that there is. */
	uint64_t some = limit > 0 ? limit : 1;
	if (strcmp(resource, "plugins.cpu_ms") == 0 && (!limits->has_cpu_ms || some < limits->cpu_ms)) {
		limits->has_cpu_ms = true;
		limits->cpu_ms = as_u32(some);
	} else if (strcmp(resource, "plugins.wall_ms") == 0 && (!limits->has_wall_ms || some < limits->wall_ms)) {
		limits->has_wall_ms = true;
		limits->wall_ms = as_u32(some);
	} else if (strcmp(resource, "plugins.memory_bytes") == 0 &&
	           (!limits->has_memory_bytes || some < limits->memory_bytes)) {
		limits->has_memory_bytes = true;
		limits->memory_bytes = some > (16u << 20) ? some : (16u << 20);
	} else if (strcmp(resource, "plugins.at_once") == 0 && (caps->at_once == 0 || some < caps->at_once)) {
		caps->at_once = (size_t)some;
	} else if (strcmp(resource, "plugins.queued") == 0 && limit < caps->queued) {
		caps->queued = (size_t)limit;
	} else if (strcmp(resource, "plugins.runs") == 0) {
		caps->are_counted = true;
	}
}

static void
lower_by(struct caps *caps, const Corbel__V1__PlanLimit *limit)
{
	if (limit && limit->resource && strncmp(limit->resource, "plugins.", 8) == 0)
		caps_lower(caps, limit->resource, limit->limit);
}

/* ---- plans ---- */

static void
of_plan(struct plan_table *table, const char *plan, struct caps *out)
{
	caps_init(out);
	pthread_mutex_lock(&table->lock);
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->plans[i].name, plan) == 0)
			*out = table->plans[i].caps;
	pthread_mutex_unlock(&table->lock);
	snprintf(out->plan, sizeof(out->plan), "%s", plan);
}

void
caps_of_call(struct plan_table *table, const struct call *call, struct caps *out)
{
	const ProtobufCBinaryData *limits;
	size_t count = call_key_limits(call, &limits);

	of_plan(table, call_plan(call), out);
	for (size_t i = 0; i < count; i++) {
		Corbel__V1__PlanLimit *limit = corbel__v1__plan_limit__unpack(NULL, limits[i].len, limits[i].data);
		if (!limit)
			continue;
		lower_by(out, limit);
		corbel__v1__plan_limit__free_unpacked(limit, NULL);
	}
}

static struct plan_of *
place_of(struct plan_table *table, const char *tenant)
{
	return &table->tenants[hash_table64(tenant, strlen(tenant)) % TENANTS];
}

static bool
known_plan(struct plan_table *table, const char *tenant, char plan[72])
{
	uint64_t now = clock_mono_ms(table->env.clock);

	pthread_mutex_lock(&table->lock);
	const struct plan_of *place = place_of(table, tenant);
	bool is_known = strcmp(place->tenant, tenant) == 0 && now - place->read_mono_ms < FRESH_MS;
	if (is_known)
		memcpy(plan, place->plan, 72);
	pthread_mutex_unlock(&table->lock);
	return is_known;
}

static struct status
ask_plan(struct plan_table *table, const char *tenant, char plan[72])
{
	Corbel__V1__GetTenantRequest request = CORBEL__V1__GET_TENANT_REQUEST__INIT;
	ProtobufCMessage *message;
	struct arena arena;

	arena_init(&arena, 4096, 1u << 20);
	request.id = (char *)(uintptr_t)tenant;
	struct status st = host_call(table->env.host, TENANTS_GET, &request.base, CALL_MS, &arena, &message);
	if (status_ok(&st)) {
		const Corbel__V1__Tenant *found = (const void *)message;
		pthread_mutex_lock(&table->lock);
		struct plan_of *place = place_of(table, tenant);
		snprintf(place->tenant, sizeof(place->tenant), "%s", tenant);
		snprintf(place->plan, sizeof(place->plan), "%s", found->plan ? found->plan : "");
		place->read_mono_ms = clock_mono_ms(table->env.clock);
		memcpy(plan, place->plan, 72);
		pthread_mutex_unlock(&table->lock);
	}
	arena_fini(&arena);
	return st;
}

struct status
caps_of_tenant(struct plan_table *table, const char *tenant, struct caps *out)
{
	char plan[72];
	struct status st = known_plan(table, tenant, plan) ? status_ok_value() : ask_plan(table, tenant, plan);

	if (status_ok(&st))
		of_plan(table, plan, out);
	return status_wrap(st, "the tenant's plan");
}

/* ---- counting ---- */

static struct status
judge_count(const Corbel__V1__CheckReply *reply, uint32_t *retry_ms)
{
	const Corbel__V1__LimitState *state = reply->n_limits > 0 ? reply->limits[0] : NULL;

	if (reply->allowed)
		return status_ok_value();
	*retry_ms = state && state->has_retry_after_ms ? as_u32(state->retry_after_ms) : REFRESH_MS;
	return status_make(STATUS_RESOURCE_EXHAUSTED, "the plan has no more runs of plugins in this window");
}

/* By the replica that has the tenant's counter, as the ingress asks for it. */
static struct status
ask_count(struct plan_table *table, const Corbel__V1__CheckRequest *request, struct arena *arena,
          const Corbel__V1__CheckReply **reply)
{
	struct arena_allocator memory = arena_allocator(arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	struct pool *pool = host_pool(table->env.host, RATELIMITS_CHECK->daemon);
	Corbel__Bus__Principal principal = CORBEL__BUS__PRINCIPAL__INIT;
	size_t size = corbel__v1__check_request__get_packed_size(request);
	uint8_t *bytes = arena_alloc_raw(arena, size + 1);

	if (!pool)
		return status_make(STATUS_UNAVAILABLE, "there is no ratelimitd");
	principal.has_internal = principal.internal = true;
	struct pool_call call = {.method = RATELIMITS_CHECK->id,
	                         .is_fast = RATELIMITS_CHECK->is_fast,
	                         .has_route = true,
	                         .route = hash_stable64(request->tenant_id, strlen(request->tenant_id), 0),
	                         .deadline_mono_ms = clock_mono_ms(table->env.clock) + COUNT_MS,
	                         .principal = &principal,
	                         .payload = bytes,
	                         .payload_size = corbel__v1__check_request__pack(request, bytes)};
	struct status st = pool_call_wait(pool, &call, arena);
	if (status_ok(&st))
		*reply =
		    corbel__v1__check_reply__unpack(&allocator, call.reply->payload.len, call.reply->payload.data);
	return status_ok(&st) && !*reply ? status_make(STATUS_DATA_LOSS, "ratelimitd's answer cannot be read")
	                                 : st;
}

struct status
caps_count_run(struct plan_table *table, const char *tenant, const struct caps *caps, uint32_t *retry_ms)
{
	Corbel__V1__LimitCheck check = CORBEL__V1__LIMIT_CHECK__INIT, *checks[] = {&check};
	Corbel__V1__CheckRequest request = CORBEL__V1__CHECK_REQUEST__INIT;
	const Corbel__V1__CheckReply *reply = NULL;
	struct arena arena;

	if (!caps->are_counted)
		return status_ok_value();
	arena_init(&arena, 4096, 1u << 20);
	check.limit = (char *)(uintptr_t) "plugins.runs";
	check.key = request.tenant_id = (char *)(uintptr_t)tenant;
	check.plan = (char *)(uintptr_t)caps->plan;
	request.checks = checks;
	request.n_checks = 1;
	struct status st = ask_count(table, &request, &arena, &reply);
	st = status_ok(&st) ? judge_count(reply, retry_ms) : status_ok_value();
	arena_fini(&arena);
	return st;
}

/* ---- keeping them up to date ---- */

static void
add_plan(struct plan_caps *to, struct arena *arena, const Corbel__V1__Plan *plan)
{
	to->name = arena_strdup(arena, plan->name ? plan->name : "");
	caps_init(&to->caps);
	for (size_t i = 0; i < plan->n_limits; i++)
		lower_by(&to->caps, plan->limits[i]);
}

static struct status
fetch(struct plan_table *table, struct arena *arena, struct plan_caps **plans, size_t *count)
{
	Corbel__V1__ListPlansRequest request = CORBEL__V1__LIST_PLANS_REQUEST__INIT;

	*plans = ARENA_ARRAY(arena, struct plan_caps, PLANS_MAX);
	*count = 0;
	request.has_page_size = true;
	request.page_size = 200;
	do {
		ProtobufCMessage *message;
		struct status st = host_call(table->env.host, PLANS_LIST, &request.base, CALL_MS, arena, &message);
		if (!status_ok(&st))
			return st;
		const Corbel__V1__ListPlansReply *page = (const void *)message;
		for (size_t i = 0; i < page->n_plans && *count < PLANS_MAX; i++)
			add_plan(&(*plans)[(*count)++], arena, page->plans[i]);
		request.page_token = page->next_page_token;
	} while (request.page_token && *count < PLANS_MAX);
	return status_ok_value();
}

static void
refresh(struct plan_table *table)
{
	struct plan_caps *plans;
	struct arena arena, old;
	size_t count;

	arena_init(&arena, 64u << 10, 64u << 20);
	atomic_store(&table->is_stale, false);
	struct status st = fetch(table, &arena, &plans, &count);
	if (!status_ok(&st)) {
		atomic_store(&table->is_stale, true);
		arena_fini(&arena);
		return;
	}
	pthread_mutex_lock(&table->lock);
	old = table->arena;
	table->arena = arena;
	table->plans = plans;
	table->count = count;
	memset(table->tenants, 0, sizeof(table->tenants));
	pthread_mutex_unlock(&table->lock);
	arena_fini(&old);
	table->loaded_mono_ms = clock_mono_ms(table->env.clock);
}

static void
refresh_turn(void *arg, struct store_conn *conn)
{
	struct plan_table *table = arg;

	(void)conn;
	pthread_mutex_lock(&table->refresh_lock);
	if (atomic_load(&table->is_stale) || clock_mono_ms(table->env.clock) - table->loaded_mono_ms >= EVERY_MS)
		refresh(table);
	pthread_mutex_unlock(&table->refresh_lock);
}

static void
on_change(void *arg, const char *node, const char *topic, const void *payload, size_t size)
{
	struct plan_table *table = arg;
	(void)node;
	(void)topic;
	(void)payload;
	(void)size;
	atomic_store(&table->is_stale, true);
	(void)host_work(table->env.host, table->service, refresh_turn, table);
}

struct status
plan_table_start(struct plan_table *table)
{
	static const char *const TOPICS[] = {"plans", NULL};
	struct subscriber_options options = {.address =
	                                         host_publisher_address(table->env.host, PLANS_LIST->daemon),
	                                     .topics = TOPICS,
	                                     .message = on_change,
	                                     .arg = table};
	struct status st = subscriber_new(table->env.bus, &options, &table->changes);

	if (status_ok(&st))
		st = host_every(table->env.host, table->service, REFRESH_MS, refresh_turn, table);
	return st;
}

struct plan_table *
plan_table_new(const struct service_env *env, const struct service *service)
{
	struct plan_table *table = mem_alloc(sizeof(*table));

	table->env = *env;
	table->service = service;
	atomic_store(&table->is_stale, true);
	arena_init(&table->arena, 1024, 1024);
	pthread_mutex_init(&table->lock, NULL);
	pthread_mutex_init(&table->refresh_lock, NULL);
	return table;
}

void
plan_table_free(struct plan_table *table)
{
	if (!table)
		return;
	subscriber_free(table->changes);
	arena_fini(&table->arena);
	pthread_mutex_destroy(&table->lock);
	pthread_mutex_destroy(&table->refresh_lock);
	mem_free(table);
}
