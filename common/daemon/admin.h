/*
 * admin: the port for whoever runs the process: /livez, /readyz, /startupz, /metrics.
 *
 * HTTP on a thread of its own, at most 32 connections of 10 seconds, GET and HEAD only. Loopback
 * unless the option says otherwise; it has no authentication.
 */
#ifndef CORBEL_DAEMON_ADMIN_H
#define CORBEL_DAEMON_ADMIN_H

#include <stdbool.h>

#include "base/status.h"
#include "base/text.h"
#include "telemetry/metric.h"

struct admin;

struct admin_options {
	const char *listen; /* "127.0.0.1:9600", "[::1]:9600"; port 0: any */
	struct metrics *metrics;
	/* Write an application/health+json body and tell whether all is well. On the admin thread. */
	bool (*ready)(void *arg, struct strbuf *body);
	bool (*startup)(void *arg, struct strbuf *body);
	void (*collect)(void *arg); /* before metrics are written */
	void *arg;
};

/* ALREADY_EXISTS when the address is taken. */
struct status admin_new(const struct admin_options *options, struct admin **out);
void admin_free(struct admin *admin);
const char *admin_address(const struct admin *admin); /* as bound, "127.0.0.1:9600" */

#endif
