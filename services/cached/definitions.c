/*
 * definitions: see definitions.h. The lock is held for a look-up only, which is one probe of a hash table.
 */
#include "definitions.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/hash.h"

struct node {
	struct node *next; /* in its bucket, and before the table is sealed in the list of all */
	const char *tenant, *name;
	uint64_t hash;
	struct definition_rules rules;
	struct definition_origin origin; /* url NULL: none */
};

struct definition_table {
	struct arena arena;
	int64_t version;
	struct node *all;
	size_t count;
	struct node **buckets;
	size_t mask;
	bool has_origins;
};

struct definitions {
	pthread_rwlock_t lock;
	struct definition_table *table; /* guarded by `lock` */
	_Atomic bool has_origins;       /* of the table in force, or of one before */
};

static uint64_t
hash_of(const char *tenant, const char *name)
{
	return hash_mix64(hash_table64(tenant, strlen(tenant)), hash_table64(name, strlen(name)));
}

struct definition_table *
definition_table_new(int64_t version)
{
	struct definition_table *table = mem_alloc(sizeof(*table));
	arena_init(&table->arena, 16u << 10, SIZE_MAX);
	table->version = version;
	return table;
}

static void
table_free(struct definition_table *table)
{
	if (!table)
		return;
	arena_fini(&table->arena);
	mem_free(table);
}

static void
rules_of(const Corbel__V1__CacheNamespace *from, struct definition_rules *out)
{
	*out = (struct definition_rules){
	    .ttl_ms = from->has_ttl_ms ? from->ttl_ms : DEFINITIONS_TTL_MS,
	    .grace_ms = from->grace_ms,
	    .error_grace_ms = from->error_grace_ms,
	    .has_outage = from->has_outage_ms,
	    .outage_ms = from->outage_ms,
	    .negative_ttl_ms = from->has_negative_ttl_ms ? from->negative_ttl_ms : DEFINITIONS_NEGATIVE_MS,
	    .max_bytes = from->max_bytes,
	    .max_entries = from->max_entries,
	    .max_value_bytes = from->has_max_value_bytes ? from->max_value_bytes : DEFINITIONS_VALUE_MAX};
}

static void
take_origin(struct definition_table *table, const Corbel__V1__CacheOrigin *from, struct node *node)
{
	struct arena *arena = &table->arena;
	struct definition_origin *out = &node->origin;

	out->url = arena_strdup(arena, from->url);
	out->timeout_ms = from->has_timeout_ms ? from->timeout_ms : DEFINITIONS_ORIGIN_MS;
	out->headers = ARENA_ARRAY(arena, const char *, from->n_headers + 1);
	for (; out->header_count < from->n_headers; out->header_count++)
		out->headers[out->header_count] = arena_printf(arena, "%s: %s", from->headers[out->header_count]->key,
		                                               from->headers[out->header_count]->value);
	/* No header would mean any coding: RFC 9110 section 12.5.3. */
	out->headers[out->header_count++] = "Accept-Encoding: identity";
	node->rules.origin_timeout_ms = out->timeout_ms;
	table->has_origins = true;
}

void
definition_table_add(struct definition_table *table, const char *tenant,
                     const Corbel__V1__CacheNamespace *definition)
{
	struct node *node = ARENA_NEW(&table->arena, struct node);

	node->tenant = arena_strdup(&table->arena, tenant);
	node->name = arena_strdup(&table->arena, definition->name);
	node->hash = hash_of(tenant, node->name);
	rules_of(definition, &node->rules);
	if (definition->origin && definition->origin->url)
		take_origin(table, definition->origin, node);
	node->next = table->all;
	table->all = node;
	table->count++;
}

static void
table_seal(struct definition_table *table)
{
	size_t size = 16;

	while (size < 2 * table->count)
		size *= 2;
	table->mask = size - 1;
	table->buckets = ARENA_ARRAY(&table->arena, struct node *, size);
	while (table->all) {
		struct node *node = table->all, **bucket = &table->buckets[node->hash & table->mask];
		table->all = node->next;
		node->next = *bucket;
		*bucket = node;
	}
}

struct definitions *
definitions_new(void)
{
	struct definitions *definitions = mem_alloc(sizeof(*definitions));
	pthread_rwlock_init(&definitions->lock, NULL);
	definitions->table = definition_table_new(0);
	table_seal(definitions->table);
	return definitions;
}

void
definitions_free(struct definitions *definitions)
{
	if (!definitions)
		return;
	table_free(definitions->table);
	pthread_rwlock_destroy(&definitions->lock);
	mem_free(definitions);
}

void
definitions_put(struct definitions *definitions, struct definition_table *table)
{
	table_seal(table);
	pthread_rwlock_wrlock(&definitions->lock);
	struct definition_table *old = definitions->table;
	definitions->table = table;
	atomic_store(&definitions->has_origins, table->has_origins);
	pthread_rwlock_unlock(&definitions->lock);
	table_free(old);
}

int64_t
definitions_version(struct definitions *definitions)
{
	pthread_rwlock_rdlock(&definitions->lock);
	int64_t version = definitions->table->version;
	pthread_rwlock_unlock(&definitions->lock);
	return version;
}

/* NULL: nobody defined it. Under the lock. */
static const struct node *
find(const struct definition_table *table, const char *tenant, const char *name)
{
	uint64_t hash = hash_of(tenant, name);
	const struct node *node = table->buckets[hash & table->mask];

	while (node && (node->hash != hash || strcmp(node->name, name) != 0 || strcmp(node->tenant, tenant) != 0))
		node = node->next;
	return node;
}

void
definitions_find(struct definitions *definitions, const char *tenant, const char *name,
                 struct definition_rules *out)
{
	static const Corbel__V1__CacheNamespace UNDEFINED = CORBEL__V1__CACHE_NAMESPACE__INIT;

	rules_of(&UNDEFINED, out);
	pthread_rwlock_rdlock(&definitions->lock);
	const struct node *node = find(definitions->table, tenant, name);
	if (node)
		*out = node->rules;
	pthread_rwlock_unlock(&definitions->lock);
}

bool
definitions_have_origins(const struct definitions *definitions)
{
	return atomic_load_explicit(&definitions->has_origins, memory_order_relaxed);
}

bool
definitions_origin(struct definitions *definitions, const char *tenant, const char *name, struct arena *arena,
                   struct definition_origin *out)
{
	if (!definitions_have_origins(definitions))
		return false;
	pthread_rwlock_rdlock(&definitions->lock);
	const struct node *node = find(definitions->table, tenant, name);
	bool has_origin = node && node->origin.url;
	if (has_origin) {
		*out = node->origin;
		out->url = arena_strdup(arena, out->url);
		out->headers = ARENA_ARRAY(arena, const char *, out->header_count + 1);
		for (size_t i = 0; i < out->header_count; i++)
			out->headers[i] = arena_strdup(arena, node->origin.headers[i]);
	}
	pthread_rwlock_unlock(&definitions->lock);
	return has_origin;
}
