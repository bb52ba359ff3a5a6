/*
 * violations: what is wrong with something that came from outside, each with its place.
 */
#ifndef CORBEL_API_VIOLATIONS_H
#define CORBEL_API_VIOLATIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "base/text.h"

#define VIOLATIONS_MAX 64

struct violation {
	const char *pointer; /* "/checks/0/cost"; "" is the whole body */
	const char *detail;  /* "must be at least 1" */
};

struct violations {
	struct violation items[VIOLATIONS_MAX];
	size_t count;
	bool is_cut; /* there were more */
};

/* Adds a name to a JSON pointer: "~" and "/" escaped (RFC 6901), cut at 128 bytes, between characters. */
void pointer_add_name(struct strbuf *out, const char *name, size_t length);
/* Adds one; texts are copied into the arena. */
void violations_add(struct violations *violations, struct arena *arena, const char *pointer,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));
/* True when something at that place is among them. */
bool violations_name(const struct violations *violations, const char *pointer);
/* INVALID_ARGUMENT naming the first (and how many more), or ok when there are none. */
struct status violations_status(const struct violations *violations);

#endif
