/*
 * desk: calls that wait for messages of queues.
 *
 *   a call arrives  ->  is there something?  --yes-->  lease it, answer
 *                            |no
 *                            +-->  wait for news of its tenant, a look each POLL_MS, or the end of its time
 *
 * One thread with one connection serves all of them: leases of a turn share a commit. Nothing depends on news
 * arriving.
 */
#ifndef CORBEL_WEBHOOKD_DESK_H
#define CORBEL_WEBHOOKD_DESK_H

#include "webhookd_internal.h"

struct desk;

struct status desk_new(struct webhookd *self, struct desk **out);
/* The batch handler of Queues/Receive. */
void queues_receive_batch(void *self, struct call *calls[], size_t count);
/* The tenant's queues may have something. Any thread; `desk` may be NULL. */
void desk_hint(struct desk *desk, const char *tenant);
/* Whoever waits is answered now, and from now on nobody does. */
void desk_drain(struct desk *desk);
void desk_free(struct desk *desk);

#endif
