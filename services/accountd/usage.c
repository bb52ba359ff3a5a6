/*
 * usage: calls by key and day, reported by the ingresses.
 *
 * Each ingress numbers its reports; one that arrives again is known by its number and counts nothing, so
 * an ingress may send it until it is acknowledged.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accountd_internal.h"
#include "base/id.h"
#include "base/text.h"
#include "corbel/accountd.methods.gen.h"

#define MINUTE_MS 60000

typedef Corbel__V1__ReportUsageRequest__Item UsageItem;

static const struct store_sql REPORT_NEW = {
    "report_new",
    "INSERT INTO usage_reports (node, epoch, number, seen_at) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (node, epoch) DO UPDATE SET number = $3, seen_at = $4 WHERE usage_reports.number < $3"};
static const struct store_sql REPORT_PURGE = {"report_purge", "DELETE FROM usage_reports WHERE seen_at < $1"};
static const struct store_sql USAGE_ADD = {
    "usage_add",
    "INSERT INTO usage_days (tenant_id, key_id, day, calls, limited) VALUES ($1, $2, $3, $4, $5) "
    "ON CONFLICT (tenant_id, key_id, day) DO UPDATE SET calls = usage_days.calls + $4, "
    "limited = usage_days.limited + $5"};
static const struct store_sql KEY_USED = {
    "key_used",
    "UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)"};
static const struct store_sql USAGE_LIST = {
    "usage_list",
    "SELECT day, key_id, calls, limited FROM usage_days WHERE tenant_id = $1 AND ($2 = '' OR key_id = $2) "
    "AND day >= $3 AND day <= $4 AND (day < $5 OR (day = $5 AND key_id > $6)) "
    "ORDER BY day DESC, key_id LIMIT $7"};

static struct status
add_item(struct store_tx *tx, const UsageItem *item)
{
	struct status st =
	    store_exec(tx, &USAGE_ADD,
	               STORE_PARAMS(store_text(item->tenant_id), store_text(item->key_id), store_text(item->date),
	                            store_i64((int64_t)item->calls), store_i64((int64_t)item->limited)),
	               NULL);
	if (status_ok(&st) && item->has_last_used_at)
		st = store_exec(tx, &KEY_USED,
		                STORE_PARAMS(store_text(item->key_id),
		                             store_i64(item->last_used_at - item->last_used_at % MINUTE_MS)),
		                NULL);
	return st;
}

static int
by_key_and_day(const void *a, const void *b)
{
	const UsageItem *left = *(UsageItem *const *)a, *right = *(UsageItem *const *)b;
	int order = strcmp(left->key_id, right->key_id);

	if (order == 0)
		order = strcmp(left->tenant_id, right->tenant_id);
	return order ? order : strcmp(left->date, right->date);
}

/* In the order in which every report locks rows, so that reports of several ingresses wait for each other
 * instead of deadlocking. */
static UsageItem **
items_in_order(struct call *call, const Corbel__V1__ReportUsageRequest *request)
{
	UsageItem **items = ARENA_ARRAY(call_arena(call), UsageItem *, request->n_items + 1);

	for (size_t i = 0; i < request->n_items; i++)
		items[i] = request->items[i];
	qsort(items, request->n_items, sizeof(items[0]), by_key_and_day);
	return items;
}

struct status
usage_reports_report(struct call *call, const Corbel__V1__ReportUsageRequest *request,
                     Corbel__V1__Empty *reply)
{
	UsageItem **items = items_in_order(call, request);
	struct store_tx tx;
	int64_t is_new = 0;
	struct status st = store_begin(call_store(call), &tx);

	(void)reply;
	if (!status_ok(&st))
		return st;
	st = store_exec(&tx, &REPORT_NEW,
	                STORE_PARAMS(store_text(request->node), store_i64((int64_t)request->epoch),
	                             store_i64((int64_t)request->number), store_i64(call_now_ms(call))),
	                &is_new);
	for (size_t i = 0; i < request->n_items && is_new && status_ok(&st); i++)
		st = add_item(&tx, items[i]);
	if (status_ok(&st))
		st = store_exec(&tx, &REPORT_PURGE,
		                STORE_PARAMS(store_i64(call_now_ms(call) - INT64_C(7) * 86400000)), NULL);
	return store_end(&tx, st);
}

static char *
day_text(struct arena *arena, int64_t ms)
{
	char stamp[TEXT_TIMESTAMP_MAX];
	text_from_timestamp_ms(ms, stamp);
	return arena_strndup(arena, stamp, 10);
}

/* A token is "day key": where the page before ended. */
static struct status
read_token(struct call *call, const char *token, const char **day, const char **key)
{
	*day = "9999-99-99";
	*key = "";
	if (!token || !token[0])
		return status_ok_value();
	if (strlen(token) < 12 || token[10] != '.' || strspn(token, "0123456789-") != 10 ||
	    !id_is_valid(token + 11, "key"))
		return page_refuse(call);
	*day = arena_strndup(call_arena(call), token, 10);
	*key = token + 11;
	return status_ok_value();
}

struct status
usage_reports_list(struct call *call, const Corbel__V1__ListUsageRequest *request,
                   Corbel__V1__ListUsageReply *reply)
{
	struct arena *arena = call_arena(call);
	const struct page page = {.size = request->has_page_size ? request->page_size : 100};
	const char *to = request->to ? request->to : day_text(arena, call_now_ms(call));
	const char *from =
	    request->from ? request->from : day_text(arena, call_now_ms(call) - INT64_C(29) * 86400000);
	const char *tenant, *day, *key;
	struct store_rows *rows;
	size_t count;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = read_token(call, request->page_token, &day, &key);
	if (status_ok(&st))
		st = page_rows(call, &USAGE_LIST,
		               STORE_PARAMS(store_text(tenant), store_text(request->key_id ? request->key_id : ""),
		                            store_text(from), store_text(to), store_text(day), store_text(key),
		                            page_limit(&page)),
		               &page, &rows, &count);
	if (!status_ok(&st))
		return st;
	reply->usage = ARENA_ARRAY(arena, Corbel__V1__Usage *, count + 1);
	for (; reply->n_usage < count; reply->n_usage++) {
		Corbel__V1__Usage *usage = reply->usage[reply->n_usage] = ARENA_NEW(arena, Corbel__V1__Usage);
		corbel__v1__usage__init(usage);
		usage->date = row_text(rows, reply->n_usage, 0);
		usage->key_id = row_text(rows, reply->n_usage, 1);
		usage->has_calls = usage->has_limited = true;
		usage->calls = (uint64_t)row_i64(rows, reply->n_usage, 2);
		usage->limited = (uint64_t)row_i64(rows, reply->n_usage, 3);
	}
	if (rows_count(rows) > count)
		reply->next_page_token =
		    arena_printf(arena, "%s.%s", reply->usage[count - 1]->date, reply->usage[count - 1]->key_id);
	return st;
}
