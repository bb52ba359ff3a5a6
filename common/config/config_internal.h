/*
 * config: what the sources of options share.
 */
#ifndef CORBEL_CONFIG_INTERNAL_H
#define CORBEL_CONFIG_INTERNAL_H

#include "base/arena.h"
#include "config/config.h"

struct slot {
	const struct config_option *option;
	const char *text; /* as written; NULL: unset */
	enum config_source source;
	const char *origin; /* "corbel.yaml:12", "environment CORBEL_X", "flag --x", "default" */
	int64_t number;
	bool boolean;
	const char **list;
	unsigned section; /* of the file that last said it: 0 none, 1 the top, then the profiles */
};

/* A value said by the environment or a flag, kept until the file has been read. */
struct said {
	struct said *next;
	struct slot *slot;
	const char *text;
	enum config_source source;
	const char *origin;
};

struct config {
	struct arena arena;
	struct slot *slots;
	size_t slot_count;
	struct said *first, **last; /* in the order of their strength */
	const char **arguments;
	FILE *error_out;
	size_t errors;
};

/* Options that every table has beside its own. */
const struct config_option *config_built_in(void);

struct slot *config_slot(const struct config *config, const char *name);
void config_set(struct config *config, struct slot *slot, const char *text, enum config_source source,
                const char *origin);
/* Reports and counts an error; `where` names the source. */
void config_complain(struct config *config, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The values that an option with bounds may have: "1 to 9", "10ms to 1m", "at most 40 bytes". */
const char *config_bounds_text(struct arena *arena, const struct config_option *option);

void config_read_environment(struct config *config, const char *const *environ);
void config_read_flags(struct config *config, int argc, const char *const *argv);
void config_read_file(struct config *config);
/* Lays what was said over the file's values. */
void config_apply(struct config *config);
/* The value that a flag or variable gives an option, NULL when neither speaks of it. */
const char *config_said(const struct config *config, const char *name);

#endif
