/*
 * catalogue: see catalogue.h. What is wrong with catalogue.json is wrong with the program, and aborts it.
 */
#include "catalogue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/json_value.h"
#include "events/pattern.h"
#include "schema/schema.h"

#define BLOCK_BYTES       (64u << 10)
#define CATALOGUE_CEILING (16u << 20)

extern const char webhookd_catalogue_json[]; /* embedded by the build */

struct catalogue {
	struct arena arena; /* of the tree that the texts lie in */
	size_t count;
	struct catalogue_type *types; /* by name */
	struct schema **schemas;      /* in the order of the file */
};

static void
require(bool is_good, const char *what, const char *why)
{
	if (is_good)
		return;
	fprintf(stderr, "catalogue.json: %s: %s\n", what, why);
	abort();
}

static const struct json_value *
part(const struct json_value *entry, const char *name, enum json_value_type type)
{
	const struct json_value *value = json_value_member(entry, name, strlen(name));
	require(value && value->type == type, name, "is missing or of another type");
	return value;
}

static struct schema *
compile(const struct json_value *text, const char *name)
{
	struct violations found = {.count = 0};
	struct arena scratch;

	arena_init(&scratch, 1024, CATALOGUE_CEILING);
	struct schema *schema = schema_compile(text->text, text->length, "/schema", &scratch, &found);
	struct status st = violations_status(&found);
	require(schema != NULL, name, st.message);
	arena_fini(&scratch);
	return schema;
}

static void
read_type(struct catalogue *catalogue, const struct json_value *entry)
{
	struct catalogue_type *type = &catalogue->types[catalogue->count];
	const struct json_value *name = part(entry, "type", JSON_VALUE_STRING);
	const struct json_value *schema = part(entry, "schema", JSON_VALUE_OBJECT);
	const struct json_value *example = part(entry, "example", JSON_VALUE_OBJECT);
	struct status st = event_type_check(name->text, name->length);

	require(status_ok(&st), name->text, st.message);
	type->name = name->text;
	type->description = part(entry, "description", JSON_VALUE_STRING)->text;
	type->schema_json = schema->text;
	type->schema_length = schema->length;
	type->example_json = example->text;
	type->example_length = example->length;
	type->schema = catalogue->schemas[catalogue->count++] = compile(schema, name->text);
}

static int
by_name(const void *a, const void *b)
{
	const struct catalogue_type *left = a, *right = b;
	return strcmp(left->name, right->name);
}

struct catalogue *
catalogue_new(void)
{
	struct catalogue *catalogue = mem_alloc(sizeof(*catalogue));
	const struct json_value *root = NULL;

	arena_init(&catalogue->arena, BLOCK_BYTES, CATALOGUE_CEILING);
	struct status st =
	    json_value_parse(webhookd_catalogue_json, strlen(webhookd_catalogue_json), &catalogue->arena, &root);
	require(status_ok(&st) && root->type == JSON_VALUE_ARRAY, "all of it", st.message);
	catalogue->types = mem_array(root->count, sizeof(*catalogue->types));
	catalogue->schemas = mem_array(root->count, sizeof(struct schema *));
	for (const struct json_value *entry = root->first; entry; entry = entry->next)
		read_type(catalogue, entry);
	qsort(catalogue->types, catalogue->count, sizeof(*catalogue->types), by_name);
	for (size_t i = 1; i < catalogue->count; i++)
		require(by_name(&catalogue->types[i - 1], &catalogue->types[i]) != 0, catalogue->types[i].name,
		        "is there twice");
	return catalogue;
}

void
catalogue_free(struct catalogue *catalogue)
{
	if (!catalogue)
		return;
	for (size_t i = 0; i < catalogue->count; i++)
		schema_free(catalogue->schemas[i]);
	mem_free(catalogue->schemas);
	mem_free(catalogue->types);
	arena_fini(&catalogue->arena);
	mem_free(catalogue);
}

const struct catalogue_type *
catalogue_find(const struct catalogue *catalogue, const char *name)
{
	const struct catalogue_type wanted = {.name = name};
	return bsearch(&wanted, catalogue->types, catalogue->count, sizeof(wanted), by_name);
}

size_t
catalogue_count(const struct catalogue *catalogue)
{
	return catalogue->count;
}

const struct catalogue_type *
catalogue_at(const struct catalogue *catalogue, size_t index)
{
	return &catalogue->types[index];
}
