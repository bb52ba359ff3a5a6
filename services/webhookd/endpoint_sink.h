/*
 * endpoint_sink: which fields of an endpoint its sink needs, and which have no meaning for it.
 */
#ifndef CORBEL_WEBHOOKD_ENDPOINT_SINK_H
#define CORBEL_WEBHOOKD_ENDPOINT_SINK_H

#include "webhookd_internal.h"

/* HTTP for endpoints that name none. */
Corbel__V1__Sink endpoint_sink(const Endpoint *endpoint);
const char *endpoint_sink_name(const Endpoint *endpoint);
/* Only HTTP endpoints have a secret that is shown. */
bool endpoint_is_signed(const Endpoint *endpoint);
/* Fetched from, so that nothing is ever sent to it. */
bool endpoint_is_pulled(const Endpoint *endpoint);
struct status endpoint_check_sink(struct call *call, const Endpoint *endpoint);

#endif
