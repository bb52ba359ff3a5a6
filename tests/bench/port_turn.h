/*
 * port_turn: one turn of a load's loop: what has come back, and what is to leave.
 */
#ifndef CORBEL_BENCH_PORT_TURN_H
#define CORBEL_BENCH_PORT_TURN_H

#include <poll.h>

#include "bus/pool.h"

static inline void
port_turn(struct port *port)
{
	struct pollfd fd = {.fd = port_fd(port), .events = POLLIN};

	(void)poll(&fd, 1, 100);
	port_poll(port);
	port_flush(port);
}

#endif
