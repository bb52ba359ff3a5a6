/*
 * deliveries: what became of events, and sending them again.
 */
#include <string.h>

#include "corbel/webhookd.methods.gen.h"
#include "waiting.h"

#define TRIES_MAX 200
#define DAY_MS    INT64_C(86400000)

#define COLUMNS                                                                                              \
	"id, tenant_id, endpoint_id, event_id, event_type, sequence, state, attempts, due_at, created_at, "      \
	"finished_at"

static const struct store_sql DELIVERY_GET = {"delivery_get",
                                              "SELECT " COLUMNS " FROM delivery_states WHERE id = $1"};
static const struct store_sql DELIVERY_LIST = {
    "delivery_list", "SELECT " COLUMNS " FROM delivery_states WHERE tenant_id = $1 AND id < $2"
                     " AND ($3 = '' OR endpoint_id = $3) AND ($4 = '' OR event_id = $4)"
                     " AND ($5 = 0 OR state = $5) ORDER BY id DESC LIMIT $6"};
/* Those that were given up or skipped have an index of their own. */
static const struct store_sql LOST_LIST = {
    "lost_list", "SELECT " COLUMNS " FROM delivery_states WHERE tenant_id = $1 AND id < $2 AND lost <> 0"
                 " AND ($3 = '' OR endpoint_id = $3) AND ($4 = '' OR event_id = $4)"
                 " AND state = $5 ORDER BY id DESC LIMIT $6"};
static const struct store_sql ATTEMPTS = {
    "attempts_of", "SELECT message FROM attempts WHERE delivery_id = $1 ORDER BY number DESC LIMIT $2"};
static const struct store_sql ENDPOINT_OF = {"endpoint_of",
                                             "SELECT tenant_id, disabled FROM endpoints WHERE id = $1"};
/* Whoever changes deliveries holds their endpoint first. */
static const struct store_sql ENDPOINT_HOLD = {
    "endpoint_hold", "SELECT tenant_id, disabled FROM endpoints WHERE id = $1 @lock@"};
static const struct store_sql STATISTICS = {
    "endpoint_statistics",
    "SELECT COUNT(*), COALESCE(SUM(succeeded), 0), MAX(CASE WHEN succeeded = 1 THEN started_at"
    " END) FROM attempts WHERE endpoint_id = $1 AND started_at >= $2"};
static const struct store_sql LATENCY = {
    "endpoint_latency", "SELECT latency_ms FROM attempts WHERE endpoint_id = $1 AND started_at >= $2"
                        " ORDER BY latency_ms LIMIT 1 OFFSET $3"};
static const struct store_sql LAST_ERROR = {
    "endpoint_error",
    "SELECT message FROM attempts WHERE endpoint_id = $1 AND started_at >= $2 AND succeeded = 0"
    " ORDER BY started_at DESC LIMIT 1"};
static const struct store_sql BACKLOG = {
    "endpoint_backlog", "SELECT COUNT(*), MIN(created_at) FROM waiting WHERE endpoint_id = $1"};

static void
delivery_from_row(const struct store_rows *rows, size_t row, Delivery *out)
{
	corbel__v1__delivery__init(out);
	out->id = row_text(rows, row, 0);
	out->tenant_id = row_text(rows, row, 1);
	out->endpoint_id = row_text(rows, row, 2);
	out->event_id = row_text(rows, row, 3);
	out->event_type = row_text(rows, row, 4);
	out->has_sequence = out->has_state = out->has_attempts = out->has_created_at = true;
	out->sequence = (uint64_t)row_i64(rows, row, 5);
	out->state = (Corbel__V1__DeliveryState)row_i64(rows, row, 6);
	out->attempts = (uint32_t)row_i64(rows, row, 7);
	out->has_next_at = out->state == CORBEL__V1__DELIVERY_STATE__PENDING && row_i64(rows, row, 8) < NEVER_MS;
	out->next_at = row_i64(rows, row, 8);
	out->created_at = row_i64(rows, row, 9);
	out->has_finished_at = !row_is_null(rows, row, 10);
	out->finished_at = row_i64(rows, row, 10);
}

static struct status
delivery_find(struct call *call, const struct store_rows *rows, Delivery *out)
{
	if (rows_count(rows) == 0 || !scope_sees(call, row_text(rows, 0, 1)))
		return scope_not_found("delivery");
	delivery_from_row(rows, 0, out);
	return status_ok_value();
}

struct status
deliveries_get(struct call *call, const Corbel__V1__GetDeliveryRequest *request, Delivery *reply)
{
	struct arena *arena = call_arena(call);
	struct store_rows *rows;
	struct status st =
	    store_read(call_store(call), &DELIVERY_GET, STORE_PARAMS(store_text(request->id)), 1, arena, &rows);

	if (status_ok(&st))
		st = delivery_find(call, rows, reply);
	if (status_ok(&st))
		st = store_read(call_store(call), &ATTEMPTS,
		                STORE_PARAMS(store_text(request->id), store_i64(TRIES_MAX)), TRIES_MAX, arena, &rows);
	if (!status_ok(&st))
		return st;
	reply->tries = ARENA_ARRAY(arena, Attempt *, rows_count(rows) + 1);
	for (size_t r = rows_count(rows); r-- > 0;) {
		Attempt *attempt = (Attempt *)unpacked(arena, &corbel__v1__attempt__descriptor, rows, r, 0);
		if (!attempt)
			return status_make(STATUS_DATA_LOSS, "a stored attempt cannot be read");
		reply->tries[reply->n_tries++] = attempt;
	}
	return st;
}

static bool
is_lost(const Corbel__V1__ListDeliveriesRequest *request)
{
	return request->has_state && (request->state == CORBEL__V1__DELIVERY_STATE__EXHAUSTED ||
	                              request->state == CORBEL__V1__DELIVERY_STATE__SKIPPED);
}

struct status
deliveries_list(struct call *call, const Corbel__V1__ListDeliveriesRequest *request,
                Corbel__V1__ListDeliveriesReply *reply)
{
	struct arena *arena = call_arena(call);
	struct store_rows *rows;
	const char *tenant;
	struct page page;
	size_t count;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = page_read(call, PAGE_ASKED(request), "dlv", &page);
	if (status_ok(&st))
		st = page_rows(call, is_lost(request) ? &LOST_LIST : &DELIVERY_LIST,
		               STORE_PARAMS(store_text(tenant), store_text(page.before),
		                            store_text(request->endpoint_id ? request->endpoint_id : ""),
		                            store_text(request->event_id ? request->event_id : ""),
		                            store_i64(request->has_state ? request->state : 0), page_limit(&page)),
		               &page, &rows, &count);
	if (!status_ok(&st))
		return st;
	reply->deliveries = ARENA_ARRAY(arena, Delivery *, count + 1);
	for (; reply->n_deliveries < count; reply->n_deliveries++) {
		reply->deliveries[reply->n_deliveries] = ARENA_NEW(arena, Delivery);
		delivery_from_row(rows, reply->n_deliveries, reply->deliveries[reply->n_deliveries]);
	}
	if (status_ok(&st) && rows_count(rows) > count)
		reply->next_page_token = reply->deliveries[count - 1]->id;
	return st;
}

/* ---- again ---- */

/* The endpoint has to be there, the caller's, and enabled. */
static struct status
check_endpoint(struct call *call, struct store_tx *tx, const char *id, const char **tenant)
{
	struct store_rows *rows;
	struct status st =
	    store_query(tx, &ENDPOINT_HOLD, STORE_PARAMS(store_text(id)), 1, call_arena(call), &rows);

	if (!status_ok(&st))
		return st;
	if (rows_count(rows) == 0 || !scope_sees(call, row_text(rows, 0, 0)))
		return scope_not_found("endpoint");
	*tenant = row_text(rows, 0, 0);
	return row_i64(rows, 0, 1) == 0
	           ? st
	           : status_make(STATUS_FAILED_PRECONDITION, "the endpoint is disabled; enable it first");
}

/* At once, with all its tries; what is leased ends as it ends. */
static struct status
send_again(struct call *call, struct store_tx *tx, const char *id)
{
	size_t made;
	struct status st = waiting_again(tx, call_arena(call), &id, 1, call_now_ms(call), &made);

	return status_ok(&st) && made == 0 ? waiting_now(tx, call_arena(call), &id, 1, call_now_ms(call)) : st;
}

struct status
deliveries_resend(struct call *call, const Corbel__V1__ResendDeliveryRequest *request, Delivery *reply)
{
	struct webhookd *self = call_service(call);
	struct store_rows *rows;
	const char *tenant = "";
	struct store_tx tx;
	struct status st = store_begin(call_store(call), &tx);

	if (!status_ok(&st))
		return st;
	st = store_query(&tx, &DELIVERY_GET, STORE_PARAMS(store_text(request->id)), 1, call_arena(call), &rows);
	if (status_ok(&st))
		st = delivery_find(call, rows, reply);
	if (status_ok(&st))
		st = check_endpoint(call, &tx, reply->endpoint_id, &tenant);
	if (status_ok(&st))
		st = send_again(call, &tx, request->id);
	if (status_ok(&st))
		st = waiting_due(&tx, reply->endpoint_id, call_now_ms(call));
	reply->state = CORBEL__V1__DELIVERY_STATE__PENDING;
	reply->has_next_at = true;
	reply->next_at = call_now_ms(call);
	reply->has_finished_at = false;
	st = store_end(&tx, st);
	if (status_ok(&st))
		webhookd_hint(self, tenant);
	return st;
}

/* ---- statistics ---- */

static struct status
read_latency(struct call *call, const char *id, int64_t since, uint64_t rank, protobuf_c_boolean *has,
             uint32_t *out)
{
	struct store_rows *rows;
	struct status st = store_read(call_store(call), &LATENCY,
	                              STORE_PARAMS(store_text(id), store_i64(since), store_i64((int64_t)rank)), 1,
	                              call_arena(call), &rows);
	*has = status_ok(&st) && rows_count(rows) > 0;
	*out = *has ? (uint32_t)row_i64(rows, 0, 0) : 0;
	return st;
}

static struct status
read_attempts(struct call *call, const char *id, int64_t since, Corbel__V1__EndpointStatistics *reply)
{
	struct store_rows *rows;
	struct status st = store_read(call_store(call), &STATISTICS,
	                              STORE_PARAMS(store_text(id), store_i64(since)), 1, call_arena(call), &rows);

	if (!status_ok(&st))
		return st;
	reply->has_attempts = reply->has_successes = true;
	reply->attempts = (uint64_t)row_i64(rows, 0, 0);
	reply->successes = (uint64_t)row_i64(rows, 0, 1);
	reply->has_last_success_at = !row_is_null(rows, 0, 2);
	reply->last_success_at = row_i64(rows, 0, 2);
	if (reply->attempts > 0)
		st = read_latency(call, id, since, reply->attempts / 2, &reply->has_p50_ms, &reply->p50_ms);
	if (status_ok(&st) && reply->attempts > 0)
		st = read_latency(call, id, since, reply->attempts * 19 / 20, &reply->has_p95_ms, &reply->p95_ms);
	return st;
}

struct status
endpoints_statistics(struct call *call, const Corbel__V1__EndpointStatisticsRequest *request,
                     Corbel__V1__EndpointStatistics *reply)
{
	int64_t since = call_now_ms(call) - DAY_MS;
	struct store_conn *conn = call_store(call);
	struct store_rows *rows;
	struct status st =
	    store_read(conn, &ENDPOINT_OF, STORE_PARAMS(store_text(request->id)), 1, call_arena(call), &rows);

	if (status_ok(&st) && (rows_count(rows) == 0 || !scope_sees(call, row_text(rows, 0, 0))))
		st = scope_not_found("endpoint");
	if (status_ok(&st))
		st = read_attempts(call, request->id, since, reply);
	if (status_ok(&st))
		st = store_read(conn, &BACKLOG, STORE_PARAMS(store_text(request->id)), 1, call_arena(call), &rows);
	if (!status_ok(&st))
		return st;
	reply->has_backlog = true;
	reply->backlog = (uint64_t)row_i64(rows, 0, 0);
	reply->has_oldest_at = !row_is_null(rows, 0, 1);
	reply->oldest_at = row_i64(rows, 0, 1);
	st = store_read(conn, &LAST_ERROR, STORE_PARAMS(store_text(request->id), store_i64(since)), 1,
	                call_arena(call), &rows);
	const Attempt *attempt =
	    status_ok(&st) && rows_count(rows) > 0
	        ? (Attempt *)unpacked(call_arena(call), &corbel__v1__attempt__descriptor, rows, 0, 0)
	        : NULL;
	if (attempt) {
		reply->last_error = attempt->error;
		reply->has_last_error_at = true;
		reply->last_error_at = attempt->started_at;
	}
	return st;
}
