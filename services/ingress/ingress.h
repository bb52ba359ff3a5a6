/*
 * ingress: HTTP in, calls on the bus out.
 */
#ifndef CORBEL_INGRESS_H
#define CORBEL_INGRESS_H

#include "daemon/service.h"

extern const struct service ingress_service;

#endif
