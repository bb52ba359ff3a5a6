/*
 * migrate: brings a service's schema to the version that this program knows.
 *
 * One transaction a migration. Each takes the lock, looks which version is in force, applies the next
 * and records it, so replicas that start together take turns and each version is applied once; one
 * that fails leaves nothing.
 *
 * While replicas are replaced, the older of two programs meets the newer one's schema. Most migrations only
 * add, so it goes on; one that takes something away records in `schema_floors` what a program has to know,
 * and older ones refuse to start from then on.
 */
#include <assert.h>

#include "store/store_internal.h"

#define TAKE_WAIT_MS         5000u
#define MIGRATION_TIMEOUT_MS 600000u /* a large table may be rewritten */

static const struct store_sql VERSION = {"schema_version", "SELECT max(version) FROM schema_migrations"};
static const struct store_sql RECORD = {
    "schema_record", "INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)"};
static const struct store_sql RECORD_FLOOR = {"schema_record_floor",
                                              "INSERT INTO schema_floors (version, oldest) VALUES ($1, $2)"};
static const struct store_sql FLOOR = {"schema_floor", "SELECT max(oldest) FROM schema_floors"};
static const char CREATE[] = "CREATE TABLE IF NOT EXISTS schema_migrations ("
                             "version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL);\n"
                             "CREATE TABLE IF NOT EXISTS schema_floors ("
                             "version BIGINT PRIMARY KEY, oldest BIGINT NOT NULL);\n";

static int
newest_known(const struct store_migration *migrations)
{
	int count = 0;

	while (migrations && migrations[count].version) {
		assert(migrations[count].version == count + 1); /* without holes */
		count++;
	}
	return count;
}

/* The number that the statement finds; 0: none. */
static struct status
read_number(struct store_tx *tx, const struct store_sql *sql, struct arena *arena, int64_t *number)
{
	struct store_rows *rows;
	struct status st = store_query(tx, sql, NULL, 0, 1, arena, &rows);

	*number = status_ok(&st) ? row_i64(rows, 0, 0) : 0;
	return st;
}

static struct status
lock_and_read(struct store_tx *tx, struct arena *arena, int64_t *version)
{
	const struct store_driver *driver = tx->conn->store->driver;
	struct status st = driver->migrate_lock(tx->conn);

	if (status_ok(&st))
		st = driver->script(tx->conn, CREATE);
	return status_ok(&st) ? read_number(tx, &VERSION, arena, version) : st;
}

static struct status
apply(struct store_tx *tx, const struct store_migration *migration)
{
	const struct store *store = tx->conn->store;
	char *sql = migration_text(store->driver, migration->sql);

	conn_start_timer(tx->conn);
	struct status st = store->driver->script(tx->conn, sql);
	mem_free(sql);
	if (status_ok(&st))
		st = store_exec(tx, &RECORD,
		                STORE_PARAMS(store_i64(migration->version), store_text(migration->name),
		                             store_i64(clock_wall_ms(store->clock))),
		                NULL);
	if (status_ok(&st) && migration->oldest > 0)
		st = store_exec(tx, &RECORD_FLOOR,
		                STORE_PARAMS(store_i64(migration->version), store_i64(migration->oldest)), NULL);
	if (status_ok(&st))
		log_info(store->log, "schema migrated", LOG_I64("version", migration->version),
		         LOG_TEXT("name", migration->name));
	return status_wrap(st, "migration %d %s", migration->version, migration->name);
}

/* Whether a program that knows versions up to `known` may use the newer schema. */
static struct status
check_floor(struct store_tx *tx, struct arena *arena, int64_t version, int known)
{
	const struct store *store = tx->conn->store;
	int64_t oldest;
	struct status st = read_number(tx, &FLOOR, arena, &oldest);

	if (status_ok(&st) && oldest > known)
		st = status_make(STATUS_FAILED_PRECONDITION,
		                 "the schema of %s is at version %lld and needs programs that know version %lld; "
		                 "this one knows versions up to %d",
		                 store->service, (long long)version, (long long)oldest, known);
	if (status_ok(&st))
		log_warn(store->log, "the schema is newer than this program", LOG_I64("version", version),
		         LOG_I64("known", known));
	return st;
}

/* One step in one transaction; *is_done when nothing is missing. */
static struct status
step(struct store_conn *conn, struct arena *arena, bool *is_done)
{
	const struct store *store = conn->store;
	int known = newest_known(store->migrations);
	int64_t version;
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (status_ok(&st))
		st = lock_and_read(&tx, arena, &version);
	if (status_ok(&st)) {
		*is_done = version >= known;
		if (version > known)
			st = check_floor(&tx, arena, version, known);
		else if (version < known)
			st = apply(&tx, &store->migrations[version]);
	}
	return store_end(&tx, st);
}

struct status
store_migrate(struct store *store)
{
	struct store_conn *conn;
	struct arena arena;
	bool is_done = false;
	struct status st = store_take(store, TAKE_WAIT_MS, &conn);

	if (!status_ok(&st))
		return st;
	arena_init(&arena, 4096, 1 << 20);
	conn->timeout_ms = MIGRATION_TIMEOUT_MS;
	while (status_ok(&st) && !is_done)
		st = step(conn, &arena, &is_done);
	store_put(store, conn);
	arena_fini(&arena);
	return st;
}

static struct status
create(struct store_conn *conn, const char *sql)
{
	const struct store_driver *driver = conn->store->driver;
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (status_ok(&st))
		st = driver->migrate_lock(conn);
	conn_start_timer(conn);
	if (status_ok(&st))
		st = driver->script(conn, sql);
	return store_end(&tx, st);
}

struct status
store_create(struct store *store, const char *sql)
{
	struct store_conn *conn;
	struct status st = store_take(store, TAKE_WAIT_MS, &conn);

	if (!status_ok(&st))
		return st;
	conn->timeout_ms = MIGRATION_TIMEOUT_MS;
	st = create(conn, sql);
	store_put(store, conn);
	return st;
}
