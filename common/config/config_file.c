/*
 * config: the YAML file.
 *
 * Nested maps make dotted names; a list of scalars becomes a value with commas. What stands under
 * "profiles: NAME:" is applied after the rest, for the chosen profile only; the other profiles are
 * checked for their names all the same, so that a mistake does not wait for production.
 */
#include <string.h>
#include <yaml.h>

#include "base/text.h"
#include "config_internal.h"

#define DEPTH_MAX 16
#define NODES_MAX 10000

struct loader {
	struct config *config;
	yaml_document_t *document;
	const char *path;
	const char *profile;
	bool found_profile;
	size_t nodes;
	unsigned section; /* being read */
};

static const char *
where(const struct loader *loader, const yaml_node_t *node)
{
	return arena_printf(&loader->config->arena, "%s:%zu", loader->path, node->start_mark.line + 1);
}

static const char *
scalar_text(const yaml_node_t *node)
{
	return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static const char *
list_text(struct loader *loader, const yaml_node_t *node)
{
	struct strbuf out;
	strbuf_init(&out, &loader->config->arena);
	strbuf_add(&out, "", 0);
	for (const yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top;
	     item++) {
		const yaml_node_t *element = yaml_document_get_node(loader->document, *item);
		const char *text = element ? scalar_text(element) : NULL;
		if (!text || strchr(text, ',')) {
			config_complain(loader->config, where(loader, element ? element : node),
			                "a list's elements must be texts without commas");
			return NULL;
		}
		if (out.length)
			strbuf_putc(&out, ',');
		strbuf_puts(&out, text);
	}
	return out.data;
}

static void
take_value(struct loader *loader, const char *name, const yaml_node_t *node, bool is_applied)
{
	struct slot *slot = config_slot(loader->config, name);
	const char *text;

	if (!slot) {
		config_complain(loader->config, where(loader, node), "there is no option '%s'", name);
		return;
	}
	if (slot->section == loader->section) {
		config_complain(loader->config, where(loader, node), "%s is said twice", name);
		return;
	}
	slot->section = loader->section;
	text = node->type == YAML_SEQUENCE_NODE ? list_text(loader, node) : scalar_text(node);
	if (text && is_applied)
		config_set(loader->config, slot, text, CONFIG_FILE, where(loader, node));
}

static void
take_map(struct loader *loader, const char *prefix, const yaml_node_t *map, bool is_applied, unsigned depth)
{
	struct arena *arena = &loader->config->arena;

	for (yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(loader->document, pair->key);
		const yaml_node_t *value = yaml_document_get_node(loader->document, pair->value);
		const char *name = key ? scalar_text(key) : NULL;
		if (!name || !value || depth > DEPTH_MAX || ++loader->nodes > NODES_MAX) {
			config_complain(loader->config, where(loader, map),
			                "must be a map of names to values, at most %d deep", DEPTH_MAX);
			return;
		}
		if (!prefix && strcmp(name, "profiles") == 0)
			continue;
		const char *full = prefix && prefix[0] ? arena_printf(arena, "%s.%s", prefix, name) : name;
		if (value->type == YAML_MAPPING_NODE)
			take_map(loader, full, value, is_applied, depth + 1);
		else
			take_value(loader, full, value, is_applied);
	}
}

static const yaml_node_t *
member(struct loader *loader, const yaml_node_t *map, const char *name)
{
	for (yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(loader->document, pair->key);
		if (key && scalar_text(key) && strcmp(scalar_text(key), name) == 0)
			return yaml_document_get_node(loader->document, pair->value);
	}
	return NULL;
}

static void
take_profiles(struct loader *loader, const yaml_node_t *profiles)
{
	if (profiles->type != YAML_MAPPING_NODE) {
		config_complain(loader->config, where(loader, profiles), "'profiles' must be a map of profiles");
		return;
	}
	for (yaml_node_pair_t *pair = profiles->data.mapping.pairs.start; pair < profiles->data.mapping.pairs.top;
	     pair++) {
		const yaml_node_t *key = yaml_document_get_node(loader->document, pair->key);
		const yaml_node_t *value = yaml_document_get_node(loader->document, pair->value);
		const char *name = key ? scalar_text(key) : NULL;
		if (!name || !value || value->type != YAML_MAPPING_NODE) {
			config_complain(loader->config, where(loader, profiles), "a profile must be a map of options");
			continue;
		}
		bool is_chosen = loader->profile && strcmp(name, loader->profile) == 0;
		loader->found_profile = loader->found_profile || is_chosen;
		loader->section++;
		take_map(loader, "", value, is_chosen, 1);
	}
}

static void
take_document(struct loader *loader)
{
	const yaml_node_t *root = yaml_document_get_root_node(loader->document);
	if (!root)
		return; /* an empty file says nothing */
	if (root->type != YAML_MAPPING_NODE) {
		config_complain(loader->config, where(loader, root), "must be a map of options");
		return;
	}
	loader->section = 1;
	take_map(loader, NULL, root, true, 1);
	/* The profile may be named in the file itself. */
	const struct slot *slot = config_slot(loader->config, "profile");
	const char *said = config_said(loader->config, "profile");
	loader->profile = said ? said : slot->text;
	const yaml_node_t *profiles = member(loader, root, "profiles");
	if (profiles)
		take_profiles(loader, profiles);
}

void
config_read_file(struct config *config)
{
	struct loader loader = {.config = config};
	yaml_parser_t parser;
	yaml_document_t document;

	loader.path = config_said(config, "config");
	if (!loader.path)
		return;
	FILE *file = fopen(loader.path, "re");
	if (!file) {
		config_complain(config, loader.path, "cannot be read");
		return;
	}
	if (!yaml_parser_initialize(&parser)) {
		config_complain(config, loader.path, "cannot be parsed: no memory");
		(void)fclose(file);
		return;
	}
	yaml_parser_set_input_file(&parser, file);
	if (yaml_parser_load(&parser, &document)) {
		loader.document = &document;
		take_document(&loader);
		yaml_document_delete(&document);
	} else {
		config_complain(config,
		                arena_printf(&config->arena, "%s:%zu", loader.path, parser.problem_mark.line + 1),
		                "is not YAML: %s", parser.problem ? parser.problem : "cannot be read");
	}
	if (loader.profile && !loader.found_profile)
		config_complain(config, loader.path, "has no profile '%s'", loader.profile);
	yaml_parser_delete(&parser);
	(void)fclose(file);
}
