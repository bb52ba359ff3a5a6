/*
 * bus: calls and publications between daemons, over nng. No type or error of nng leaves this folder.
 *
 * Who listens: every replica of a service listens on one REP and one PUB socket. Callers dial.
 * A `bus` is one process's end of it: node name, boot epoch, limits, metrics. It starts no thread of
 * its own beyond nng's, one timer, and one for each address with host names.
 */
#ifndef CORBEL_BUS_BUS_H
#define CORBEL_BUS_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/status.h"
#include "telemetry/log.h"
#include "telemetry/metric.h"

struct bus;

struct bus_options {
	const char *node;           /* name of this process in envelopes; NULL: made from host and pid */
	struct log *log;            /* borrowed */
	struct metrics *metrics;    /* borrowed; may be NULL */
	const struct clock *clock;  /* borrowed */
	uint32_t message_max_bytes; /* largest message either way (RECVMAXSZ); 0: 16 MiB */
	uint32_t resolve_ms;        /* how often names are resolved again; 0: 3000 */
	bool is_only_one;           /* the process has no other: one of two threads of nng's may stand aside */
	const char *tls_ca, *tls_cert, *tls_key; /* files for tls+tcp://; NULL: none */
};

struct status bus_new(const struct bus_options *options, struct bus **out);
/* Every server, pool, port, publisher and subscriber of it is freed before. */
void bus_free(struct bus *bus);
const char *bus_node(const struct bus *bus);
uint64_t bus_epoch(const struct bus *bus); /* changes at every start */

/* An address is one or more URLs separated by commas: inproc://name, ipc:///path, tcp://host:port,
 * tls+tcp://host:port. A host name stands for all of its addresses. Checks the form only. */
struct status bus_address_check(const char *address);

#endif
