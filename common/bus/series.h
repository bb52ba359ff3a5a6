/*
 * series: what the calls to one service came to, and how long they took.
 *
 * The bus owns it, not the pool: a call may end for its caller after its pool is gone.
 */
#ifndef CORBEL_BUS_SERIES_H
#define CORBEL_BUS_SERIES_H

#include "bus_internal.h"

struct call_series;

/* The series of calls to `service`, the same for all pools of a bus; lives as long as the bus. */
struct call_series *series_for(struct bus *bus, const char *service);
/* Counts a call that has ended for its caller. Any thread. */
void series_count(struct call_series *series, enum status_code code, uint64_t lasted_ns);
void series_free_all(struct bus *bus);

#endif
