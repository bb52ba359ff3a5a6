/*
 * library: versions of plugins that were run of late, ready to be run again without asking the store.
 *
 * A version never changes, but which one is installed does, and whether the plugin is enabled: what is kept
 * is good for LIBRARY_FRESH_MS, so that a change is in force on every replica after that.
 *
 * Any thread. A program that was handed out is the holder's until program_release().
 */
#ifndef CORBEL_SANDBOXD_LIBRARY_H
#define CORBEL_SANDBOXD_LIBRARY_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/id.h"
#include "corbel/contract.gen.h"
#include "store/store.h"

#define LIBRARY_FRESH_MS 1000u

struct library;
struct schema;

struct program {
	_Atomic unsigned references;
	struct arena arena; /* of all it points at */
	char id[ID_MAX];
	const char *tenant, *name;
	bool is_disabled;
	uint32_t wanted;  /* the version that was asked for; 0: the installed one */
	uint32_t version; /* 0: none is installed, or it is not kept */
	const char *label;
	const Corbel__V1__PluginLimits *limits; /* NULL: the defaults */
	const char *code;
	size_t code_size;
	struct schema *input, *output; /* NULL: anything goes */
	uint64_t loaded_mono_ms;
};

struct library *library_new(const struct clock *clock);
void library_free(struct library *library);

/* From memory, if it is fresh; NULL: it has to be loaded. `version` 0 is the installed one. */
const struct program *library_find(struct library *library, const char *id, uint32_t version);
/* NOT_FOUND when there is no such plugin. Reads the store. */
struct status library_load(struct library *library, struct store_conn *conn, const char *id, uint32_t version,
                           const struct program **out);
/* The plugin has changed. */
void library_forget(struct library *library, const char *id);

void program_hold(const struct program *program);
void program_release(const struct program *program); /* NULL is allowed */

#endif
