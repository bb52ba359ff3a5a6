/*
 * retention: what is old goes.
 */
#ifndef CORBEL_WEBHOOKD_RETENTION_H
#define CORBEL_WEBHOOKD_RETENTION_H

#include "store/store.h"

#define RETENTION_MS 60000u /* between two looks */

void retention_task(void *webhookd, struct store_conn *conn);

#endif
