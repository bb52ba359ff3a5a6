/*
 * outbound: HTTP requests to endpoints that somebody else names, thousands at a time, on one thread.
 *
 *     client ── outbound_send() ──► queue ──► loop (curl, epoll) ──► done(), on the loop's thread
 *
 * Endpoints are hostile until proven otherwise. Only addresses that the policy allows are connected to,
 * judged after resolution at each connect; only http and https; redirects are answers like any other and
 * never followed; certificates are verified; everything that an endpoint can send is bounded in bytes and in
 * time. HTTP/2 when an https endpoint offers it, HTTP/1.1 otherwise; connections are kept and reused. Proxies
 * come from options only, never from the environment.
 *
 * Names are resolved by the system's resolver, on threads of curl's: a lookup that hangs ends with its
 * request's time, and its thread when the resolver gives up. Answers are kept for 30 s, connections for at
 * most 10 minutes.
 *
 * It tries once: retries, their schedule and fairness between endpoints are the caller's. (A kept connection
 * that the endpoint closed in the same moment is replaced by a fresh one; nothing was answered on it then.)
 */
#ifndef CORBEL_OUTBOUND_OUTBOUND_H
#define CORBEL_OUTBOUND_OUTBOUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/status.h"
#include "outbound/policy.h"
#include "telemetry/log.h"
#include "telemetry/metric.h"

#define OUTBOUND_HEADERS_MAX 64          /* of a request */
#define OUTBOUND_HEAD_MAX    (32u << 10) /* bytes of status lines and headers of a response */
#define OUTBOUND_DETAIL_MAX  160
#define OUTBOUND_ADDRESS_MAX 56 /* "[…]:port" */

enum outbound_result {
	OUTBOUND_OK,              /* a complete response, or as much of it as `max_bytes` says: see its status */
	OUTBOUND_TIMEOUT,         /* not complete within the time; a status that came is there */
	OUTBOUND_DNS,             /* the name does not resolve */
	OUTBOUND_CONNECT,         /* no connection, or it broke before the response was complete */
	OUTBOUND_TLS,             /* no secure connection: certificate, name, version */
	OUTBOUND_REFUSED_ADDRESS, /* the policy allows no address of this name */
	OUTBOUND_PROTOCOL,        /* the URL or a header cannot be sent, or what came is no HTTP response */
	OUTBOUND_TOO_LARGE,       /* more than OUTBOUND_HEAD_MAX of status lines and headers */
	OUTBOUND_CANCELLED,       /* by outbound_cancel() or outbound_free() */
	OUTBOUND_RESULTS
};

/* "ok", "timeout", "refused_address", … */
const char *outbound_result_name(enum outbound_result result);

struct outbound_options {
	size_t max_in_flight;        /* requests accepted and not done; 0: 4096. Each may take a descriptor */
	size_t max_connections;      /* kept open, with those in use; 0: as max_in_flight */
	const struct policy *policy; /* copied; NULL: global addresses only */
	bool refuses_own;            /* also what this process listens on itself, whatever the policy allows */
	const char *user_agent;      /* NULL: "corbel/version" */
	/* URL of an egress proxy, NULL or "" for none. The policy is the proxy's then: names are resolved there.
	 */
	const char *proxy;
	const char *ca_file; /* authorities to trust, PEM; NULL or "": the system's */
	struct log *log;
	struct metrics *metrics;   /* NULL: uncounted */
	const struct clock *clock; /* for dates in Retry-After; NULL: the system's */
};

/* What came. Pointers live until done() returns. */
struct outbound_response {
	enum outbound_result result;
	char detail[OUTBOUND_DETAIL_MAX]; /* for people; "" when ok */
	unsigned status;                  /* of HTTP; 0: none came */
	uint64_t retry_after_ms;          /* 0: none, or now; at most some years */
	const char *head;                 /* status line and headers of the final response, with line ends */
	size_t head_size;
	const char *body; /* the first `keep_bytes` of it, NUL-terminated */
	size_t body_size;
	uint64_t received_bytes;            /* of the body, read altogether */
	bool is_cut;                        /* the body was longer than `max_bytes`; the rest was not read */
	uint32_t latency_ms;                /* from its start on the loop to its end */
	unsigned http_version;              /* 10, 11, 20; 0: none came */
	char address[OUTBOUND_ADDRESS_MAX]; /* that it was connected to, "" if none */
};

struct outbound_request {
	/* Borrowed, with all they point to, until done() is called. */
	const char *url;
	const char *method;         /* NULL: GET */
	const char *const *headers; /* "Name: value" each, no line breaks */
	size_t header_count;        /* at most OUTBOUND_HEADERS_MAX */
	const void *body;           /* NULL: none */
	size_t body_size;
	uint32_t timeout_ms; /* for all of it, resolution to last byte; > 0 */
	size_t keep_bytes;   /* of the response's body */
	size_t max_bytes;    /* of the response's body; at least keep_bytes */
	/* Called once, on the client's thread, which it must not block. The request is the caller's again: it
	 * may be freed here, or sent once more. It must not call outbound_free(). */
	void (*done)(struct outbound_request *request);
	void *user;

	uint64_t id; /* set by outbound_send(), for outbound_cancel(); never 0 */
	struct outbound_response response;
};

struct outbound;

/* FAILED_PRECONDITION when the proxy or the authorities cannot be used, UNAVAILABLE when the kernel gives no
 * thread or descriptor. */
struct status outbound_new(const struct outbound_options *options, struct outbound **out);

/* Lets what is under way finish for `grace_ms`, cancels the rest, and frees. Not from done(). */
void outbound_free(struct outbound *outbound, uint32_t grace_ms);

/* Any thread, done() too. False when `max_in_flight` are under way or the client is being freed: nothing
 * happened then and done() will not be called. */
bool outbound_send(struct outbound *outbound, struct outbound_request *request);

/* Any thread. Ends the request of this id with OUTBOUND_CANCELLED, soon; nothing when it is done already, so
 * an id may be kept longer than its request. */
void outbound_cancel(struct outbound *outbound, uint64_t id);

/* Accepted and not done. */
size_t outbound_in_flight(const struct outbound *outbound);

#endif
