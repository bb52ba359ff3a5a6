/*
 * What the files of this folder share: outbound.c accepts and ends requests, loop.c drives curl, transfer.c
 * turns one request into one curl handle's work and back.
 */
#ifndef CORBEL_OUTBOUND_INTERNAL_H
#define CORBEL_OUTBOUND_INTERNAL_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "outbound/outbound.h"
#include "outbound/own.h"

#define NAMES_BUCKETS 1024

/* Requests that wait for something outside of curl. */
struct waiting_list {
	struct transfer *first, *last;
};

/* A request's place in the client, from acceptance to done(). Places are made once and reused, the last
 * one given back first, so that few curl handles are warm. */
struct transfer {
	struct outbound *outbound;

	/* under outbound->lock */
	struct outbound_request *request; /* NULL: free */
	struct transfer *next;            /* in the list of free, of sent, or none */
	uint32_t generation;              /* of its ids: one that is gone names no later request */
	bool is_cancelled;

	/* the loop's thread only */
	CURL *easy;      /* made on first use */
	bool is_running; /* curl has it */
	uint64_t start_ms, deadline_ms;
	uint64_t name; /* hash of host and port */
	bool has_name;
	bool is_leading;               /* it looks its name up, in the list of leaders */
	bool is_unresolved;            /* its leader found no address; the reason is in `error` */
	struct transfer *next_leader;  /* of the same bucket */
	struct waiting_list followers; /* of a leader */
	struct waiting_list *list;     /* that it waits in; NULL: none */
	struct transfer *before, *after;
	struct curl_slist headers[OUTBOUND_HEADERS_MAX + 2];
	char error[CURL_ERROR_SIZE];
	char *head; /* OUTBOUND_HEAD_MAX bytes at most, grown as needed, kept */
	size_t head_size, head_capacity;
	size_t head_read; /* with those of interim responses and trailers */
	char *body;
	size_t body_size, body_capacity;
	uint64_t body_read;
	uint64_t retry_after_ms;
	unsigned sockets_opened, sockets_refused;
	bool is_head_done; /* its empty line came: what follows are trailers, or the next head */
	bool is_head_too_large, is_cut;
};

/* A descriptor. Those of connections stay in the epoll set between requests: curl asks to have them watched
 * and no longer watched at each, and most are used again at once. */
struct watch {
	uint32_t events; /* that the epoll set has it with; 0: not at all */
	bool is_ours;    /* of a connection: watches_closed() tells when its number becomes another's */
	bool is_wanted;  /* by curl, now */
};

struct outbound_metrics {
	struct metric_counter *results[OUTBOUND_RESULTS];
	struct metric_counter *rejected;
	struct metric_counter *connections;
	struct metric_gauge *in_flight;
	struct metric_histogram *seconds;
};

struct outbound {
	/* constant */
	struct policy policy;
	char *user_agent, *proxy, *ca_file;
	struct log *log;
	const struct clock *clock;
	struct outbound_metrics metrics;
	size_t max_in_flight, max_connections;
	bool refuses_own;
	int epoll, wake; /* -1: not opened */
	pthread_t thread;
	bool has_thread;

	pthread_mutex_t lock;                    /* a leaf: nothing is called while it is held */
	struct transfer *transfers;              /* max_in_flight of them, used from the first on */
	size_t used;                             /* those that were ever taken; grows only */
	struct transfer *free;                   /* taken once, given back */
	struct transfer *sent_first, *sent_last; /* accepted, not yet seen by the loop */
	bool has_cancels;
	bool is_asleep; /* the loop waits, or is about to, and must be woken */
	bool is_closing;
	uint64_t end_mono_ms; /* of the grace */

	atomic_size_t in_flight; /* changes under the lock; read without */

	/* the loop's thread only */
	CURLM *multi;
	struct watch *watches; /* by descriptor */
	size_t watch_count;
	struct own own;
	uint64_t curl_due_ms; /* when curl wants to be called without an event; UINT64_MAX: never */
	size_t seen;          /* places that the loop has ever seen used */
	struct transfer *leaders[NAMES_BUCKETS];
	struct waiting_list ready; /* may start: their lookup is over */
	uint64_t waiting_due_ms;   /* no request that waits is due before */
};

/* loop.c; any thread, before and after all others use the client. */
struct status loop_open(struct outbound *self);
/* Ends what was opened; the thread has been told to end. */
void loop_close(struct outbound *self);

/* watches.c; the loop's thread. */
/* curl's CURLMOPT_SOCKETFUNCTION, with the client as its argument. */
int watches_ask(CURL *easy, curl_socket_t fd, int what, void *self, void *unused);
/* A connection's socket, from its beginning and until it is closed. */
void watches_opened(struct outbound *self, int fd);
void watches_closed(struct outbound *self, int fd);
/* Whether what happened to it is curl's business now: if not, it is left alone until it is. */
bool watches_wants(struct outbound *self, int fd);

/* request.c; any thread. Why it cannot be sent, for people, or NULL. */
const char *request_fault(const struct outbound_request *request);
bool request_is_secure(const struct outbound_request *request);

/* names.c; the loop's thread. */
void names_set(struct transfer *transfer);
/* True when its name is being looked up: it waits then, and comes back by names_next_ready(). */
bool names_wait(struct transfer *transfer);
void names_lookup_begins(struct transfer *transfer);
/* Nothing if it leads none. `failure` is why there is no address, NULL if that is not known. */
void names_lookup_over(struct transfer *leader, const char *failure);
struct transfer *names_next_ready(struct outbound *self);
/* Nothing if it does not wait. */
void names_leave(struct transfer *transfer);
/* Ends those that have waited for all of their time. */
void names_expire(struct outbound *self, uint64_t now_ms);

/* transfer.c; the loop's thread. */
/* Prepares the handle; false when the request cannot be sent, with the reason in its response. */
bool transfer_prepare(struct transfer *transfer);
void transfer_fini(struct transfer *transfer);

/* response.c; the loop's thread. */
void response_begin(struct transfer *transfer);
/* curl's CURLOPT_HEADERFUNCTION and CURLOPT_WRITEFUNCTION, with the transfer as their argument. */
size_t response_take_head(char *line, size_t one, size_t length, void *transfer);
size_t response_take_body(char *bytes, size_t one, size_t length, void *transfer);
/* Fills the request's response from what came and from how curl ended. */
void response_finish(struct transfer *transfer, CURLcode code);
/* Sets a result that curl has no part in, with an empty response. */
void response_conclude(struct transfer *transfer, enum outbound_result result, const char *detail);
/* After done(): keeps no large buffer for a request that may never come. */
void response_trim(struct transfer *transfer);

/* outbound.c; the loop's thread. Gives the place back, then calls done(). */
void outbound_end(struct transfer *transfer);

#endif
