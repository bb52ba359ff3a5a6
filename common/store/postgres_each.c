/*
 * postgres_each: one prepared statement for many sets of parameters in one round trip, by libpq's pipeline.
 *
 * The server answers each; behind the first that fails it skips the rest up to the synchronisation.
 */
#include <stdlib.h>

#include "store/postgres_internal.h"

static struct status
send_all(struct store_conn *conn, const char *name, const struct store_value *params, size_t count,
         size_t times)
{
	struct postgres_params as;
	struct status st = status_ok_value();

	for (size_t i = 0; i < times && status_ok(&st); i++) {
		st = postgres_params(&as, params + i * count, count);
		if (status_ok(&st) &&
		    !PQsendQueryPrepared(conn->handle, name, (int)count, as.values, as.lengths, as.formats, 0))
			st = postgres_failed(conn, NULL);
	}
	if (!PQpipelineSync(conn->handle) && status_ok(&st))
		st = postgres_failed(conn, NULL);
	return st;
}

static struct status
take_one(struct store_conn *conn, const PGresult *result, int64_t *changed)
{
	switch (PQresultStatus(result)) {
	case PGRES_COMMAND_OK:
	case PGRES_TUPLES_OK:
		*changed = strtoll(PQcmdTuples((PGresult *)(uintptr_t)result), NULL, 10);
		return status_ok_value();
	case PGRES_PIPELINE_ABORTED: /* skipped: an earlier failure says why */
		return status_ok_value();
	default:
		return postgres_failed(conn, result);
	}
}

/* Up to the synchronisation, whatever came before: nothing of this may be taken for another's answer. */
static struct status
take_all(struct store_conn *conn, size_t times, int64_t *changed)
{
	struct status st = status_ok_value(), waited;
	bool was_end = false; /* of one statement's results; two in a row are the connection's */

	for (size_t at = 0; !conn->is_lost;) {
		waited = postgres_await(conn);
		if (!status_ok(&waited))
			return status_ok(&st) ? waited : st;
		PGresult *result = PQgetResult(conn->handle);
		if (!result && was_end)
			return postgres_failed(conn, NULL);
		was_end = !result;
		if (!result)
			continue;
		bool is_over = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
		struct status one = is_over || at >= times ? st : take_one(conn, result, &changed[at++]);
		if (status_ok(&st))
			st = one;
		PQclear(result);
		if (is_over)
			break;
	}
	return st;
}

struct status
postgres_run_each(struct store_conn *conn, struct store_statement *statement,
                  const struct store_value *params, size_t count, size_t times, int64_t *changed)
{
	struct status begun = postgres_begin_owed(conn);
	if (!status_ok(&begun))
		return begun;
	if (!PQenterPipelineMode(conn->handle))
		return postgres_failed(conn, NULL);
	struct status sent = send_all(conn, statement->name, params, count, times);
	struct status st = conn->is_lost ? sent : take_all(conn, times, changed);
	if (!conn->is_lost && !PQexitPipelineMode(conn->handle))
		conn->is_lost = true;
	return status_ok(&sent) ? st : sent;
}
