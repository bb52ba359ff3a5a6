/*
 * refresh: keeps the snapshot of definitions up to date.
 *
 * Definitions come from our own table, whose version is looked at every second; plans come from accountd,
 * when it says that they changed and every 30 seconds. While either is away the last known ones stay in
 * force.
 */
#include <string.h>

#include "ratelimitd_internal.h"

#define PLANS_EVERY_MS   30000u
#define PLANS_TIMEOUT_MS 2000u
#define PLANS_MAX        1000u

static const struct store_sql VERSION_GET = {"version_get",
                                             "SELECT version FROM limits_version WHERE id = 1"};
static const struct store_sql DEFINITIONS = {
    "definitions",
    "SELECT tenant_id, name, level, subject, strategy, limit_units, window_ms, burst, on_failure, shadow, "
    "floor_units, ceiling_units, latency_ms, backoff_permille, recover_permille FROM limits"};

static void
add_row(struct snapshot *snapshot, const struct store_rows *rows, size_t row)
{
	struct arena *arena = snapshot_arena(snapshot);
	Corbel__V1__Limit limit = CORBEL__V1__LIMIT__INIT;
	Corbel__V1__Adaptive adaptive = CORBEL__V1__ADAPTIVE__INIT;
	char reason[128];
	const char *field;
	struct definition definition = {
	    .tenant = arena_strdup(arena, row_text(rows, row, 0)),
	    .name = arena_strdup(arena, row_text(rows, row, 1)),
	    .level = (Corbel__V1__LimitLevel)row_i64(rows, row, 2),
	    .subject = arena_strdup(arena, row_text(rows, row, 3)),
	    .on_failure = (Corbel__V1__FailureMode)row_i64(rows, row, 8),
	    .is_shadow = row_i64(rows, row, 9) != 0,
	};

	limit.strategy = (Corbel__V1__Strategy)row_i64(rows, row, 4);
	limit.limit = (uint64_t)row_i64(rows, row, 5);
	limit.window_ms = (uint64_t)row_i64(rows, row, 6);
	limit.has_burst = !row_is_null(rows, row, 7);
	limit.burst = (uint64_t)row_i64(rows, row, 7);
	adaptive.floor = (uint64_t)row_i64(rows, row, 10);
	adaptive.ceiling = (uint64_t)row_i64(rows, row, 11);
	adaptive.latency_ms = (uint32_t)row_i64(rows, row, 12);
	adaptive.backoff_permille = (uint32_t)row_i64(rows, row, 13);
	adaptive.recover_permille = (uint32_t)row_i64(rows, row, 14);
	if (limit.strategy == CORBEL__V1__STRATEGY__ADAPTIVE)
		limit.adaptive = &adaptive;
	if (rule_from_limit(&limit, &definition.rule, reason, &field))
		snapshot_add(snapshot, &definition);
}

static void
add_plans(struct snapshot *snapshot, const Corbel__V1__ListPlansReply *plans)
{
	for (size_t p = 0; plans && p < plans->n_plans; p++)
		for (size_t l = 0; l < plans->plans[p]->n_limits; l++)
			snapshot_add_plan(snapshot, plans->plans[p]->name, plans->plans[p]->limits[l]);
}

/* Asks accountd for all plans, a page at a time, into `arena`. */
static struct status
fetch_plans(struct ratelimitd *self, struct arena *arena, Corbel__V1__ListPlansReply **out)
{
	Corbel__V1__ListPlansRequest request = CORBEL__V1__LIST_PLANS_REQUEST__INIT;
	Corbel__V1__ListPlansReply *all = ARENA_NEW(arena, Corbel__V1__ListPlansReply);
	struct status st = status_ok_value();

	corbel__v1__list_plans_reply__init(all);
	all->plans = ARENA_ARRAY(arena, Corbel__V1__Plan *, PLANS_MAX);
	request.has_page_size = true;
	request.page_size = 200;
	do {
		ProtobufCMessage *message;
		st = host_call(self->env.host, PLANS_LIST, &request.base, PLANS_TIMEOUT_MS, arena, &message);
		if (!status_ok(&st))
			return st;
		const Corbel__V1__ListPlansReply *page = (const Corbel__V1__ListPlansReply *)message;
		for (size_t i = 0; i < page->n_plans && all->n_plans < PLANS_MAX; i++)
			all->plans[all->n_plans++] = page->plans[i];
		request.page_token = page->next_page_token;
	} while (request.page_token && all->n_plans < PLANS_MAX);
	*out = all;
	return st;
}

/* True when new plans have arrived. Under the refresh lock. */
static bool
refresh_plans(struct ratelimitd *self)
{
	uint64_t now_ms = clock_mono_ms(self->env.clock);
	Corbel__V1__ListPlansReply *plans;
	struct arena arena;

	if (self->plan_list && !atomic_load(&self->plans_are_stale) &&
	    now_ms - self->plans_loaded_ms < PLANS_EVERY_MS)
		return false;
	arena_init(&arena, 64u << 10, 64u << 20);
	atomic_store(&self->plans_are_stale, false);
	struct status st = fetch_plans(self, &arena, &plans);
	if (!status_ok(&st)) {
		atomic_store(&self->plans_are_stale, true);
		arena_fini(&arena);
		return false;
	}
	arena_fini(&self->plans);
	self->plans = arena;
	self->plan_list = plans;
	self->plans_loaded_ms = now_ms;
	return true;
}

static struct status
read_version(struct store_conn *conn, struct arena *arena, int64_t *version)
{
	struct store_rows *rows;
	struct status st = store_read(conn, &VERSION_GET, NULL, 0, 1, arena, &rows);
	*version = status_ok(&st) && rows_count(rows) > 0 ? row_i64(rows, 0, 0) : 0;
	return st;
}

static struct status
rebuild(struct ratelimitd *self, struct store_conn *conn, struct arena *arena)
{
	struct store_rows *rows;
	struct status st = store_read(conn, &DEFINITIONS, NULL, 0, REGISTRY_DEFINITIONS_MAX, arena, &rows);

	if (!status_ok(&st))
		return st;
	struct snapshot *snapshot = snapshot_new();
	for (size_t row = 0; row < rows_count(rows); row++)
		add_row(snapshot, rows, row);
	add_plans(snapshot, self->plan_list);
	if (self->plan_list)
		snapshot_complete(snapshot);
	snapshot_seal(snapshot);
	registry_put(self->registry, snapshot);
	atomic_store(&self->has_definitions, true);
	return st;
}

struct status
definitions_refresh(struct ratelimitd *self, struct store_conn *conn, bool is_forced)
{
	struct arena arena;
	int64_t version;

	arena_init(&arena, 64u << 10, 512u << 20);
	pthread_mutex_lock(&self->refresh_lock);
	bool is_due = refresh_plans(self) || is_forced;
	/* The version is read before the rows: a change in between is seen the next time. */
	struct status st = read_version(conn, &arena, &version);
	if (status_ok(&st) && (is_due || version != self->version)) {
		st = rebuild(self, conn, &arena);
		if (status_ok(&st))
			self->version = version;
	}
	pthread_mutex_unlock(&self->refresh_lock);
	arena_fini(&arena);
	return st;
}

void
refresh_task(void *arg, struct store_conn *conn)
{
	struct ratelimitd *self = arg;
	gauge_set(self->keys, (int64_t)table_entries(self->table));
	if (!conn)
		return;
	struct status st = definitions_refresh(self, conn, false);
	if (!status_ok(&st))
		log_warn(self->env.log, "definitions not refreshed", LOG_STATUS(&st));
}
