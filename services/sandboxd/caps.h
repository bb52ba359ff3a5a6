/*
 * caps: what the plan of a tenant allows its runs.
 *
 * A plan says so by limits of these resources, whose window means nothing here; what it does not say is
 * bounded by the contract alone:
 *
 *   plugins.cpu_ms, plugins.wall_ms, plugins.memory_bytes   the most that one run may take
 *   plugins.at_once                                         runs under way at once, on each replica
 *   plugins.queued                                          runs that may wait in the queue
 *   plugins.runs                                            runs in the window, counted by ratelimitd
 *
 * Limits of a key of its own count, too, when they are lower. Plans come from accountd: when it says that
 * they changed, and every 30 seconds; while it is away the last known ones stay in force.
 */
#ifndef CORBEL_SANDBOXD_CAPS_H
#define CORBEL_SANDBOXD_CAPS_H

#include "corbel/contract.gen.h"
#include "daemon/call.h"
#include "daemon/service.h"

#define CAPS_QUEUED 10000u

struct caps {
	Corbel__V1__PluginLimits limits;
	size_t at_once; /* 0: no bound of the plan's */
	size_t queued;
	bool are_counted; /* runs, by ratelimitd */
	char plan[72];    /* whose caps these are */
};

struct plan_table;

struct plan_table *plan_table_new(const struct service_env *env, const struct service *service);
void plan_table_free(struct plan_table *table);
/* Subscribes to changes and begins to refresh. */
struct status plan_table_start(struct plan_table *table);

/* Of who calls. Any thread. */
void caps_of_call(struct plan_table *table, const struct call *call, struct caps *out);
/* Of a tenant, whose plan is asked for if it was not of late: workers only. */
struct status caps_of_tenant(struct plan_table *table, const char *tenant, struct caps *out);

/* Counts a run that nobody asked for over HTTP, where the ingress does so: RESOURCE_EXHAUSTED, with the time
 * to wait, when the plan has no more of them. Workers only. While ratelimitd is away they run. */
struct status caps_count_run(struct plan_table *table, const char *tenant, const struct caps *caps,
                             uint32_t *retry_ms);

/* Lowers what a resource of that name is about. */
void caps_lower(struct caps *caps, const char *resource, uint64_t limit);
void caps_init(struct caps *caps);

#endif
