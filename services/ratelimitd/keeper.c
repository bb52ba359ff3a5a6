/*
 * keeper: counters of long windows, written behind.
 *
 * Every half second what changed is written in one transaction, so that a kill -9 forgets at most a
 * second of a window of an hour or more; a clean stop forgets nothing. At start they are read back.
 */
#include <string.h>

#include "ratelimitd_internal.h"

#define LOAD_MAX 1000000u

static const struct store_sql COUNTER_PUT = {
    "counter_put", "INSERT INTO counters (key_high, key_low, expires_us, bytes) VALUES ($1, $2, $3, $4) "
                   "ON CONFLICT (key_high, key_low) DO UPDATE SET expires_us = $3, bytes = $4"};
static const struct store_sql COUNTER_LIST = {
    "counter_list", "SELECT key_high, key_low, expires_us, bytes FROM counters WHERE expires_us > $1"};
static const struct store_sql COUNTER_PURGE = {"counter_purge",
                                               "DELETE FROM counters WHERE expires_us <= $1"};

struct pending {
	struct arena *arena;
	struct pending_record {
		struct pending_record *next;
		struct table_record record;
	} * first;
	size_t count;
};

static void
copy_record(void *arg, const struct table_record *record)
{
	struct pending *pending = arg;
	struct pending_record *copy = ARENA_NEW(pending->arena, struct pending_record);
	copy->record = *record;
	copy->record.bytes = arena_memdup(pending->arena, record->bytes, record->size);
	copy->next = pending->first;
	pending->first = copy;
	pending->count++;
}

static struct status
put_record(struct store_tx *tx, const struct table_record *record)
{
	/* A time beyond what SQL's integers hold is one that never comes. */
	int64_t expires = record->expires_us > INT64_MAX ? INT64_MAX : (int64_t)record->expires_us;
	return store_exec(tx, &COUNTER_PUT,
	                  STORE_PARAMS(store_i64((int64_t)record->key.high), store_i64((int64_t)record->key.low),
	                               store_i64(expires), store_bytes(record->bytes, record->size)),
	                  NULL);
}

void
keeper_task(void *arg, struct store_conn *conn)
{
	struct ratelimitd *self = arg;
	struct arena arena;
	struct pending pending = {.arena = &arena};
	struct store_tx tx;

	if (!conn)
		return; /* what is dirty stays listed */
	arena_init(&arena, 64u << 10, SIZE_MAX);
	table_collect(self->table, copy_record, &pending);
	struct status st = status_ok_value();
	if (pending.count > 0)
		st = store_begin(conn, &tx);
	if (pending.count > 0 && status_ok(&st)) {
		for (const struct pending_record *at = pending.first; at && status_ok(&st); at = at->next)
			st = put_record(&tx, &at->record);
		if (status_ok(&st))
			st = store_exec(&tx, &COUNTER_PURGE, STORE_PARAMS(store_i64((int64_t)table_now_us(self->table))),
			                NULL);
		st = store_end(&tx, st);
	}
	if (!status_ok(&st)) {
		log_warn(self->env.log, "counters not kept", LOG_U64("counters", pending.count), LOG_STATUS(&st));
		for (const struct pending_record *at = pending.first; at; at = at->next)
			table_mark(self->table, &at->record.key);
	}
	arena_fini(&arena);
}

struct status
keeper_load(struct ratelimitd *self, struct store_conn *conn)
{
	struct arena arena;
	struct store_rows *rows;
	size_t bad = 0;

	arena_init(&arena, 1u << 20, SIZE_MAX);
	struct status st =
	    store_read(conn, &COUNTER_LIST, STORE_PARAMS(store_i64((int64_t)table_now_us(self->table))), LOAD_MAX,
	               &arena, &rows);
	for (size_t row = 0; status_ok(&st) && row < rows_count(rows); row++) {
		struct table_record record = {
		    .key = {.high = (uint64_t)row_i64(rows, row, 0), .low = (uint64_t)row_i64(rows, row, 1)},
		    .expires_us = (uint64_t)row_i64(rows, row, 2)};
		record.bytes = row_bytes(rows, row, 3, &record.size);
		bad += !table_restore(self->table, &record);
	}
	if (bad > 0)
		log_warn(self->env.log, "kept counters could not be read", LOG_U64("counters", bad));
	arena_fini(&arena);
	return st;
}
