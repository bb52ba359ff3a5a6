/*
 * test_host: services in this process, configured by flags alone.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_HOST_H
#define CORBEL_TESTS_SUPPORT_TEST_HOST_H

#include <stdio.h>

#include "daemon/host.h"

struct options;

struct test_host {
	struct options *options;
	struct config *config;
	struct host *host;
};

/* Flags begin with the program's name. `services` and `flags` live as long. `out` gets what the process
 * announces; NULL: nobody. The outcome is that of host_start(); the rest has to succeed. */
struct status test_host_try(struct test_host *self, const struct service *const *services,
                            const char *const *flags, int count, FILE *out);
/* The same, and it has to start. */
void test_host_start(struct test_host *self, const struct service *const *services, const char *const *flags,
                     int count);
/* All work has to end in time. */
void test_host_stop(struct test_host *self);
/* The pool of a service, once a replica of it is connected. */
struct pool *test_host_pool(struct test_host *self, const char *service);

#endif
