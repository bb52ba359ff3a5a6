/*
 * rows: a result as plain data in an arena.
 *
 * Databases disagree about the types of results (a sum of BIGINT is NUMERIC in PostgreSQL and an
 * integer in SQLite), so the accessors convert between numbers and texts.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store/store_internal.h"

struct store_rows {
	struct arena *arena;
	size_t count;
	size_t columns;
	struct store_cell *cells;
};

struct rows_builder
rows_begin(struct arena *arena, const char *name, size_t max_rows)
{
	struct rows_builder builder = {.arena = arena, .name = name, .max_rows = max_rows};

	builder.rows = ARENA_NEW(arena, struct store_rows);
	builder.rows->arena = arena;
	return builder;
}

/* Doubles: what is left behind in the arena is at most as much as is in use. */
static bool
grow(struct rows_builder *builder, size_t columns)
{
	struct store_rows *rows = builder->rows;
	size_t slots = builder->slots ? builder->slots * 2 : columns * 4;
	struct store_cell *cells = arena_try(builder->arena, slots, sizeof(*cells));

	if (!cells)
		return false;
	if (rows->cells)
		memcpy(cells, rows->cells, builder->slots * sizeof(*cells));
	rows->cells = cells;
	builder->slots = slots;
	return true;
}

struct store_cell *
rows_add(struct rows_builder *builder, size_t columns)
{
	struct store_rows *rows = builder->rows;

	rows->columns = columns;
	if (rows->count == builder->max_rows)
		return NULL;
	while (builder->slots < (rows->count + 1) * columns) {
		if (!grow(builder, columns))
			return NULL;
	}
	return rows->cells + rows->count++ * columns;
}

char *
rows_bytes(struct rows_builder *builder, const void *bytes, size_t size)
{
	char *copy = size < SIZE_MAX ? arena_try(builder->arena, size + 1, 1) : NULL;

	if (copy && size)
		memcpy(copy, bytes, size);
	return copy;
}

struct status
rows_overflow(const struct rows_builder *builder)
{
	if (builder->rows->count == builder->max_rows)
		return status_make(STATUS_RESOURCE_EXHAUSTED, "statement %s: more than %zu rows", builder->name,
		                   builder->max_rows);
	return status_make(STATUS_RESOURCE_EXHAUSTED, "statement %s: the result is too large", builder->name);
}

/* ---------------------------------------------------------------- reading */

size_t
rows_count(const struct store_rows *rows)
{
	return rows->count;
}

static const struct store_cell *
cell_at(const struct store_rows *rows, size_t row, size_t column)
{
	assert(row < rows->count && column < rows->columns);
	return &rows->cells[row * rows->columns + column];
}

bool
row_is_null(const struct store_rows *rows, size_t row, size_t column)
{
	return cell_at(rows, row, column)->type == CELL_NULL;
}

int64_t
row_i64(const struct store_rows *rows, size_t row, size_t column)
{
	const struct store_cell *cell = cell_at(rows, row, column);

	switch (cell->type) {
	case CELL_I64:
		return cell->value.i64;
	case CELL_DOUBLE:
		return (int64_t)cell->value.number;
	case CELL_TEXT:
		return strtoll(cell->value.bytes.data, NULL, 10);
	case CELL_NULL:
	case CELL_BYTES:
		break;
	}
	return 0;
}

double
row_double(const struct store_rows *rows, size_t row, size_t column)
{
	const struct store_cell *cell = cell_at(rows, row, column);

	switch (cell->type) {
	case CELL_I64:
		return (double)cell->value.i64;
	case CELL_DOUBLE:
		return cell->value.number;
	case CELL_TEXT:
		return strtod(cell->value.bytes.data, NULL);
	case CELL_NULL:
	case CELL_BYTES:
		break;
	}
	return 0;
}

char *
row_text(const struct store_rows *rows, size_t row, size_t column)
{
	const struct store_cell *cell = cell_at(rows, row, column);

	switch (cell->type) {
	case CELL_I64:
		return arena_printf(rows->arena, "%" PRId64, cell->value.i64);
	case CELL_DOUBLE:
		return arena_printf(rows->arena, "%.17g", cell->value.number);
	case CELL_TEXT:
	case CELL_BYTES:
		return cell->value.bytes.data;
	case CELL_NULL:
		break;
	}
	return NULL;
}

const void *
row_bytes(const struct store_rows *rows, size_t row, size_t column, size_t *size)
{
	const struct store_cell *cell = cell_at(rows, row, column);
	bool has_bytes = cell->type == CELL_TEXT || cell->type == CELL_BYTES;

	*size = has_bytes ? cell->value.bytes.size : 0;
	return has_bytes ? cell->value.bytes.data : NULL;
}

/* ---------------------------------------------------------------- parameters */

struct store_value
store_text(const char *text)
{
	if (!text)
		return store_null();
	return (struct store_value){.type = STORE_TEXT, .value.bytes = {.data = text, .size = strlen(text)}};
}

struct store_value
store_bytes(const void *data, size_t size)
{
	return (struct store_value){.type = STORE_BYTES, .value.bytes = {.data = data, .size = size}};
}
