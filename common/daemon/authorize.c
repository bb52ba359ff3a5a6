/*
 * authorize: a leaf, pure.
 */
#include "daemon/authorize.h"

#include <string.h>

static bool
is_internal(const Corbel__Bus__Principal *principal)
{
	return principal && principal->internal;
}

bool
principal_is_operator(const Corbel__Bus__Principal *principal)
{
	return is_internal(principal) ||
	       (principal && principal->tenant && strcmp(principal->tenant, "root") == 0);
}

/* Whether one granted scope holds the wanted one. */
static bool
scope_holds(const char *granted, const char *wanted)
{
	size_t length = strlen(granted);

	if (strcmp(granted, "*") == 0)
		return true;
	if (length > 2 && strcmp(granted + length - 2, ".*") == 0)
		return strncmp(granted, wanted, length - 1) == 0;
	return strcmp(granted, wanted) == 0;
}

bool
principal_has_scope(const Corbel__Bus__Principal *principal, const char *scope)
{
	if (!*scope || is_internal(principal))
		return true;
	for (size_t i = 0; principal && i < principal->n_scopes; i++) {
		if (scope_holds(principal->scopes[i], scope))
			return true;
	}
	return false;
}

struct status
authorize(const struct api_method *method, const Corbel__Bus__Principal *principal)
{
	if (is_internal(principal) || (method->is_public && method->path))
		return status_ok_value();
	if (!method->path && !method->scope[0])
		return status_make(STATUS_PERMISSION_DENIED, "%s is for other daemons only", method->name);
	if (!principal || !principal->tenant || !*principal->tenant)
		return status_make(STATUS_UNAUTHENTICATED, "%s needs an API key", method->name);
	if (method->is_operator_only && !principal_is_operator(principal))
		return status_make(STATUS_PERMISSION_DENIED, "%s is for operators only", method->name);
	if (!principal_has_scope(principal, method->scope))
		return status_make(STATUS_PERMISSION_DENIED, "the key lacks scope '%s'", method->scope);
	return status_ok_value();
}
