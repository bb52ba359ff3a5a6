/*
 * statements: the cache of prepared statements of one connection, by name.
 *
 * A service has tens of statements, each a constant, so the table only grows and is bounded by the
 * program's text.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "store/store_internal.h"

#define EACH_TOKEN  "@each@"
#define WHICH_TOKEN "@which@"

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

static bool
is_over_sets(const char *text)
{
	return strstr(text, EACH_TOKEN) || strstr(text, WHICH_TOKEN);
}

/* Takes `text`. */
static char *
replaced(char *text, const char *token, const char *by)
{
	const char *from = text, *at;
	struct strbuf out;

	if (!strstr(text, token))
		return text;
	strbuf_init(&out, NULL);
	for (; (at = strstr(from, token)) != NULL; from = at + strlen(token)) {
		strbuf_add(&out, from, (size_t)(at - from));
		strbuf_puts(&out, by);
	}
	strbuf_puts(&out, from);
	mem_free(text);
	return out.data;
}

static char *
with_table(char *text, const struct store_driver *driver, size_t count)
{
	struct strbuf table;

	strbuf_init(&table, NULL);
	driver->each_table(&table, count);
	char *out = replaced(text, EACH_TOKEN, table.data);
	strbuf_fini(&table);
	return out;
}

static char *
with_change_table(char *text, const struct store_driver *driver, const char *token, const char *keyword,
                  size_t count)
{
	struct strbuf table;

	strbuf_init(&table, NULL);
	strbuf_puts(&table, "");
	if (driver->change_table)
		driver->change_table(&table, keyword, count);
	char *out = replaced(text, token, table.data);
	strbuf_fini(&table);
	return out;
}

static char *
with_changes(char *text, const struct store_driver *driver, size_t count)
{
	char *out = with_change_table(text, driver, "@from@", "FROM", count);

	out = with_change_table(out, driver, "@using@", "USING", count);
	for (size_t i = 1; i <= count; i++) {
		char token[24], column[48];
		snprintf(token, sizeof(token), "@c%zu@", i);
		snprintf(column, sizeof(column), "%s%zu", driver->change_column, i);
		out = replaced(out, token, column);
	}
	return replaced(out, WHICH_TOKEN, driver->change_which);
}

char *
migration_text(const struct store_driver *driver, const char *text)
{
	return replaced(mem_strdup(text), "@clustered@", driver->clustered_clause);
}

char *
statement_text(const struct store_driver *driver, const char *text, size_t count)
{
	char *out = replaced(mem_strdup(text), "@claim@", driver->claim_clause);

	out = replaced(out, "@lock@", driver->lock_clause);
	out = replaced(out, "@refer@", driver->refer_clause);
	if (strstr(text, EACH_TOKEN))
		out = with_table(out, driver, count);
	return strstr(text, WHICH_TOKEN) ? with_changes(out, driver, count) : out;
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
		statement->text = statement_text(conn->store->driver, sql->text, count);
		statement->is_over_sets = is_over_sets(sql->text);
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
