/*
 * forward_rules: which limit a gateway's request takes from, by its method and path.
 *
 * A leaf. Paths are compared in their plain form, so that a client cannot get round a pattern by writing the
 * same path in another way.
 */
#ifndef CORBEL_INGRESS_FORWARD_RULES_H
#define CORBEL_INGRESS_FORWARD_RULES_H

#include "base/arena.h"

struct forward_rules;

/* From "METHOD PATTERN = LIMIT" texts; NULL when one is wrong, which `bad` names. "*" is any method; the
 * pattern is a shell glob over the whole path, whose '*' also takes slashes. */
struct forward_rules *forward_rules_new(const char *const *texts, const char **bad);
void forward_rules_free(struct forward_rules *rules);
/* The limit of the first rule that fits; NULL: none. `path` is in plain form. */
const char *forward_rules_find(const struct forward_rules *rules, const char *method, const char *path);

/* The plain form of a request target or absolute URL, without query and fragment: printable ASCII decoded
 * except '/', '?', '#' and '%', all else as %XX, no empty, "." or ".." segments (RFC 3986 section 6.2.2). A
 * slash at the end stays. */
char *forward_plain_path(struct arena *arena, const char *target);

#endif
