/*
 * logs: one row a tenant, under whose lock its log grows and its endpoints change.
 */
#include "webhookd_internal.h"

/* Updating a row, even to what it is, locks it, on either database; the first event makes it. */
static const struct store_sql LOG_LOCK = {
    "log_lock",
    "INSERT INTO logs (tenant_id, last_sequence, first_sequence, endpoints_version) VALUES ($1, $2, 1, 0)"
    " ON CONFLICT (tenant_id) DO UPDATE SET last_sequence = logs.last_sequence + $2"
    " RETURNING last_sequence, first_sequence, endpoints_version"};
static const struct store_sql LOG_LAST = {"log_last",
                                          "UPDATE logs SET last_sequence = $2 WHERE tenant_id = $1"};
static const struct store_sql LOG_BUMP = {
    "log_bump", "UPDATE logs SET endpoints_version = endpoints_version + 1 WHERE tenant_id = $1"};

struct status
log_lock(struct store_tx *tx, struct arena *arena, const char *tenant, struct log_state *out)
{
	return log_lengthen(tx, arena, tenant, 0, out);
}

struct status
log_lengthen(struct store_tx *tx, struct arena *arena, const char *tenant, uint64_t by, struct log_state *out)
{
	struct store_rows *rows;
	struct status st =
	    store_query(tx, &LOG_LOCK, STORE_PARAMS(store_text(tenant), store_i64((int64_t)by)), 1, arena, &rows);

	if (!status_ok(&st))
		return st;
	out->last_sequence = (uint64_t)row_i64(rows, 0, 0);
	out->first_sequence = (uint64_t)row_i64(rows, 0, 1);
	out->endpoints_version = row_i64(rows, 0, 2);
	return st;
}

struct status
log_set_last(struct store_tx *tx, const char *tenant, uint64_t last_sequence)
{
	return store_exec(tx, &LOG_LAST, STORE_PARAMS(store_text(tenant), store_i64((int64_t)last_sequence)),
	                  NULL);
}

struct status
log_bump_endpoints(struct store_tx *tx, const char *tenant)
{
	return store_exec(tx, &LOG_BUMP, STORE_PARAMS(store_text(tenant)), NULL);
}
