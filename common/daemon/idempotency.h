/*
 * idempotency: a call with an idempotency key has its effect once, and its reply again for 24 hours.
 *
 * Before the call a row is claimed with a lease; the reply is written into it in the transaction that
 * the handler commits, or right after the call when it commits none. Whoever finds a finished row gets
 * its reply; a claimed one, "in progress"; one of another request, a refusal. A claim whose holder
 * died is taken over after its lease, or when the holder starts again; the fencing token keeps a late
 * holder from committing.
 * Calls that fail leave no row, so that a retry runs.
 *
 * The row holds a hash of the key, never the key, and the reply encrypted under the key: replies may
 * hold secrets that are shown once, and only who knows the idempotency key may see them again.
 */
#ifndef CORBEL_DAEMON_IDEMPOTENCY_H
#define CORBEL_DAEMON_IDEMPOTENCY_H

#include "base/status.h"
#include "daemon/call_internal.h"
#include "store/store.h"

#define IDEMPOTENCY_KEPT_MS (24 * 3600 * INT64_C(1000))
#define IDEMPOTENCY_KEY_MAX 255 /* bytes */

/* Creates the table in the service's schema unless it is there. Any number of replicas may do so at
 * the same time. */
struct status idempotency_migrate(struct store *store);

/* Who holds claims: the same after a restart, other than that of any other process on the same store. */
uint32_t idempotency_holder(const struct store *store, const char *node);
/* At the start, before any call: gives up what the holder's earlier process was killed over, so that callers
 * who ask again need not wait for the lease. */
struct status idempotency_give_up_all(struct store *store, uint32_t holder);

/* Claims the call's key on `conn`. On ok: either call->claim is set and the call has to run, or
 * call->is_replayed is set and its reply is in place. ABORTED with problem "idempotency-in-progress",
 * INVALID_ARGUMENT with "idempotency-key-reused". */
struct status idempotency_claim(struct call *call, struct store_conn *conn);
/* From here to idempotency_settle(), what commits on `conn` records the reply. */
void idempotency_watch(struct call *call, struct store_conn *conn);
/* After the handler: stops watching, records a reply not recorded yet, or gives the claim up when the
 * call failed. Returns `st`, or why the reply could not be recorded. */
struct status idempotency_settle(struct call *call, struct store_conn *conn, struct status st);

/* Deletes what has expired, a thousand rows a transaction. */
void idempotency_purge(const struct clock *clock, struct store_conn *conn);

#endif
