/*
 * plans: what a subscription allows. Data, not code.
 */
#include <string.h>

#include "accountd_internal.h"
#include "base/text.h"
#include "corbel/accountd.methods.gen.h"

typedef Corbel__V1__PlanLimit PlanLimit;

#define LOG_UNITS_MAX UINT64_C(10000)
#define PLANS_MAX     1000 /* as many as every ratelimitd holds in memory */

static const struct store_sql PLAN_COUNT = {"plan_count", "SELECT COUNT(*) FROM plans"};
static const struct store_sql PLAN_INSERT = {"plan_insert",
                                             "INSERT INTO plans (name, message) VALUES ($1, $2)"};
static const struct store_sql PLAN_SEED = {
    "plan_seed", "INSERT INTO plans (name, message) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"};
static const struct store_sql PLAN_GET = {"plan_get", "SELECT message FROM plans WHERE name = $1"};
/* Locked until the transaction ends: of two changes the later one sees the earlier. */
static const struct store_sql PLAN_LOCK = {
    "plan_lock", "UPDATE plans SET message = message WHERE name = $1 RETURNING message"};
static const struct store_sql PLAN_LIST = {
    "plan_list", "SELECT message FROM plans WHERE name > $1 ORDER BY name LIMIT $2"};
static const struct store_sql PLAN_UPDATE = {"plan_update", "UPDATE plans SET message = $2 WHERE name = $1"};
static const struct store_sql PLAN_DELETE = {"plan_delete", "DELETE FROM plans WHERE name = $1"};
static const struct store_sql PLAN_SUBSCRIBERS = {"plan_subscribers",
                                                  "SELECT COUNT(*) FROM tenants WHERE plan = $1"};

bool
plan_exists(struct store_tx *tx, struct arena *arena, const char *name, struct status *st)
{
	struct store_rows *rows;
	*st = store_query(tx, &PLAN_GET, STORE_PARAMS(store_text(name)), 1, arena, &rows);
	return status_ok(st) && rows_count(rows) > 0;
}

static struct status
plan_from_row(struct arena *arena, const struct store_rows *rows, size_t row, Plan *out)
{
	const Plan *stored = (Plan *)unpacked(arena, &corbel__v1__plan__descriptor, rows, row, 0);
	if (!stored)
		return status_make(STATUS_DATA_LOSS, "a stored plan cannot be read");
	*out = *stored;
	return status_ok_value();
}

static struct status
plan_find(struct call *call, const struct store_rows *rows, Plan *out)
{
	return rows_count(rows) > 0 ? plan_from_row(call_arena(call), rows, 0, out) : scope_not_found("plan");
}

static struct status
limit_refuse(struct call *call, size_t at, const char *field, const char *why)
{
	const char *pointer = arena_printf(call_arena(call), "/limits/%zu/%s", at, field);
	call_violation(call, pointer, "%s", why);
	return status_make(STATUS_INVALID_ARGUMENT, "%s: %s", pointer, why);
}

struct status
limits_check(struct call *call, PlanLimit *const *limits, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (limits[i]->strategy == CORBEL__V1__STRATEGY__SLIDING_LOG && limits[i]->limit > LOG_UNITS_MAX)
			return limit_refuse(call, i, "limit",
			                    "must be at most 10000 for SLIDING_LOG, which keeps every admission");
		for (size_t j = 0; j < i; j++) {
			if (strcmp(limits[i]->resource, limits[j]->resource) != 0)
				continue;
			return limit_refuse(call, i, "resource",
			                    arena_printf(call_arena(call), "'%s' appears twice", limits[i]->resource));
		}
	}
	return status_ok_value();
}

static struct status
plans_have_room(struct call *call, struct store_tx *tx)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &PLAN_COUNT, NULL, 0, 1, call_arena(call), &rows);
	if (status_ok(&st) && row_i64(rows, 0, 0) >= PLANS_MAX)
		st = status_make(STATUS_FAILED_PRECONDITION, "there are %d plans, which is the most", PLANS_MAX);
	return st;
}

struct status
plans_create(struct call *call, const Plan *request, Plan *reply)
{
	struct store_tx tx;
	struct status st = limits_check(call, request->limits, request->n_limits);

	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	*reply = *request;
	reply->has_created_at = reply->has_updated_at = reply->has_version = true;
	reply->created_at = reply->updated_at = call_now_ms(call);
	reply->version = 1;
	st = plans_have_room(call, &tx);
	if (status_ok(&st))
		st = store_exec(&tx, &PLAN_INSERT,
		                STORE_PARAMS(store_text(reply->name), packed_value(call_arena(call), &reply->base)),
		                NULL);
	if (st.code == STATUS_ALREADY_EXISTS)
		st = status_make(STATUS_ALREADY_EXISTS, "plan '%s' exists already", request->name);
	st = store_end(&tx, st);
	if (status_ok(&st))
		publish_plans_changed(call, reply->name);
	return st;
}

struct status
plans_get(struct call *call, const Corbel__V1__GetPlanRequest *request, Plan *reply)
{
	struct store_rows *rows;
	struct status st = store_read(call_store(call), &PLAN_GET, STORE_PARAMS(store_text(request->name)), 1,
	                              call_arena(call), &rows);
	return status_ok(&st) ? plan_find(call, rows, reply) : st;
}

struct status
plans_list(struct call *call, const Corbel__V1__ListPlansRequest *request, Corbel__V1__ListPlansReply *reply)
{
	struct arena *arena = call_arena(call);
	const struct page page = {.size = request->has_page_size ? request->page_size : PAGE_SIZE_DEFAULT};
	const char *after = request->page_token ? request->page_token : "";
	struct store_rows *rows;
	size_t count;

	if (after[0] && !text_is_name(after, strlen(after)))
		return page_refuse(call);
	struct status st =
	    page_rows(call, &PLAN_LIST, STORE_PARAMS(store_text(after), page_limit(&page)), &page, &rows, &count);

	if (!status_ok(&st))
		return st;
	reply->plans = ARENA_ARRAY(arena, Plan *, count + 1);
	for (; reply->n_plans < count && status_ok(&st); reply->n_plans++) {
		reply->plans[reply->n_plans] = ARENA_NEW(arena, Plan);
		st = plan_from_row(arena, rows, reply->n_plans, reply->plans[reply->n_plans]);
	}
	if (status_ok(&st) && rows_count(rows) > count)
		reply->next_page_token = reply->plans[count - 1]->name;
	return st;
}

struct status
plans_update(struct call *call, const Corbel__V1__UpdatePlanRequest *request, Plan *reply)
{
	struct store_rows *rows;
	struct store_tx tx;
	struct status st = limits_check(call, request->limits, request->n_limits);

	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	st = store_query(&tx, &PLAN_LOCK, STORE_PARAMS(store_text(request->name)), 1, call_arena(call), &rows);
	if (status_ok(&st))
		st = plan_find(call, rows, reply);
	if (status_ok(&st)) {
		if (request->title || scope_has_null(request->nulls, request->n_nulls, "title"))
			reply->title = request->title;
		if (request->description || scope_has_null(request->nulls, request->n_nulls, "description"))
			reply->description = request->description;
		if (request->n_limits > 0 || scope_has_null(request->nulls, request->n_nulls, "limits")) {
			reply->n_limits = request->n_limits;
			reply->limits = request->limits;
		}
		reply->updated_at = call_now_ms(call);
		reply->version++;
		st = store_exec(&tx, &PLAN_UPDATE,
		                STORE_PARAMS(store_text(reply->name), packed_value(call_arena(call), &reply->base)),
		                NULL);
	}
	st = store_end(&tx, st);
	if (status_ok(&st))
		publish_plans_changed(call, reply->name);
	return st;
}

struct status
plans_delete(struct call *call, const Corbel__V1__DeletePlanRequest *request, Corbel__V1__Empty *reply)
{
	struct store_rows *rows;
	struct store_tx tx;
	int64_t changed = 0;
	struct status st = store_begin(call_store(call), &tx);

	(void)reply;
	if (!status_ok(&st))
		return st;
	st = store_query(&tx, &PLAN_SUBSCRIBERS, STORE_PARAMS(store_text(request->name)), 1, call_arena(call),
	                 &rows);
	if (status_ok(&st) && row_i64(rows, 0, 0) > 0)
		st = status_make(STATUS_FAILED_PRECONDITION, "%lld tenants subscribe to plan '%s'",
		                 (long long)row_i64(rows, 0, 0), request->name);
	if (status_ok(&st))
		st = store_exec(&tx, &PLAN_DELETE, STORE_PARAMS(store_text(request->name)), &changed);
	/* A subscription that came in between: the foreign key saw it, the count did not. */
	if (st.code == STATUS_FAILED_PRECONDITION && row_i64(rows, 0, 0) == 0)
		st = status_make(STATUS_FAILED_PRECONDITION, "a tenant subscribes to plan '%s'", request->name);
	if (status_ok(&st) && changed == 0)
		st = scope_not_found("plan");
	st = store_end(&tx, st);
	if (status_ok(&st))
		publish_plans_changed(call, request->name);
	return st;
}

/* ---- the example plans ---- */

#define DAY_MS    UINT64_C(86400000)
#define MINUTE_MS UINT64_C(60000)

#define MIB UINT64_C(1048576)

static const struct {
	const char *name, *title;
} SEEDS[] = {{"free", "Free"}, {"basic", "Basic"}, {"premium", "Premium"}, {"unlimited", "Unlimited"}};
#define SEED_COUNT (sizeof(SEEDS) / sizeof(SEEDS[0]))

/* What each of them has of a resource. Those of one run have no window; it is one of a second, as there has
 * to be some. */
static const struct {
	const char *resource;
	uint64_t window_ms, limits[SEED_COUNT];
} SEEDED[] = {
    {"charts", DAY_MS, {50, 200, 1000, 10000}},
    {"readings", DAY_MS, {10, 50, 500, 10000}},
    {"api.read", MINUTE_MS, {300, 3000, 30000, 1000000000}},
    {"api.write", MINUTE_MS, {60, 600, 6000, 1000000000}},
    {"api.heavy", MINUTE_MS, {10, 60, 600, 1000000000}},
    {"plugins.runs", DAY_MS, {200, 5000, 100000, 1000000000}},
    {"plugins.cpu_ms", 1000, {1000, 5000, 20000, 60000}},
    {"plugins.wall_ms", 1000, {5000, 15000, 60000, 120000}},
    {"plugins.memory_bytes", 1000, {64 * MIB, 128 * MIB, 512 * MIB, 1024 * MIB}},
    {"plugins.at_once", 1000, {1, 2, 8, 256}},
    {"plugins.queued", 1000, {20, 200, 2000, 10000}},
};
#define SEEDED_COUNT (sizeof(SEEDED) / sizeof(SEEDED[0]))

static struct status
seed_one(struct store_tx *tx, size_t seed, int64_t now_ms)
{
	PlanLimit items[SEEDED_COUNT], *pointers[SEEDED_COUNT];
	Plan plan = CORBEL__V1__PLAN__INIT;
	struct arena arena;

	for (size_t i = 0; i < SEEDED_COUNT; i++) {
		corbel__v1__plan_limit__init(&items[i]);
		items[i].resource = (char *)(uintptr_t)SEEDED[i].resource;
		items[i].has_limit = items[i].has_window_ms = items[i].has_strategy = true;
		items[i].limit = SEEDED[i].limits[seed];
		items[i].window_ms = SEEDED[i].window_ms;
		items[i].strategy = CORBEL__V1__STRATEGY__FIXED_WINDOW;
		pointers[i] = &items[i];
	}
	plan.name = (char *)(uintptr_t)SEEDS[seed].name;
	plan.title = (char *)(uintptr_t)SEEDS[seed].title;
	plan.n_limits = SEEDED_COUNT;
	plan.limits = pointers;
	plan.has_created_at = plan.has_updated_at = plan.has_version = true;
	plan.created_at = plan.updated_at = now_ms;
	plan.version = 1;
	arena_init(&arena, 4096, 1u << 20);
	struct status st = store_exec(
	    tx, &PLAN_SEED, STORE_PARAMS(store_text(plan.name), packed_value(&arena, &plan.base)), NULL);
	arena_fini(&arena);
	return st;
}

struct status
plans_seed(struct store_tx *tx, int64_t now_ms)
{
	struct status st = status_ok_value();
	for (size_t i = 0; i < SEED_COUNT && status_ok(&st); i++)
		st = seed_one(tx, i, now_ms);
	return st;
}
