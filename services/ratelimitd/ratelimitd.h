/*
 * ratelimitd: decisions on rate limits, and their definitions.
 */
#ifndef CORBEL_RATELIMITD_H
#define CORBEL_RATELIMITD_H

#include "daemon/service.h"

extern const struct service ratelimitd_service;

#endif
