/*
 * events: reading the log.
 *
 * A call looks at SCAN_MAX events at most, in ranges of sequences, so that a filter which matches little
 * costs a bounded time a page; the token says where the next one goes on, full or not.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "corbel/webhookd.methods.gen.h"
#include "events/pattern.h"
#include "webhookd_internal.h"

#define RANGE    2000u
#define SCAN_MAX 20000u
/* Of events on a page: with one more it fits into a message of the bus, whatever the events are. */
#define PAGE_BYTES (1u << 20)

static const struct store_sql EVENT_GET = {"event_get",
                                           "SELECT message FROM events WHERE tenant_id = $1 AND id = $2"};
static const struct store_sql LOG_GET = {
    "log_get", "SELECT last_sequence, first_sequence FROM logs WHERE tenant_id = $1"};
/* $2 and $3 bound the sequences, both included; $4 is the subject or ''. */
static const struct store_sql EVENTS_UP = {
    "events_up", "SELECT message, recorded_at FROM events WHERE tenant_id = $1 AND sequence BETWEEN $2 AND $3"
                 " AND ($4 = '' OR subject = $4) ORDER BY sequence"};
static const struct store_sql EVENTS_DOWN = {
    "events_down",
    "SELECT message, recorded_at FROM events WHERE tenant_id = $1 AND sequence BETWEEN $2 AND $3"
    " AND ($4 = '' OR subject = $4) ORDER BY sequence DESC"};

static Event *
event_from_row(struct arena *arena, const struct store_rows *rows, size_t row)
{
	return (Event *)unpacked(arena, &corbel__v1__event__descriptor, rows, row, 0);
}

struct status
events_get(struct call *call, const Corbel__V1__GetEventRequest *request, Event *reply)
{
	struct store_rows *rows;
	const char *tenant;
	struct status st = scope_tenant(call, request->tenant_id, &tenant);

	if (status_ok(&st))
		st =
		    store_read(call_store(call), &EVENT_GET,
		               STORE_PARAMS(store_text(tenant), store_text(request->id)), 1, call_arena(call), &rows);
	if (!status_ok(&st))
		return st;
	const Event *event = rows_count(rows) > 0 ? event_from_row(call_arena(call), rows, 0) : NULL;
	if (rows_count(rows) == 0)
		return scope_not_found("event");
	if (!event)
		return status_make(STATUS_DATA_LOSS, "a stored event cannot be read");
	*reply = *event;
	return st;
}

/* ---- pages ---- */

/* Where a page begins, and which way it goes. */
struct walk {
	const char *tenant;
	uint64_t at; /* the next sequence to look at */
	uint64_t first, last;
	bool is_up, is_over, is_full;
	size_t size, bytes;
};

/* "u123" goes up from 123, "d123" down. */
static struct status
read_token(struct call *call, const char *token, struct walk *walk)
{
	if ((token[0] != 'u' && token[0] != 'd') || !text_to_u64(token + 1, strlen(token + 1), &walk->at) ||
	    walk->at > INT64_MAX)
		return page_refuse(call);
	walk->is_up = token[0] == 'u';
	return status_ok_value();
}

static struct status
begin_walk(struct call *call, const Corbel__V1__ListEventsRequest *request, struct walk *walk)
{
	struct store_rows *rows;
	struct status st = scope_tenant(call, request->tenant_id, &walk->tenant);

	if (status_ok(&st))
		st = store_read(call_store(call), &LOG_GET, STORE_PARAMS(store_text(walk->tenant)), 1,
		                call_arena(call), &rows);
	if (!status_ok(&st))
		return st;
	walk->size = request->has_page_size ? request->page_size : 50;
	walk->last = rows_count(rows) > 0 ? (uint64_t)row_i64(rows, 0, 0) : 0;
	walk->first = rows_count(rows) > 0 ? (uint64_t)row_i64(rows, 0, 1) : 1;
	walk->is_up = request->has_after;
	walk->at = request->has_after ? request->after + 1 : walk->last;
	if (request->page_token && request->page_token[0])
		st = read_token(call, request->page_token, walk);
	if (walk->is_up && walk->at < walk->first)
		walk->at = walk->first;
	return st;
}

static bool
is_wanted(const Corbel__V1__ListEventsRequest *request, const Event *event)
{
	return (!request->has_since || event->recorded_at >= request->since) &&
	       (!request->has_until || event->recorded_at < request->until) &&
	       (!request->type || pattern_matches(request->type, event->type));
}

/* As many as a page holds where nothing is filtered out, since rows are read in one go. */
static uint64_t
range_of(const Corbel__V1__ListEventsRequest *request, const struct walk *walk)
{
	bool is_filtered = request->has_since || request->has_until || request->type || request->subject;
	return is_filtered || walk->size >= RANGE ? RANGE : walk->size + 1;
}

/* Looks at one range; stops at the first event beyond a full page. */
static struct status
walk_range(struct call *call, const Corbel__V1__ListEventsRequest *request, struct walk *walk,
           Corbel__V1__ListEventsReply *reply)
{
	struct arena *arena = call_arena(call);
	uint64_t range = range_of(request, walk);
	uint64_t low = walk->is_up                       ? walk->at
	               : walk->at >= walk->first + range ? walk->at - range + 1
	                                                 : walk->first;
	uint64_t high = walk->is_up ? walk->at + range - 1 : walk->at;
	struct store_rows *rows;
	struct status st =
	    store_read(call_store(call), walk->is_up ? &EVENTS_UP : &EVENTS_DOWN,
	               STORE_PARAMS(store_text(walk->tenant), store_i64((int64_t)low), store_i64((int64_t)high),
	                            store_text(request->subject ? request->subject : "")),
	               RANGE, arena, &rows);

	for (size_t r = 0; status_ok(&st) && r < rows_count(rows); r++) {
		Event *event = event_from_row(arena, rows, r);
		if (!event)
			return status_make(STATUS_DATA_LOSS, "a stored event cannot be read");
		if (!is_wanted(request, event))
			continue;
		walk->is_full = reply->n_events == walk->size || walk->bytes >= PAGE_BYTES;
		if (walk->is_full) {
			walk->at = event->sequence;
			return st;
		}
		walk->bytes += event->data.len;
		reply->events[reply->n_events++] = event;
	}
	walk->is_over = walk->is_up ? high >= walk->last : low <= walk->first;
	walk->at = walk->is_up ? (walk->is_over ? walk->last + 1 : high + 1) : low - 1;
	return st;
}

struct status
events_list(struct call *call, const Corbel__V1__ListEventsRequest *request,
            Corbel__V1__ListEventsReply *reply)
{
	struct walk walk = {.at = 0};
	struct status st =
	    request->type ? pattern_check(request->type, strlen(request->type)) : status_ok_value();

	if (!status_ok(&st)) {
		call_violation(call, "/type", "%s", st.message);
		return status_wrap(st, "/type");
	}
	st = begin_walk(call, request, &walk);
	if (!status_ok(&st))
		return st;
	reply->events = ARENA_ARRAY(call_arena(call), Event *, walk.size + 1);
	walk.is_over = walk.is_up ? walk.at > walk.last : walk.at < walk.first;
	for (uint64_t scanned = 0; status_ok(&st) && scanned < SCAN_MAX; scanned += range_of(request, &walk)) {
		if (walk.is_over || walk.is_full || reply->n_events == walk.size)
			break;
		st = walk_range(call, request, &walk, reply);
	}
	reply->has_last_sequence = reply->has_first_sequence = true;
	reply->last_sequence = walk.last;
	reply->first_sequence = walk.first;
	if (walk.is_up || !walk.is_over)
		reply->next_page_token =
		    arena_printf(call_arena(call), "%c%llu", walk.is_up ? 'u' : 'd', (unsigned long long)walk.at);
	return st;
}
