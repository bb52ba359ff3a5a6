/*
 * statements: the cache of prepared statements of one connection, by name.
 *
 * A service has tens of statements, each a constant, so the table only grows and is bounded by the
 * program's text.
 */
#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "store/store_internal.h"

#define CLAIM_TOKEN "@claim@"
#define LOCK_TOKEN  "@lock@"

static struct store_statement *
slot_for(struct store_statement *slots, size_t slot_count, const char *name)
{
	size_t at = (size_t)hash_table64(name, strlen(name)) & (slot_count - 1);

	while (slots[at].name && strcmp(slots[at].name, name) != 0)
		at = (at + 1) & (slot_count - 1);
	return &slots[at];
}

static void
grow(struct store_conn *conn)
{
	size_t count = conn->statement_slots ? conn->statement_slots * 2 : 32;
	struct store_statement *slots = mem_array(count, sizeof(*slots));

	for (size_t i = 0; i < conn->statement_slots; i++) {
		if (conn->statements[i].name)
			*slot_for(slots, count, conn->statements[i].name) = conn->statements[i];
	}
	mem_free(conn->statements);
	conn->statements = slots;
	conn->statement_slots = count;
}

static struct metric_histogram *
duration_of(const struct store *store, const char *name)
{
	static const char *const labels[] = {"service", "statement", NULL};
	static const struct metric_spec spec = {.name = "corbel_store_statement_seconds",
	                                        .help = "Time that a statement took.",
	                                        .unit = "seconds",
	                                        .labels = labels,
	                                        .max_series = 1000};

	return store->metrics ? metrics_histogram(store->metrics, &spec, (const char *[]){store->service, name})
	                      : NULL;
}

char *
statement_text(const struct store_driver *driver, const char *text)
{
	const char *claim = strstr(text, CLAIM_TOKEN), *lock = strstr(text, LOCK_TOKEN);
	const char *token = claim ? claim : lock;

	if (!token)
		return mem_strdup(text);
	return mem_printf("%.*s%s%s", (int)(token - text), text,
	                  claim ? driver->claim_clause : driver->lock_clause,
	                  token + strlen(claim ? CLAIM_TOKEN : LOCK_TOKEN));
}

struct status
statement_get(struct store_conn *conn, const struct store_sql *sql, const struct store_value *params,
              size_t count, struct store_statement **out)
{
	assert(strlen(sql->name) < STORE_NAME_MAX && count <= STORE_PARAMS_MAX);
	if (conn->statement_slots <= conn->statement_count * 2)
		grow(conn);
	struct store_statement *statement = slot_for(conn->statements, conn->statement_slots, sql->name);
	if (!statement->name) {
		statement->name = sql->name;
		statement->source = sql->text;
		statement->text = statement_text(conn->store->driver, sql->text);
		statement->duration = duration_of(conn->store, sql->name);
		conn->statement_count++;
	}
	assert(statement->source == sql->text ||
	       strcmp(statement->source, sql->text) == 0); /* names are unique */
	*out = statement;
	if (statement->prepared)
		return status_ok_value();
	return conn->store->driver->prepare(conn, statement, params, count);
}

void
statements_forget(struct store_conn *conn)
{
	for (size_t i = 0; i < conn->statement_slots; i++) {
		if (conn->statements[i].prepared)
			conn->store->driver->unprepare(conn, &conn->statements[i]);
		mem_free(conn->statements[i].text);
	}
	mem_free(conn->statements);
	conn->statements = NULL;
	conn->statement_slots = conn->statement_count = 0;
}
