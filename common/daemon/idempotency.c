/*
 * idempotency: claim, record, settle, over one table.
 *
 *   (no row) ──claim──► running ──the handler's commit──► done ──24 h──► purged
 *                 ▲        │ fails: row deleted
 *                 └────────┘ holder gone: taken over after the lease, or given up when it is back
 *
 * A claim's token is its holder's number and 32 random bits, so that a process finds those of its last life.
 * Every write names the claim's token, so a holder whose lease was taken over changes nothing, and its
 * transaction fails with it.
 */
#include "daemon/idempotency.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "daemon/seal.h"

#define LEASE_SLACK_MS 2000
#define TAKE_MS        5000
#define PURGE_ROWS     1000
#define STATE_RUNNING  0
#define STATE_DONE     1

struct claim {
	uint8_t key_hash[SHA256_BYTES];
	uint8_t request_hash[SHA256_BYTES];
	uint8_t seal_key[SHA256_BYTES];
	int64_t token;
	const uint8_t *recorded; /* the reply as last recorded; NULL: not yet */
	size_t recorded_size;
};

static const char TABLE[] =
    "CREATE TABLE IF NOT EXISTS idempotency (tenant TEXT NOT NULL, method TEXT NOT NULL, key_hash BYTEA NOT "
    "NULL,"
    " request_hash BYTEA NOT NULL, state BIGINT NOT NULL, token BIGINT NOT NULL, reply BYTEA,"
    " created_at BIGINT NOT NULL, lease_until BIGINT NOT NULL, expires_at BIGINT NOT NULL,"
    " PRIMARY KEY (tenant, method, key_hash));"
    "CREATE INDEX IF NOT EXISTS idempotency_expires_at ON idempotency (expires_at)";

static const struct store_sql CLAIM = {
    "idempotency_claim",
    "INSERT INTO idempotency (tenant, method, key_hash, request_hash, state, token, created_at, lease_until,"
    " expires_at) VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8)"
    " ON CONFLICT (tenant, method, key_hash) DO UPDATE SET request_hash = excluded.request_hash, state = 0,"
    " token = excluded.token, reply = NULL, created_at = excluded.created_at,"
    " lease_until = excluded.lease_until, expires_at = excluded.expires_at"
    " WHERE idempotency.expires_at <= excluded.created_at"
    " OR (idempotency.state = 0 AND idempotency.lease_until <= excluded.created_at)"
    " RETURNING token"};
static const struct store_sql FIND = {
    "idempotency_find",
    "SELECT state, request_hash, reply FROM idempotency WHERE tenant = $1 AND method = $2 AND key_hash = $3"};
static const struct store_sql RECORD = {
    "idempotency_record", "UPDATE idempotency SET state = 1, reply = $1, expires_at = $2"
                          " WHERE tenant = $3 AND method = $4 AND key_hash = $5 AND token = $6"};
static const struct store_sql GIVE_UP = {
    "idempotency_give_up",
    "DELETE FROM idempotency WHERE tenant = $1 AND method = $2 AND key_hash = $3 AND token = $4"};
static const struct store_sql GIVE_UP_RUNNING = {"idempotency_give_up_running",
                                                 "DELETE FROM idempotency WHERE tenant = $1 AND method = $2 "
                                                 "AND key_hash = $3 AND token = $4 AND state = 0"};
static const struct store_sql GIVE_UP_ALL = {
    "idempotency_give_up_all", "DELETE FROM idempotency WHERE state = 0 AND token BETWEEN $1 AND $2"};
static const struct store_sql PURGE = {
    "idempotency_purge",
    "DELETE FROM idempotency WHERE (tenant, method, key_hash) IN"
    " (SELECT tenant, method, key_hash FROM idempotency WHERE expires_at <= $1 LIMIT $2)"};

/* ---------------------------------------------------------------- the table */

struct status
idempotency_migrate(struct store *store)
{
	return status_wrap(store_create(store, TABLE), "create table idempotency");
}

/* ---------------------------------------------------------------- the holder */

/* A file has one process at a time, whatever that calls itself; a database has many, whose nodes differ. 31
 * bits, as a token's sign is not used. */
uint32_t
idempotency_holder(const struct store *store, const char *node)
{
	return store_is_postgres(store) ? (uint32_t)hash_stable64(node, strlen(node), 0) >> 1 : 0;
}

static int64_t
token_of(uint32_t holder, uint32_t number)
{
	return (int64_t)((uint64_t)holder << 32 | number);
}

struct status
idempotency_give_up_all(struct store *store, uint32_t holder)
{
	struct store_conn *conn;
	struct store_tx tx;
	struct status st = store_take(store, TAKE_MS, &conn);

	if (!status_ok(&st))
		return st;
	st = store_begin(conn, &tx);
	if (status_ok(&st))
		st = store_end(&tx, store_exec(&tx, &GIVE_UP_ALL,
		                               STORE_PARAMS(store_i64(token_of(holder, 0)),
		                                            store_i64(token_of(holder, UINT32_MAX))),
		                               NULL));
	store_put(store, conn);
	return status_wrap(st, "idempotency claims of an earlier process");
}

/* ---------------------------------------------------------------- the claim */

/* HMAC of "label", tenant, method under the idempotency key. */
static void
derive(struct call *call, const char *key, const char *label, uint8_t out[SHA256_BYTES])
{
	char text[512];
	int length =
	    snprintf(text, sizeof(text), "%s\n%s\n%s", label, call_tenant(call), call_method(call)->full_name);

	hash_hmac_sha256(key, strlen(key), text,
	                 (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1, out);
}

static struct claim *
claim_new(struct call *call, const char *key)
{
	struct claim *claim = ARENA_NEW(call->arena, struct claim);
	const ProtobufCBinaryData *payload = &call->wire->call->payload;

	derive(call, key, "corbel idempotency key", claim->key_hash);
	derive(call, key, "corbel idempotency reply", claim->seal_key);
	hash_hmac_sha256(key, strlen(key), payload->data, payload->len, claim->request_hash);
	claim->token = token_of(call->dispatcher->options.idempotency_holder,
	                        (uint32_t)random_u64(call->dispatcher->options.random));
	return claim;
}

static int64_t
now_ms(const struct call *call)
{
	return clock_wall_ms(call_clock(call));
}

/* For as long as the caller waits, and a little more. */
static int64_t
lease_ms(const struct call *call)
{
	uint64_t now = clock_mono_ms(call_clock(call));
	uint64_t deadline = call_deadline_mono_ms(call);
	uint64_t left = deadline > now ? deadline - now : 0;

	return (int64_t)left + LEASE_SLACK_MS;
}

static struct status
try_claim(struct call *call, const struct claim *claim, struct store_tx *tx, bool *is_ours)
{
	struct store_rows *rows;
	int64_t now = now_ms(call);
	struct status st = store_query(
	    tx, &CLAIM,
	    STORE_PARAMS(store_text(call_tenant(call)), store_text(call_method(call)->name),
	                 store_bytes(claim->key_hash, SHA256_BYTES),
	                 store_bytes(claim->request_hash, SHA256_BYTES), store_i64(claim->token), store_i64(now),
	                 store_i64(now + lease_ms(call)), store_i64(now + IDEMPOTENCY_KEPT_MS)),
	    1, call->arena, &rows);

	*is_ours = status_ok(&st) && rows_count(rows) == 1;
	return st;
}

static struct status
in_progress(struct call *call)
{
	call_problem(call, "idempotency-in-progress");
	call_retry_after_ms(call, 1000);
	return status_make(STATUS_ABORTED, "a request with this idempotency key is being processed");
}

/* Puts a recorded reply in place of ours. */
static struct status
replay(struct call *call, const struct claim *claim, const void *sealed, size_t size)
{
	struct arena_allocator memory = arena_allocator(call->arena);
	ProtobufCAllocator allocator = {memory.alloc, memory.free, memory.arena};
	size_t opened_size;
	uint8_t *opened = sealed ? seal_open(claim->seal_key, sealed, size, call->arena, &opened_size) : NULL;
	Corbel__Bus__Reply *stored = opened ? corbel__bus__reply__unpack(&allocator, opened_size, opened) : NULL;

	if (!stored)
		return status_make(STATUS_DATA_LOSS, "the recorded reply cannot be read");
	Corbel__Bus__Reply *reply = &call->wire->reply;
	reply->has_payload = true;
	reply->payload = stored->payload;
	for (size_t i = 0; i < stored->n_headers; i++)
		call_header(call, stored->headers[i]->name, stored->headers[i]->value);
	call_header(call, "Idempotent-Replayed", "true");
	call->is_replayed = true;
	return status_ok_value();
}

/* Somebody else's row: whose, and what of it? */
static struct status
judge_row(struct call *call, const struct claim *claim, const struct store_rows *rows)
{
	size_t hash_size, reply_size;

	if (rows_count(rows) == 0)
		return in_progress(call); /* given up between our two statements: a retry will run */
	const void *hash = row_bytes(rows, 0, 1, &hash_size);
	if (hash_size != SHA256_BYTES || !hash_equal(hash, claim->request_hash, SHA256_BYTES)) {
		call_problem(call, "idempotency-key-reused");
		return status_make(STATUS_INVALID_ARGUMENT, "this idempotency key was used with another request");
	}
	if (row_i64(rows, 0, 0) == STATE_RUNNING)
		return in_progress(call);
	const void *sealed = row_bytes(rows, 0, 2, &reply_size);
	return replay(call, claim, sealed, reply_size);
}

static struct status
claim_or_judge(struct call *call, struct claim *claim, struct store_tx *tx)
{
	struct store_rows *rows;
	bool is_ours;
	struct status st = try_claim(call, claim, tx, &is_ours);

	if (!status_ok(&st))
		return st;
	if (is_ours) {
		call->claim = claim;
		return st;
	}
	st = store_query(tx, &FIND,
	                 STORE_PARAMS(store_text(call_tenant(call)), store_text(call_method(call)->name),
	                              store_bytes(claim->key_hash, SHA256_BYTES)),
	                 1, call->arena, &rows);
	return status_ok(&st) ? judge_row(call, claim, rows) : st;
}

struct status
idempotency_claim(struct call *call, struct store_conn *conn)
{
	const char *key = call_idempotency_key(call);
	struct store_tx tx;

	if (strlen(key) > IDEMPOTENCY_KEY_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "an idempotency key has at most %d bytes",
		                   IDEMPOTENCY_KEY_MAX);
	struct status st = store_begin(conn, &tx);
	if (!status_ok(&st))
		return st;
	st = store_end(&tx, claim_or_judge(call, claim_new(call, key), &tx));
	if (!status_ok(&st))
		call->claim = NULL;
	return st;
}

/* ---------------------------------------------------------------- the record */

/* The reply as it stands, without what belongs to this one exchange. */
static void
pack_record(struct call *call, uint8_t **bytes, size_t *size)
{
	Corbel__Bus__Reply record = CORBEL__BUS__REPLY__INIT;

	call_pack_reply(call);
	record.has_payload = true;
	record.payload = call->wire->reply.payload;
	record.headers = call->wire->reply.headers;
	record.n_headers = call->wire->reply.n_headers;
	*size = corbel__bus__reply__get_packed_size(&record);
	*bytes = arena_alloc_raw(call->arena, *size + 1);
	corbel__bus__reply__pack(&record, *bytes);
}

static struct status
write_record(struct call *call, struct store_tx *tx, const uint8_t *bytes, size_t size)
{
	struct claim *claim = call->claim;
	size_t sealed_size;
	int64_t changed = 0;
	uint8_t *sealed =
	    seal_close(claim->seal_key, call->dispatcher->options.random, bytes, size, call->arena, &sealed_size);
	struct status st = store_exec(
	    tx, &RECORD,
	    STORE_PARAMS(store_bytes(sealed, sealed_size), store_i64(now_ms(call) + IDEMPOTENCY_KEPT_MS),
	                 store_text(call_tenant(call)), store_text(call_method(call)->name),
	                 store_bytes(claim->key_hash, SHA256_BYTES), store_i64(claim->token)),
	    &changed);

	if (status_ok(&st) && changed != 1)
		st = status_make(STATUS_ABORTED, "the request took so long that a retry took its place");
	if (status_ok(&st)) {
		claim->recorded = bytes;
		claim->recorded_size = size;
	}
	return st;
}

static struct status
record_on_commit(void *arg, struct store_tx *tx)
{
	struct call *call = arg;
	uint8_t *bytes;
	size_t size;

	pack_record(call, &bytes, &size);
	return write_record(call, tx, bytes, size);
}

void
idempotency_watch(struct call *call, struct store_conn *conn)
{
	store_on_commit(conn, record_on_commit, call);
}

/* The call changed its reply after its commit, or committed nothing: record what it ended with. */
static void
record_now(struct call *call, struct store_conn *conn)
{
	const struct claim *claim = call->claim;
	struct store_tx tx;
	uint8_t *bytes;
	size_t size;

	pack_record(call, &bytes, &size);
	if (claim->recorded && claim->recorded_size == size && memcmp(claim->recorded, bytes, size) == 0)
		return;
	struct status st = store_begin(conn, &tx);
	if (status_ok(&st))
		st = store_end(&tx, write_record(call, &tx, bytes, size));
	if (!status_ok(&st))
		log_warn(call->dispatcher->options.log, "idempotency record lost",
		         LOG_TEXT("method", call_method(call)->name), LOG_STATUS(&st));
}

/* When the outcome is unknown, a row that is done stays: the commit did happen, and a retry sees its
 * reply. */
static void
give_up(struct call *call, struct store_conn *conn, const struct status *outcome)
{
	bool is_unknown = outcome->code == STATUS_UNAVAILABLE || outcome->code == STATUS_DEADLINE_EXCEEDED;
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return;
	st = store_exec(&tx, is_unknown ? &GIVE_UP_RUNNING : &GIVE_UP,
	                STORE_PARAMS(store_text(call_tenant(call)), store_text(call_method(call)->name),
	                             store_bytes(call->claim->key_hash, SHA256_BYTES),
	                             store_i64(call->claim->token)),
	                NULL);
	st = store_end(&tx, st);
	if (!status_ok(&st))
		log_warn(call->dispatcher->options.log, "idempotency claim not given up", LOG_STATUS(&st));
}

struct status
idempotency_settle(struct call *call, struct store_conn *conn, struct status st)
{
	store_on_commit(conn, NULL, NULL);
	if (status_ok(&st))
		record_now(call, conn);
	else
		give_up(call, conn, &st);
	return st;
}

void
idempotency_purge(const struct clock *clock, struct store_conn *conn)
{
	struct store_tx tx;
	int64_t changed = PURGE_ROWS;

	while (changed == PURGE_ROWS) {
		struct status st = store_begin(conn, &tx);
		if (!status_ok(&st))
			return;
		st = store_exec(&tx, &PURGE, STORE_PARAMS(store_i64(clock_wall_ms(clock)), store_i64(PURGE_ROWS)),
		                &changed);
		st = store_end(&tx, st);
		if (!status_ok(&st))
			return;
	}
}
