/*
 * schema_compile: a schema's text into nodes. See schema.h for what is accepted.
 *
 * Each keyword is one line of a table. References are resolved once all subschemas are there, and followed
 * to find schemas that would be checked against one value without end.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "schema/schema_internal.h"

#define BLOCK_BYTES      4096u
#define SCHEMA_BYTES_MAX (8u << 20)

struct reference {
	struct reference *next;
	struct schema_node *node;
	const struct json_value *target;
};

struct definition {
	struct definition *next;
	const struct json_value *value;
	struct schema_node *node;
};

struct compiler {
	struct schema *schema;
	const struct json_value *root;
	struct reference *references;
	struct definition *definitions;
	size_t node_count;
	struct strbuf at; /* pointer to what is being read */
	struct arena *arena;
	struct violations *violations;
	size_t found;
};

typedef void (*keyword_reader)(struct compiler *compiler, struct schema_node *node,
                               const struct json_value *value);

static void
refuse(struct compiler *compiler, const char *detail)
{
	violations_add(compiler->violations, compiler->arena, compiler->at.data, "%s", detail);
	compiler->found++;
}

/* ---- where we are ---- */

static size_t
enter(struct compiler *compiler, const char *name, size_t length)
{
	size_t before = compiler->at.length;
	strbuf_putc(&compiler->at, '/');
	pointer_add_name(&compiler->at, name, length);
	return before;
}

static size_t
enter_index(struct compiler *compiler, size_t index)
{
	size_t before = compiler->at.length;
	strbuf_printf(&compiler->at, "/%zu", index);
	return before;
}

static void
leave(struct compiler *compiler, size_t before)
{
	compiler->at.length = before;
	compiler->at.data[before] = '\0';
}

/* ---- subschemas ---- */

static struct schema_node *read_schema(struct compiler *compiler, const struct json_value *value);

static void
read_list(struct compiler *compiler, const struct json_value *value, struct schema_list *out)
{
	if (value->type != JSON_VALUE_ARRAY || value->count == 0) {
		refuse(compiler, "must be a list of schemas that is not empty");
		return;
	}
	out->nodes = ARENA_ARRAY(&compiler->schema->arena, struct schema_node *, value->count);
	for (const struct json_value *item = value->first; item; item = item->next) {
		size_t before = enter_index(compiler, out->count);
		out->nodes[out->count++] = read_schema(compiler, item);
		leave(compiler, before);
	}
}

static void
read_all_of(struct compiler *compiler, struct schema_node *node, const struct json_value *value)
{
	read_list(compiler, value, &node->all_of);
}

static void
read_any_of(struct compiler *compiler, struct schema_node *node, const struct json_value *value)
{
	read_list(compiler, value, &node->any_of);
}

static void
read_one_of(struct compiler *compiler, struct schema_node *node, const struct json_value *value)
{
	read_list(compiler, value, &node->one_of);
}

static void
read_prefix_items(struct compiler *compiler, struct schema_node *node, const struct json_value *value)
{
	read_list(compiler, value, &node->prefix_items);
}

static void
read_not(struct compiler *compiler, struct schema_node *node, const struct json_value *value)
{
	node->not_this = read_schema(compiler, value);
}

static void
read_items(struct compiler *compiler, struct schema_node *node, const struct json_value *value)
{
	node->items = read_schema(compiler, value);
}

static void
read_additional(struct compiler *compiler, struct schema_node *node, const struct json_value *value)
{
	node->additional = read_schema(compiler, value);
}

int
schema_property_order(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t shorter = a_length < b_length ? a_length : b_length;
	int order = memcmp(a, b, shorter);
	return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}

static int
by_name(const void *a, const void *b)
{
	const struct schema_property *left = a, *right = b;
	return schema_property_order(left->name, left->length, right->name, right->length);
}

static void
read_properties(struct compiler *compiler, struct schema_node *node, const struct json_value *value)
{
	if (value->type != JSON_VALUE_OBJECT) {
		refuse(compiler, "must be an object of schemas");
		return;
	}
	node->properties = ARENA_ARRAY(&compiler->schema->arena, struct schema_property, value->count + 1);
	for (const struct json_value *member = value->first; member; member = member->next) {
		struct schema_property *property = &node->properties[node->property_count++];
		size_t before = enter(compiler, member->name, member->name_length);
		*property =
		    (struct schema_property){member->name, member->name_length, read_schema(compiler, member)};
		leave(compiler, before);
	}
	qsort(node->properties, node->property_count, sizeof(*node->properties), by_name);
	for (size_t i = 1; i < node->property_count; i++) {
		if (by_name(&node->properties[i - 1], &node->properties[i]) == 0)
			refuse(compiler, "must not give a property twice");
	}
}

/* ---- references ---- */

static void
read_definitions(struct compiler *compiler, struct schema_node *node, const struct json_value *value)
{
	if (value->type != JSON_VALUE_OBJECT || node != compiler->schema->root) {
		refuse(compiler, "must be an object of schemas, at the root of the schema");
		return;
	}
	for (const struct json_value *member = value->first; member; member = member->next) {
		struct definition *definition = ARENA_NEW(&compiler->schema->arena, struct definition);
		size_t before = enter(compiler, member->name, member->name_length);
		*definition = (struct definition){compiler->definitions, member, read_schema(compiler, member)};
		compiler->definitions = definition;
		leave(compiler, before);
	}
}

static void
read_reference(struct compiler *compiler, struct schema_node *node, const struct json_value *value)
{
	bool is_local = value->type == JSON_VALUE_STRING && value->text[0] == '#' &&
	                json_pointer_is_valid(value->text + 1, value->length - 1);
	const struct json_value *target =
	    is_local ? json_value_at(compiler->root, value->text + 1, value->length - 1) : NULL;

	if (!target) {
		refuse(compiler, "must be \"#\" or \"#/$defs/NAME\", with the name of a definition");
		return;
	}
	struct reference *reference = ARENA_NEW(&compiler->schema->arena, struct reference);
	*reference = (struct reference){compiler->references, node, target};
	compiler->references = reference;
}

static struct schema_node *
target_node(const struct compiler *compiler, const struct json_value *target)
{
	if (target == compiler->root)
		return compiler->schema->root;
	for (const struct definition *at = compiler->definitions; at; at = at->next) {
		if (at->value == target)
			return at->node;
	}
	return NULL;
}

static void
refuse_node(struct compiler *compiler, const struct schema_node *node, const char *detail)
{
	violations_add(compiler->violations, compiler->arena, node->pointer, "%s", detail);
	compiler->found++;
}

static void
resolve(struct compiler *compiler)
{
	for (const struct reference *at = compiler->references; at; at = at->next) {
		at->node->reference = target_node(compiler, at->target);
		if (!at->node->reference)
			refuse_node(compiler, at->node, "$ref must lead to the root or a definition of $defs");
	}
}

/* ---- schemas that would never end ---- */

static bool ends(struct schema_node *node);

static bool
all_end(const struct schema_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		if (!ends(list->nodes[i]))
			return false;
	}
	return true;
}

/* Whether following what is checked against the same value comes to an end. */
static bool
ends(struct schema_node *node)
{
	if (node->mark != SCHEMA_UNSEEN)
		return node->mark == SCHEMA_DONE;
	node->mark = SCHEMA_OPEN;
	if ((node->reference && !ends(node->reference)) || (node->not_this && !ends(node->not_this)) ||
	    !all_end(&node->all_of) || !all_end(&node->any_of) || !all_end(&node->one_of))
		return false;
	node->mark = SCHEMA_DONE;
	return true;
}

static void
check_ends(struct compiler *compiler)
{
	for (struct schema_node *node = compiler->schema->newest; node; node = node->made_before) {
		if (ends(node))
			continue;
		refuse_node(compiler, node, "refers to itself for one and the same value");
		return;
	}
}

/* ---- all keywords ---- */

static const struct {
	const char *name;
	keyword_reader read;
} KEYWORDS[] = {{"$ref", read_reference},        {"$defs", read_definitions},
                {"allOf", read_all_of},          {"anyOf", read_any_of},
                {"oneOf", read_one_of},          {"not", read_not},
                {"properties", read_properties}, {"additionalProperties", read_additional},
                {"items", read_items},           {"prefixItems", read_prefix_items}};

static void
read_keyword(struct compiler *compiler, struct schema_node *node, const struct json_value *member)
{
	struct status st = status_ok_value();

	for (size_t i = 0; i < sizeof(KEYWORDS) / sizeof(KEYWORDS[0]); i++) {
		if (strcmp(KEYWORDS[i].name, member->name) == 0) {
			KEYWORDS[i].read(compiler, node, member);
			return;
		}
	}
	if (strcmp(member->name, "$id") == 0 && node == compiler->schema->root)
		return;
	if (!schema_keyword_read(node, member->name, member, &st))
		refuse(compiler, "is not supported here");
	else if (!status_ok(&st))
		refuse(compiler, st.message);
}

static struct schema_node *
node_new(struct compiler *compiler)
{
	struct schema *schema = compiler->schema;
	struct schema_node *node = ARENA_NEW(&schema->arena, struct schema_node);

	node->max_items = node->max_length = UINT64_MAX;
	node->pointer = arena_strdup(&schema->arena, compiler->at.data);
	node->made_before = schema->newest;
	schema->newest = node;
	if (!schema->root)
		schema->root = node;
	return node;
}

/* Nodes beyond the bound are not read, but refused once. */
static struct schema_node *
read_schema(struct compiler *compiler, const struct json_value *value)
{
	if (compiler->node_count++ >= SCHEMA_NODES_MAX) {
		if (compiler->node_count == SCHEMA_NODES_MAX + 1)
			refuse(compiler, "there are more than 2000 schemas");
		return compiler->schema->root;
	}
	struct schema_node *node = node_new(compiler);
	if (value->type == JSON_VALUE_BOOLEAN) {
		node->is_false = !json_value_is_true(value);
		return node;
	}
	if (value->type != JSON_VALUE_OBJECT) {
		refuse(compiler, "must be a schema: an object, true or false");
		return node;
	}
	for (const struct json_value *member = value->first; member; member = member->next) {
		size_t before = enter(compiler, member->name, member->name_length);
		if (json_value_member(value, member->name, member->name_length) == member)
			read_keyword(compiler, node, member);
		else
			refuse(compiler, "must not be given twice");
		leave(compiler, before);
	}
	return node;
}

/* ---- the whole ---- */

void
schema_free(struct schema *schema)
{
	if (!schema)
		return;
	for (const struct schema_node *node = schema->newest; node; node = node->made_before)
		regex_free(node->pattern);
	arena_fini(&schema->arena);
	mem_free(schema);
}

static struct status
parse(struct compiler *compiler, const char *text, size_t length)
{
	struct arena *own = &compiler->schema->arena;

	if (length > SCHEMA_TEXT_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "must be at most %u bytes long", SCHEMA_TEXT_MAX);
	return json_value_parse(arena_strndup(own, text, length), length, own, &compiler->root);
}

struct schema *
schema_compile(const char *text, size_t length, const char *pointer, struct arena *arena,
               struct violations *violations)
{
	struct schema *schema = mem_alloc(sizeof(*schema));
	struct compiler compiler = {.schema = schema, .arena = arena, .violations = violations};

	arena_init(&schema->arena, BLOCK_BYTES, SCHEMA_BYTES_MAX);
	strbuf_init(&compiler.at, arena);
	strbuf_puts(&compiler.at, pointer);
	struct status st = parse(&compiler, text, length);
	if (status_ok(&st)) {
		read_schema(&compiler, compiler.root);
		resolve(&compiler);
		check_ends(&compiler);
	} else {
		refuse(&compiler, st.message);
	}
	if (compiler.found == 0)
		return schema;
	schema_free(schema);
	return NULL;
}
