/*
 * accountd: tenants, users, plans, subscriptions, API keys and usage.
 */
#ifndef CORBEL_ACCOUNTD_H
#define CORBEL_ACCOUNTD_H

#include "daemon/service.h"

extern const struct service accountd_service;

#endif
