/*
 * profile: where Corbel is and who asks, from ~/.config/corbel/config.yaml.
 *
 *   profile: dev            # used when none is named
 *   profiles:
 *     dev:
 *       url: http://127.0.0.1:8080
 *       api_key: cb_live_…
 *       output: json
 *
 * Flags win over the environment (CORBEL_URL, CORBEL_API_KEY, CORBEL_PROFILE), which wins over the file.
 */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "cli.h"

static const char *
text_of(const yaml_node_t *node)
{
	return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static yaml_node_t *
member(yaml_document_t *document, const yaml_node_t *map, const char *name)
{
	if (!map || map->type != YAML_MAPPING_NODE)
		return NULL;
	for (const yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top;
	     pair++) {
		const char *key = text_of(yaml_document_get_node(document, pair->key));
		if (key && strcmp(key, name) == 0)
			return yaml_document_get_node(document, pair->value);
	}
	return NULL;
}

static const char *
copy(struct arena *arena, const char *text)
{
	return text ? arena_strdup(arena, text) : NULL;
}

static bool
read_profile(struct settings *settings, yaml_document_t *document, struct arena *arena)
{
	const yaml_node_t *root = yaml_document_get_root_node(document);
	const char *name = settings->profile ? settings->profile : text_of(member(document, root, "profile"));
	const yaml_node_t *profile = name ? member(document, member(document, root, "profiles"), name) : NULL;

	if (settings->profile && !profile) {
		fprintf(stderr, "corbel: there is no profile '%s'\n", settings->profile);
		return false;
	}
	if (!settings->url)
		settings->url = copy(arena, text_of(member(document, profile, "url")));
	if (!settings->api_key)
		settings->api_key = copy(arena, text_of(member(document, profile, "api_key")));
	const char *output = text_of(member(document, profile, "output"));
	if (output && !settings->has_output && !output_format_from(output, &settings->output)) {
		fprintf(stderr, "corbel: profile '%s': output must be table, json, yaml or csv\n", name);
		return false;
	}
	return true;
}

static const char *
environment(const char *name)
{
	const char *value = getenv(name);
	return value && value[0] ? value : NULL;
}

static FILE *
open_file(struct arena *arena)
{
	const char *base = environment("XDG_CONFIG_HOME"), *home = environment("HOME");
	if (!base && !home)
		return NULL;
	return fopen(base ? arena_printf(arena, "%s/corbel/config.yaml", base)
	                  : arena_printf(arena, "%s/.config/corbel/config.yaml", home),
	             "re");
}

bool
profile_apply(struct settings *settings, struct arena *arena)
{
	yaml_parser_t parser;
	yaml_document_t document;
	bool is_ok = true;

	if (!settings->url)
		settings->url = environment("CORBEL_URL");
	if (!settings->api_key)
		settings->api_key = environment("CORBEL_API_KEY");
	if (!settings->profile)
		settings->profile = environment("CORBEL_PROFILE");
	FILE *file = open_file(arena);
	if (!file) {
		if (settings->profile)
			fprintf(stderr, "corbel: there is no profile '%s'\n", settings->profile);
		return !settings->profile;
	}
	if (yaml_parser_initialize(&parser)) {
		yaml_parser_set_input_file(&parser, file);
		if (yaml_parser_load(&parser, &document)) {
			is_ok = read_profile(settings, &document, arena);
			yaml_document_delete(&document);
		} else {
			fprintf(stderr, "corbel: config.yaml:%zu: %s\n", parser.problem_mark.line + 1,
			        parser.problem ? parser.problem : "cannot be read");
			is_ok = false;
		}
		yaml_parser_delete(&parser);
	}
	(void)fclose(file);
	return is_ok;
}
