/*
 * definitions: what holds for namespaces, in memory, for calls that may not wait for SQL.
 *
 * An immutable table is swapped in whole when something changed; whoever reads it holds it meanwhile.
 */
#ifndef CORBEL_CACHED_DEFINITIONS_H
#define CORBEL_CACHED_DEFINITIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "corbel/contract.gen.h"

#define DEFINITIONS_MAX            100000u
#define DEFINITIONS_VALUE_MAX      (1u << 20)
#define DEFINITIONS_TTL_MS         3600000u
#define DEFINITIONS_NEGATIVE_MS    10000u
#define DEFINITIONS_ORIGIN_MS      10000u
#define DEFINITIONS_NAMESPACES_MAX 1000u /* of a tenant */

/* Absent fields have their defaults; 0 is no bound. */
struct definition_rules {
	uint64_t ttl_ms, grace_ms, error_grace_ms, negative_ttl_ms;
	bool has_outage; /* else option cached.outage holds */
	uint64_t outage_ms;
	uint64_t max_bytes, max_entries;
	uint32_t max_value_bytes;
	uint32_t origin_timeout_ms; /* 0: it has no origin */
};

struct definition_origin {
	const char *url;      /* with "{key}" */
	const char **headers; /* "Name: value" */
	size_t header_count;
	uint32_t timeout_ms;
};

struct definitions;
struct definition_table;

struct definitions *definitions_new(void);
void definitions_free(struct definitions *definitions);

/* Builds a table: add everything, then put it in force, which takes it. One thread. */
struct definition_table *definition_table_new(int64_t version);
void definition_table_add(struct definition_table *table, const char *tenant,
                          const Corbel__V1__CacheNamespace *definition);
void definitions_put(struct definitions *definitions, struct definition_table *table);
/* Of the table in force; 0 before there is one. */
int64_t definitions_version(struct definitions *definitions);

/* Any thread. `out` of a namespace that nobody defined are the defaults. */
void definitions_find(struct definitions *definitions, const char *tenant, const char *name,
                      struct definition_rules *out);
/* Whether any namespace has an origin; without a lock. */
bool definitions_have_origins(const struct definitions *definitions);
/* Copied into the arena; false when the namespace has none. */
bool definitions_origin(struct definitions *definitions, const char *tenant, const char *name,
                        struct arena *arena, struct definition_origin *out);
#endif
