/*
 * tenant_weights: how large a share of the memory a tenant has, beside the others'.
 */
#ifndef CORBEL_CACHED_TENANT_WEIGHTS_H
#define CORBEL_CACHED_TENANT_WEIGHTS_H

#include "config/config.h"
#include "daemon/service.h"

#define TENANT_WEIGHTS_MAX 1024
#define TENANT_WEIGHT_MAX  1000u

/* That of `cached.tenant_weights`; 1 for a tenant that it does not name. */
uint32_t tenant_weight(const struct config *config, const char *tenant);
/* Complains of the first element that is not TENANT=WEIGHT, and of a tenant that is there twice. */
void tenant_weights_check(const struct config *config, service_complain complain, void *arg);

#endif
