/*
 * endpoint_check: what a request may say of an endpoint.
 */
#ifndef CORBEL_WEBHOOKD_ENDPOINT_CHECK_H
#define CORBEL_WEBHOOKD_ENDPOINT_CHECK_H

#include "webhookd_internal.h"

/* INVALID_ARGUMENT with a violation at `pointer`. */
struct status endpoint_refuse(struct call *call, const char *pointer, const char *why);
/* Everything that the contract cannot say. */
struct status endpoint_check(struct call *call, const Endpoint *endpoint);

#endif
