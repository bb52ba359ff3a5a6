/*
 * limits: definitions of limits, as SQL rows and as messages.
 */
#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "corbel/ratelimitd.methods.gen.h"
#include "daemon/scope.h"
#include "news.h"
#include "ratelimitd_internal.h"

typedef Corbel__V1__Limit Limit;

#define COLUMNS                                                                                              \
	"id, tenant_id, name, level, subject, strategy, limit_units, window_ms, burst, on_failure, shadow, "     \
	"floor_units, ceiling_units, latency_ms, backoff_permille, recover_permille, description, created_at, "  \
	"updated_at"

static const struct store_sql LIMIT_INSERT = {
    "limit_insert",
    "INSERT INTO limits (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, "
    "$14, $15, $16, $17, $18, $19)"};
static const struct store_sql LIMIT_GET = {"limit_get", "SELECT " COLUMNS " FROM limits WHERE id = $1"};
/* Locked until the transaction ends: of two changes the later one sees the earlier. */
static const struct store_sql LIMIT_LOCK = {
    "limit_lock", "UPDATE limits SET updated_at = updated_at WHERE id = $1 RETURNING " COLUMNS};
static const struct store_sql LIMIT_LIST = {
    "limit_list",
    "SELECT " COLUMNS " FROM limits WHERE tenant_id = $1 AND ($2 = '' OR name = $2) AND id < $3 "
    "ORDER BY id DESC LIMIT $4"};
static const struct store_sql LIMIT_UPDATE = {
    "limit_update",
    "UPDATE limits SET strategy = $2, limit_units = $3, window_ms = $4, burst = $5, on_failure = $6, shadow "
    "= $7, "
    "floor_units = $8, ceiling_units = $9, latency_ms = $10, backoff_permille = $11, recover_permille = $12, "
    "description = $13, updated_at = $14 WHERE id = $1"};
static const struct store_sql LIMIT_DELETE = {"limit_delete",
                                              "DELETE FROM limits WHERE id = $1 AND tenant_id = $2"};
static const struct store_sql VERSION_RAISE = {
    "version_raise", "UPDATE limits_version SET version = version + 1 WHERE id = 1"};

static struct store_value
optional_u64(bool has, uint64_t value)
{
	return has ? store_i64((int64_t)value) : store_null();
}

static void
adaptive_from_row(const struct store_rows *rows, size_t row, struct arena *arena, Limit *out)
{
	if (row_is_null(rows, row, 11) && row_is_null(rows, row, 12) && row_is_null(rows, row, 13) &&
	    row_is_null(rows, row, 14) && row_is_null(rows, row, 15))
		return;
	Corbel__V1__Adaptive *adaptive = ARENA_NEW(arena, Corbel__V1__Adaptive);
	corbel__v1__adaptive__init(adaptive);
	adaptive->has_floor = !row_is_null(rows, row, 11);
	adaptive->floor = (uint64_t)row_i64(rows, row, 11);
	adaptive->has_ceiling = !row_is_null(rows, row, 12);
	adaptive->ceiling = (uint64_t)row_i64(rows, row, 12);
	adaptive->has_latency_ms = !row_is_null(rows, row, 13);
	adaptive->latency_ms = (uint32_t)row_i64(rows, row, 13);
	adaptive->has_backoff_permille = !row_is_null(rows, row, 14);
	adaptive->backoff_permille = (uint32_t)row_i64(rows, row, 14);
	adaptive->has_recover_permille = !row_is_null(rows, row, 15);
	adaptive->recover_permille = (uint32_t)row_i64(rows, row, 15);
	out->adaptive = adaptive;
}

static void
limit_from_row(const struct store_rows *rows, size_t row, struct arena *arena, Limit *out)
{
	corbel__v1__limit__init(out);
	out->id = row_text(rows, row, 0);
	out->tenant_id = row_text(rows, row, 1);
	out->name = row_text(rows, row, 2);
	out->has_level = out->has_strategy = out->has_limit = out->has_window_ms = out->has_on_failure = true;
	out->level = (Corbel__V1__LimitLevel)row_i64(rows, row, 3);
	out->subject = row_text(rows, row, 4);
	if (out->subject && !out->subject[0])
		out->subject = NULL;
	out->strategy = (Corbel__V1__Strategy)row_i64(rows, row, 5);
	out->limit = (uint64_t)row_i64(rows, row, 6);
	out->window_ms = (uint64_t)row_i64(rows, row, 7);
	out->has_burst = !row_is_null(rows, row, 8);
	out->burst = (uint64_t)row_i64(rows, row, 8);
	out->on_failure = (Corbel__V1__FailureMode)row_i64(rows, row, 9);
	out->has_shadow = true;
	out->shadow = row_i64(rows, row, 10) != 0;
	adaptive_from_row(rows, row, arena, out);
	out->description = row_text(rows, row, 16);
	if (out->description && !out->description[0])
		out->description = NULL;
	out->has_created_at = out->has_updated_at = true;
	out->created_at = row_i64(rows, row, 17);
	out->updated_at = row_i64(rows, row, 18);
}

/* Does the definition make sense? Violations name the field. */
static struct status
limit_check(struct call *call, const Limit *limit)
{
	struct rule rule;
	char reason[128];
	const char *field;
	bool needs_subject = limit->level != CORBEL__V1__LIMIT_LEVEL__TENANT;

	if (needs_subject != (limit->subject && limit->subject[0])) {
		call_violation(call, "/subject", "%s",
		               needs_subject ? "is required at this level" : "must be left out at level TENANT");
		return status_make(STATUS_INVALID_ARGUMENT, "/subject: %s",
		                   needs_subject ? "is required at this level" : "must be left out at level TENANT");
	}
	if (!rule_from_limit(limit, &rule, reason, &field)) {
		call_violation(call, field, "%s", reason);
		return status_make(STATUS_INVALID_ARGUMENT, "%s: %s", field, reason);
	}
	return status_ok_value();
}

static struct status
limit_guard(struct call *call, const char *name)
{
	if (limit_is_open(call, name))
		return status_ok_value();
	call_violation(call, "/name", "only operators change limits of Corbel's own API");
	return status_make(STATUS_PERMISSION_DENIED, "name: only operators change limits of Corbel's own API");
}

/* Commits, then brings this replica up to date and tells the others. */
static struct status
limits_commit(struct call *call, struct store_tx *tx, struct status st, const char *tenant)
{
	struct ratelimitd *self = call_service(call);

	if (status_ok(&st))
		st = store_exec(tx, &VERSION_RAISE, NULL, 0, NULL);
	st = store_end(tx, st);
	if (!status_ok(&st))
		return st;
	struct status refreshed = definitions_refresh(self, call_store(call), true);
	if (!status_ok(&refreshed))
		log_warn(self->env.log, "definitions not refreshed", LOG_STATUS(&refreshed));

	Corbel__V1__LimitsChanged changed = CORBEL__V1__LIMITS_CHANGED__INIT;
	char *tenants[1] = {(char *)(uintptr_t)tenant};
	changed.n_tenant_ids = 1;
	changed.tenant_ids = tenants;
	size_t size = corbel__v1__limits_changed__get_packed_size(&changed);
	uint8_t *bytes = arena_alloc_raw(call_arena(call), size + 1);
	corbel__v1__limits_changed__pack(&changed, bytes);
	publisher_send(self->env.publisher, "limits", bytes, size);
	return st;
}

static struct status
limit_insert(struct store_tx *tx, const Limit *limit)
{
	const Corbel__V1__Adaptive *a = limit->adaptive;
	return store_exec(
	    tx, &LIMIT_INSERT,
	    STORE_PARAMS(store_text(limit->id), store_text(limit->tenant_id), store_text(limit->name),
	                 store_i64(limit->level), store_text(limit->subject ? limit->subject : ""),
	                 store_i64(limit->strategy), store_i64((int64_t)limit->limit),
	                 store_i64((int64_t)limit->window_ms), optional_u64(limit->has_burst, limit->burst),
	                 store_i64(limit->on_failure), store_i64(limit->shadow),
	                 optional_u64(a && a->has_floor, a ? a->floor : 0),
	                 optional_u64(a && a->has_ceiling, a ? a->ceiling : 0),
	                 optional_u64(a && a->has_latency_ms, a ? a->latency_ms : 0),
	                 optional_u64(a && a->has_backoff_permille, a ? a->backoff_permille : 0),
	                 optional_u64(a && a->has_recover_permille, a ? a->recover_permille : 0),
	                 store_text(limit->description ? limit->description : ""), store_i64(limit->created_at),
	                 store_i64(limit->updated_at)),
	    NULL);
}

static void
limit_from_request(struct call *call, const Corbel__V1__CreateLimitRequest *request, const char *tenant,
                   Limit *out)
{
	struct ratelimitd *self = call_service(call);
	struct id id = id_make("lim", self->env.clock, self->env.random);

	out->id = arena_strdup(call_arena(call), id.text);
	out->tenant_id = (char *)(uintptr_t)tenant;
	out->name = request->name;
	out->has_level = out->has_strategy = out->has_limit = out->has_window_ms = out->has_on_failure = true;
	out->level = request->has_level ? request->level : CORBEL__V1__LIMIT_LEVEL__TENANT;
	out->subject = request->subject;
	out->strategy = request->strategy;
	out->limit = request->limit;
	out->window_ms = request->window_ms;
	out->has_burst = request->has_burst;
	out->burst = request->burst;
	out->on_failure = request->has_on_failure ? request->on_failure : CORBEL__V1__FAILURE_MODE__LOCAL_SHARE;
	out->has_shadow = true;
	out->shadow = request->shadow;
	out->adaptive = request->adaptive;
	out->description = request->description;
	out->has_created_at = out->has_updated_at = true;
	out->created_at = out->updated_at = call_now_ms(call);
}

struct status
limits_create(struct call *call, const Corbel__V1__CreateLimitRequest *request, Limit *reply)
{
	const char *tenant;
	struct store_tx tx;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (!status_ok(&st))
		return st;
	st = limit_guard(call, request->name);
	if (!status_ok(&st))
		return st;
	limit_from_request(call, request, tenant, reply);
	st = limit_check(call, reply);
	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	st = limit_insert(&tx, reply);
	if (st.code == STATUS_ALREADY_EXISTS)
		st = status_make(STATUS_ALREADY_EXISTS,
		                 "limit '%s' is already defined at this level for this subject", request->name);
	if (status_ok(&st))
		st = news_of_limit(call, &tx, reply, "created");
	return limits_commit(call, &tx, st, tenant);
}

/* The row of an id that the caller may see; another tenant's is not found. */
static struct status
limit_of_row(struct call *call, const struct store_rows *rows, Limit *out)
{
	if (rows_count(rows) > 0) {
		limit_from_row(rows, 0, call_arena(call), out);
		if (call_is_operator(call) || strcmp(out->tenant_id, call_tenant(call)) == 0)
			return status_ok_value();
		corbel__v1__limit__init(out);
	}
	return status_make(STATUS_NOT_FOUND, "there is no such limit");
}

struct status
limits_get(struct call *call, const Corbel__V1__GetLimitRequest *request, Limit *reply)
{
	struct store_rows *rows;
	struct status st = store_read(call_store(call), &LIMIT_GET, STORE_PARAMS(store_text(request->id)), 1,
	                              call_arena(call), &rows);
	return status_ok(&st) ? limit_of_row(call, rows, reply) : st;
}

struct status
limits_list(struct call *call, const Corbel__V1__ListLimitsRequest *request,
            Corbel__V1__ListLimitsReply *reply)
{
	struct arena *arena = call_arena(call);
	struct store_rows *rows;
	const char *tenant;
	struct page page;
	size_t count;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = page_read(call, PAGE_ASKED(request), "lim", &page);
	if (status_ok(&st))
		st = page_rows(call, &LIMIT_LIST,
		               STORE_PARAMS(store_text(tenant), store_text(request->name ? request->name : ""),
		                            store_text(page.before), page_limit(&page)),
		               &page, &rows, &count);
	if (!status_ok(&st))
		return st;
	reply->limits = ARENA_ARRAY(arena, Limit *, count + 1);
	for (; reply->n_limits < count; reply->n_limits++) {
		reply->limits[reply->n_limits] = ARENA_NEW(arena, Limit);
		limit_from_row(rows, reply->n_limits, arena, reply->limits[reply->n_limits]);
	}
	if (status_ok(&st) && rows_count(rows) > count)
		reply->next_page_token = reply->limits[count - 1]->id;
	return st;
}

/* Lays the fields that are present over the limit; nulls clear what may be absent. */
static void
limit_patch(const Corbel__V1__UpdateLimitRequest *request, Limit *limit)
{
	if (request->has_limit)
		limit->limit = request->limit;
	if (request->has_window_ms)
		limit->window_ms = request->window_ms;
	if (request->has_strategy)
		limit->strategy = request->strategy;
	if (request->has_on_failure)
		limit->on_failure = request->on_failure;
	if (request->has_shadow)
		limit->shadow = request->shadow;
	if (request->adaptive || scope_has_null(request->nulls, request->n_nulls, "adaptive"))
		limit->adaptive = request->adaptive;
	if (request->description || scope_has_null(request->nulls, request->n_nulls, "description"))
		limit->description = request->description;
	if (request->has_burst || scope_has_null(request->nulls, request->n_nulls, "burst")) {
		limit->has_burst = request->has_burst;
		limit->burst = request->burst;
	}
}

static struct status
limit_write(struct store_tx *tx, const Limit *limit)
{
	const Corbel__V1__Adaptive *a = limit->adaptive;
	return store_exec(
	    tx, &LIMIT_UPDATE,
	    STORE_PARAMS(store_text(limit->id), store_i64(limit->strategy), store_i64((int64_t)limit->limit),
	                 store_i64((int64_t)limit->window_ms), optional_u64(limit->has_burst, limit->burst),
	                 store_i64(limit->on_failure), store_i64(limit->shadow),
	                 optional_u64(a && a->has_floor, a ? a->floor : 0),
	                 optional_u64(a && a->has_ceiling, a ? a->ceiling : 0),
	                 optional_u64(a && a->has_latency_ms, a ? a->latency_ms : 0),
	                 optional_u64(a && a->has_backoff_permille, a ? a->backoff_permille : 0),
	                 optional_u64(a && a->has_recover_permille, a ? a->recover_permille : 0),
	                 store_text(limit->description ? limit->description : ""), store_i64(limit->updated_at)),
	    NULL);
}

struct status
limits_update(struct call *call, const Corbel__V1__UpdateLimitRequest *request, Limit *reply)
{
	struct store_rows *rows;
	struct store_tx tx;
	struct status st = store_begin(call_store(call), &tx);

	if (!status_ok(&st))
		return st;
	st = store_query(&tx, &LIMIT_LOCK, STORE_PARAMS(store_text(request->id)), 1, call_arena(call), &rows);
	if (status_ok(&st))
		st = limit_of_row(call, rows, reply);
	if (status_ok(&st))
		st = limit_guard(call, reply->name);
	if (status_ok(&st)) {
		limit_patch(request, reply);
		reply->updated_at = call_now_ms(call);
		st = limit_check(call, reply);
	}
	if (status_ok(&st))
		st = limit_write(&tx, reply);
	if (status_ok(&st))
		st = news_of_limit(call, &tx, reply, "updated");
	return limits_commit(call, &tx, st, reply->tenant_id ? reply->tenant_id : "");
}

struct status
limits_delete(struct call *call, const Corbel__V1__DeleteLimitRequest *request, Corbel__V1__Empty *reply)
{
	Limit limit = CORBEL__V1__LIMIT__INIT;
	struct store_rows *rows;
	struct store_tx tx;
	struct status st = store_begin(call_store(call), &tx);

	(void)reply;
	if (!status_ok(&st))
		return st;
	st = store_query(&tx, &LIMIT_LOCK, STORE_PARAMS(store_text(request->id)), 1, call_arena(call), &rows);
	if (status_ok(&st))
		st = limit_of_row(call, rows, &limit);
	if (status_ok(&st))
		st = limit_guard(call, limit.name);
	if (status_ok(&st))
		st = store_exec(&tx, &LIMIT_DELETE, STORE_PARAMS(store_text(limit.id), store_text(limit.tenant_id)),
		                NULL);
	if (status_ok(&st))
		st = news_of_limit(call, &tx, &limit, "deleted");
	return limits_commit(call, &tx, st, limit.tenant_id ? limit.tenant_id : "");
}
