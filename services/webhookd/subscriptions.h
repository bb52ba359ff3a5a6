/*
 * subscriptions: which endpoints of a tenant want which events, compiled and kept between commits.
 *
 * A tenant's list is read again when its log says that its endpoints have changed. One thread.
 */
#ifndef CORBEL_WEBHOOKD_SUBSCRIPTIONS_H
#define CORBEL_WEBHOOKD_SUBSCRIPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "corbel/contract.gen.h"
#include "filter.h"
#include "store/store.h"

struct subscriptions; /* of all tenants */

struct subscription {
	char endpoint[48]; /* id */
	bool is_disabled;
	bool is_pulled; /* a queue: no courier is told */
	char *order_by; /* NULL: by nothing */
	struct filter *filter;
	bool wants_operational; /* its filter names such types; one that takes everything does not mean them */
	bool is_touched;        /* by the present commit */
};

struct subscription_list {
	struct subscription *items;
	size_t count;
};

/* One endpoint's alone, with `endpoint` and flags as stored. */
struct status subscription_init(const Corbel__V1__Endpoint *endpoint, const char *id, bool is_disabled,
                                bool is_pulled, struct subscription *out);
void subscription_fini(struct subscription *subscription);
/* Whether its endpoint gets the event. */
bool subscription_wants(const struct subscription *subscription, const Corbel__V1__Event *event,
                        struct filter_event *parsed);

struct subscriptions *subscriptions_new(void);
void subscriptions_free(struct subscriptions *subscriptions);
/* The list at `version`, which is read inside `tx` when another one is kept. Valid until the next call for a
 * transaction that begins later. */
struct status subscriptions_of(struct subscriptions *subscriptions, struct store_tx *tx, struct arena *arena,
                               const char *tenant, int64_t version, struct subscription_list **out);

#endif
