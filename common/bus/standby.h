/*
 * standby: one of nng's two threads, waiting aside until it is needed.
 */
#ifndef CORBEL_BUS_STANDBY_H
#define CORBEL_BUS_STANDBY_H

#include "bus_internal.h"

struct standby;

/* NULL where nng has more threads than two. One a process: with a second nobody would be left to work. */
struct standby *standby_new(struct bus *bus);
void standby_free(struct standby *standby);

bool standby_is_aside(struct standby *standby);

/* Around each callback of the bus that nng runs; any thread. */
void standby_enter(struct standby *standby);
void standby_leave(struct standby *standby);

#endif
