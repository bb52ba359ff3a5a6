/*
 * consent: what a receiver answers when it is asked whether it wants deliveries.
 *
 * CloudEvents' "HTTP 1.1 Web Hooks for Event Delivery", section 4: it consents by naming the origin that
 * asked, or
 * "*", in WebHook-Allowed-Origin. The status proves nothing: many servers answer OPTIONS with 200 to
 * everybody.
 *
 * A leaf.
 */
#ifndef CORBEL_WEBHOOKD_CONSENT_H
#define CORBEL_WEBHOOKD_CONSENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct consent {
	bool is_given;
	uint32_t per_minute; /* deliveries that it allows; 0: no bound */
};

/* `head` is a status line and headers with their line ends, not NUL-terminated. */
void consent_read(const char *head, size_t size, const char *origin, struct consent *out);

#endif
