/*
 * recovery: what an endpoint did not get, sent again, a bounded step at a time.
 *
 * A recovery goes through the deliveries that were made in a time, by their sequences. A step takes some of
 * them, with how far it came, in one transaction: whoever is killed has done a step or has not, and another
 * replica goes on. One that its first step ends leaves no trace; one whose endpoint is disabled meanwhile
 * ends.
 */
#ifndef CORBEL_WEBHOOKD_RECOVERY_H
#define CORBEL_WEBHOOKD_RECOVERY_H

#include "webhookd_internal.h"

#define RECOVERY_TICK_MS 50u

/* A task, every RECOVERY_TICK_MS: goes on with what is to be done. */
void recovery_task(void *webhookd, struct store_conn *conn);

#endif
