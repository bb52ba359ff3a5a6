/*
 * completion: scripts for shells, with the words of the contract in them.
 */
#include <string.h>

#include "base/text.h"
#include "cli.h"

struct words {
	struct strbuf resources, lines;
	enum { BASH, FISH } shell;
};

static void
add_method(void *arg, const struct api_method *method)
{
	struct words *words = arg;
	size_t length = strcspn(method->cli, " ");
	const char *action = method->cli[length] ? method->cli + length + 1 : "";
	char resource[64], flag[128];

	snprintf(resource, sizeof(resource), "%.*s", (int)length, method->cli);
	if (words->shell == FISH) {
		strbuf_printf(&words->lines, "complete -c corbel -n '__fish_use_subcommand' -a %s\n", resource);
		strbuf_printf(&words->lines, "complete -c corbel -n '__fish_seen_subcommand_from %s' -a %s\n",
		              resource, action);
		return;
	}
	/* "words typed so far|what may follow", a line each; lines of the same words add up. */
	strbuf_printf(&words->resources, "%s\n", resource);
	strbuf_printf(&words->lines, "%s|%s\n%s %s|", resource, action, resource, action);
	for (unsigned i = 0; i < method->request->descriptor->n_fields; i++) {
		if (method->request->fields[i].is_nulls)
			continue;
		arguments_flag_name(method->request->descriptor->fields[i].name, flag);
		strbuf_printf(&words->lines, "--%s ", flag);
	}
	strbuf_puts(&words->lines, "--output --url --profile --data --all --yes --verbose --help\n");
}

static const char BASH_HEAD[] = "_corbel() {\n"
                                "  local words=\"\" at=${COMP_WORDS[COMP_CWORD]}\n"
                                "  case $COMP_CWORD in\n"
                                "  1) words=\"serve openapi completion version $(_corbel_resources)\" ;;\n"
                                "  2) _corbel_words \"${COMP_WORDS[1]}\" ;;\n"
                                "  *) _corbel_words \"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" ;;\n"
                                "  esac\n"
                                "  COMPREPLY=($(compgen -W \"$words\" -- \"$at\"))\n"
                                "}\n";

int
completion_print(const char *shell)
{
	struct words words = {.shell = strcmp(shell, "fish") == 0 ? FISH : BASH};
	bool is_zsh = strcmp(shell, "zsh") == 0;

	if (words.shell == BASH && !is_zsh && strcmp(shell, "bash") != 0) {
		fputs("corbel: completion is for bash, zsh or fish\n", stderr);
		return EXIT_CODE_USAGE;
	}
	strbuf_init(&words.resources, NULL);
	strbuf_init(&words.lines, NULL);
	command_each(add_method, &words);
	if (words.shell == FISH) {
		printf("complete -c corbel -f\ncomplete -c corbel -n '__fish_use_subcommand' -a 'serve openapi "
		       "completion "
		       "version'\n%s",
		       words.lines.data);
	} else {
		if (is_zsh)
			fputs("autoload -U +X bashcompinit && bashcompinit\n", stdout);
		printf("_corbel_resources() {\n  sort -u <<'EOF'\n%sEOF\n}\n", words.resources.data);
		printf("_corbel_words() {\n  local line\n  while IFS= read -r line; do\n    case $line in\n"
		       "    \"$1|\"*) words=\"$words ${line#*|}\" ;;\n    esac\n  done <<'EOF'\n%s",
		       words.lines.data);
		printf("EOF\n}\n%scomplete -F _corbel corbel\n", BASH_HEAD);
	}
	strbuf_fini(&words.resources);
	strbuf_fini(&words.lines);
	return EXIT_CODE_OK;
}
