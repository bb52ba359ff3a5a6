/*
 * registry: the definitions of limits, in memory, for the hot path.
 *
 * An immutable snapshot is swapped in whole when definitions or plans change; whoever decides holds a
 * reference for the length of a batch. Nothing on the hot path waits for SQL or for accountd.
 *
 * A name is resolved for a tenant from the most specific definition to the most general: KEY, the limit of
 * the caller's API key alone, ROUTE, PLAN, TENANT of the tenant itself, then the limit of that resource in
 * the caller's plan.
 */
#ifndef CORBEL_RATELIMITD_REGISTRY_H
#define CORBEL_RATELIMITD_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "corbel/contract.gen.h"
#include "strategy.h"

#define REGISTRY_DEFINITIONS_MAX 100000

struct definition {
	const char *tenant; /* "" for a plan's limit */
	const char *name;
	Corbel__V1__LimitLevel level;
	const char *subject;
	struct rule rule;
	Corbel__V1__FailureMode on_failure;
	bool is_shadow;
	uint64_t identity; /* of its counters: name, strategy and window, so that other changes keep them */
};

struct snapshot;

/* Builds one: add everything, then seal. */
struct snapshot *snapshot_new(void);
struct arena *snapshot_arena(struct snapshot *snapshot);
/* Texts are borrowed from the snapshot's arena. */
void snapshot_add(struct snapshot *snapshot, const struct definition *definition);
void snapshot_add_plan(struct snapshot *snapshot, const char *plan, const Corbel__V1__PlanLimit *limit);
void snapshot_seal(struct snapshot *snapshot);
/* The plans are in it, too: what it does not hold does not exist. */
void snapshot_complete(struct snapshot *snapshot);
bool snapshot_is_complete(const struct snapshot *snapshot);
struct snapshot *snapshot_hold(struct snapshot *snapshot);
void snapshot_release(struct snapshot *snapshot);

/* The definition that a limit of a plan, or of an API key alone, makes; texts are borrowed from it. */
void definition_from_plan(const Corbel__V1__PlanLimit *limit, struct definition *out);

struct limit_query {
	const char *tenant, *name, *key, *route, *plan;
	const struct definition *own; /* of the caller's API key alone; NULL: none */
};
/* NULL: the tenant has no such limit. */
const struct definition *snapshot_find(const struct snapshot *snapshot, const struct limit_query *query);

struct registry;
struct registry *registry_new(void);
void registry_free(struct registry *registry);
/* Takes the snapshot; the one before goes when its last user releases it. */
void registry_put(struct registry *registry, struct snapshot *snapshot);
struct snapshot *registry_get(struct registry *registry); /* release it */

/* The rule of a message's fields, with defaults filled in. False with a reason when it makes no sense. */
bool rule_from_limit(const Corbel__V1__Limit *limit, struct rule *out, char reason[128], const char **field);

#endif
