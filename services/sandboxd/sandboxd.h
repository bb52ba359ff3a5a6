/*
 * sandboxd: plugins of tenants, and their runs.
 */
#ifndef CORBEL_SANDBOXD_H
#define CORBEL_SANDBOXD_H

#include "daemon/service.h"

extern const struct service sandboxd_service;

#endif
