/*
 * postgres_copy: many rows by COPY in text format, whose values are converted to the columns' types
 * by the server.
 */
#include "store/postgres_internal.h"

#define CHUNK_BYTES 65536

/* Backslash, tab, newline and carriage return have a meaning in the format. */
static void
add_text(struct strbuf *out, const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		switch (text[i]) {
		case '\\':
			strbuf_puts(out, "\\\\");
			break;
		case '\t':
			strbuf_puts(out, "\\t");
			break;
		case '\n':
			strbuf_puts(out, "\\n");
			break;
		case '\r':
			strbuf_puts(out, "\\r");
			break;
		default:
			strbuf_putc(out, text[i]);
		}
	}
}

static const struct postgres_notation COPIED = {
    .null = "\\N", .before_bytes = "\\\\x", .after_bytes = "", .add_text = add_text};

static struct status
start(struct store_conn *conn, const char *table, const char *const *columns, size_t count)
{
	struct strbuf text;
	PGresult *result;

	strbuf_init(&text, NULL);
	strbuf_printf(&text, "COPY \"%s\" (", table);
	for (size_t i = 0; i < count; i++)
		strbuf_printf(&text, "%s\"%s\"", i ? ", " : "", columns[i]);
	strbuf_puts(&text, ") FROM STDIN");
	int is_sent = PQsendQuery(conn->handle, text.data);
	strbuf_fini(&text);
	if (!is_sent)
		return postgres_failed(conn, NULL);
	struct status st = postgres_await(conn);
	if (!status_ok(&st))
		return st;
	result = PQgetResult(conn->handle);
	if (PQresultStatus(result) == PGRES_COPY_IN) {
		PQclear(result);
		return st;
	}
	st = postgres_failed(conn, result);
	PQclear(result);
	int64_t changed;
	postgres_results(conn, NULL, &changed);
	return st;
}

static struct status
send(struct store_conn *conn, struct strbuf *data)
{
	if (data->length && PQputCopyData(conn->handle, data->data, (int)data->length) != 1)
		return postgres_failed(conn, NULL);
	strbuf_clear(data);
	return postgres_flush(conn);
}

static struct status
send_rows(struct store_conn *conn, size_t column_count, const struct store_value *values, size_t rows)
{
	struct status st = status_ok_value();
	struct strbuf data;

	strbuf_init(&data, NULL);
	for (size_t i = 0; status_ok(&st) && i < rows * column_count; i++) {
		postgres_write(&data, &values[i], &COPIED);
		strbuf_putc(&data, (i + 1) % column_count == 0 ? '\n' : '\t');
		if (data.length >= CHUNK_BYTES)
			st = send(conn, &data);
	}
	if (status_ok(&st))
		st = send(conn, &data);
	strbuf_fini(&data);
	return st;
}

struct status
postgres_bulk(struct store_conn *conn, const char *table, const char *const *columns, size_t column_count,
              const struct store_value *values, size_t rows)
{
	int64_t changed;
	struct status st = postgres_begin_owed(conn);

	if (status_ok(&st))
		st = start(conn, table, columns, column_count);
	if (!status_ok(&st))
		return st;
	st = send_rows(conn, column_count, values, rows);
	if (!status_ok(&st))
		return st;
	if (PQputCopyEnd(conn->handle, NULL) != 1)
		return postgres_failed(conn, NULL);
	return postgres_results(conn, NULL, &changed);
}
