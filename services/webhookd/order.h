/*
 * order: what of an event an endpoint's deliveries are kept in order by.
 *
 * A rule is "subject" or a JSON pointer into the data. Its value's hash is the key: two values that share one
 * wait for each other, which is more order than was asked for. Values are told apart as they are written: 1
 * is not 1.0, nor "1". An event without the value, or whose value is null, an object or a list, is kept in no
 * order.
 *
 * A leaf.
 */
#ifndef CORBEL_WEBHOOKD_ORDER_H
#define CORBEL_WEBHOOKD_ORDER_H

#include <stdbool.h>
#include <stdint.h>

struct filter_event;

/* "subject", or a JSON pointer to something inside. */
bool order_rule_is_valid(const char *rule);
/* False: the event has no key. `subject` may be NULL. */
bool order_key(const char *rule, const char *subject, struct filter_event *event, int64_t *out);

#endif
