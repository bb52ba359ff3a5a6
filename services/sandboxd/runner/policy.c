/*
 * policy: terms separated by commas, of layers separated by bars.
 */
#include <stdio.h>
#include <string.h>

#include "runner/policy.h"

/* -1: no layer has this name. */
static int
layer_of(const char *name, size_t length)
{
	for (int i = 0; i < RUNNER_LAYERS; i++)
		if (strlen(runner_layer_name((enum runner_layer)i)) == length &&
		    memcmp(runner_layer_name((enum runner_layer)i), name, length) == 0)
			return i;
	return -1;
}

struct status
runner_policy_check(const char *policy)
{
	if (strcmp(policy, RUNNER_POLICY_NONE) == 0)
		return status_ok_value();
	for (const char *at = policy;; at++) {
		size_t length = strcspn(at, ",|");
		if (layer_of(at, length) < 0)
			return status_make(STATUS_INVALID_ARGUMENT,
			                   "'%.*s' is no layer of isolation: there are rlimits, no_new_privs, seccomp,"
			                   " landlock, namespaces and cgroup, with ',' for and, '|' for or",
			                   (int)(length > 40 ? 40 : length), at);
		at += length;
		if (*at == '\0')
			return status_ok_value();
	}
}

static bool
term_holds(const struct runner_isolation *isolation, const char *term, size_t length)
{
	for (const char *at = term, *end = term + length; at < end;) {
		size_t name = strcspn(at, ",|");
		int layer = layer_of(at, name);
		if (layer >= 0 && isolation->layers[layer].state == RUNNER_ACTIVE)
			return true;
		at += name + 1;
	}
	return false;
}

void
policy_apply(const char *policy, struct runner_isolation *isolation)
{
	isolation->is_enough = true;
	isolation->missing[0] = '\0';
	if (strcmp(policy, RUNNER_POLICY_NONE) == 0)
		return;
	for (const char *at = policy; isolation->is_enough; at++) {
		size_t length = strcspn(at, ",");
		if (!term_holds(isolation, at, length)) {
			isolation->is_enough = false;
			snprintf(isolation->missing, sizeof(isolation->missing), "%.*s", (int)length, at);
		}
		at += length;
		if (*at == '\0')
			return;
	}
}
