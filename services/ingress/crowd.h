/*
 * crowd: how many connections each address has open.
 *
 * A leaf for one thread. Memory is bounded by the number of connections.
 */
#ifndef CORBEL_INGRESS_CROWD_H
#define CORBEL_INGRESS_CROWD_H

#include <stdint.h>

#include "address.h"

struct crowd;

struct crowd *crowd_new(void);
void crowd_free(struct crowd *crowd);
unsigned crowd_count(const struct crowd *crowd, const struct address *address);
void crowd_enter(struct crowd *crowd, const struct address *address);
/* Must follow a crowd_enter() with the same address. */
void crowd_leave(struct crowd *crowd, const struct address *address);

#endif
