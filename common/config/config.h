/*
 * config: one table of options a process: flags > environment > profile file > default.
 *
 * An option's name is dotted and lowercase, such as "ratelimitd.store". It is said as
 *   --ratelimitd.store=redis      (also "--ratelimitd.store redis"; a switch may stand alone)
 *   CORBEL_RATELIMITD_STORE=redis (dots and dashes become underscores)
 *   ratelimitd: { store: redis }  in the YAML file, at the top or under the profile's section
 * The file is that of --config; its top-level maps "dev", "staging", "prod" … under "profiles:" are
 * profiles, and --profile (or CORBEL_PROFILE) names the one laid over the rest of the file.
 *
 * Loading checks everything and reports every error with its source ("corbel.yaml:12",
 * "environment CORBEL_BUS_URL", "flag --bus.url"). After loading a config never changes and any
 * thread may read it. Unknown names, and names said twice, are errors in the file; unknown names are in
 * flags, too, where the last one of several counts. Unknown CORBEL_* variables are left alone, since
 * clients and other processes share the prefix.
 */
#ifndef CORBEL_CONFIG_CONFIG_H
#define CORBEL_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

enum config_type {
	CONFIG_TEXT,    /* min..max: bytes */
	CONFIG_INTEGER, /* min..max */
	CONFIG_BOOL,
	CONFIG_DURATION, /* "250ms", "10s" …; read in ms; min..max in ms */
	CONFIG_SIZE,     /* "64KiB" …; read in bytes; min..max in bytes */
	CONFIG_CHOICE,   /* one of `choices` */
	CONFIG_LIST      /* texts separated by commas, or a YAML list; min..max: elements */
};

struct config_option {
	const char *name;
	enum config_type type;
	const char *def;     /* as it would be written; NULL: unset unless said */
	const char *help;    /* one sentence, for --help and docs */
	int64_t min, max;    /* bounds; both 0: none */
	const char *choices; /* "memory|redis" */
	bool is_secret;      /* never printed; may also be read from a file: NAME_FILE in the
	                        environment, or a value "file:/path" */
};
/* A table ends with an entry whose name is NULL. */

struct config;

enum config_source { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENVIRONMENT, CONFIG_FLAG };

struct config_input {
	const struct config_option *const *tables; /* NULL-terminated list of tables */
	int argc;
	const char *const *argv;    /* argv[0] is skipped; "--" ends the flags */
	const char *const *environ; /* NULL-terminated "NAME=value" */
};

/* On success *out is owned by the caller. On failure `errors` (may be NULL) gets one line an error,
 * all of them, and the status says how many. Built-in options: config, profile, check-config,
 * print-config, print-options, help, version. */
struct status config_load(const struct config_input *input, FILE *errors, struct config **out);
void config_free(struct config *config);

/* Reading an option that no table names, or by another type, is a programming error and asserts.
 * Texts live as long as the config; unset ones are NULL. */
const char *config_text(const struct config *config, const char *name);
int64_t config_integer(const struct config *config, const char *name);
bool config_bool(const struct config *config, const char *name);
uint64_t config_duration_ms(const struct config *config, const char *name);
uint64_t config_size_bytes(const struct config *config, const char *name);
/* NULL-terminated. */
const char *const *config_list(const struct config *config, const char *name);
enum config_source config_source(const struct config *config, const char *name);
/* Arguments that are no flags, in order; NULL-terminated. */
const char *const *config_arguments(const struct config *config);

/* One "name = value  # source" a line; secrets as "[redacted]". */
void config_print(const struct config *config, FILE *out);
/* Options with type, default and help, for --help. */
void config_print_help(const struct config_option *const *tables, FILE *out);
/* The same as Markdown: a table for each first word of the names, with bounds. */
void config_print_markdown(const struct config_option *const *tables, FILE *out);

#endif
