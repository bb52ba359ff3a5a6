/*
 * own: commands that are not of the contract but stand among its words, such as "events tail".
 */
#ifndef CORBEL_CLI_OWN_H
#define CORBEL_CLI_OWN_H

#include <stdbool.h>
#include <stdio.h>

#include "cli.h"

struct own_flag {
	const char *name, *placeholder, *doc;
	const char **value; /* one; or as many as are given, with commas between them */
	bool is_list;
};

struct own_command {
	const char *resource, *action;
	const char *summary; /* one line */
	const char *help;    /* what follows the summary */
	const char *flags;   /* for completion, with spaces between them */
	int (*run)(int argc, char **argv, struct arena *arena);
};

extern const struct own_command own_tail, own_listen, own_plugin_check, own_plugin_logs;
/* All of them, NULL at the end. */
extern const struct own_command *const own_commands[];

/* The command of the words; NULL when there is none. */
const struct own_command *own_find(int argc, char *const *argv);
int own_run(const struct own_command *command, int argc, char **argv);
/* Reads flags, those of every such command too; prints what is wrong or the help that was asked for and
 * returns false with the exit code. Flags end with one without a name. */
bool own_flags(const struct own_command *command, const struct own_flag *flags, int argc, char **argv,
               struct settings *settings, struct arena *arena, int *code);

#endif
