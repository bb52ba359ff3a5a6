/*
 * expiry: what is left of the history: runs of the last while, and of each tenant no more than so many,
 * and so many bytes. The newest stay.
 */
#include <string.h>

#include "sandboxd_internal.h"

#define TENANTS 100
#define ROWS    500 /* deleted at once */

static const struct store_sql TENANTS_WITH_RUNS = {
    "tenants_with_runs", "SELECT tenant_id FROM run_queues WHERE tenant_id > $1 ORDER BY tenant_id LIMIT $2"};
static const struct store_sql RUNS_EXPIRE = {
    "runs_expire",
    "DELETE FROM runs WHERE id IN (SELECT id FROM (SELECT id, created_at, ROW_NUMBER() OVER newest AS place,"
    " SUM(bytes) OVER newest AS total FROM runs WHERE tenant_id = $1 AND state = 3 WINDOW newest AS (ORDER "
    "BY id DESC))"
    " AS kept WHERE place > $2 OR total > $3 OR created_at < $4 LIMIT $5)"};

static struct status
expire(struct sandboxd *self, struct store_conn *conn, const char *tenant, int64_t *changed)
{
	const struct config *config = self->env.config;
	int64_t since = clock_wall_ms(self->env.clock) - (int64_t)config_duration_ms(config, "sandboxd.retain");
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	st =
	    store_exec(&tx, &RUNS_EXPIRE,
	               STORE_PARAMS(store_text(tenant), store_i64(config_integer(config, "sandboxd.retain_runs")),
	                            store_i64((int64_t)config_size_bytes(config, "sandboxd.retain_bytes")),
	                            store_i64(since), store_i64(ROWS)),
	               changed);
	return store_end(&tx, st);
}

static struct status
expire_page(struct sandboxd *self, struct store_conn *conn, struct arena *arena, const char **after)
{
	struct store_rows *rows;
	struct status st =
	    store_read(conn, &TENANTS_WITH_RUNS, STORE_PARAMS(store_text(*after), store_i64(TENANTS)), TENANTS,
	               arena, &rows);
	size_t count = status_ok(&st) ? rows_count(rows) : 0;

	*after = count == TENANTS ? row_text(rows, count - 1, 0) : NULL;
	for (size_t row = 0; row < count && status_ok(&st); row++) {
		int64_t changed = ROWS;
		while (status_ok(&st) && changed == ROWS)
			st = expire(self, conn, row_text(rows, row, 0), &changed);
	}
	return st;
}

void
expiry_task(void *arg, struct store_conn *conn)
{
	struct sandboxd *self = arg;
	const char *after = "";
	struct arena arena;
	struct status st = status_ok_value();

	if (!conn)
		return;
	arena_init(&arena, 16u << 10, SIZE_MAX);
	while (after && status_ok(&st))
		st = expire_page(self, conn, &arena, &after);
	if (!status_ok(&st))
		log_warn(self->env.log, "old runs not deleted", LOG_STATUS(&st));
	arena_fini(&arena);
}
