/*
 * clearing: what waits for an endpoint that is disabled is skipped, and what one had that is deleted goes, a
 * bounded step at a time.
 *
 * Nothing is tried from the moment of the change, since the endpoint is nobody's then. The first step is in
 * its transaction, so most are cleared with it. A task does the rest: it finds endpoints that are disabled
 * while something waits for them, and those that are written down as gone, also after a crash and on another
 * replica. Enabling an endpoint waits for that, so that nothing from before is sent.
 */
#ifndef CORBEL_WEBHOOKD_CLEARING_H
#define CORBEL_WEBHOOKD_CLEARING_H

#include "webhookd_internal.h"

#define CLEARING_TICK_MS 50u

/* The first step, in the transaction that disables the endpoint. */
struct status clearing_skip(struct store_tx *tx, struct arena *arena, const char *endpoint_id,
                            int64_t now_ms);
/* The first step, in the transaction that deletes it. */
struct status clearing_forget(struct store_tx *tx, struct arena *arena, const char *endpoint_id);
/* Before enabling: the rest of the steps, in transactions of their own. Nothing if it is enabled, or
 * another's. */
struct status clearing_finish(struct call *call, const char *endpoint_id);
/* In the transaction that enables the endpoint, which is held: ABORTED while there is something left. */
struct status clearing_check(struct store_tx *tx, struct arena *arena, const char *endpoint_id);
/* A task, every CLEARING_TICK_MS. */
void clearing_task(void *webhookd, struct store_conn *conn);

#endif
