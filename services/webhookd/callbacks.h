/*
 * callbacks: the daemons of the option webhookd.callbacks, "name=address,…". An address may be several URLs
 * with commas between them: what has no name belongs to the one before.
 */
#ifndef CORBEL_WEBHOOKD_CALLBACKS_H
#define CORBEL_WEBHOOKD_CALLBACKS_H

#include "config/config.h"
#include "daemon/service.h"

#define CALLBACKS_MAX 16

struct callback {
	const char *name, *address;
};

/* In `arena`. INVALID_ARGUMENT tells what is wrong. */
struct status callbacks_read(const struct config *config, struct arena *arena,
                             struct callback out[CALLBACKS_MAX], size_t *count);
bool callbacks_have(const struct config *config, const char *name);
/* Of struct service's `check`. */
void callbacks_check(const struct config *config, service_complain complain, void *arg);

#endif
