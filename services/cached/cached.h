/*
 * cached: keeps values for a while, so that whoever makes them is spared.
 */
#ifndef CORBEL_CACHED_H
#define CORBEL_CACHED_H

#include "daemon/service.h"

extern const struct service cached_service;

#endif
