/*
 * registry: see registry.h. Two open-addressing indexes a snapshot: which levels a tenant's name has, and
 * the definitions themselves by a hash of (tenant, name, level, subject).
 */
#include "registry.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"

struct node {
	struct node *next;
	struct definition definition;
	const char *plan; /* of a plan's limit; NULL otherwise */
	uint64_t hash;
};

struct name_entry {
	uint64_t hash; /* of tenant and name; 0: free */
	const char *tenant, *name;
	uint32_t levels; /* bits of LimitLevel */
};

struct snapshot {
	_Atomic size_t holders;
	struct arena arena;
	bool is_complete;
	struct node *nodes;
	size_t count;
	struct node **index;
	struct name_entry *names;
	size_t mask;
};

struct registry {
	pthread_mutex_t lock;
	struct snapshot *current; /* guarded by `lock` */
};

static uint64_t
hash_pair(const char *a, const char *b, uint64_t salt)
{
	return hash_mix64(hash_table64(a, strlen(a)), hash_table64(b, strlen(b)) + salt);
}

static uint64_t
hash_of(const char *tenant, const char *name, uint32_t level, const char *subject)
{
	return hash_mix64(hash_pair(tenant, name, level), hash_table64(subject, strlen(subject)));
}

struct snapshot *
snapshot_new(void)
{
	struct snapshot *snapshot = mem_alloc(sizeof(*snapshot));
	snapshot->holders = 1;
	arena_init(&snapshot->arena, 64u << 10, SIZE_MAX);
	return snapshot;
}

struct arena *
snapshot_arena(struct snapshot *snapshot)
{
	return &snapshot->arena;
}

struct snapshot *
snapshot_hold(struct snapshot *snapshot)
{
	atomic_fetch_add_explicit(&snapshot->holders, 1, memory_order_relaxed);
	return snapshot;
}

void
snapshot_release(struct snapshot *snapshot)
{
	if (!snapshot || atomic_fetch_sub(&snapshot->holders, 1) != 1)
		return;
	arena_fini(&snapshot->arena);
	mem_free(snapshot);
}

/* The same in every process: counters in Redis are shared. */
static uint64_t
identity_of(const struct definition *definition)
{
	uint64_t shape[2] = {(uint64_t)definition->rule.strategy, definition->rule.window_us};
	return hash_stable64(shape, sizeof(shape), hash_stable64(definition->name, strlen(definition->name), 0));
}

static struct node *
add_node(struct snapshot *snapshot, const struct definition *definition)
{
	struct node *node = ARENA_NEW(&snapshot->arena, struct node);
	node->definition = *definition;
	node->definition.identity = identity_of(definition);
	node->next = snapshot->nodes;
	snapshot->nodes = node;
	snapshot->count++;
	return node;
}

void
snapshot_add(struct snapshot *snapshot, const struct definition *definition)
{
	struct node *node = add_node(snapshot, definition);
	node->hash =
	    hash_of(definition->tenant, definition->name, (uint32_t)definition->level, definition->subject);
}

static void
rule_defaults(struct rule *rule)
{
	if (rule->burst == 0)
		rule->burst = rule->limit;
	if (rule->strategy != STRATEGY_ADAPTIVE)
		return;
	if (rule->ceiling == 0)
		rule->ceiling = rule->limit;
	if (rule->floor == 0)
		rule->floor = 1;
	if (rule->backoff_permille == 0)
		rule->backoff_permille = 700;
	if (rule->recover_permille == 0)
		rule->recover_permille = 20;
}

void
definition_from_plan(const Corbel__V1__PlanLimit *limit, struct definition *out)
{
	*out = (struct definition){
	    .tenant = "",
	    .name = limit->resource,
	    .level = CORBEL__V1__LIMIT_LEVEL__PLAN,
	    .subject = "",
	    .rule = {.strategy = limit->has_strategy ? (enum strategy)limit->strategy : STRATEGY_FIXED_WINDOW,
	             .limit = limit->limit,
	             .window_us = limit->window_ms * 1000,
	             .burst = limit->burst},
	    .on_failure = CORBEL__V1__FAILURE_MODE__LOCAL_SHARE,
	};
	rule_defaults(&out->rule);
	/* A log keeps every admission: what is more than it may keep cannot be asked of it. */
	if (out->rule.strategy == STRATEGY_SLIDING_LOG && out->rule.limit > RULE_LOG_MAX)
		out->rule.limit = RULE_LOG_MAX;
	out->identity = identity_of(out);
}

void
snapshot_add_plan(struct snapshot *snapshot, const char *plan, const Corbel__V1__PlanLimit *limit)
{
	struct definition definition;

	definition_from_plan(limit, &definition);
	definition.name = arena_strdup(&snapshot->arena, limit->resource);
	definition.subject = arena_strdup(&snapshot->arena, plan);
	struct node *node = add_node(snapshot, &definition);
	node->plan = definition.subject;
	node->hash = hash_of("", definition.name, CORBEL__V1__LIMIT_LEVEL__PLAN, definition.subject);
}

static void
index_name(struct snapshot *snapshot, const struct definition *definition)
{
	uint64_t hash = hash_pair(definition->tenant, definition->name, 0) | 1;
	size_t slot = hash & snapshot->mask;
	while (snapshot->names[slot].hash && (snapshot->names[slot].hash != hash ||
	                                      strcmp(snapshot->names[slot].tenant, definition->tenant) != 0 ||
	                                      strcmp(snapshot->names[slot].name, definition->name) != 0))
		slot = (slot + 1) & snapshot->mask;
	snapshot->names[slot].hash = hash;
	snapshot->names[slot].tenant = definition->tenant;
	snapshot->names[slot].name = definition->name;
	snapshot->names[slot].levels |= 1u << definition->level;
}

void
snapshot_complete(struct snapshot *snapshot)
{
	snapshot->is_complete = true;
}

bool
snapshot_is_complete(const struct snapshot *snapshot)
{
	return snapshot->is_complete;
}

void
snapshot_seal(struct snapshot *snapshot)
{
	size_t size = 16;
	while (size < snapshot->count * 2 + 2)
		size *= 2;
	snapshot->mask = size - 1;
	snapshot->index = ARENA_ARRAY(&snapshot->arena, struct node *, size);
	snapshot->names = ARENA_ARRAY(&snapshot->arena, struct name_entry, size);
	for (struct node *node = snapshot->nodes; node; node = node->next) {
		size_t slot = node->hash & snapshot->mask;
		while (snapshot->index[slot])
			slot = (slot + 1) & snapshot->mask;
		snapshot->index[slot] = node;
		index_name(snapshot, &node->definition);
	}
}

static const struct definition *
lookup(const struct snapshot *snapshot, const char *tenant, const char *name, Corbel__V1__LimitLevel level,
       const char *subject)
{
	uint64_t hash = hash_of(tenant, name, (uint32_t)level, subject);
	for (size_t slot = hash & snapshot->mask; snapshot->index[slot]; slot = (slot + 1) & snapshot->mask) {
		const struct node *node = snapshot->index[slot];
		const struct definition *found = &node->definition;
		if (node->hash == hash && found->level == level && strcmp(found->name, name) == 0 &&
		    strcmp(found->subject, subject) == 0 && strcmp(found->tenant, tenant) == 0)
			return found;
	}
	return NULL;
}

static uint32_t
levels_of(const struct snapshot *snapshot, const char *tenant, const char *name)
{
	uint64_t hash = hash_pair(tenant, name, 0) | 1;
	for (size_t slot = hash & snapshot->mask; snapshot->names[slot].hash;
	     slot = (slot + 1) & snapshot->mask) {
		const struct name_entry *entry = &snapshot->names[slot];
		if (entry->hash == hash && strcmp(entry->name, name) == 0 && strcmp(entry->tenant, tenant) == 0)
			return entry->levels;
	}
	return 0;
}

/* What the tenant itself has defined at a level. */
static const struct definition *
find_at(const struct snapshot *snapshot, const struct limit_query *query, uint32_t levels,
        Corbel__V1__LimitLevel level, const char *subject)
{
	return levels & 1u << level && subject ? lookup(snapshot, query->tenant, query->name, level, subject)
	                                       : NULL;
}

const struct definition *
snapshot_find(const struct snapshot *snapshot, const struct limit_query *query)
{
	uint32_t levels = levels_of(snapshot, query->tenant, query->name);
	const struct definition *found =
	    find_at(snapshot, query, levels, CORBEL__V1__LIMIT_LEVEL__KEY, query->key);

	if (!found)
		found = query->own;
	if (!found)
		found = find_at(snapshot, query, levels, CORBEL__V1__LIMIT_LEVEL__ROUTE, query->route);
	if (!found)
		found = find_at(snapshot, query, levels, CORBEL__V1__LIMIT_LEVEL__PLAN, query->plan);
	if (!found)
		found = find_at(snapshot, query, levels, CORBEL__V1__LIMIT_LEVEL__TENANT, "");
	if (!found && query->plan && query->plan[0])
		found = lookup(snapshot, "", query->name, CORBEL__V1__LIMIT_LEVEL__PLAN, query->plan);
	return found;
}

struct registry *
registry_new(void)
{
	struct registry *registry = mem_alloc(sizeof(*registry));
	pthread_mutex_init(&registry->lock, NULL);
	registry->current = snapshot_new();
	snapshot_seal(registry->current);
	return registry;
}

void
registry_free(struct registry *registry)
{
	if (!registry)
		return;
	snapshot_release(registry->current);
	pthread_mutex_destroy(&registry->lock);
	mem_free(registry);
}

void
registry_put(struct registry *registry, struct snapshot *snapshot)
{
	pthread_mutex_lock(&registry->lock);
	struct snapshot *old = registry->current;
	registry->current = snapshot;
	pthread_mutex_unlock(&registry->lock);
	snapshot_release(old);
}

struct snapshot *
registry_get(struct registry *registry)
{
	pthread_mutex_lock(&registry->lock);
	struct snapshot *snapshot = registry->current;
	atomic_fetch_add(&snapshot->holders, 1);
	pthread_mutex_unlock(&registry->lock);
	return snapshot;
}

static bool
reject(char reason[128], const char **field, const char *name, const char *why)
{
	snprintf(reason, 128, "%s", why);
	*field = name;
	return false;
}

bool
rule_from_limit(const Corbel__V1__Limit *limit, struct rule *out, char reason[128], const char **field)
{
	const Corbel__V1__Adaptive *adaptive = limit->adaptive;

	*out = (struct rule){.strategy = (enum strategy)limit->strategy,
	                     .limit = limit->limit,
	                     .window_us = limit->window_ms * 1000,
	                     .burst = limit->burst};
	if (adaptive) {
		out->floor = adaptive->floor;
		out->ceiling = adaptive->ceiling;
		out->latency_ms = adaptive->latency_ms;
		out->backoff_permille = adaptive->backoff_permille;
		out->recover_permille = adaptive->recover_permille;
	}
	rule_defaults(out);
	if (out->strategy == STRATEGY_SLIDING_LOG && out->limit > RULE_LOG_MAX)
		return reject(reason, field, "/limit",
		              "must be at most 10000 for SLIDING_LOG, which keeps every admission");
	if (out->strategy == STRATEGY_ADAPTIVE && out->floor > out->ceiling)
		return reject(reason, field, "/adaptive/floor", "must not be above the ceiling");
	if (adaptive && out->strategy != STRATEGY_ADAPTIVE)
		return reject(reason, field, "/adaptive", "is for strategy ADAPTIVE only");
	if (limit->has_burst &&
	    (out->strategy == STRATEGY_FIXED_WINDOW || out->strategy == STRATEGY_SLIDING_LOG ||
	     out->strategy == STRATEGY_SLIDING_COUNTER || out->strategy == STRATEGY_ADAPTIVE))
		return reject(reason, field, "/burst", "is for token bucket, leaky bucket and GCRA only");
	return true;
}
