/*
 * routes: a tree of path segments.
 *
 * A node has literal children, at most one parameter child, and a method for each verb. Matching tries
 * the literal child first and falls back to the parameter, so it may visit both; the depth of the tree
 * (the longest path of the contract) bounds the work.
 */
#include "api/routes.h"

#include <assert.h>
#include <string.h>

#define VERBS        6
#define SEGMENTS_MAX 16

struct node {
	const char *literal; /* inside the contract's path; not NUL-terminated */
	size_t length;
	struct node *sibling;
	struct node *children;  /* literal ones */
	struct node *parameter; /* "{name}" */
	struct node *rest;      /* "{name...}" */
	const struct api_method *methods[VERBS];
};

struct routes {
	struct arena arena;
	struct node *root;
};

static struct node *
literal_child(struct node *node, const char *text, size_t length)
{
	assert(node);
	for (struct node *child = node->children; child; child = child->sibling)
		if (child->length == length && memcmp(child->literal, text, length) == 0)
			return child;
	return NULL;
}

static struct node *
child_for(struct routes *routes, struct node *node, const char *segment, size_t length)
{
	struct node **slot = NULL;
	if (segment[0] == '{')
		slot = length > 5 && memcmp(segment + length - 4, "...}", 4) == 0 ? &node->rest : &node->parameter;
	struct node *child = slot ? *slot : literal_child(node, segment, length);
	if (child)
		return child;
	child = ARENA_NEW(&routes->arena, struct node);
	child->literal = segment;
	child->length = length;
	if (slot) {
		*slot = child;
	} else {
		child->sibling = node->children;
		node->children = child;
	}
	return child;
}

static void
add(struct routes *routes, const struct api_method *method)
{
	struct node *node = routes->root;
	for (const char *at = method->path; *at == '/';) {
		size_t length = strcspn(at + 1, "/");
		node = child_for(routes, node, at + 1, length);
		at += length + 1;
	}
	assert(!node->methods[method->verb]);
	node->methods[method->verb] = method;
}

struct routes *
routes_new(const struct api_service *const *services)
{
	struct routes *routes = mem_alloc(sizeof(*routes));
	arena_init(&routes->arena, 16u << 10, SIZE_MAX);
	routes->root = ARENA_NEW(&routes->arena, struct node);
	for (; *services; services++)
		for (size_t i = 0; i < (*services)->method_count; i++)
			if ((*services)->methods[i].path)
				add(routes, &(*services)->methods[i]);
	return routes;
}

void
routes_free(struct routes *routes)
{
	if (!routes)
		return;
	arena_fini(&routes->arena);
	mem_free(routes);
}

struct values {
	const char *text[SEGMENTS_MAX];
	size_t length[SEGMENTS_MAX];
	size_t count;
};

static bool
has_method(const struct node *node)
{
	for (int verb = 0; verb < VERBS; verb++)
		if (node->methods[verb])
			return true;
	return false;
}

/* Walks from `node` along the path; parameters met are left in `values`. */
static const struct node *
walk(const struct node *node, const char *at, const char *end, struct values *values)
{
	if (at == end)
		return has_method(node) ? node : NULL;
	if (*at != '/' || at + 1 == end)
		return NULL;
	const char *segment = at + 1;
	const char *slash = memchr(segment, '/', (size_t)(end - segment));
	const char *next = slash ? slash : end;
	size_t length = (size_t)(next - segment), before = values->count;
	if (length == 0)
		return NULL;

	for (const struct node *child = node->children; child; child = child->sibling) {
		if (child->length != length || memcmp(child->literal, segment, length) != 0)
			continue;
		const struct node *found = walk(child, next, end, values);
		if (found)
			return found;
		values->count = before;
	}
	if (values->count == SEGMENTS_MAX)
		return NULL;
	values->text[before] = segment;
	if (node->parameter) {
		values->length[before] = length;
		values->count = before + 1;
		const struct node *found = walk(node->parameter, next, end, values);
		if (found)
			return found;
	}
	values->count = before;
	if (node->rest && has_method(node->rest)) {
		values->length[before] = (size_t)(end - segment);
		values->count = before + 1;
		return node->rest;
	}
	return NULL;
}

/* Pairs the values met with the names that the method's own path gives them. */
static void
name_parameters(const struct api_method *method, const struct values *values, struct route_match *out)
{
	const char *at = method->path;
	out->method = method;
	out->param_count = 0;
	for (size_t i = 0; i < values->count && out->param_count < ROUTE_PARAMS_MAX; i++) {
		at = strchr(at, '{');
		if (!at)
			return;
		out->params[out->param_count++] =
		    (struct route_param){.field = at + 1, .value = values->text[i], .length = values->length[i]};
		at++;
	}
}

enum route_result
routes_match(const struct routes *routes, enum api_verb verb, const char *path, size_t length,
             struct route_match *out)
{
	struct values values = {.count = 0};
	const struct node *node = length > 0 ? walk(routes->root, path, path + length, &values) : NULL;

	if (!node)
		return ROUTE_NOT_FOUND;
	if (!node->methods[verb])
		return ROUTE_WRONG_VERB;
	name_parameters(node->methods[verb], &values, out);
	return ROUTE_FOUND;
}

size_t
routes_allowed(const struct routes *routes, const char *path, size_t length, char *out, size_t size)
{
	static const char *const NAMES[VERBS] = {"", "GET", "POST", "PUT", "PATCH", "DELETE"};
	struct values values = {.count = 0};
	const struct node *node = length > 0 ? walk(routes->root, path, path + length, &values) : NULL;
	struct strbuf text = {.data = out, .capacity = size, .ceiling = size - 1};

	out[0] = '\0';
	for (int verb = 1; node && verb < VERBS; verb++) {
		if (!node->methods[verb])
			continue;
		if (text.length)
			strbuf_puts(&text, ", ");
		strbuf_puts(&text, NAMES[verb]);
	}
	return text.length;
}
