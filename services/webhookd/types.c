/*
 * types: see types.h.
 */
#include "types.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "schema/schema.h"

#define BUCKETS     4096u
#define REFRESH_MAX 500

static const struct store_sql TYPES_SINCE = {
    "types_since", "SELECT tenant_id, name, change, deleted, message FROM event_types WHERE change > $1"
                   " ORDER BY change LIMIT $2"};

struct entry {
	struct entry *next;
	char tenant[72], name[132];
	struct schema *schema; /* NULL: data is not checked */
	uint32_t version;
	bool is_deleted;
};

struct types {
	struct catalogue *catalogue;
	pthread_rwlock_t lock; /* guards the entries */
	struct entry *buckets[BUCKETS];
	pthread_mutex_t turn; /* one refresh at a time; guards last_change */
	int64_t last_change;
};

struct types *
types_new(void)
{
	struct types *types = mem_alloc(sizeof(*types));
	types->catalogue = catalogue_new();
	pthread_rwlock_init(&types->lock, NULL);
	pthread_mutex_init(&types->turn, NULL);
	return types;
}

void
types_free(struct types *types)
{
	if (!types)
		return;
	for (size_t b = 0; b < BUCKETS; b++) {
		while (types->buckets[b]) {
			struct entry *entry = types->buckets[b];
			types->buckets[b] = entry->next;
			schema_free(entry->schema);
			mem_free(entry);
		}
	}
	catalogue_free(types->catalogue);
	pthread_rwlock_destroy(&types->lock);
	pthread_mutex_destroy(&types->turn);
	mem_free(types);
}

const struct catalogue *
types_catalogue(const struct types *types)
{
	return types->catalogue;
}

static struct entry **
slot_of(struct types *types, const char *tenant, const char *name)
{
	uint64_t hash = hash_mix64(hash_table64(tenant, strlen(tenant)), hash_table64(name, strlen(name)));
	struct entry **slot = &types->buckets[hash % BUCKETS];

	while (*slot && (strcmp((*slot)->tenant, tenant) != 0 || strcmp((*slot)->name, name) != 0))
		slot = &(*slot)->next;
	return slot;
}

/* ---- learning ---- */

/* A schema was checked when it was stored. */
static struct schema *
compile(const struct store_rows *rows, size_t row, struct arena *arena, uint32_t *version)
{
	struct violations *violations = ARENA_NEW(arena, struct violations);
	const Corbel__V1__EventType *type =
	    (Corbel__V1__EventType *)unpacked(arena, &corbel__v1__event_type__descriptor, rows, row, 4);

	*version = type ? type->version : 0;
	return type && type->has_schema ? schema_compile((const char *)type->schema.data, type->schema.len,
	                                                 "/schema", arena, violations)
	                                : NULL;
}

static void
learn(struct types *types, const struct store_rows *rows, size_t row, struct arena *arena)
{
	const char *tenant = row_text(rows, row, 0), *name = row_text(rows, row, 1);
	bool is_deleted = row_i64(rows, row, 3) != 0;
	uint32_t version;
	struct schema *schema = compile(rows, row, arena, &version), *old = NULL;

	pthread_rwlock_wrlock(&types->lock);
	struct entry **slot = slot_of(types, tenant, name), *entry = *slot;
	if (!entry) {
		entry = mem_alloc(sizeof(*entry));
		snprintf(entry->tenant, sizeof(entry->tenant), "%s", tenant);
		snprintf(entry->name, sizeof(entry->name), "%s", name);
		*slot = entry;
	}
	old = entry->schema;
	entry->schema = is_deleted ? NULL : schema;
	entry->version = version;
	entry->is_deleted = is_deleted;
	pthread_rwlock_unlock(&types->lock);
	schema_free(old);
	if (is_deleted)
		schema_free(schema);
}

static struct status
refresh(struct types *types, struct store_conn *conn)
{
	struct store_rows *rows;
	struct arena arena;
	struct status st;
	size_t count;

	arena_init(&arena, 64u << 10, 256u << 20);
	do {
		arena_reset(&arena);
		st = store_read(conn, &TYPES_SINCE,
		                STORE_PARAMS(store_i64(types->last_change), store_i64(REFRESH_MAX)), REFRESH_MAX,
		                &arena, &rows);
		count = status_ok(&st) ? rows_count(rows) : 0;
		for (size_t r = 0; r < count; r++) {
			learn(types, rows, r, &arena);
			types->last_change = row_i64(rows, r, 2);
		}
	} while (count == REFRESH_MAX);
	arena_fini(&arena);
	return st;
}

struct status
types_refresh(struct types *types, struct store_conn *conn)
{
	pthread_mutex_lock(&types->turn);
	struct status st = refresh(types, conn);
	pthread_mutex_unlock(&types->turn);
	return st;
}

void
types_refresh_task(void *arg, struct store_conn *conn)
{
	struct webhookd *self = arg;
	struct status st = types_refresh(self->types, conn);
	if (!status_ok(&st))
		log_warn(self->env.log, "event types not refreshed", LOG_STATUS(&st));
}

/* ---- checking ---- */

static bool
check(const struct schema *schema, uint32_t version, Event *event, const char *pointer, struct arena *arena,
      struct violations *violations)
{
	if (!schema)
		return true;
	event->has_schema = true;
	event->schema = version;
	return schema_check_text(schema, (const char *)event->data.data, event->data.len, pointer, arena,
	                         violations);
}

bool
types_check(struct types *types, const char *tenant, Event *event, const char *pointer, struct arena *arena,
            struct violations *violations)
{
	bool is_fit = true;

	pthread_rwlock_rdlock(&types->lock);
	const struct entry *entry = *slot_of(types, tenant, event->type);
	bool is_own = entry && !entry->is_deleted;
	if (is_own)
		is_fit = check(entry->schema, entry->version, event, pointer, arena, violations);
	pthread_rwlock_unlock(&types->lock);
	if (is_own)
		return is_fit;
	const struct catalogue_type *builtin = catalogue_find(types->catalogue, event->type);
	return !builtin || check(builtin->schema, CATALOGUE_SCHEMA_VERSION, event, pointer, arena, violations);
}
