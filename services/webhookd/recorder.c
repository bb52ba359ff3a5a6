/*
 * recorder: see recorder.h.
 *
 *   lock the logs concerned  ->  find what is there already  ->  number the rest  ->  insert in bulk
 *
 * An event's sequence is given under its log's lock, which holds until the commit: what a reader sees has no
 * gaps, and no lower number appears later.
 */
#include "recorder.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "delivery_rows.h"

#define ARENA_BLOCK (256u << 10)
#define FIND_WIDTH  8
#define EVENT_COLS  8

/* EVENT_FIND has FIND_WIDTH ids. */
static const struct store_sql EVENT_FIND = {
    "event_find",
    "SELECT id, sequence, digest FROM events WHERE tenant_id = $1 AND id IN ($2, $3, $4, $5, $6, $7,"
    " $8, $9)"};
/* Held, so that nobody gives it back before what is added is there: that would be due at a time that nobody
 * knows. */
static const struct store_sql ENDPOINT_REFER = {"endpoint_refer",
                                                "SELECT next_at FROM endpoints WHERE id = $1 @refer@"};
static const struct store_sql ENDPOINT_DUE = {
    "endpoint_due", "UPDATE endpoints SET next_at = $2 WHERE id = $1 AND next_at > $2"};
static const char *const EVENT_COLUMNS[EVENT_COLS] = {"tenant_id", "sequence",    "id",     "type",
                                                      "subject",   "recorded_at", "digest", "message"};
/* A tenant's log in the present commit. */
struct open_log {
	const char *tenant;
	size_t count; /* of the events that are to be recorded, with those that are there already */
	struct log_state state;
	uint64_t before; /* last_sequence at the lock */
	struct subscription_list *subscriptions;
	bool has_deliveries; /* something for an endpoint that is enabled */
};

/* An event of this commit, to be found by those that repeat it. */
struct numbered {
	const struct open_log *log;
	const Event *event;
	const uint8_t *digest;
};

struct recorder {
	struct webhookd *self;
	struct subscriptions *subscriptions;
	struct arena arena; /* of the present commit */
	struct open_log *logs;
	size_t log_count;
	struct numbered *table; /* open addressing */
	size_t table_mask;
	struct store_value *event_rows;
	size_t event_count;
	struct delivery_rows deliveries;
	int64_t now_ms;
};

struct recorder *
recorder_new(struct webhookd *self)
{
	struct recorder *recorder = mem_alloc(sizeof(*recorder));
	recorder->self = self;
	recorder->subscriptions = subscriptions_new();
	arena_init(&recorder->arena, ARENA_BLOCK, SIZE_MAX);
	return recorder;
}

void
recorder_free(struct recorder *recorder)
{
	if (!recorder)
		return;
	subscriptions_free(recorder->subscriptions);
	arena_fini(&recorder->arena);
	mem_free(recorder);
}

/* ---- the logs ---- */

static int
by_tenant(const void *a, const void *b)
{
	return strcmp(((const struct open_log *)a)->tenant, ((const struct open_log *)b)->tenant);
}

static struct open_log *
log_of(const struct recorder *recorder, const char *tenant)
{
	struct open_log key = {.tenant = tenant};
	return bsearch(&key, recorder->logs, recorder->log_count, sizeof(key), by_tenant);
}

static void
list_logs(struct recorder *recorder, const struct publication *group)
{
	size_t most = 0, kept = 0;

	for (const struct publication *p = group; p; p = p->next)
		most++;
	recorder->logs = ARENA_ARRAY(&recorder->arena, struct open_log, most);
	most = 0;
	for (const struct publication *p = group; p; p = p->next)
		recorder->logs[most++] = (struct open_log){.tenant = p->tenant, .count = p->count};
	qsort(recorder->logs, most, sizeof(*recorder->logs), by_tenant);
	for (size_t i = 0; i < most; i++) {
		if (kept > 0 && strcmp(recorder->logs[kept - 1].tenant, recorder->logs[i].tenant) == 0)
			recorder->logs[kept - 1].count += recorder->logs[i].count;
		else
			recorder->logs[kept++] = recorder->logs[i];
	}
	for (size_t i = 0; i < kept; i++)
		recorder->logs[i].tenant = arena_strdup(&recorder->arena, recorder->logs[i].tenant);
	recorder->log_count = kept;
}

/* Each is made as long as it will be unless some of its events are there already: then it is corrected. */
static struct status
open_logs(struct recorder *recorder, struct store_tx *tx)
{
	struct status st = status_ok_value();

	for (size_t i = 0; i < recorder->log_count && status_ok(&st); i++) {
		struct open_log *log = &recorder->logs[i];
		st = log_lengthen(tx, &recorder->arena, log->tenant, log->count, &log->state);
		if (!status_ok(&st))
			break;
		log->state.last_sequence -= log->count;
		log->before = log->state.last_sequence;
		st = subscriptions_of(recorder->subscriptions, tx, &recorder->arena, log->tenant,
		                      log->state.endpoints_version, &log->subscriptions);
	}
	return st;
}

/* ---- what is there already ---- */

static struct numbered *
slot_of(const struct recorder *recorder, const struct open_log *log, const char *id)
{
	size_t at = hash_table64(id, strlen(id)) & recorder->table_mask;

	while (recorder->table[at].event &&
	       (recorder->table[at].log != log || strcmp(recorder->table[at].event->id, id) != 0))
		at = (at + 1) & recorder->table_mask;
	return &recorder->table[at];
}

static struct status
conflict(struct publication *publication, size_t at)
{
	const char *pointer = arena_printf(call_arena(publication->call), "/events/%zu/id", at);
	call_violation(publication->call, pointer, "names an event that was published with other content");
	return status_make(STATUS_ALREADY_EXISTS, "%s: names an event that was published with other content",
	                   pointer);
}

static void
note_duplicate(struct publication *publication, size_t at, uint64_t sequence, const void *digest)
{
	publication->is_duplicate[at] = true;
	publication->events[at]->sequence = sequence;
	if (memcmp(digest, publication->digests[at], 16) != 0 && status_ok(&publication->outcome))
		publication->outcome = conflict(publication, at);
}

/* Up to FIND_WIDTH events at a time; the last id fills what is left over. */
static struct status
find_some(struct recorder *recorder, struct store_tx *tx, struct publication *publication, const size_t at[],
          size_t count)
{
	struct store_value params[FIND_WIDTH + 1] = {store_text(publication->tenant)};
	struct store_rows *rows;

	for (size_t i = 0; i < FIND_WIDTH; i++)
		params[i + 1] = store_text(publication->events[at[i < count ? i : count - 1]]->id);
	struct status st =
	    store_query(tx, &EVENT_FIND, params, FIND_WIDTH + 1, FIND_WIDTH, &recorder->arena, &rows);
	for (size_t r = 0; status_ok(&st) && r < rows_count(rows); r++) {
		size_t size;
		const void *digest = row_bytes(rows, r, 2, &size);
		for (size_t i = 0; i < count && size == 16; i++)
			if (strcmp(publication->events[at[i]]->id, row_text(rows, r, 0)) == 0)
				note_duplicate(publication, at[i], (uint64_t)row_i64(rows, r, 1), digest);
	}
	return st;
}

static struct status
find_duplicates(struct recorder *recorder, struct store_tx *tx, struct publication *publication,
                const struct open_log *log)
{
	struct status st = status_ok_value();
	size_t at[FIND_WIDTH], count = 0;

	for (size_t i = 0; i < publication->count && status_ok(&st); i++) {
		if (publication->is_named[i]) {
			const struct numbered *earlier = slot_of(recorder, log, publication->events[i]->id);
			if (earlier->event)
				note_duplicate(publication, i, earlier->event->sequence, earlier->digest);
			else
				at[count++] = i;
		}
		if (count == FIND_WIDTH || (count > 0 && i + 1 == publication->count)) {
			st = find_some(recorder, tx, publication, at, count);
			count = 0;
		}
	}
	return st;
}

/* ---- rows ---- */

static void
add_deliveries(struct recorder *recorder, struct open_log *log, const Event *event)
{
	struct filter_event parsed;

	filter_event_init(&parsed, event->type, (const char *)event->data.data, event->data.len);
	for (size_t i = 0; i < log->subscriptions->count; i++) {
		struct subscription *subscription = &log->subscriptions->items[i];
		if (!subscription_wants(subscription, event, &parsed))
			continue;
		delivery_rows_add(&recorder->deliveries, log->tenant, subscription, event, &parsed);
		subscription->is_touched =
		    subscription->is_touched || (!subscription->is_disabled && !subscription->is_pulled);
		log->has_deliveries = log->has_deliveries || !subscription->is_disabled;
	}
	filter_event_fini(&parsed);
}

static void
add_event(struct recorder *recorder, struct open_log *log, Event *event, const uint8_t digest[16])
{
	struct store_value *row = &recorder->event_rows[recorder->event_count++ * EVENT_COLS];

	event->tenant_id = (char *)(uintptr_t)log->tenant;
	event->has_sequence = true;
	event->sequence = ++log->state.last_sequence;
	event->recorded_at = recorder->now_ms; /* so that the log is in the order of its times, too */
	row[0] = store_text(log->tenant);
	row[1] = store_i64((int64_t)event->sequence);
	row[2] = store_text(event->id);
	row[3] = store_text(event->type);
	row[4] = store_text(event->subject);
	row[5] = store_i64(event->recorded_at);
	row[6] = store_bytes(digest, 16);
	row[7] = packed_value(&recorder->arena, &event->base);
	*slot_of(recorder, log, event->id) = (struct numbered){log, event, digest};
	add_deliveries(recorder, log, event);
}

static struct status
add_publication(struct recorder *recorder, struct store_tx *tx, struct publication *publication)
{
	struct open_log *log = log_of(recorder, publication->tenant);
	struct status st = find_duplicates(recorder, tx, publication, log);

	if (!status_ok(&st) || !status_ok(&publication->outcome))
		return st;
	for (size_t i = 0; i < publication->count; i++) {
		if (!publication->is_duplicate[i])
			add_event(recorder, log, publication->events[i], publication->digests[i]);
	}
	return st;
}

/* ---- the commit ---- */

static struct status
make_due(struct recorder *recorder, struct store_tx *tx, const char *endpoint)
{
	struct store_rows *rows;
	struct status st =
	    store_query(tx, &ENDPOINT_REFER, STORE_PARAMS(store_text(endpoint)), 1, &recorder->arena, &rows);

	if (!status_ok(&st) || rows_count(rows) == 0 || row_i64(rows, 0, 0) <= recorder->now_ms)
		return st;
	return store_exec(tx, &ENDPOINT_DUE, STORE_PARAMS(store_text(endpoint), store_i64(recorder->now_ms)),
	                  NULL);
}

static struct status
insert_rows(struct recorder *recorder, struct store_tx *tx)
{
	struct status st = status_ok_value();

	if (recorder->event_count > 0)
		st = store_bulk_insert(tx, "events", EVENT_COLUMNS, EVENT_COLS, recorder->event_rows,
		                       recorder->event_count);
	if (status_ok(&st))
		st = delivery_rows_insert(&recorder->deliveries, tx);
	for (size_t i = 0; i < recorder->log_count && status_ok(&st); i++) {
		const struct open_log *log = &recorder->logs[i];
		if (log->state.last_sequence != log->before + log->count)
			st = log_set_last(tx, log->tenant, log->state.last_sequence);
		for (size_t s = 0; s < log->subscriptions->count && status_ok(&st); s++) {
			struct subscription *subscription = &log->subscriptions->items[s];
			if (subscription->is_touched)
				st = make_due(recorder, tx, subscription->endpoint);
			subscription->is_touched = false;
		}
	}
	return st;
}

static void
begin(struct recorder *recorder, struct publication *group)
{
	size_t events = 0, size = 16;

	arena_reset(&recorder->arena);
	for (struct publication *p = group; p; p = p->next) {
		events += p->count;
		p->outcome = status_ok_value();
		memset(p->is_duplicate, 0, sizeof(bool) * p->count);
	}
	while (size < events * 2)
		size *= 2;
	recorder->table = ARENA_ARRAY(&recorder->arena, struct numbered, size);
	recorder->table_mask = size - 1;
	recorder->event_rows = ARENA_ARRAY(&recorder->arena, struct store_value, events * EVENT_COLS);
	recorder->event_count = 0;
	recorder->now_ms = clock_wall_ms(recorder->self->env.clock);
	delivery_rows_init(&recorder->deliveries, &recorder->self->env, &recorder->arena, recorder->now_ms);
	list_logs(recorder, group);
}

struct status
recorder_commit(struct recorder *recorder, struct store_conn *conn, struct publication *group)
{
	struct store_tx tx;
	struct status st;

	begin(recorder, group);
	st = store_begin(conn, &tx);
	if (!status_ok(&st))
		return st;
	st = open_logs(recorder, &tx);
	for (struct publication *p = group; p && status_ok(&st); p = p->next)
		st = add_publication(recorder, &tx, p);
	if (status_ok(&st))
		st = insert_rows(recorder, &tx);
	st = store_end(&tx, st);
	if (status_ok(&st))
		counter_add(recorder->self->recorded, recorder->event_count);
	else
		recorder->log_count = 0;
	return st;
}

void
recorder_announce(struct recorder *recorder)
{
	for (size_t i = 0; i < recorder->log_count; i++) {
		const struct open_log *log = &recorder->logs[i];
		Corbel__V1__LogGrew grew = CORBEL__V1__LOG_GREW__INIT;
		uint8_t bytes[160];

		grew.tenant_id = (char *)(uintptr_t)log->tenant;
		grew.has_last_sequence = true;
		grew.last_sequence = log->state.last_sequence;
		grew.has_deliveries = true;
		grew.deliveries = log->has_deliveries;
		if (log->state.last_sequence == log->before ||
		    corbel__v1__log_grew__get_packed_size(&grew) > sizeof(bytes))
			continue;
		if (log->has_deliveries)
			webhookd_hint(recorder->self, log->tenant);
		publisher_send(recorder->self->env.publisher, "events", bytes,
		               corbel__v1__log_grew__pack(&grew, bytes));
	}
}
