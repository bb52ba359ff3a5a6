/*
 * fair: who is next, of work that waits for one of a few slots, so that no tenant keeps the others waiting.
 *
 * Each tenant is charged the time that its work took. A free slot goes to the tenant that was charged least
 * among those that wait (start-time fair queueing: one that comes back from a pause begins where the others
 * are, with no credit for the time it was away). Within a tenant, first in, first out.
 *
 * Since a slot that is taken cannot be taken away, no tenant holds more slots than it leaves to others: one
 * that is alone gets half of them, and another finds a free one. Waiting room is shared out in the same way.
 *
 * A leaf: the caller has the lock, and owns the items.
 */
#ifndef CORBEL_SANDBOXD_FAIR_H
#define CORBEL_SANDBOXD_FAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fair;
struct fair_tenant;

/* Embedded in what waits. */
struct fair_item {
	struct fair_item *next;
	struct fair_tenant *tenant;
};

struct fair *fair_new(size_t slots, size_t waiting_max);
/* Nothing waits or is under way. */
void fair_free(struct fair *fair);

/* False: there is no room. `at_once_max` bounds what the tenant has under way from now on; 0: no such bound.
 */
bool fair_push(struct fair *fair, struct fair_item *item, const char *tenant, size_t at_once_max);
/* What is to begin now, which counts as under way; NULL: nothing may. */
struct fair_item *fair_pop(struct fair *fair);
/* It is under way no more, and took so long. */
void fair_done(struct fair *fair, struct fair_item *item, uint64_t spent_us);
/* Takes out what waits; false when it does not. */
bool fair_remove(struct fair *fair, struct fair_item *item);

/* How many more of a tenant would begin at once if they were pushed, as long as nobody else comes. */
size_t fair_room(const struct fair *fair, const char *tenant);
size_t fair_waiting(const struct fair *fair);
size_t fair_under_way(const struct fair *fair);

#endif
