/*
 * peers: the other replicas, where each has counters in memory of its own.
 *
 * A key belongs to the replica that its checks are routed to by whoever calls; all that see the same replicas
 * agree on it.
 */
#ifndef CORBEL_RATELIMITD_PEERS_H
#define CORBEL_RATELIMITD_PEERS_H

#include "ratelimitd_internal.h"

/* Whether there are counters here and others elsewhere. */
bool peers_share(struct ratelimitd *self);
/* Name of the replica that owns a key; false when it is not known. */
bool peers_owner(struct ratelimitd *self, const char *key, char node[64]);
/* Calls a method of one replica as the caller of `call`, trusted by it, and waits: worker threads only. The
 * reply is made in the call's arena. */
struct status peers_call(struct ratelimitd *self, struct call *call, const char *node,
                         const struct api_method *method, const ProtobufCMessage *request,
                         ProtobufCMessage **reply);
/* Has a worker run `run` on calls of one bus message, which share an arena: one thread has them all. Ends
 * them RESOURCE_EXHAUSTED when there are too many. */
void peers_later(struct ratelimitd *self, struct call *calls[], size_t count,
                 void (*run)(struct ratelimitd *self, struct call *call));

#endif
