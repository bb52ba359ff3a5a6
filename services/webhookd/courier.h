/*
 * courier: takes deliveries to their endpoints.
 *
 *   claim endpoints that are due  ->  load what is due for them  ->  send  ->  record how it went
 *
 * The courier's thread reads; a settler (settler.h) records, and sinks (sink.h) have threads of their own. An
 * endpoint is owned by one replica at a time, for webhookd.lease, renewed while it has work, so that its
 * order, rate and concurrency need no agreement between replicas. Whoever lost it finds its token stale and
 * records nothing.
 */
#ifndef CORBEL_WEBHOOKD_COURIER_H
#define CORBEL_WEBHOOKD_COURIER_H

#include <stdint.h>

#include "base/status.h"
#include "outbound/outbound.h"

struct webhookd;
struct courier;
struct sinks;

/* Takes ownership of what it makes of `http`; on failure courier_free() follows. */
struct status courier_new(struct webhookd *self, const struct outbound_options *http, struct courier **out);
/* The tenant's endpoints may have something due, or may have changed: look at once. Any thread; `courier` may
 * be NULL. */
void courier_hint(struct courier *courier, const char *tenant);
/* For a delivery past the queue. */
struct sinks *courier_sinks(struct courier *courier);
/* Sends nothing new, waits for what is under way at most `grace_ms`, records it, and gives back what it
 * owns. */
void courier_drain(struct courier *courier, uint32_t grace_ms);
void courier_free(struct courier *courier);

#endif
