/*
 * condition: one test on an event's data. Used by filter.c only; see filter.h.
 */
#ifndef CORBEL_WEBHOOKD_CONDITION_H
#define CORBEL_WEBHOOKD_CONDITION_H

#include "base/arena.h"
#include "corbel/webhooks.pb-c.h"
#include "schema/json_value.h"

struct regex;

struct condition {
	const char *pointer;
	size_t pointer_length;
	Corbel__V1__ConditionOperator test;
	const struct json_value *value; /* NULL for PRESENT and ABSENT */
	struct regex *regex;            /* MATCHES; owned */
};

/* Copies into the arena. On failure `below` names the field that is wrong ("/value"); condition_fini() is
 * called in any case. */
struct status condition_compile(const Corbel__V1__Condition *message, struct arena *arena,
                                struct condition *out, const char **below);
void condition_fini(struct condition *condition);

/* Regular expressions take their steps from `steps`; searches that were given up are added to
 * `regex_limits`. */
bool condition_passes(const struct condition *condition, const struct json_value *root, uint64_t *steps,
                      unsigned *regex_limits);

#endif
