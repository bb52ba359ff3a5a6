/*
 * notify: what the service manager that started the process is told, by the protocol of sd_notify(3):
 * datagrams of text to the socket that $NOTIFY_SOCKET names. Where nobody asks, nothing is said.
 *
 * The manager's watchdog is fed from the main thread after it has asked every service of the process how it
 * is, so one that does not come back with an answer ends the process. Main thread only.
 */
#ifndef CORBEL_DAEMON_NOTIFY_H
#define CORBEL_DAEMON_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

struct host;

struct notify {
	int fd;               /* connected to the manager's socket; -1: nobody asks */
	uint32_t watchdog_ms; /* it wants to hear from us within so long; 0: it does not */
	bool is_ready_said;
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. */
void notify_open(struct notify *self);
void notify_close(struct notify *self);
/* Looks at the services: READY=1 once, when all are ready, and WATCHDOG=1. Returns how long until it is to be
 * called again, in ms; -1: never. */
int notify_look(struct notify *self, struct host *host);
void notify_stopping(const struct notify *self);

#endif
