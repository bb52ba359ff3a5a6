/*
 * together: one check of several limits whose keys belong to different replicas.
 */
#ifndef CORBEL_RATELIMITD_TOGETHER_H
#define CORBEL_RATELIMITD_TOGETHER_H

#include "job.h"

/* Whether the job's keys belong to other replicas, too. */
bool together_is_needed(struct ratelimitd *self, const struct job *job);
/* Decides the call as a whole and ends it: a worker's work. */
void together_take(struct ratelimitd *self, struct call *call);
void together_look(struct ratelimitd *self, struct call *call);
void together_give_back(struct ratelimitd *self, struct call *call);

#endif
