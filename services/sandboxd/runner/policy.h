/*
 * policy: which layers of isolation have to be there.
 */
#ifndef CORBEL_SANDBOXD_POLICY_H
#define CORBEL_SANDBOXD_POLICY_H

#include "runner.h"

/* Fills in is_enough and missing from the states of the layers; `policy` has been checked. */
void policy_apply(const char *policy, struct runner_isolation *isolation);

#endif
