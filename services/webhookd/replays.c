/*
 * replays: asking for events of the log again.
 */
#include <stdatomic.h>
#include <string.h>

#include "base/id.h"
#include "corbel/webhookd.methods.gen.h"
#include "events/pattern.h"
#include "redeliver.h"
#include "replay.h"

#define ENDPOINTS_MAX 1000

static const struct store_sql EVENT_GET = {"replay_event",
                                           "SELECT message FROM events WHERE tenant_id = $1 AND id = $2"};
static const struct store_sql ENDPOINTS_OF = {
    "replay_endpoints",
    "SELECT id FROM endpoints WHERE tenant_id = $1 AND disabled = 0 ORDER BY id LIMIT $2"};
static const struct store_sql TENANT_OF = {"replay_tenant", "SELECT tenant_id FROM endpoints WHERE id = $1"};
static const struct store_sql UNDER_WAY = {
    "replay_under_way", "SELECT id FROM replays WHERE endpoint_id = $1 AND state = 1 LIMIT 1"};
static const struct store_sql REPLAY_INSERT = {
    "replay_insert", "INSERT INTO replays (" REPLAY_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8)"};
static const struct store_sql REPLAY_GET = {"replay_get",
                                            "SELECT " REPLAY_COLUMNS " FROM replays WHERE id = $1"};
static const struct store_sql REPLAY_LIST = {
    "replay_list", "SELECT " REPLAY_COLUMNS " FROM replays WHERE tenant_id = $1 AND id < $2"
                   " AND ($3 = '' OR endpoint_id = $3) ORDER BY id DESC LIMIT $4"};
static const struct store_sql REPLAY_CANCEL = {
    "replay_cancel", "UPDATE replays SET state = 3, finished_at = $2 WHERE id = $1 AND state = 1"};

/* ---- one event ---- */

/* To one endpoint; *count grows by what was made. */
static struct status
send_to(struct call *call, struct store_tx *tx, const char *id, const Event *event, bool is_forced,
        uint32_t *count)
{
	struct redelivery redelivery;
	struct target target;
	struct status st = target_read(tx, call_arena(call), id, &target);

	if (status_ok(&st) && strcmp(target.tenant, event->tenant_id) != 0)
		st = scope_not_found("endpoint");
	if (status_ok(&st) && target.is_disabled && !is_forced)
		return st; /* since it was listed */
	if (status_ok(&st) && target.is_disabled)
		st = status_make(STATUS_FAILED_PRECONDITION, "the endpoint is disabled; enable it first");
	if (status_ok(&st))
		st = redelivery_begin(call_service(call), tx, call_arena(call), &target, call_now_ms(call),
		                      &redelivery);
	if (!status_ok(&st))
		return st;
	st = redelivery_end(&redelivery, redelivery_add(&redelivery, event, is_forced));
	*count += (uint32_t)redelivery.count;
	return st;
}

static struct status
send_to_all(struct call *call, struct store_tx *tx, const Event *event, uint32_t *count)
{
	struct store_rows *rows;
	struct status st =
	    store_query(tx, &ENDPOINTS_OF, STORE_PARAMS(store_text(event->tenant_id), store_i64(ENDPOINTS_MAX)),
	                ENDPOINTS_MAX, call_arena(call), &rows);

	for (size_t r = 0; status_ok(&st) && r < rows_count(rows); r++)
		st = send_to(call, tx, row_text(rows, r, 0), event, false, count);
	return st;
}

static struct status
read_event(struct call *call, struct store_tx *tx, const char *tenant, const char *id, const Event **out)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &EVENT_GET, STORE_PARAMS(store_text(tenant), store_text(id)), 1,
	                               call_arena(call), &rows);

	if (status_ok(&st) && rows_count(rows) == 0)
		st = scope_not_found("event");
	if (!status_ok(&st))
		return st;
	*out = (Event *)unpacked(call_arena(call), &corbel__v1__event__descriptor, rows, 0, 0);
	return *out ? st : status_make(STATUS_DATA_LOSS, "a stored event cannot be read");
}

struct status
replays_event(struct call *call, const Corbel__V1__ReplayEventRequest *request,
              Corbel__V1__ReplayEventReply *reply)
{
	const char *tenant;
	const Event *event;
	struct log_state log;
	struct store_tx tx;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	reply->has_deliveries = true;
	st = log_lock(&tx, call_arena(call), tenant, &log);
	if (status_ok(&st))
		st = read_event(call, &tx, tenant, request->id, &event);
	if (status_ok(&st))
		st = request->endpoint_id ? send_to(call, &tx, request->endpoint_id, event, true, &reply->deliveries)
		                          : send_to_all(call, &tx, event, &reply->deliveries);
	st = store_end(&tx, st);
	if (status_ok(&st))
		webhookd_hint(call_service(call), tenant);
	return st;
}

/* ---- a part of the log ---- */

static struct status
refuse(struct call *call, const char *pointer, const char *why)
{
	call_violation(call, pointer, "%s", why);
	return status_make(STATUS_INVALID_ARGUMENT, "%s: %s", pointer, why);
}

static struct status
check(struct call *call, const Corbel__V1__StartReplayRequest *request)
{
	struct status st =
	    request->type ? pattern_check(request->type, strlen(request->type)) : status_ok_value();

	if (!status_ok(&st))
		return refuse(call, "/type", st.message);
	if (!request->has_since && !request->has_after)
		return refuse(call, "/since", "must be there, or after");
	return st;
}

static void
fill(struct call *call, const Corbel__V1__StartReplayRequest *request, const struct log_state *log,
     Replay *out)
{
	const struct webhookd *self = call_service(call);
	uint64_t before = log->first_sequence > 0 ? log->first_sequence - 1 : 0;
	uint64_t last = log->last_sequence;

	out->id = arena_strdup(call_arena(call), id_make("rpl", self->env.clock, self->env.random).text);
	out->type = request->type;
	out->has_since = request->has_since;
	out->since = request->since;
	out->has_until = request->has_until;
	out->until = request->until;
	out->has_skip_delivered = request->has_skip_delivered;
	out->skip_delivered = request->skip_delivered;
	out->has_at_sequence = out->has_last_sequence = out->has_deliveries = out->has_state = true;
	out->at_sequence = request->has_after && request->after > before ? request->after : before;
	out->last_sequence = request->has_up_to && request->up_to < last ? request->up_to : last;
	out->has_created_at = true;
	out->created_at = call_now_ms(call);
	out->has_finished_at = out->at_sequence >= out->last_sequence;
	out->finished_at = out->created_at;
	out->state =
	    out->has_finished_at ? CORBEL__V1__REPLAY_STATE__REPLAYED : CORBEL__V1__REPLAY_STATE__REPLAYING;
	if (out->has_finished_at)
		out->at_sequence = out->last_sequence;
}

static struct status
insert(struct call *call, struct store_tx *tx, const Replay *replay)
{
	struct arena *arena = call_arena(call);
	struct store_rows *rows;
	struct status st =
	    store_query(tx, &UNDER_WAY, STORE_PARAMS(store_text(replay->endpoint_id)), 1, arena, &rows);

	if (status_ok(&st) && rows_count(rows) > 0)
		st = status_make(STATUS_FAILED_PRECONDITION, "a replay to the endpoint is under way: %s",
		                 row_text(rows, 0, 0));
	if (!status_ok(&st))
		return st;
	return store_exec(tx, &REPLAY_INSERT,
	                  STORE_PARAMS(store_text(replay->id), store_text(replay->tenant_id),
	                               store_text(replay->endpoint_id), store_i64(replay->state),
	                               store_i64((int64_t)replay->at_sequence),
	                               store_i64((int64_t)replay->last_sequence),
	                               replay->has_finished_at ? store_i64(replay->finished_at) : store_null(),
	                               packed_value(arena, &replay->base)),
	                  NULL);
}

/* The tenant of an endpoint that the caller sees. */
static struct status
find_tenant(struct call *call, struct store_tx *tx, const char *id, char **out)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &TENANT_OF, STORE_PARAMS(store_text(id)), 1, call_arena(call), &rows);

	if (!status_ok(&st))
		return st;
	if (rows_count(rows) == 0 || !scope_sees(call, row_text(rows, 0, 0)))
		return scope_not_found("endpoint");
	*out = row_text(rows, 0, 0);
	return st;
}

static struct status
start(struct call *call, struct store_tx *tx, const Corbel__V1__StartReplayRequest *request, Replay *reply)
{
	struct target target;
	struct log_state log;
	struct status st = find_tenant(call, tx, request->id, &reply->tenant_id);

	if (status_ok(&st))
		st = log_lock(tx, call_arena(call), reply->tenant_id, &log);
	if (status_ok(&st))
		st = target_read(tx, call_arena(call), request->id, &target);
	if (status_ok(&st) && target.is_disabled)
		st = status_make(STATUS_FAILED_PRECONDITION, "the endpoint is disabled; enable it first");
	if (!status_ok(&st))
		return st;
	reply->endpoint_id = request->id;
	fill(call, request, &log, reply);
	return insert(call, tx, reply);
}

struct status
replays_start(struct call *call, const Corbel__V1__StartReplayRequest *request, Replay *reply)
{
	struct webhookd *self = call_service(call);
	struct store_tx tx;
	struct status st = check(call, request);

	if (status_ok(&st))
		st = store_begin(call_store(call), &tx);
	if (!status_ok(&st))
		return st;
	st = store_end(&tx, start(call, &tx, request, reply));
	if (status_ok(&st))
		atomic_store(&self->is_replaying, true);
	return st;
}

/* ---- reading, ending ---- */

static struct status
replay_find(struct call *call, const struct store_rows *rows, Replay *out)
{
	if (rows_count(rows) == 0 || !scope_sees(call, row_text(rows, 0, 1)))
		return scope_not_found("replay");
	return replay_from_row(call_arena(call), rows, 0, out);
}

struct status
replays_get(struct call *call, const Corbel__V1__GetReplayRequest *request, Replay *reply)
{
	struct store_rows *rows;
	struct status st = store_read(call_store(call), &REPLAY_GET, STORE_PARAMS(store_text(request->id)), 1,
	                              call_arena(call), &rows);
	return status_ok(&st) ? replay_find(call, rows, reply) : st;
}

struct status
replays_list(struct call *call, const Corbel__V1__ListReplaysRequest *request,
             Corbel__V1__ListReplaysReply *reply)
{
	struct arena *arena = call_arena(call);
	struct store_rows *rows;
	const char *tenant;
	struct page page;
	size_t count;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st = page_read(call, PAGE_ASKED(request), "rpl", &page);
	if (status_ok(&st))
		st = page_rows(call, &REPLAY_LIST,
		               STORE_PARAMS(store_text(tenant), store_text(page.before),
		                            store_text(request->endpoint_id ? request->endpoint_id : ""),
		                            page_limit(&page)),
		               &page, &rows, &count);
	if (!status_ok(&st))
		return st;
	reply->replays = ARENA_ARRAY(arena, Replay *, count + 1);
	for (; reply->n_replays < count && status_ok(&st); reply->n_replays++) {
		reply->replays[reply->n_replays] = ARENA_NEW(arena, Replay);
		st = replay_from_row(arena, rows, reply->n_replays, reply->replays[reply->n_replays]);
	}
	if (status_ok(&st) && rows_count(rows) > count)
		reply->next_page_token = reply->replays[count - 1]->id;
	return st;
}

struct status
replays_cancel(struct call *call, const Corbel__V1__CancelReplayRequest *request, Replay *reply)
{
	struct log_state log;
	struct store_rows *rows;
	struct store_tx tx;
	struct status st = store_begin(call_store(call), &tx);

	if (!status_ok(&st))
		return st;
	st = store_query(&tx, &REPLAY_GET, STORE_PARAMS(store_text(request->id)), 1, call_arena(call), &rows);
	if (status_ok(&st))
		st = replay_find(call, rows, reply);
	if (status_ok(&st))
		st = log_lock(&tx, call_arena(call), reply->tenant_id, &log);
	if (status_ok(&st))
		st = store_exec(&tx, &REPLAY_CANCEL,
		                STORE_PARAMS(store_text(request->id), store_i64(call_now_ms(call))), NULL);
	if (status_ok(&st))
		st = store_query(&tx, &REPLAY_GET, STORE_PARAMS(store_text(request->id)), 1, call_arena(call), &rows);
	if (status_ok(&st))
		st = replay_find(call, rows, reply);
	return store_end(&tx, st);
}
