/*
 * receipt: the name of a lease: the delivery's id, a dot, and which of its leases it is. That number is the
 * fence: it grows each time that the delivery is leased.
 *
 * A leaf.
 */
#ifndef CORBEL_WEBHOOKD_RECEIPT_H
#define CORBEL_WEBHOOKD_RECEIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"

#define RECEIPT_MAX (ID_MAX + 12)

struct receipt {
	char delivery_id[ID_MAX];
	uint32_t number;
};

void receipt_format(const char *delivery_id, uint32_t number, char out[RECEIPT_MAX]);
/* False when it is not one that receipt_format() makes. */
bool receipt_parse(const char *text, size_t length, struct receipt *out);

#endif
