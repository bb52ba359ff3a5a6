/*
 * history: runs that were, are and will be.
 */
#include <string.h>

#include "base/id.h"
#include "corbel/sandboxd.methods.gen.h"
#include "sandboxd_internal.h"

#define DAY_MS        INT64_C(86400000)
#define PAGE_WITH_LOG 25u

#define FROM_RUNS "SELECT " RUN_COLUMNS " FROM runs "
#define CHOSEN    " AND ($4 = 0 OR outcome = $4) AND ($5 = 0 OR state = $5)"

static const struct store_sql RUN_GET = {"run_get", FROM_RUNS "WHERE id = $1"};
/* Without results, and with what was printed only if it is asked for: a page of all that would not fit into a
 * message. */
#define LISTED                                                                                               \
	"SELECT id, tenant_id, state, outcome, started_at, ended_at, attempts, message,"                         \
	" CASE WHEN $6 = 1 THEN log ELSE NULL END, NULL FROM runs "
static const struct store_sql RUN_LIST = {"run_list",
                                          LISTED "WHERE tenant_id = $1 AND ($3 = '' OR plugin_id = $3)" CHOSEN
                                                 " AND id < $2 ORDER BY id DESC LIMIT $7"};
static const struct store_sql RUN_LIST_OF = {"run_list_of",
                                             LISTED "WHERE tenant_id = $1 AND plugin_id = $3" CHOSEN
                                                    " AND id < $2 ORDER BY id DESC LIMIT $7"};
/* $8 is the last run of the page before. */
static const struct store_sql RUN_LIST_ENDED = {
    "run_list_ended",
    LISTED "WHERE tenant_id = $1 AND ($3 = '' OR plugin_id = $3)" CHOSEN
           " AND state = 3 AND ended_at >= $2 AND ($8 = '' OR (ended_at, id) > (SELECT ended_at, id FROM runs"
           " WHERE id = $8)) ORDER BY ended_at, id LIMIT $7"};
static const struct store_sql RUN_SUMS = {
    "run_sums", "SELECT outcome, COUNT(*), CAST(SUM(cpu_us) AS BIGINT), CAST(SUM(wall_us) AS BIGINT),"
                " MAX(memory_bytes) FROM runs WHERE tenant_id = $1 AND state = 3 AND created_at >= $2"
                " AND ($3 = '' OR plugin_id = $3) GROUP BY outcome ORDER BY outcome"};
static const struct store_sql RUN_WAITING = {
    "run_waiting",
    "SELECT COUNT(*) FROM runs WHERE tenant_id = $1 AND state = 1 AND ($2 = '' OR plugin_id = $2)"};
enum { ID, TENANT, STATE, OUTCOME, STARTED, ENDED, ATTEMPTS, MESSAGE, LOG, RESULT };

typedef Corbel__V1__ListRunsRequest ListRunsRequest;

/* ---- rows ---- */

struct status
run_from_row(struct arena *arena, const struct store_rows *rows, size_t row, PluginRun *out)
{
	const PluginRun *stored =
	    (const void *)unpacked(arena, &corbel__v1__plugin_run__descriptor, rows, row, MESSAGE);
	size_t size = 0;

	if (!stored)
		return status_make(STATUS_DATA_LOSS, "a stored run cannot be read");
	*out = *stored;
	out->has_state = out->has_attempts = true;
	out->state = (Corbel__V1__RunState)row_i64(rows, row, STATE);
	out->outcome = (Corbel__V1__RunOutcome)row_i64(rows, row, OUTCOME);
	out->has_outcome = out->outcome != CORBEL__V1__RUN_OUTCOME__RUN_OUTCOME_UNSET;
	out->attempts = (uint32_t)row_i64(rows, row, ATTEMPTS);
	if (out->attempts == 0 && out->state == CORBEL__V1__RUN_STATE__RUN_ENDED && !out->has_outcome)
		out->attempts = 1;
	out->started_at = row_i64(rows, row, STARTED);
	out->has_started_at = out->started_at > 0 && out->state != CORBEL__V1__RUN_STATE__RUN_QUEUED;
	out->ended_at = row_i64(rows, row, ENDED);
	out->has_ended_at = out->ended_at > 0;
	out->log = row_text(rows, row, LOG);
	out->result.data = (uint8_t *)(uintptr_t)row_bytes(rows, row, RESULT, &size);
	out->result.len = size;
	out->has_result = size > 0;
	return status_ok_value();
}

static struct status
run_find(struct call *call, const struct store_rows *rows, PluginRun *out)
{
	if (rows_count(rows) == 0 || !scope_sees(call, row_text(rows, 0, TENANT)))
		return scope_not_found("run");
	return run_from_row(call_arena(call), rows, 0, out);
}

/* ---- reading ---- */

struct status
history_read(struct call *call, struct store_tx *tx, const char *id, PluginRun *out)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &RUN_GET, STORE_PARAMS(store_text(id)), 1, call_arena(call), &rows);
	return status_ok(&st) ? run_find(call, rows, out) : st;
}

struct status
plugin_runs_get(struct call *call, const Corbel__V1__GetRunRequest *request, PluginRun *reply)
{
	struct store_rows *rows;
	struct status st = store_read(call_store(call), &RUN_GET, STORE_PARAMS(store_text(request->id)), 1,
	                              call_arena(call), &rows);
	return status_ok(&st) ? run_find(call, rows, reply) : st;
}

/* Whose runs are asked for: a plugin by its id or name, "" for all. */
static struct status
chosen_plugin(struct call *call, const char *tenant, const char *named, const char **plugin)
{
	*plugin = "";
	return named && *named ? plugin_named(call, call_store(call), tenant, named, plugin) : status_ok_value();
}

static struct status
read_page(struct call *call, const char *tenant, const char *plugin, const ListRunsRequest *request,
          const struct page *page, struct store_rows **rows, size_t *count)
{
	bool goes_by_end = request->has_ended_since, is_first = strcmp(page->before, "~") == 0;
	const struct store_sql *by_id = *plugin ? &RUN_LIST_OF : &RUN_LIST;
	const struct store_value params[] = {
	    store_text(tenant),        goes_by_end ? store_i64(request->ended_since) : store_text(page->before),
	    store_text(plugin),        store_i64(request->outcome),
	    store_i64(request->state), store_i64(request->with_log),
	    page_limit(page),          store_text(is_first ? "" : page->before)};

	return page_rows(call, goes_by_end ? &RUN_LIST_ENDED : by_id, params, goes_by_end ? 8 : 7, page, rows,
	                 count);
}

static struct status
take_rows(struct call *call, const struct store_rows *rows, size_t count, Corbel__V1__ListRunsReply *reply)
{
	struct status st = status_ok_value();

	reply->runs = ARENA_ARRAY(call_arena(call), PluginRun *, count + 1);
	for (size_t row = 0; row < count && status_ok(&st); row++) {
		PluginRun *run = ARENA_NEW(call_arena(call), PluginRun);
		st = run_from_row(call_arena(call), rows, row, run);
		reply->runs[reply->n_runs++] = run;
	}
	return st;
}

struct status
plugin_runs_list(struct call *call, const ListRunsRequest *request, Corbel__V1__ListRunsReply *reply)
{
	struct store_rows *rows;
	const char *tenant, *plugin;
	struct page page;
	size_t count;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = page_read(call, PAGE_ASKED(request), "run", &page);
	if (status_ok(&st) && request->with_log && page.size > PAGE_WITH_LOG)
		page.size = PAGE_WITH_LOG;
	if (status_ok(&st))
		st = chosen_plugin(call, tenant, request->plugin_id, &plugin);
	if (status_ok(&st))
		st = read_page(call, tenant, plugin, request, &page, &rows, &count);
	if (!status_ok(&st))
		return st;
	st = take_rows(call, rows, count, reply);
	if (status_ok(&st) && rows_count(rows) > count)
		reply->next_page_token = reply->runs[count - 1]->id;
	return st;
}

static void
take_sums(struct arena *arena, const struct store_rows *rows, Corbel__V1__RunStatistics *reply)
{
	reply->outcomes = ARENA_ARRAY(arena, Corbel__V1__OutcomeStatistics *, rows_count(rows) + 1);
	for (size_t row = 0; row < rows_count(rows); row++) {
		Corbel__V1__OutcomeStatistics *one = ARENA_NEW(arena, Corbel__V1__OutcomeStatistics);
		corbel__v1__outcome_statistics__init(one);
		one->has_outcome = one->has_runs = one->has_cpu_us = one->has_wall_us = one->has_memory_bytes_max =
		    true;
		one->outcome = (Corbel__V1__RunOutcome)row_i64(rows, row, 0);
		one->runs = (uint64_t)row_i64(rows, row, 1);
		one->cpu_us = (uint64_t)row_i64(rows, row, 2);
		one->wall_us = (uint64_t)row_i64(rows, row, 3);
		one->memory_bytes_max = (uint64_t)row_i64(rows, row, 4);
		reply->runs += one->runs;
		reply->outcomes[reply->n_outcomes++] = one;
	}
}

struct status
plugin_runs_statistics(struct call *call, const Corbel__V1__RunStatisticsRequest *request,
                       Corbel__V1__RunStatistics *reply)
{
	struct arena *arena = call_arena(call);
	const char *plugin, *tenant;
	int64_t since = request->has_since ? request->since : call_now_ms(call) - DAY_MS;
	struct store_rows *rows;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = chosen_plugin(call, tenant, request->plugin_id, &plugin);
	if (status_ok(&st))
		st = store_read(call_store(call), &RUN_SUMS,
		                STORE_PARAMS(store_text(tenant), store_i64(since), store_text(plugin)), 16, arena,
		                &rows);
	if (!status_ok(&st))
		return st;
	reply->has_runs = reply->has_queued = true;
	take_sums(arena, rows, reply);
	st = store_read(call_store(call), &RUN_WAITING, STORE_PARAMS(store_text(tenant), store_text(plugin)), 1,
	                arena, &rows);
	if (status_ok(&st))
		reply->queued = (uint64_t)row_i64(rows, 0, 0);
	return st;
}
