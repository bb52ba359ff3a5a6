/*
 * postgres_copy: many rows by COPY in binary format, in which nothing is escaped on either side and nothing
 * converted: values are of their columns' types.
 */
#include <string.h>

#include "store/postgres_internal.h"

#define CHUNK_BYTES 65536

/* PostgreSQL's documentation of COPY, "Binary Format": all numbers in network order. */
static void
add_number(struct strbuf *out, uint64_t value, size_t size)
{
	char *bytes = strbuf_grow(out, size);

	for (size_t i = 0; bytes && i < size; i++)
		bytes[i] = (char)(value >> (8 * (size - 1 - i)));
}

static void
add_value(struct strbuf *out, const struct store_value *value)
{
	uint64_t number;

	switch (value->type) {
	case STORE_NULL:
		add_number(out, UINT32_MAX, 4);
		break;
	case STORE_I64:
	case STORE_DOUBLE:
		memcpy(&number, &value->value, sizeof(number));
		add_number(out, sizeof(number), 4);
		add_number(out, number, sizeof(number));
		break;
	case STORE_TEXT:
	case STORE_BYTES:
		add_number(out, value->value.bytes.size, 4);
		strbuf_add(out, value->value.bytes.data, value->value.bytes.size);
		break;
	}
}

static struct status
start(struct store_conn *conn, const char *table, const char *const *columns, size_t count)
{
	struct strbuf text;
	PGresult *result;

	strbuf_init(&text, NULL);
	strbuf_printf(&text, "COPY \"%s\" (", table);
	for (size_t i = 0; i < count; i++)
		strbuf_printf(&text, "%s\"%s\"", i ? ", " : "", columns[i]);
	strbuf_puts(&text, ") FROM STDIN (FORMAT binary)");
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
	static const char HEAD[19] = "PGCOPY\n\377\r\n"; /* a signature that ends in 0, no flags, nothing more */
	struct status st = status_ok_value();
	struct strbuf data;

	strbuf_init(&data, NULL);
	strbuf_add(&data, HEAD, sizeof(HEAD));
	for (size_t i = 0; status_ok(&st) && i < rows * column_count; i++) {
		if (i % column_count == 0)
			add_number(&data, column_count, 2);
		add_value(&data, &values[i]);
		if (data.length >= CHUNK_BYTES)
			st = send(conn, &data);
	}
	add_number(&data, UINT16_MAX, 2);
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
