/*
 * webhookd: the event log, webhooks and their deliveries.
 */
#ifndef CORBEL_WEBHOOKD_H
#define CORBEL_WEBHOOKD_H

#include "daemon/service.h"

extern const struct service webhookd_service;

#endif
