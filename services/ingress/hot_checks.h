/*
 * hot_checks: checks of busy keys, answered without asking ratelimitd each time.
 *
 * A key that is checked often enough is asked for by a lease: units of a fixed window are taken in advance
 * and spent here, and a refusal is remembered until more can be admitted, for a second at most. Checks of
 * other strategies that are admitted, of several limits at once, of another cost than 1, by API keys with
 * limits of their own, or under an Idempotency-Key travel as ever.
 *
 * The shard's thread only.
 */
#ifndef CORBEL_INGRESS_HOT_CHECKS_H
#define CORBEL_INGRESS_HOT_CHECKS_H

#include "ingress_internal.h"

struct hot_checks *hot_checks_new(struct shard *shard);
void hot_checks_free(struct hot_checks *checks);
/* True: the request is answered, or will be. False: it has to travel. */
bool hot_checks_take(struct hot_checks *checks, struct request *request);
/* Forgets what is held of a tenant's limits; NULL or "": of all tenants'. */
void hot_checks_end(struct hot_checks *checks, const char *tenant);
/* Once a second: tells ratelimitd of what was decided here, and lets go of what is busy no more. */
void hot_checks_tidy(struct hot_checks *checks, uint64_t now_ms);

#endif
