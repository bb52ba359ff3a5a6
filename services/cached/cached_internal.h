/*
 * cached: the service's structure, and what its files call in each other.
 */
#ifndef CORBEL_CACHED_INTERNAL_H
#define CORBEL_CACHED_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "corbel/contract.gen.h"
#include "daemon/service.h"
#include "definitions.h"
#include "engine.h"
#include "errands.h"

struct fetches;
struct fleet;
struct gauges;
struct keyring;
struct snapshot;
struct waiting;
struct warming;
struct windows;

struct cached {
	struct service_env env;
	struct definitions *definitions;
	pthread_mutex_t refresh_lock; /* one refresh of them at a time, so that an older one is never the last */
	struct subscriber *changes;   /* of other replicas' definitions */
	struct fleet *fleet;          /* NULL: without Redis; this process is the cache */
	char *journal;                /* of the fleet; NULL without */
	struct engine *engine;
	struct waiting *waiting; /* calls that wait for a value */
	struct gauges *gauges;
	struct windows *windows;
	struct fetches *fetches;   /* from origins */
	struct warming *warming;   /* after a start */
	struct snapshot *snapshot; /* NULL: there is none */
	struct keyring *keyring;   /* that headers of origins are sealed under; NULL: there is none */
	uint64_t tenant_bytes, tenant_entries, lease_ms, outage_ms;
	uint32_t epoch; /* entity tags of another process's versions differ; 0 where replicas share them */
	/* the upkeep thread */
	pthread_t upkeep;
	bool has_upkeep;
	_Atomic bool is_stopping;
};

/* ---- namespaces.c ---- */
/* Loads the definitions if they changed since; a worker's task. */
void namespaces_refresh_task(void *self, struct store_conn *conn);
struct status namespaces_refresh(struct cached *self, struct store_conn *conn);

/* ---- spaces.c ---- */
/* The namespace of a call's tenant, or of the one that an operator names. NULL: no call has used it, which
 * only `is_made` or an origin changes. */
struct status space_of_call(struct call *call, const char *tenant_id, const char *name, bool is_made,
                            struct space **out);
struct status space_make(struct cached *self, const char *tenant, const char *name, struct space **out);
/* Whether the definition of a namespace names an origin. */
bool space_has_origin(struct cached *self, const char *tenant, const char *name);
/* After the definitions changed: they hold for every space that is in use. */
void spaces_configure(struct cached *self);

/* ---- origins.c ---- */
/* What a caller gave, checked; an empty header has the value that is kept. NULL: none was given. */
struct status origin_take(struct call *call, const char *prefix, const Corbel__V1__CacheOrigin *given,
                          const Corbel__V1__CacheOrigin *kept, Corbel__V1__CacheOrigin **out);
/* The same without the values of its headers. */
Corbel__V1__CacheOrigin *origin_shown(struct arena *arena, const Corbel__V1__CacheOrigin *origin);

/* ---- sealed.c ---- */
/* The headers of an origin as a column; null without any. FAILED_PRECONDITION when there is no secret. */
struct status headers_seal(const struct cached *self, struct arena *arena,
                           const Corbel__V1__CacheOrigin *origin, struct store_value *out);
/* Puts them back; false when they cannot be read. */
bool headers_open(const struct cached *self, struct arena *arena, const struct store_rows *rows, size_t row,
                  size_t column, Corbel__V1__CacheOrigin *origin);

/* ---- lookups.c ---- */
/* One key of one call, and whether the namespace has an origin that makes its value. */
struct lookup {
	const Corbel__V1__CacheGetRequest *request;
	struct space *space;
	bool has_origin, has_failed;
	bool has_waited; /* the caller has to, since `since_ms` of the monotonic clock */
	uint64_t since_ms;
};
void lookup_init(struct cached *self, struct lookup *lookup, struct get *get);
/* After the engine has looked: a token that the origin is to use starts a fetch. */
void lookup_follow(struct cached *self, struct lookup *lookup, struct get *get);
/* Nothing is there, and nobody who can make it is waited for. */
bool lookup_is_over(const struct lookup *lookup, const struct get *get);
/* Ends the call with what was found. */
void lookup_answer(struct call *call, const struct lookup *lookup, const struct get *get);

/* ---- answers.c ---- */
/* What was found as an entry; pointers of `get` are borrowed. `is_raw`: the value's bytes whatever they are.
 */
void answer_entry(struct call *call, const struct get *get, bool is_raw, Corbel__V1__CacheEntry *out);
/* Age, ETag, Cache-Control, Cache-Status and the token, for callers by HTTP. */
void answer_headers(struct call *call, const struct lookup *lookup, const struct get *get);
char *token_text(struct arena *arena, uint64_t token);
uint64_t token_read(const char *text); /* NULL: 0 */

/* ---- sets.c: what is to be written, and what became of it ---- */
struct status set_prepare(struct call *call, struct errand *errand);
struct status set_finish(struct call *call, const struct errand *errand);
struct status set_many_prepare(struct call *call, struct errand *errand);
struct status set_many_finish(struct call *call, const struct errand *errand);

/* ---- gets.c, waiting.c, changes.c, gather.c: batch handlers ---- */
void cache_change_batch(void *self, struct call *calls[], size_t count);
bool cache_changes(const struct api_method *method); /* whether that is for this one */
void cache_get_batch(void *self, struct call *calls[], size_t count);
void cache_fetch_batch(void *self, struct call *calls[], size_t count);
void cache_get_many_batch(void *self, struct call *calls[], size_t count);
void cache_warm_batch(void *self, struct call *calls[], size_t count);
void cache_statistics_batch(void *self, struct call *calls[], size_t count);
void cache_replica_statistics_batch(void *self, struct call *calls[], size_t count);

/* ---- statistics.c: of this process, sorted by name; texts and lists are in the arena ---- */
#define CACHE_STATISTICS_NAMESPACES 4096u /* at most */
#define CACHE_STATISTICS_TOP        10u   /* keys of a namespace */
void cache_statistics_read(struct cached *self, const char *tenant, const char *namespace_,
                           struct arena *arena, Corbel__V1__CacheStatisticsReply *reply);

/* ---- waiting.c ---- */
struct waiting *waiting_new(struct cached *self);
/* Ends those who waited long enough; all of them when `is_over`. */
/* The call missed its key and is sent to Fetch; `missed_ms` is of the monotonic clock, before the key was
 * looked for: the value may be there by then. Any thread. */
void waiting_expect(struct waiting *waiting, const struct call *call, const struct lookup *lookup,
                    uint64_t missed_ms);
void waiting_tick(struct waiting *waiting, bool is_over);
void waiting_free(struct waiting *waiting);

/* ---- gauges.c ---- */
struct gauges *gauges_new(const struct cached *self);
void gauges_tick(struct gauges *gauges, struct engine *engine);
void gauges_free(struct gauges *gauges);

#endif
