/*
 * postgres_values: parameters out, cells in.
 *
 * Numbers and texts go out as text with their types named, so that "$1 + 1000" is 64-bit arithmetic, and
 * bytes in binary. Rows come in binary where each of their columns is of a type that is known here, else as
 * text, bytes in hexadecimal: libpq has one format for all columns of a result. Many values at once (arrays)
 * go out in one text.
 */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "store/postgres_internal.h"

static void
number_text(char text[static POSTGRES_NUMBER_MAX], const struct store_value *value)
{
	double d = value->value.number;

	if (value->type == STORE_I64)
		snprintf(text, POSTGRES_NUMBER_MAX, "%" PRId64, value->value.i64);
	else if (isfinite(d))
		snprintf(text, POSTGRES_NUMBER_MAX, "%.17g", d);
	else
		snprintf(text, POSTGRES_NUMBER_MAX, "%s", isnan(d) ? "NaN" : d > 0 ? "Infinity" : "-Infinity");
}

void
postgres_write(struct strbuf *out, const struct store_value *value, const struct postgres_notation *as)
{
	char number[POSTGRES_NUMBER_MAX];

	switch (value->type) {
	case STORE_NULL:
		strbuf_puts(out, as->null);
		break;
	case STORE_I64:
		strbuf_i64(out, value->value.i64);
		break;
	case STORE_DOUBLE:
		number_text(number, value);
		strbuf_puts(out, number);
		break;
	case STORE_TEXT:
		as->add_text(out, value->value.bytes.data, value->value.bytes.size);
		break;
	case STORE_BYTES:
		strbuf_puts(out, as->before_bytes);
		text_hex_encode(value->value.bytes.data, value->value.bytes.size,
		                strbuf_grow(out, value->value.bytes.size * 2));
		strbuf_puts(out, as->after_bytes);
		break;
	}
}

static void
number(struct postgres_params *out, size_t i, const struct store_value *value)
{
	number_text(out->numbers[i], value);
	out->values[i] = out->numbers[i];
	out->types[i] = value->type == STORE_I64 ? OID_INT8 : OID_FLOAT8;
}

static void
bytes(struct postgres_params *out, size_t i, const struct store_value *value)
{
	out->values[i] = value->value.bytes.data ? value->value.bytes.data : "";
	out->lengths[i] = (int)value->value.bytes.size;
	out->formats[i] = value->type == STORE_BYTES;
	out->types[i] = value->type == STORE_BYTES ? OID_BYTEA : OID_TEXT;
}

struct status
postgres_params(struct postgres_params *out, const struct store_value *params, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		out->values[i] = NULL;
		out->types[i] = 0;
		out->lengths[i] = 0;
		out->formats[i] = 0;
		if (params[i].type == STORE_I64 || params[i].type == STORE_DOUBLE) {
			number(out, i, &params[i]);
		} else if (params[i].type != STORE_NULL) {
			if (params[i].value.bytes.size > INT_MAX)
				return status_make(STATUS_INVALID_ARGUMENT, "parameter %zu is too large", i + 1);
			bytes(out, i, &params[i]);
		}
	}
	return status_ok_value();
}

static bool
read_bytes(const char *text, size_t size, struct rows_builder *rows, struct store_cell *cell)
{
	size_t count = size >= 2 ? (size - 2) / 2 : 0; /* after "\x" */

	cell->type = CELL_BYTES;
	cell->value.bytes.size = count;
	cell->value.bytes.data = rows_bytes(rows, "", 0);
	if (count && cell->value.bytes.data)
		cell->value.bytes.data = rows_bytes(rows, text, count);
	return cell->value.bytes.data &&
	       (!count || text_hex_decode(text + 2, count * 2, (uint8_t *)cell->value.bytes.data));
}

static bool
read_text(const char *text, size_t size, struct rows_builder *rows, struct store_cell *cell)
{
	cell->type = CELL_TEXT;
	cell->value.bytes.size = size;
	cell->value.bytes.data = rows_bytes(rows, text, size);
	return cell->value.bytes.data != NULL;
}

bool
postgres_is_binary(const PGresult *description)
{
	for (int c = 0; c < PQnfields(description); c++) {
		switch (PQftype(description, c)) {
		case OID_BOOL:
		case OID_BYTEA:
		case OID_INT8:
		case OID_INT2:
		case OID_INT4:
		case OID_TEXT:
		case OID_FLOAT8:
		case OID_VARCHAR:
			break;
		default:
			return false;
		}
	}
	return true;
}

/* In network order. */
static uint64_t
read_number(const char *bytes, size_t size)
{
	uint64_t value = 0;

	for (size_t i = 0; i < size; i++)
		value = value << 8 | (uint8_t)bytes[i];
	return value;
}

static bool
read_binary(Oid type, const char *bytes, size_t size, struct rows_builder *rows, struct store_cell *cell)
{
	uint64_t number = 0;

	switch (type) {
	case OID_INT8:
	case OID_BOOL:
	case OID_INT4:
	case OID_INT2:
		number = read_number(bytes, size);
		cell->type = CELL_I64;
		cell->value.i64 = type == OID_INT4   ? (int32_t)number
		                  : type == OID_INT2 ? (int16_t)number
		                                     : (int64_t)number;
		return true;
	case OID_FLOAT8:
		number = read_number(bytes, size);
		cell->type = CELL_DOUBLE;
		memcpy(&cell->value.number, &number, sizeof(number));
		return true;
	default:
		read_text(bytes, size, rows, cell);
		if (type == OID_BYTEA)
			cell->type = CELL_BYTES;
		return cell->value.bytes.data != NULL;
	}
}

static bool
read_cell(const PGresult *result, int row, int column, struct rows_builder *rows, struct store_cell *cell)
{
	const char *text = PQgetvalue(result, row, column);
	size_t size = (size_t)PQgetlength(result, row, column);

	if (PQgetisnull(result, row, column)) {
		cell->type = CELL_NULL;
		return true;
	}
	if (PQfformat(result, column) == 1)
		return read_binary(PQftype(result, column), text, size, rows, cell);
	switch (PQftype(result, column)) {
	case OID_INT8:
	case OID_INT4:
	case OID_INT2:
		cell->type = CELL_I64;
		cell->value.i64 = strtoll(text, NULL, 10);
		return true;
	case OID_BOOL:
		cell->type = CELL_I64;
		cell->value.i64 = text[0] == 't';
		return true;
	case OID_FLOAT8:
	case OID_FLOAT4:
		cell->type = CELL_DOUBLE;
		cell->value.number = strtod(text, NULL);
		return true;
	case OID_BYTEA:
		return read_bytes(text, size, rows, cell);
	default:
		return read_text(text, size, rows, cell);
	}
}

bool
postgres_read_row(const PGresult *result, int row, struct rows_builder *rows)
{
	int columns = PQnfields(result);
	struct store_cell *cells = rows_add(rows, (size_t)columns);
	bool is_read = cells != NULL;

	for (int i = 0; is_read && i < columns; i++)
		is_read = read_cell(result, row, i, rows, &cells[i]);
	return is_read;
}
