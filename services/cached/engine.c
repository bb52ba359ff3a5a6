/*
 * engine: life, tenants and spaces. See engine.h and engine_internal.h.
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "engine_internal.h"
#include "engine_shared.h"

#define ENTRY_SHARE   16u
#define SPACES_MAX    4096u
#define NAMES_MAX     16384u /* tags, and as many prefixes, that a space remembers */
#define SPACE_BYTES   16384u /* that one takes when it has an entry or two */
#define FIRST_BUCKETS 64u
#define BEGIN_MS      UINT64_C(7776000000) /* 90 days: what the engine begins with may be older than it is */

struct space_options
space_options_default(void)
{
	return (struct space_options){
	    .ttl_ms = 3600000, .negative_ttl_ms = 10000, .lease_ms = 10000, .early = 1.0, .outage_ms = 300000};
}

struct engine *
engine_new(const struct engine_options *options)
{
	struct engine *engine = mem_alloc(sizeof(*engine));

	engine->options = *options;
	if (!options->clock)
		engine->options.clock = clock_system();
	if (!options->random)
		engine->options.random = random_system();
	if (options->spaces_max == 0)
		engine->options.spaces_max = SPACES_MAX;
	engine->entry_bytes_max =
	    options->bytes_max / (options->entry_share ? options->entry_share : ENTRY_SHARE);
	engine->start_ms = clock_mono_ms(engine->options.clock) - BEGIN_MS;
	engine->seed = random_u64(engine->options.random);
	engine->heap = heap_new();
	engine->readers = readers_new(engine->heap);
	pthread_rwlock_init(&engine->registry, NULL);
	pthread_mutex_init(&engine->room_lock, NULL);
	return engine;
}

void
engine_watch(struct engine *engine, const struct change_watch *watch)
{
	engine->watch = *watch;
}

static void
space_free(struct space *space)
{
	l1_free(space->l1);
	space->tier->free(space->tier);
	leases_free(space->leases);
	invalidations_free(space->invalidations);
	if (space->copies)
		invalidations_free(space->copies->globs);
	mem_free(space->copies);
	hot_keys_free(space->hot_keys);
	pthread_mutex_destroy(&space->lock);
	mem_free(space->name);
	free(space);
}

void
engine_free(struct engine *engine)
{
	if (!engine)
		return;
	for (size_t i = 0; i < engine->space_count; i++)
		space_free(engine->spaces[i]);
	for (size_t i = 0; i < engine->tenant_count; i++) {
		mem_free(engine->tenants[i]->name);
		mem_free(engine->tenants[i]->spaces);
		mem_free(engine->tenants[i]);
	}
	mem_free(engine->tenants);
	mem_free(engine->spaces);
	mem_free(engine->buckets);
	readers_free(engine->readers);
	heap_free(engine->heap);
	pthread_mutex_destroy(&engine->room_lock);
	pthread_rwlock_destroy(&engine->registry);
	mem_free(engine);
}

uint64_t
engine_now_ms(const struct engine *engine)
{
	return clock_mono_ms(engine->options.clock) - engine->start_ms;
}

uint64_t
engine_coarse_ms(const struct engine *engine)
{
	return clock_coarse_ms(engine->options.clock) - engine->start_ms;
}

uint64_t
engine_draw(struct engine *engine)
{
	return hash_mix64(atomic_fetch_add_explicit(&engine->draws, 1, memory_order_relaxed), engine->seed);
}

uint64_t
space_hash(const struct space *space, const char *key, size_t length)
{
	return hash_stable64(key, length, space->engine->seed);
}

void
wake_all(struct engine_waiter *woken)
{
	while (woken) {
		struct engine_waiter *waiter = woken;
		woken = waiter->next; /* the waiter may be gone once it was woken */
		waiter->wake(waiter);
	}
}

/* ---- tenants ---- */

/* A pointer at the end of a list that grows. */
static void
append(void ***list, size_t *count, size_t *capacity, void *item)
{
	if (*count == *capacity) {
		*capacity = *capacity ? *capacity * 2 : 8;
		*list = mem_resize(*list, *capacity, sizeof(void *));
	}
	(*list)[(*count)++] = item;
}

static struct tenant *
find_tenant(const struct engine *engine, const char *name)
{
	for (size_t i = 0; i < engine->tenant_count; i++)
		if (strcmp(engine->tenants[i]->name, name) == 0)
			return engine->tenants[i];
	return NULL;
}

static struct tenant *
tenant_get(struct engine *engine, const char *name)
{
	struct tenant *tenant = find_tenant(engine, name);

	if (tenant)
		return tenant;
	tenant = mem_alloc(sizeof(*tenant));
	tenant->name = mem_strdup(name);
	atomic_init(&tenant->weight, 1);
	append((void ***)&engine->tenants, &engine->tenant_count, &engine->tenant_capacity, tenant);
	return tenant;
}

void
engine_set_quota(struct engine *engine, const char *name, const struct tenant_quota *quota)
{
	pthread_rwlock_wrlock(&engine->registry);
	struct tenant *tenant = tenant_get(engine, name);
	atomic_store(&tenant->bytes_max, quota->bytes_max);
	atomic_store(&tenant->entries_max, quota->entries_max);
	atomic_store(&tenant->weight, quota->weight ? quota->weight : 1);
	pthread_rwlock_unlock(&engine->registry);
}

bool
engine_tenant_stats(struct engine *engine, const char *name, struct tenant_stats *stats)
{
	pthread_rwlock_rdlock(&engine->registry);
	struct tenant *tenant = find_tenant(engine, name);
	if (tenant)
		*stats = (struct tenant_stats){atomic_load(&tenant->entries), atomic_load(&tenant->bytes),
		                               tenant->space_count};
	pthread_rwlock_unlock(&engine->registry);
	return tenant != NULL;
}

/* ---- spaces ---- */

static size_t
home_of(const struct engine *engine, const char *tenant, const char *name)
{
	uint64_t hash = hash_mix64(hash_stable64(tenant, strlen(tenant), engine->seed),
	                           hash_stable64(name, strlen(name), engine->seed));
	return hash & (engine->bucket_count - 1);
}

/* Where the space's bucket is, or the empty one where it would be; there are buckets. */
static uint32_t *
bucket_of(const struct engine *engine, const char *tenant, const char *name)
{
	size_t at = home_of(engine, tenant, name);

	for (; engine->buckets[at]; at = (at + 1) & (engine->bucket_count - 1)) {
		const struct space *space = engine->spaces[engine->buckets[at] - 1];
		if (strcmp(space->name, name) == 0 && strcmp(space->tenant->name, tenant) == 0)
			break;
	}
	return &engine->buckets[at];
}

static struct space *
find_space(const struct engine *engine, const char *tenant, const char *name)
{
	uint32_t bucket = engine->buckets ? *bucket_of(engine, tenant, name) : 0;
	return bucket ? engine->spaces[bucket - 1] : NULL;
}

struct space *
engine_find_space(struct engine *engine, const char *tenant, const char *name)
{
	pthread_rwlock_rdlock(&engine->registry);
	struct space *space = find_space(engine, tenant, name);
	pthread_rwlock_unlock(&engine->registry);
	return space;
}

static void
buckets_grow(struct engine *engine)
{
	engine->bucket_count = engine->bucket_count ? engine->bucket_count * 2 : FIRST_BUCKETS;
	mem_free(engine->buckets);
	engine->buckets = mem_array(engine->bucket_count, sizeof(engine->buckets[0]));
	for (size_t i = 0; i < engine->space_count; i++)
		*bucket_of(engine, engine->spaces[i]->tenant->name, engine->spaces[i]->name) = (uint32_t)i + 1;
}

static struct space *
space_new(struct engine *engine, struct tenant *tenant, const char *name)
{
	struct space *space = aligned_alloc(64, sizeof(*space));

	if (!space)
		return mem_alloc(SIZE_MAX / 2); /* reports and aborts */
	memset(space, 0, sizeof(*space));
	space->engine = engine;
	space->tenant = tenant;
	space->name = mem_strdup(name);
	space->options = space_options_default();
	space->l1 = l1_new(engine->readers);
	space->invalidations = invalidations_new(NAMES_MAX, engine->seed);
	space->hot_keys = hot_keys_new();
	space->leases = leases_new(room_leases_max(space));
	space->tier = tier_local(space->invalidations, space->leases, &engine->watch, space);
	if (engine->options.trust_of) {
		space->tier->between = shared_version(1) - 1;
		space->copies = mem_alloc(sizeof(*space->copies));
		space->copies->trust = engine->options.trust_of(engine->options.trust_arg, tenant->name, name);
		space->copies->globs = invalidations_new(1, engine->seed);
		atomic_init(&space->copies->outage_ms, space->options.outage_ms);
	}
	pthread_mutex_init(&space->lock, NULL);
	atomic_init(&space->early_permille, (uint32_t)(space->options.early * 1000));
	return space;
}

static struct space *
space_add(struct engine *engine, struct tenant *tenant, const char *name)
{
	struct space *space = space_new(engine, tenant, name);

	append((void ***)&tenant->spaces, &tenant->space_count, &tenant->space_capacity, space);
	append((void ***)&engine->spaces, &engine->space_count, &engine->space_capacity, space);
	if (engine->space_count * 2 > engine->bucket_count)
		buckets_grow(engine);
	else
		*bucket_of(engine, tenant->name, name) = (uint32_t)engine->space_count;
	return space;
}

/* What spaces take cannot be evicted, so all together take at most half of the bytes, a tenant's a quarter.
 */
static bool
may_add_space(const struct engine *engine, const struct tenant *tenant)
{
	uint64_t bytes_max = engine->options.bytes_max;

	return tenant->space_count == 0 || (tenant->space_count < engine->options.spaces_max &&
	                                    tenant->space_count * SPACE_BYTES < bytes_max / 4 &&
	                                    engine->space_count * SPACE_BYTES < bytes_max / 2);
}

struct status
engine_space(struct engine *engine, const char *tenant_name, const char *name, struct space **out)
{
	struct status st = status_ok_value();

	*out = engine_find_space(engine, tenant_name, name);
	if (*out)
		return st;
	pthread_rwlock_wrlock(&engine->registry);
	*out = find_space(engine, tenant_name, name);
	struct tenant *tenant = *out ? NULL : tenant_get(engine, tenant_name);
	if (tenant && !may_add_space(engine, tenant))
		st = status_make(STATUS_RESOURCE_EXHAUSTED,
		                 "the tenant uses %zu namespaces; the cache has no memory for another",
		                 tenant->space_count);
	else if (tenant)
		*out = space_add(engine, tenant, name);
	pthread_rwlock_unlock(&engine->registry);
	return st;
}

void
engine_each_space(struct engine *engine, const char *tenant_name, engine_space_fn *each, void *arg)
{
	pthread_rwlock_rdlock(&engine->registry);
	const struct tenant *tenant = tenant_name ? find_tenant(engine, tenant_name) : NULL;
	size_t count = tenant_name ? (tenant ? tenant->space_count : 0) : engine->space_count;
	struct space **spaces = mem_array(count + 1, sizeof(struct space *));
	if (count > 0)
		memcpy(spaces, tenant ? tenant->spaces : engine->spaces, count * sizeof(struct space *));
	pthread_rwlock_unlock(&engine->registry);
	for (size_t i = 0; i < count; i++)
		each(arg, spaces[i]);
	mem_free(spaces);
}

static void
configure(struct space *space, const struct space_options *options, bool is_configured)
{
	double early = options->early < 0 ? 0 : options->early > 1000 ? 1000 : options->early;

	pthread_mutex_lock(&space->lock);
	space->options = *options;
	atomic_store_explicit(&space->is_configured, is_configured, memory_order_release);
	room_in_space(space, 0, false);
	pthread_mutex_unlock(&space->lock);
	atomic_store_explicit(&space->early_permille, (uint32_t)(early * 1000), memory_order_relaxed);
	if (space->copies)
		atomic_store_explicit(&space->copies->outage_ms, options->outage_ms, memory_order_relaxed);
}

void
space_configure(struct space *space, const struct space_options *options)
{
	configure(space, options, true);
}

void
engine_drop_space(struct space *space)
{
	struct space_options options = space_options_default();

	engine_invalidate_all(space);
	configure(space, &options, false);
}

bool
space_is_configured(const struct space *space)
{
	return atomic_load_explicit(&space->is_configured, memory_order_acquire);
}

struct space_options
space_options(const struct space *space)
{
	struct space *own = (struct space *)(uintptr_t)space;

	pthread_mutex_lock(&own->lock);
	struct space_options options = own->options;
	pthread_mutex_unlock(&own->lock);
	return options;
}

const char *
space_name(const struct space *space)
{
	return space->name;
}

const char *
space_tenant(const struct space *space)
{
	return space->tenant->name;
}

uint64_t
space_sequence(const struct space *space)
{
	return space->tier->sequence(space->tier);
}
