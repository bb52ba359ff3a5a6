/*
 * completion: scripts for shells, with the words of the contract in them.
 *
 * bash gets lines of "words typed so far|what may follow" and a function that looks them up; zsh runs the
 * same function. A flag that takes a value has a line of its own, which is empty when any value may follow.
 * fish gets one `complete` for each word.
 */
#include <string.h>

#include "base/text.h"
#include "cli.h"
#include "flags.h"
#include "own.h"

struct common_flag {
	const char *name, *values; /* values NULL: takes none; "": any */
};

static const struct common_flag COMMON[] = {
    {"output", "table json yaml csv"},
    {"url", ""},
    {"profile", ""},
    {"data", ""},
    {"retry", ""},
    {"idempotency-key", ""},
    {"all", NULL},
    {"watch", NULL},
    {"yes", NULL},
    {"verbose", NULL},
    {"help", NULL},
};
#define COMMON_COUNT (sizeof(COMMON) / sizeof(COMMON[0]))

static const char OWN_WORDS[] = "serve migrate health top openapi completion version help";

struct script {
	struct strbuf resources; /* seen so far, each between spaces */
	struct strbuf lines;
};

/* True for the first method of the resource, whose name goes to `out`. */
static bool
is_new_resource(struct script *script, const char *cli, char out[64])
{
	char padded[68];

	snprintf(out, 64, "%.*s", (int)strcspn(cli, " "), cli);
	snprintf(padded, sizeof(padded), " %s ", out);
	if (script->resources.data && strstr(script->resources.data, padded))
		return false;
	strbuf_puts(&script->resources, padded);
	return true;
}

static const char *
action_of(const char *cli)
{
	size_t length = strcspn(cli, " ");
	return cli[length] ? cli + length + 1 : "";
}

/* What a flag's value may be, separated by spaces; "" when anything may. */
static void
put_values(struct strbuf *out, const ProtobufCFieldDescriptor *field)
{
	const ProtobufCEnumDescriptor *choices = field->descriptor;

	if (field->type == PROTOBUF_C_TYPE_BOOL)
		strbuf_puts(out, "true false");
	if (field->type != PROTOBUF_C_TYPE_ENUM)
		return;
	for (unsigned i = 0; i < choices->n_values; i++)
		if (choices->values[i].value != 0)
			strbuf_printf(out, "%s ", choices->values[i].name);
}

/* Flags of one method, for one script. */
struct flags_of {
	struct script *script;
	const struct api_method *method;
	const char *resource;
};

/* ---- bash and zsh ---- */

static void
add_flag(void *arg, const struct flag *flag)
{
	const struct flags_of *flags = arg;

	strbuf_printf(&flags->script->lines, "--%s ", flag->name);
}

static void
add_flag_values(void *arg, const struct flag *flag)
{
	const struct flags_of *flags = arg;

	/* A truth value may be left out, so another flag may follow. */
	if (flag->field->type == PROTOBUF_C_TYPE_BOOL)
		return;
	strbuf_printf(&flags->script->lines, "%s --%s|", flags->method->cli, flag->name);
	put_values(&flags->script->lines, flag->field);
	strbuf_putc(&flags->script->lines, '\n');
}

static void
add_lines(void *arg, const struct api_method *method)
{
	struct script *script = arg;
	struct flags_of flags = {.script = script, .method = method};
	char resource[64];

	if (is_new_resource(script, method->cli, resource))
		strbuf_printf(&script->lines, "|%s\n", resource);
	snprintf(resource, sizeof(resource), "%.*s", (int)strcspn(method->cli, " "), method->cli);
	strbuf_printf(&script->lines, "%s|%s\n%s|", resource, action_of(method->cli), method->cli);
	flags_each(method, add_flag, &flags);
	for (size_t i = 0; i < COMMON_COUNT; i++)
		strbuf_printf(&script->lines, "--%s ", COMMON[i].name);
	strbuf_putc(&script->lines, '\n');
	flags_each(method, add_flag_values, &flags);
}

/* Looks lines up by what stands before the bar; false when there is none. */
static const char LOOK_UP[] = "_corbel_words() {\n"
                              "  local line found=1\n"
                              "  while IFS= read -r line; do\n"
                              "    case $line in\n"
                              "    \"$1|\"*) words=\"$words ${line#*|}\"; found=0 ;;\n"
                              "    esac\n"
                              "  done <<'EOF'\n";

/* bash takes "--flag=value" for three words. */
static const char COMPLETE[] =
    "_corbel() {\n"
    "  local words=\"\" at=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
    "  local command=\"${COMP_WORDS[1]} ${COMP_WORDS[2]}\"\n"
    "  if [ \"$at\" = = ]; then at=\"\"; fi\n"
    "  if [ \"$before\" = = ]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
    "  case $COMP_CWORD in\n"
    "  1) _corbel_words \"\" ;;\n"
    "  2) _corbel_words \"${COMP_WORDS[1]}\" ;;\n"
    "  *) _corbel_words \"$command $before\" || _corbel_words \"$before\" || _corbel_words \"$command\" ;;\n"
    "  esac\n"
    "  COMPREPLY=($(compgen -W \"$words\" -- \"$at\"))\n"
    "}\n"
    "complete -F _corbel corbel\n";

static void
print_bash(bool is_zsh)
{
	struct script script = {.lines = {0}};

	strbuf_init(&script.resources, NULL);
	strbuf_init(&script.lines, NULL);
	command_each(add_lines, &script);
	for (size_t i = 0; own_commands[i]; i++)
		strbuf_printf(&script.lines, "%s|%s\n%s %s|%s --url --profile --verbose --help\n",
		              own_commands[i]->resource, own_commands[i]->action, own_commands[i]->resource,
		              own_commands[i]->action, own_commands[i]->flags);
	if (is_zsh)
		puts("autoload -U +X compinit && compinit -u\nautoload -U +X bashcompinit && bashcompinit");
	printf("%s|%s\ncompletion|bash zsh fish\n", LOOK_UP, OWN_WORDS);
	for (size_t i = 0; i < COMMON_COUNT; i++)
		if (COMMON[i].values)
			printf("--%s|%s\n", COMMON[i].name, COMMON[i].values);
	printf("%sEOF\n  return $found\n}\n%s", script.lines.data, COMPLETE);
	strbuf_fini(&script.resources);
	strbuf_fini(&script.lines);
}

/* ---- fish ---- */

/* The first sentence, in single quotes. */
static void
put_fish_text(struct strbuf *out, const char *doc)
{
	strbuf_putc(out, '\'');
	for (size_t i = 0, length = text_sentence(doc); i < length; i++) {
		if (doc[i] == '\'' || doc[i] == '\\')
			strbuf_putc(out, '\\');
		strbuf_putc(out, doc[i] == '\n' ? ' ' : doc[i]);
	}
	strbuf_putc(out, '\'');
}

static void
add_fish_flag(void *arg, const struct flag *flag)
{
	const struct flags_of *flags = arg;
	struct strbuf *lines = &flags->script->lines;

	strbuf_printf(lines,
	              "complete -c corbel -n '__fish_seen_subcommand_from %s; and __fish_seen_subcommand_from "
	              "%s' -l %s",
	              flags->resource, action_of(flags->method->cli), flag->name);
	if (flag->field->type != PROTOBUF_C_TYPE_BOOL) {
		strbuf_puts(lines, " -x -a '");
		put_values(lines, flag->field);
		strbuf_putc(lines, '\'');
	}
	strbuf_puts(lines, " -d ");
	put_fish_text(lines, flag->rules->doc);
	strbuf_putc(lines, '\n');
}

static void
add_fish(void *arg, const struct api_method *method)
{
	struct script *script = arg;
	char resource[64];

	if (is_new_resource(script, method->cli, resource))
		strbuf_printf(&script->lines, "complete -c corbel -n __fish_use_subcommand -a %s\n", resource);
	snprintf(resource, sizeof(resource), "%.*s", (int)strcspn(method->cli, " "), method->cli);
	/* An action is offered where nothing but the resource has been typed. */
	strbuf_printf(&script->lines,
	              "complete -c corbel -n 'test (count (commandline -opc)) -eq 2; and "
	              "__fish_seen_subcommand_from %s' -a %s -d ",
	              resource, action_of(method->cli));
	put_fish_text(&script->lines, method->doc);
	strbuf_putc(&script->lines, '\n');
	struct flags_of flags = {.script = script, .method = method, .resource = resource};
	flags_each(method, add_fish_flag, &flags);
}

/* fish takes flags without their dashes. */
static void
add_own_fish(struct script *script, const struct own_command *own)
{
	strbuf_printf(&script->lines,
	              "complete -c corbel -n 'test (count (commandline -opc)) -eq 2; and "
	              "__fish_seen_subcommand_from %s' -a %s -d ",
	              own->resource, own->action);
	put_fish_text(&script->lines, own->summary);
	strbuf_putc(&script->lines, '\n');
	for (const char *at = own->flags; *at;) {
		size_t length = strcspn(at, " ");
		strbuf_printf(
		    &script->lines,
		    "complete -c corbel -n '__fish_seen_subcommand_from %s; and __fish_seen_subcommand_from "
		    "%s' -l %.*s -x\n",
		    own->resource, own->action, (int)length - 2, at + 2);
		at += length + (at[length] == ' ');
	}
}

static void
print_fish(void)
{
	struct script script = {.lines = {0}};

	strbuf_init(&script.resources, NULL);
	strbuf_init(&script.lines, NULL);
	command_each(add_fish, &script);
	for (size_t i = 0; own_commands[i]; i++)
		add_own_fish(&script, own_commands[i]);
	printf("complete -c corbel -f\n"
	       "complete -c corbel -n __fish_use_subcommand -a '%s'\n"
	       "complete -c corbel -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n",
	       OWN_WORDS);
	for (size_t i = 0; i < COMMON_COUNT; i++)
		printf("complete -c corbel -n 'not __fish_use_subcommand' -l %s%s%s%s\n", COMMON[i].name,
		       COMMON[i].values ? " -x -a '" : "", COMMON[i].values ? COMMON[i].values : "",
		       COMMON[i].values ? "'" : "");
	fputs(script.lines.data, stdout);
	strbuf_fini(&script.resources);
	strbuf_fini(&script.lines);
}

int
completion_print(const char *shell)
{
	if (strcmp(shell, "bash") == 0)
		print_bash(false);
	else if (strcmp(shell, "zsh") == 0)
		print_bash(true);
	else if (strcmp(shell, "fish") == 0)
		print_fish();
	else {
		fputs("corbel: completion is for bash, zsh or fish\n", stderr);
		return EXIT_CODE_USAGE;
	}
	return EXIT_CODE_OK;
}
