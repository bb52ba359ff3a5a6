/*
 * replay: parts of logs on their way to endpoints, a bounded step at a time.
 *
 * A step looks at some of the log and makes the deliveries that follow, with how far it came, in one
 * transaction: whoever is killed has done a step or has not. It takes no more than the endpoint has room for,
 * so that what happens now waits for a few of the replay's at most.
 */
#ifndef CORBEL_WEBHOOKD_REPLAY_H
#define CORBEL_WEBHOOKD_REPLAY_H

#include "webhookd_internal.h"

#define REPLAY_TICK_MS 50u

typedef Corbel__V1__Replay Replay;

#define REPLAY_COLUMNS                                                                                       \
	"id, tenant_id, endpoint_id, state, at_sequence, last_sequence, deliveries, finished_at, message"

/* From a row of REPLAY_COLUMNS. */
struct status replay_from_row(struct arena *arena, const struct store_rows *rows, size_t row, Replay *out);
/* A task, every REPLAY_TICK_MS: goes on with what is to be done. */
void replay_task(void *webhookd, struct store_conn *conn);

#endif
