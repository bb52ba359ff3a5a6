/*
 * warming: see warming.h.
 */
#include "warming.h"

#include <string.h>

#include "fetches.h"
#include "fleet.h"

#define KEYS_MAX      20000u
#define SPACE_KEYS    64u
#define KEYS_A_TICK   4u
#define ARENA_BLOCK   (64u << 10)
#define ARENA_CEILING (64u << 20)

static const struct store_sql CLEAR = {"hot_keys_clear", "DELETE FROM hot_keys"};
static const struct store_sql LOAD = {
    "hot_keys_load", "SELECT tenant_id, namespace, cache_key FROM hot_keys ORDER BY gets DESC LIMIT $1"};
static const struct store_sql ADD = {
    "hot_keys_add", "INSERT INTO hot_keys (tenant_id, namespace, cache_key, gets) VALUES ($1, $2, $3, $4) "
                    "ON CONFLICT (tenant_id, namespace, cache_key) DO UPDATE SET gets = $4"};

struct warm_key {
	const char *tenant, *name, *key;
	int64_t gets;
};

struct warm_list {
	struct arena arena;
	struct warm_key *keys;
	size_t count;
};

struct warming {
	struct cached *self;
	struct warm_list list; /* written before the first tick, then the upkeep thread's */
	size_t next;
};

static void
list_init(struct warm_list *list)
{
	arena_init(&list->arena, ARENA_BLOCK, ARENA_CEILING);
	list->keys = mem_array(KEYS_MAX, sizeof(struct warm_key));
	list->count = 0;
}

static void
list_fini(struct warm_list *list)
{
	arena_fini(&list->arena);
	mem_free(list->keys);
}

struct warming *
warming_new(struct cached *self)
{
	struct warming *warming = mem_alloc(sizeof(*warming));
	warming->self = self;
	list_init(&warming->list);
	return warming;
}

void
warming_free(struct warming *warming)
{
	if (!warming)
		return;
	list_fini(&warming->list);
	mem_free(warming);
}

/* ---- after a start ---- */

struct status
warming_load(struct warming *warming, struct store_conn *conn)
{
	struct warm_list *list = &warming->list;
	struct store_rows *rows;
	struct status st =
	    store_read(conn, &LOAD, STORE_PARAMS(store_i64(KEYS_MAX)), KEYS_MAX, &list->arena, &rows);

	for (size_t row = 0; status_ok(&st) && row < rows_count(rows); row++)
		list->keys[list->count++] = (struct warm_key){
		    .tenant = row_text(rows, row, 0), .name = row_text(rows, row, 1), .key = row_text(rows, row, 2)};
	return st;
}

/* One key; it frees itself. */
struct warm_get {
	struct reading reading; /* first */
	struct cached *self;
	struct get get;
	struct arena arena;
};

static void
warmed(struct reading *reading)
{
	struct warm_get *warm = (struct warm_get *)reading;

	if (warm->get.token)
		(void)fetches_start(warm->self, reading->space, warm->get.key, warm->get.token);
	arena_fini(&warm->arena);
	mem_free(warm);
}

/* From what replicas share, or from the origin, whose token nobody else gets. */
static void
warm(struct cached *self, const struct warm_key *key)
{
	struct warm_get *warm = mem_alloc(sizeof(*warm));
	struct status st = space_make(self, key->tenant, key->name, &warm->reading.space);

	arena_init(&warm->arena, 4096, ARENA_CEILING);
	warm->self = self;
	warm->get = (struct get){.key = key->key,
	                         .key_length = strlen(key->key),
	                         .may_fill = space_has_origin(self, key->tenant, key->name)};
	warm->reading.gets = &warm->get;
	warm->reading.count = 1;
	warm->reading.arena = &warm->arena;
	warm->reading.has_room = true;
	warm->reading.done = warmed;
	if (status_ok(&st))
		engine_get(warm->reading.space, &warm->get, 1, &warm->arena, NULL);
	if (warm->get.is_shared)
		fleet_read(self->fleet, &warm->reading);
	else
		warmed(&warm->reading);
}

void
warming_tick(struct warming *warming)
{
	struct cached *self = warming->self;

	if (warming->next == warming->list.count || (self->fleet && !fleet_is_ready(self->fleet)))
		return;
	for (unsigned i = 0; i < KEYS_A_TICK && warming->next < warming->list.count; i++)
		warm(self, &warming->list.keys[warming->next++]);
}

/* ---- while it runs ---- */

struct gathering {
	struct cached *self;
	struct warm_list list;
};

static void
add_space(void *arg, struct space *space)
{
	struct gathering *gathering = arg;
	struct warm_list *list = &gathering->list;
	struct hot_key hot[SPACE_KEYS];

	if (!gathering->self->fleet && !fetches_has_origin(gathering->self, space))
		return;
	size_t count = engine_hot_keys(space, hot, SPACE_KEYS, &list->arena);
	for (size_t i = 0; i < count && list->count < KEYS_MAX; i++)
		list->keys[list->count++] =
		    (struct warm_key){.tenant = arena_strdup(&list->arena, space_tenant(space)),
		                      .name = arena_strdup(&list->arena, space_name(space)),
		                      .key = hot[i].key,
		                      .gets = (int64_t)hot[i].gets};
}

static struct status
write_down(const struct warm_list *list, struct store_conn *conn)
{
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	st = store_exec(&tx, &CLEAR, NULL, 0, NULL);
	for (size_t i = 0; i < list->count && status_ok(&st); i++)
		st = store_exec(&tx, &ADD,
		                STORE_PARAMS(store_text(list->keys[i].tenant), store_text(list->keys[i].name),
		                             store_text(list->keys[i].key), store_i64(list->keys[i].gets)),
		                NULL);
	return store_end(&tx, st);
}

struct status
warming_save(struct cached *self, struct store_conn *conn)
{
	struct gathering gathering = {.self = self};
	struct status st = status_ok_value();

	list_init(&gathering.list);
	engine_each_space(self->engine, NULL, add_space, &gathering);
	/* Nothing was asked for yet, so what is written down is still what was hot. */
	if (gathering.list.count > 0)
		st = write_down(&gathering.list, conn);
	list_fini(&gathering.list);
	return st;
}

void
warming_save_task(void *arg, struct store_conn *conn)
{
	struct cached *self = arg;
	if (!conn)
		return;
	struct status st = warming_save(self, conn);
	if (!status_ok(&st))
		log_warn(self->env.log, "hot keys not written down", LOG_STATUS(&st));
}
