/*
 * outbox: what the host does with it.
 */
#ifndef CORBEL_DAEMON_OUTBOX_INTERNAL_H
#define CORBEL_DAEMON_OUTBOX_INTERNAL_H

#include "daemon/outbox.h"
#include "daemon/service.h"

#define OUTBOX_RELAY_MS 200u

struct status outbox_migrate(struct store *store);
struct outbox *outbox_new(const struct service_env *env, const char *service);
void outbox_free(struct outbox *outbox);
/* Sends what waits; a worker's task. */
void outbox_relay(void *outbox, struct store_conn *conn);

#endif
