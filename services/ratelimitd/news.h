/*
 * news: what ratelimitd tells the event log.
 *
 * Changes of limits are told in their transaction, so that none is lost. Refusals are samples (alarms.h),
 * written to the outbox once a second.
 */
#ifndef CORBEL_RATELIMITD_NEWS_H
#define CORBEL_RATELIMITD_NEWS_H

#include "corbel/contract.gen.h"
#include "daemon/call.h"
#include "store/store.h"

#define NEWS_MS 1000u

/* `action`: "created", "updated" or "deleted". */
struct status news_of_limit(struct call *call, struct store_tx *tx, const Corbel__V1__Limit *limit,
                            const char *action);
/* A task, every NEWS_MS. */
void news_task(void *ratelimitd, struct store_conn *conn);

#endif
