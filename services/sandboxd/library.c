/*
 * library: see library.h.
 *
 * A table with one place for each hash: what comes later takes the place. That bounds what is kept without
 * anybody keeping count, and losing a place costs one read.
 */
#include "library.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "daemon/scope.h"
#include "schema/schema.h"

#define PLACES      256u
#define PROGRAM_MAX (4u << 20) /* arena of a program: code of 256 KiB and two schemas */

static const struct store_sql LOAD = {
    "library_load", "SELECT p.tenant_id, p.name, p.disabled, v.version, v.code, v.message FROM plugins p"
                    " LEFT JOIN plugin_versions v ON v.plugin_id = p.id"
                    " AND v.version = CASE WHEN $2 = 0 THEN p.installed ELSE $2 END WHERE p.id = $1"};
enum { TENANT, NAME, DISABLED, VERSION, CODE, MESSAGE };

struct library {
	const struct clock *clock;
	pthread_mutex_t lock;
	const struct program *places[PLACES];
};

/* ---- one program ---- */

static void
program_free(struct program *program)
{
	schema_free(program->input);
	schema_free(program->output);
	arena_fini(&program->arena);
	mem_free(program);
}

void
program_hold(const struct program *program)
{
	struct program *own = (struct program *)(uintptr_t)program;
	atomic_fetch_add_explicit(&own->references, 1, memory_order_relaxed);
}

void
program_release(const struct program *program)
{
	struct program *own = (struct program *)(uintptr_t)program;
	/* acq_rel: whoever frees it sees all that others did with it */
	if (own && atomic_fetch_sub_explicit(&own->references, 1, memory_order_acq_rel) == 1)
		program_free(own);
}

/* It was one when it was saved. */
static struct schema *
schema_of(struct arena *arena, const ProtobufCBinaryData *text)
{
	struct violations violations = {.count = 0};
	return schema_compile((const char *)text->data, text->len, "", arena, &violations);
}

static struct status
take_version(struct program *program, const struct store_rows *rows)
{
	struct arena *arena = &program->arena;
	const Corbel__V1__PluginVersion *version =
	    (const void *)unpacked(arena, &corbel__v1__plugin_version__descriptor, rows, 0, MESSAGE);
	const void *code = row_bytes(rows, 0, CODE, &program->code_size);

	if (!version)
		return status_make(STATUS_DATA_LOSS, "a stored version of a plugin cannot be read");
	program->version = (uint32_t)row_i64(rows, 0, VERSION);
	program->code = arena_strndup(arena, code, program->code_size);
	program->limits = version->limits;
	program->label = version->label;
	if (version->has_input_schema)
		program->input = schema_of(arena, &version->input_schema);
	if (version->has_output_schema)
		program->output = schema_of(arena, &version->output_schema);
	bool is_whole = program->input != NULL || !version->has_input_schema;
	is_whole = is_whole && (program->output != NULL || !version->has_output_schema);
	return is_whole ? status_ok_value()
	                : status_make(STATUS_DATA_LOSS, "a stored schema of a plugin cannot be read");
}

static struct status
read_program(struct store_conn *conn, struct program *program)
{
	struct store_rows *rows;
	struct status st =
	    store_read(conn, &LOAD, STORE_PARAMS(store_text(program->id), store_i64(program->wanted)), 1,
	               &program->arena, &rows);

	if (status_ok(&st) && rows_count(rows) == 0)
		st = scope_not_found("plugin");
	if (!status_ok(&st))
		return st;
	program->tenant = row_text(rows, 0, TENANT);
	program->name = row_text(rows, 0, NAME);
	program->is_disabled = row_i64(rows, 0, DISABLED) != 0;
	return row_is_null(rows, 0, VERSION) ? st : take_version(program, rows);
}

/* ---- the table ---- */

static const struct program **
place_of(struct library *library, const char *id, uint32_t version)
{
	uint64_t hash = hash_mix64(hash_table64(id, strlen(id)), version);
	return &library->places[hash % PLACES];
}

const struct program *
library_find(struct library *library, const char *id, uint32_t version)
{
	uint64_t now = clock_mono_ms(library->clock);

	pthread_mutex_lock(&library->lock);
	const struct program *found = *place_of(library, id, version);
	if (found && (strcmp(found->id, id) != 0 || found->wanted != version ||
	              now - found->loaded_mono_ms > LIBRARY_FRESH_MS))
		found = NULL;
	if (found)
		program_hold(found);
	pthread_mutex_unlock(&library->lock);
	return found;
}

struct status
library_load(struct library *library, struct store_conn *conn, const char *id, uint32_t version,
             const struct program **out)
{
	struct program *program = mem_alloc(sizeof(*program));

	arena_init(&program->arena, 8u << 10, PROGRAM_MAX);
	atomic_store(&program->references, 1);
	snprintf(program->id, sizeof(program->id), "%s", id);
	program->wanted = version;
	/* Of the time before the read: what changes meanwhile is not missed for longer. */
	program->loaded_mono_ms = clock_mono_ms(library->clock);
	struct status st = read_program(conn, program);
	if (!status_ok(&st)) {
		program_free(program);
		return st;
	}
	program_hold(program);
	pthread_mutex_lock(&library->lock);
	const struct program **place = place_of(library, id, version);
	const struct program *old = *place;
	*place = program;
	pthread_mutex_unlock(&library->lock);
	program_release(old);
	*out = program;
	return st;
}

void
library_forget(struct library *library, const char *id)
{
	const struct program *gone[PLACES];
	size_t count = 0;

	pthread_mutex_lock(&library->lock);
	for (size_t i = 0; i < PLACES; i++) {
		const struct program *program = library->places[i];
		if (!program || strcmp(program->id, id) != 0)
			continue;
		library->places[i] = NULL;
		gone[count++] = program;
	}
	pthread_mutex_unlock(&library->lock);
	while (count > 0)
		program_release(gone[--count]);
}

struct library *
library_new(const struct clock *clock)
{
	struct library *library = mem_alloc(sizeof(*library));

	library->clock = clock;
	pthread_mutex_init(&library->lock, NULL);
	return library;
}

void
library_free(struct library *library)
{
	for (size_t i = 0; library && i < PLACES; i++)
		program_release(library->places[i]);
	if (library)
		pthread_mutex_destroy(&library->lock);
	mem_free(library);
}
