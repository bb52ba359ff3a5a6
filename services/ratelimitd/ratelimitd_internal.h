/*
 * ratelimitd: the service's structure, and what its files call in each other.
 */
#ifndef CORBEL_RATELIMITD_INTERNAL_H
#define CORBEL_RATELIMITD_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "daemon/service.h"
#include "registry.h"
#include "statistics.h"
#include "table.h"

struct alarms;
struct shared_engine;

struct ratelimitd {
	struct service_env env;
	struct registry *registry;
	struct table *table;
	struct statistics *statistics;
	struct alarms *alarms;        /* refusals to tell of */
	struct shared_engine *engine; /* NULL: counters are kept in memory */
	struct subscriber *limit_changes, *plan_changes;
	_Atomic bool plans_are_stale, limits_are_stale;
	_Atomic bool has_definitions; /* loaded once */
	int64_t version;              /* of the loaded definitions; the refresher's own */
	uint64_t plans_loaded_ms;     /* the refresher's own */
	struct arena plans;           /* the last plans known; the refresher's own */
	Corbel__V1__ListPlansReply *plan_list;
	pthread_mutex_t refresh_lock; /* one refresh at a time; guards the four above */
	struct metric_counter *allowed, *refused, *degraded;
	struct metric_gauge *keys;
};

/* ---- check.c: batch handlers ---- */
service_batch ratelimitd_batch(void *self, const struct api_method *method);
struct table_key counter_key(const char *tenant, const struct definition *definition, const char *key);

/* Limits of Corbel's own API ("api.…", "plugins.…") are the operator's to define and to reset, whoever's
 * calls they count. */
bool limit_is_open(const struct call *call, const char *name);

/* ---- refresh.c ---- */
/* Brings definitions and plans up to date if anything changed. `is_forced` reloads the definitions. */
struct status definitions_refresh(struct ratelimitd *self, struct store_conn *conn, bool is_forced);
void refresh_task(void *self, struct store_conn *conn);

/* ---- keeper.c ---- */
void keeper_task(void *self, struct store_conn *conn);
struct status keeper_load(struct ratelimitd *self, struct store_conn *conn);

#endif
