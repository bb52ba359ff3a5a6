/*
 * authorize: may this principal call this method?
 *
 * The same rule at the ingress and at the service: internal methods for daemons only, public methods
 * for everybody, all others for principals that hold the method's scope.
 */
#ifndef CORBEL_DAEMON_AUTHORIZE_H
#define CORBEL_DAEMON_AUTHORIZE_H

#include <stdbool.h>

#include "api/api.h"
#include "base/status.h"
#include "corbel/bus.pb-c.h"

/* UNAUTHENTICATED without a principal, PERMISSION_DENIED when it may not. `principal` may be NULL. */
struct status authorize(const struct api_method *method, const Corbel__Bus__Principal *principal);
/* Tenant "root", or another daemon. */
bool principal_is_operator(const Corbel__Bus__Principal *principal);
/* "keys.write" is held by itself, by "keys.*" and by "*"; "" by everybody. */
bool principal_has_scope(const Corbel__Bus__Principal *principal, const char *scope);

#endif
