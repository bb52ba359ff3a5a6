/*
 * many: independent checks in one call.
 */
#ifndef CORBEL_RATELIMITD_MANY_H
#define CORBEL_RATELIMITD_MANY_H

#include <stddef.h>

struct call;

/* Batch handlers: of BatchCheck, each check where its key's counters are; of ReplicaCheck, all of them here.
 */
void many_decide(void *self, struct call *calls[], size_t count);
void many_decide_here(void *self, struct call *calls[], size_t count);

#endif
