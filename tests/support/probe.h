/*
 * probe: a service for tests of what hosts services. Its methods do what their names say.
 */
#ifndef CORBEL_TESTS_PROBE_H
#define CORBEL_TESTS_PROBE_H

#include "daemon/service.h"

enum probe_method {
	PROBE_ECHO,     /* fast: replies with the id of the request */
	PROBE_BATCH,    /* fast, by batch handler: replies with the number of runs */
	PROBE_WRITE,    /* slow, scope probe.write: inserts the request's name, replies with its number;
	                   named "die": kills the process after the commit; "fail": fails once inserted */
	PROBE_COUNT,    /* slow: the number of rows in `limit` */
	PROBE_BLOCK,    /* slow: creates the file named by its id, waits until it is gone again */
	PROBE_INTERNAL, /* fast, no path */
	PROBE_OPERATE,  /* fast, operators only */
	PROBE_PUBLIC,   /* fast, public */
	PROBE_COMPLAIN, /* fast: a violation, a retry time, a problem, a header */
	PROBE_PURE,     /* slow, POST, no transaction: replies with the number of runs, plus 1000 a reload */
	PROBE_METHODS
};

/* The table, made on first use; requests are GetLimitRequest or CreateLimitRequest (PROBE_WRITE), replies
 * Limit. Call once before any thread starts. */
const struct service *probe_service(void);
const struct api_method *probe_method(enum probe_method method);

#endif
