/*
 * resolver: from the names in addresses to URLs, again and again.
 */
#ifndef CORBEL_BUS_RESOLVER_H
#define CORBEL_BUS_RESOLVER_H

#include "bus_internal.h"

/* The resolver thread's main function; ends when the bus stops. */
void *resolver_main(void *bus);
/* Frees the ports kept for pool_call_wait(). */
void ports_free_idle(struct bus *bus);

#endif
