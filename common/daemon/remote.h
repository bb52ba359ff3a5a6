/*
 * remote: calls whose caller does not wait: each is told its end. To daemons that an operator names by their
 * address, and to those of the contract, which host_pool() knows.
 *
 * One thread a remote makes its calls and runs their ends.
 */
#ifndef CORBEL_DAEMON_REMOTE_H
#define CORBEL_DAEMON_REMOTE_H

#include "daemon/service.h"

struct remote;

/* Owned by the caller, with all it points to, until `ended` has run. */
struct remote_call {
	/* to set */
	const struct api_method *method;
	const ProtobufCMessage *request; /* read before remote_call() returns */
	uint32_t timeout_ms;
	const char *traceparent; /* NULL: none */
	struct arena *arena;     /* of the request's bytes and the reply */
	/* Once, on the remote's thread, which it must not block; or inside remote_free(). */
	void (*ended)(struct remote_call *call);
	void *user;
	/* how it ended */
	struct status outcome;   /* CANCELLED: by remote_free(); the callee's own code otherwise */
	ProtobufCMessage *reply; /* when it succeeded */
	bool was_sent;           /* may have been done although no reply came */
	uint32_t retry_after_ms; /* that the callee asked for; 0: nothing */
	uint32_t latency_ms;
	/* the remote's own */
	struct remote_call *next;
	struct remote *remote;
	struct pool_call wire;
	uint64_t started_mono;
};

/* `name` is for logs and metrics. INVALID_ARGUMENT for an address that cannot be one. */
struct status remote_new(const struct service_env *env, const char *name, const char *address,
                         struct remote **out);
/* The same for a daemon of the contract, by the process's own pool for it; `daemon` is a constant. */
struct status remote_to_service(const struct service_env *env, const char *daemon, struct remote **out);
/* Calls under way end CANCELLED first. */
void remote_free(struct remote *remote);
/* Any thread. Always ends by `ended`. */
void remote_call(struct remote *remote, struct remote_call *call);
/* Whether remote_new() would take it. */
struct status remote_check_address(const char *address);

#endif
