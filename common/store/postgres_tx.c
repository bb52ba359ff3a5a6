/*
 * postgres_tx: transactions.
 *
 * BEGIN has nothing to tell, so it travels with the transaction's first statement, by libpq's pipeline: a
 * transaction costs a round trip less. Where that is no plain statement, BEGIN goes alone before it.
 */
#include "store/postgres_internal.h"

struct status
postgres_begin(struct store_conn *conn)
{
	conn->owes_begin = true;
	return status_ok_value();
}

struct status
postgres_begin_owed(struct store_conn *conn)
{
	if (!conn->owes_begin)
		return status_ok_value();
	conn->owes_begin = false;
	return status_wrap(postgres_script(conn, "BEGIN"), "begin");
}

/* ---- BEGIN and a statement ---- */

static struct status
send_both(struct store_conn *conn, const struct store_statement *statement, const struct postgres_params *as,
          size_t count)
{
	bool is_sent = PQsendQueryParams(conn->handle, "BEGIN", 0, NULL, NULL, NULL, NULL, 0) &&
	               PQsendQueryPrepared(conn->handle, statement->name, (int)count, as->values, as->lengths,
	                                   as->formats, statement->is_binary) &&
	               PQpipelineSync(conn->handle);

	if (is_sent)
		return status_ok_value();
	conn->is_lost = true; /* half of it may be on its way */
	return postgres_failed(conn, NULL);
}

/* `st` is what is known so far; of two failures the first counts. */
static struct status
take_one(struct store_conn *conn, const PGresult *result, struct rows_builder *rows, int64_t *changed,
         struct status st)
{
	if (!status_ok(&st) || PQresultStatus(result) == PGRES_PIPELINE_ABORTED)
		return st;
	return postgres_take(conn, result, rows, changed);
}

/* Both results, each of which a NULL ends, and the synchronisation behind them. */
static struct status
take_both(struct store_conn *conn, struct rows_builder *rows, int64_t *changed)
{
	struct status st = status_ok_value(), waited;
	int ended = 0;

	while (!conn->is_lost) {
		waited = postgres_await(conn);
		if (!status_ok(&waited))
			return status_ok(&st) ? waited : st;
		PGresult *result = PQgetResult(conn->handle);
		if (!result) {
			if (++ended > 2)
				return postgres_failed(conn, NULL);
			PQsetSingleRowMode(conn->handle); /* of what comes next */
			continue;
		}
		bool is_over = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
		if (!is_over)
			st = take_one(conn, result, rows, changed, st);
		PQclear(result);
		if (is_over)
			break;
	}
	return st;
}

struct status
postgres_begin_with(struct store_conn *conn, const struct store_statement *statement,
                    const struct postgres_params *as, size_t count, struct rows_builder *rows,
                    int64_t *changed)
{
	conn->owes_begin = false;
	*changed = 0;
	if (!PQenterPipelineMode(conn->handle))
		return postgres_failed(conn, NULL);
	struct status st = send_both(conn, statement, as, count);
	if (status_ok(&st))
		st = take_both(conn, rows, changed);
	if (!conn->is_lost && !PQexitPipelineMode(conn->handle))
		conn->is_lost = true;
	return st;
}

/* ---- its end ---- */

/* Nothing was done in a transaction that still owes its BEGIN. */
void
postgres_rollback(struct store_conn *conn)
{
	bool has_begun = !conn->owes_begin;

	conn->owes_begin = false;
	conn_start_timer(conn);
	if (conn->is_lost || !has_begun)
		return;
	struct status st = postgres_script(conn, "ROLLBACK");
	if (!status_ok(&st))
		conn->is_lost = true;
}

struct status
postgres_commit(struct store_conn *conn)
{
	if (conn->owes_begin) {
		conn->owes_begin = false;
		return status_ok_value();
	}
	struct status st = postgres_script(conn, "COMMIT");

	if (conn->is_lost)
		return status_make(STATUS_UNAVAILABLE, "outcome unknown: %s", st.message);
	if (status_ok(&st) && PQtransactionStatus(conn->handle) != PQTRANS_IDLE)
		conn->is_lost = true;
	return st;
}
