/*
 * postgres_sets: one statement over many sets of parameters, each column of them an array.
 *
 * The arrays come to unnest() from sub-selects, whose values the planner does not know: it takes them for
 * short and looks up each row by its key, however many there are and whatever it last heard of the table's
 * size. A scan of a table of what waits, that was empty when it was analysed, would cost a hundred times as
 * much.
 */
#include <string.h>

#include "store/postgres_internal.h"

static void
put_unnest(struct strbuf *out, size_t count)
{
	strbuf_puts(out, "unnest(");
	for (size_t i = 1; i <= count; i++)
		strbuf_printf(out, "%s(SELECT $%zu)", i > 1 ? ", " : "", i);
	strbuf_putc(out, ')');
}

static void
put_columns(struct strbuf *out, size_t count)
{
	for (size_t i = 1; i <= count; i++)
		strbuf_printf(out, "%sc%zu", i > 1 ? ", " : "", i);
}

void
postgres_each_table(struct strbuf *out, size_t count)
{
	put_unnest(out, count);
	strbuf_puts(out, " AS given (");
	put_columns(out, count);
	strbuf_putc(out, ')');
}

void
postgres_change_table(struct strbuf *out, const char *keyword, size_t count)
{
	strbuf_printf(out, "%s ", keyword);
	put_unnest(out, count);
	strbuf_puts(out, " WITH ORDINALITY AS given (");
	put_columns(out, count);
	strbuf_puts(out, ", at)");
}

void
postgres_array_types(struct postgres_params *as, size_t count)
{
	for (size_t i = 0; i < count; i++)
		as->types[i] = as->types[i] == OID_INT8     ? OID_INT8_ARRAY
		               : as->types[i] == OID_FLOAT8 ? OID_FLOAT8_ARRAY
		               : as->types[i] == OID_BYTEA  ? OID_BYTEA_ARRAY
		                                            : OID_TEXT_ARRAY;
}

/* Within quotation marks a backslash takes the next character as it is. */
static void
add_text(struct strbuf *out, const char *text, size_t size)
{
	strbuf_putc(out, '"');
	for (size_t i = 0; i < size; i++) {
		if (text[i] == '"' || text[i] == '\\')
			strbuf_putc(out, '\\');
		strbuf_putc(out, text[i]);
	}
	strbuf_putc(out, '"');
}

static const struct postgres_notation ITEM = {
    .null = "NULL", .before_bytes = "\"\\\\x", .after_bytes = "\"", .add_text = add_text};

static void
fill_array(struct strbuf *out, const struct store_value *params, size_t count, size_t sets, size_t column)
{
	strbuf_putc(out, '{');
	for (size_t i = 0; i < sets; i++) {
		if (i > 0)
			strbuf_putc(out, ',');
		postgres_write(out, &params[i * count + column], &ITEM);
	}
	strbuf_putc(out, '}');
}

struct status
postgres_run_sets(struct store_conn *conn, struct store_statement *statement,
                  const struct store_value *params, size_t count, size_t sets, struct rows_builder *rows)
{
	struct strbuf arrays[STORE_PARAMS_MAX];
	const char *values[STORE_PARAMS_MAX] = {NULL};
	int64_t changed;
	struct status st = postgres_begin_owed(conn);

	if (!status_ok(&st))
		return st;
	for (size_t c = 0; c < count; c++) {
		strbuf_init(&arrays[c], NULL);
		fill_array(&arrays[c], params, count, sets, c);
		values[c] = arrays[c].data;
	}
	int is_sent = PQsendQueryPrepared(conn->handle, statement->name, (int)count, values, NULL, NULL,
	                                  statement->is_binary);
	for (size_t c = 0; c < count; c++)
		strbuf_fini(&arrays[c]);
	if (!is_sent)
		return postgres_failed(conn, NULL);
	(void)PQsetSingleRowMode(conn->handle); /* saves memory, no more */
	return postgres_results(conn, rows, &changed);
}

struct status
postgres_change_sets(struct store_conn *conn, struct store_statement *statement,
                     const struct store_value *params, size_t count, size_t sets, bool *changed)
{
	struct arena arena;

	arena_init(&arena, 4096, SIZE_MAX);
	struct rows_builder rows = rows_begin(&arena, statement->name, sets);
	struct status st = postgres_run_sets(conn, statement, params, count, sets, &rows);
	memset(changed, 0, sizeof(*changed) * sets);
	for (size_t r = 0; status_ok(&st) && r < rows_count(rows.rows); r++)
		changed[row_i64(rows.rows, r, 0) - 1] = true;
	arena_fini(&arena);
	return st;
}
