/*
 * webhookd: the service's structure, and what its files share.
 */
#ifndef CORBEL_WEBHOOKD_INTERNAL_H
#define CORBEL_WEBHOOKD_INTERNAL_H

#include <pthread.h>

#include "corbel/contract.gen.h"
#include "daemon/scope.h"
#include "daemon/service.h"
#include "events/signature.h"
#include "webhookd.h"

struct courier;
struct desk;
struct queue_metrics;
struct keyring;
struct mailer;
struct types;
struct writer;

typedef Corbel__V1__Event Event;
typedef Corbel__V1__Endpoint Endpoint;
typedef Corbel__V1__Delivery Delivery;
typedef Corbel__V1__Attempt Attempt;

/* A time that never comes, for next_at of an endpoint for which nothing waits. */
#define NEVER_MS INT64_C(253402300799000)

struct webhookd {
	struct service_env env;
	struct writer *writer;
	struct courier *courier;
	struct desk *desk; /* where calls wait for messages of queues */
	struct queue_metrics *queue_metrics;
	struct subscriber *growth; /* of other replicas */
	struct keyring *keyring;   /* signing secrets are sealed under it */
	struct types *types;
	struct mailer *mailer; /* NULL: no mail is set up */
	struct metric_counter *recorded;
	_Atomic bool is_replaying; /* a replay was begun here or goes on: see replay.c */
	_Atomic uint64_t replay_looked;
	_Atomic bool is_recovering; /* the same of a recovery: see recovery.c */
	_Atomic uint64_t recovery_looked;
	_Atomic bool is_clearing; /* the same of disabled and deleted endpoints: see clearing.c */
	_Atomic uint64_t clearing_looked;
};

/* ---- webhookd.c ---- */
/* There may be something for the tenant's endpoints and queues, or they have changed. Any thread. */
void webhookd_hint(const struct webhookd *self, const char *tenant);

/* ---- publish.c ---- */
void events_publish_batch(void *self, struct call *calls[], size_t count);

/* ---- secrets.c ---- */
/* For a BYTEA column. */
struct store_value secret_seal(const struct webhookd *self, struct arena *arena,
                               const struct signing_key *signing);
/* False when the column is null, or was sealed under a secret that the keyring no longer has. */
bool secret_open(const struct webhookd *self, struct arena *arena, const struct store_rows *rows, size_t row,
                 size_t column, struct signing_key *out);

/* ---- operational.c ---- */
struct status tell_endpoint(const struct webhookd *self, struct store_tx *tx, struct arena *arena,
                            const char *type, const Endpoint *endpoint);
struct status tell_rotated(const struct webhookd *self, struct store_tx *tx, struct arena *arena,
                           const Endpoint *endpoint, int64_t previous_until);
/* What became of a try. */
struct tried {
	const char *tenant, *delivery_id, *endpoint_id, *event_id, *event_type;
	const char *error; /* NULL: it arrived */
	uint32_t status;   /* 0: none */
	uint32_t attempts;
	int64_t next_at; /* 0: never */
};
struct status tell_attempt(const struct webhookd *self, struct store_tx *tx, struct arena *arena,
                           const char *type, const struct tried *what);
/* What is told of a try of an event of that type, the `tries`-th since the delivery was begun anew; NULL:
 * nothing. */
const char *news_of_try(const char *event_type, uint32_t tries, bool is_success, bool is_last);
/* Of the types above; their subject is the endpoint that they are about. */
bool is_operational(const char *type);

/* ---- endpoints.c ---- */
/* Disables it within the transaction, with everything that waits for it, and lets its contacts know. */
struct status endpoint_disable(const struct webhookd *self, struct store_tx *tx, struct arena *arena,
                               const char *id, Corbel__V1__DisabledReason reason, int64_t since_ms,
                               int64_t now_ms);

/* Reads the endpoint of a call that sees it, with its log locked. */
struct status endpoint_lock(struct call *call, struct store_tx *tx, const char *id, Endpoint *out);
/* Saves what was changed of one that is locked. */
struct status endpoint_save(struct store_tx *tx, struct arena *arena, Endpoint *endpoint, int64_t now_ms);
/* Saves that its receiver agrees; enables what waited for that. It is locked. */
struct status endpoint_agree(struct call *call, struct store_tx *tx, Endpoint *endpoint);

/* ---- logs.c: the tenant's row ---- */
struct log_state {
	uint64_t last_sequence, first_sequence;
	int64_t endpoints_version;
};
/* Locks the tenant's log until the transaction ends; makes it on first use. */
struct status log_lock(struct store_tx *tx, struct arena *arena, const char *tenant, struct log_state *out);
/* The same, and makes the log longer by so many events, in one statement; `out` is the log after it. */
struct status log_lengthen(struct store_tx *tx, struct arena *arena, const char *tenant, uint64_t by,
                           struct log_state *out);
struct status log_set_last(struct store_tx *tx, const char *tenant, uint64_t last_sequence);
/* The tenant's endpoints have changed in this transaction; the log is locked. */
struct status log_bump_endpoints(struct store_tx *tx, const char *tenant);

#endif
