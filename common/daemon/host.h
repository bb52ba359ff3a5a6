/*
 * host: one process and the services in it: what they share, and their lives from start to drain.
 *
 *   host_new     telemetry, bus, Redis, admin port: alive, not ready
 *   host_migrate each service: store, migrations; nothing else
 *   host_start   each service: store, migrations; create; all listen; start: ready
 *   host_leave   not ready, and serves on for a moment
 *   host_drain   in the reverse order: not ready, finish what is under way, stop listening
 *   host_free    everything is given back, telemetry last
 *
 * daemon_run() drives one from a command line; a component test may drive its own.
 */
#ifndef CORBEL_DAEMON_HOST_H
#define CORBEL_DAEMON_HOST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"
#include "daemon/service.h"

struct host_options {
	const struct config *config; /* loaded with options_tables() */
	const struct service *const *services;
	int stop_fd;       /* while it starts: readable means give up; -1: none */
	FILE *out;         /* announcements; NULL: nowhere */
	bool has_no_admin; /* without the admin port, whatever its option says */
	bool is_only_one;  /* the process has no other host, and no bus beside this one's */
};

/* The directory and those above it, for nobody else to read. */
struct status host_make_directory(const char *path);
struct status host_new(const struct host_options *options, struct host **out);
/* Brings the schemas up to date, waiting for a database that is away; no service starts. CANCELLED as below.
 */
struct status host_migrate(struct host *host);
/* CANCELLED when `stop_fd` became readable. On failure host_drain() and host_free() follow. */
struct status host_start(struct host *host);
void host_reload(struct host *host);
/* Not ready from now on, yet serves for so long: those who send requests here by its readiness go elsewhere
 * before anything is refused. */
void host_leave(struct host *host, uint32_t delay_ms);
/* False when something was still under way at the end of the grace. Then memory is still in use by
 * worker threads: the process ends without host_free(). */
bool host_drain(struct host *host, uint32_t grace_ms);
void host_free(struct host *host);
struct log *host_log(const struct host *host);
/* The admin port's "host:port"; "" when it is off. */
const char *host_admin_address(const struct host *host);

#endif
